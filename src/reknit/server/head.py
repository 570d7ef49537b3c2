"""``HEAD`` wherever ``GET`` is answered: the same status and headers, and no body.

One piece of middleware, so that no route has to think of it. It knows no route; whoever made the body is told that
the client has gone once the headers are sent.
"""

from __future__ import annotations

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """Asks the application for what ``GET`` would give, and sends its headers alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        asked: dict[str, Any] = {**scope, "method": "GET"}
        await self._app(asked, receive, send_head)
