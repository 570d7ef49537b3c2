"""The hub that hands events from the threads that watch workers to the coroutines that serve clients.

Events are JSON-able mappings: ``{"type": "job", "job": …}`` when a job changed its state, and
``{"type": "progress", "id": …}`` while it runs; ``{"type": "told", "id": …, "told": …}`` is what its handler tells
those who understand it. Nobody waits for a slow subscriber: it loses the oldest progress,
never anything else; one that is hopelessly behind is ended, and gets a fresh picture when it comes back.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any

Event = Mapping[str, Any]
HOPELESS = 16
"""A subscriber with this many times its room in unread events is ended."""


class Subscription:
    """An asynchronous iterator over events; leave the ``with`` block to end it. Made by `Hub.subscribe`."""

    def __init__(self, hub: Hub, maxsize: int) -> None:
        self._hub = hub
        self._maxsize = maxsize
        self._unread: deque[Event] = deque()
        self._ended = False
        self._lock = threading.Lock()
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub.drop(self)

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while True:
            with self._lock:
                if self._unread:
                    return self._unread.popleft()
                if self._ended:
                    raise StopAsyncIteration
                self._news.clear()
            await self._news.wait()

    def offer(self, event: Event) -> bool:
        """Add an event; False if this subscriber is ended. Called by the hub, from any thread."""
        with self._lock:
            if len(self._unread) >= self._maxsize:
                self._make_room()
            self._ended |= len(self._unread) >= HOPELESS * self._maxsize
            if not self._ended and (event["type"] != "progress" or len(self._unread) < self._maxsize):
                self._unread.append(event)
            return self._wake() and not self._ended

    def end(self) -> None:
        """Let the iterator end after what it holds."""
        with self._lock:
            self._ended = True
            self._wake()

    def _make_room(self) -> None:
        oldest = next((i for i, event in enumerate(self._unread) if event["type"] == "progress"), None)
        if oldest is not None:
            del self._unread[oldest]

    def _wake(self) -> bool:
        try:
            self._loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:  # its loop is closed
            return False
        return True


class Hub:
    """Where events are published and subscribed to."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()
        self._lock = threading.Lock()
        self._closed = False

    def publish(self, event: Event) -> None:
        """Hand an event to every subscriber. Never waits; callable from any thread."""
        with self._lock:
            subscriptions = tuple(self._subscriptions)
        for subscription in subscriptions:
            if not subscription.offer(event):
                self.drop(subscription)

    def subscribe(self, maxsize: int = 256) -> Subscription:
        """Begin to listen; call it on the event loop, before reading the state the events add to.

        Examples
        --------
        ``with hub.subscribe() as events:`` and then ``async for event in events: …``
        """
        subscription = Subscription(self, maxsize)
        with self._lock:
            self._subscriptions.add(subscription)
            closed = self._closed
        if closed:
            subscription.end()
        return subscription

    def drop(self, subscription: Subscription) -> None:
        """End a subscription."""
        with self._lock:
            self._subscriptions.discard(subscription)
        subscription.end()

    def close(self) -> None:
        """End all subscriptions, also those to come, so that a server can stop."""
        with self._lock:
            self._closed = True
            subscriptions = tuple(self._subscriptions)
        for subscription in subscriptions:
            self.drop(subscription)
