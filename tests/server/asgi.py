"""A synchronous client for an ASGI application in this process."""

import asyncio
from typing import Any

import httpx
from starlette.types import ASGIApp


class Client:
    """Sends requests to ``app`` as if from this machine, and keeps cookies."""

    def __init__(self, app: ASGIApp, base: str = "http://127.0.0.1:7878") -> None:
        self._app = app
        self._base = base
        self._cookies = httpx.Cookies()

    def request(self, method: str, path: str, **how: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(
                transport=transport, base_url=self._base, cookies=self._cookies
            ) as client:
                response = await client.request(method, path, **how)
                self._cookies.update(client.cookies)
                return response

        return asyncio.run(ask())

    def get(self, path: str, **how: Any) -> httpx.Response:
        return self.request("GET", path, **how)

    def post(self, path: str, **how: Any) -> httpx.Response:
        return self.request("POST", path, **how)
