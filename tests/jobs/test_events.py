"""The hub: from any thread to any coroutine, with no subscriber holding up another."""

import asyncio
import threading
from typing import Any

from reknit.jobs.events import HOPELESS, Event, Hub
from tests.patience import PATIENCE_S


def job(number: int) -> Event:
    return {"type": "job", "job": {"id": str(number)}}


def progress(number: int) -> Event:
    return {"type": "progress", "id": "a", "fraction": number}


async def rest(events: Any) -> list[Event]:
    return [event async for event in events]


def test_every_subscriber_gets_every_event_in_order() -> None:
    async def listen() -> None:
        hub = Hub()
        with hub.subscribe() as first, hub.subscribe() as second:
            sent = [job(0), progress(1), job(2)]
            thread = threading.Thread(target=lambda: [hub.publish(event) for event in sent])
            thread.start()
            for events in (first, second):
                assert [await anext(events) for _ in sent] == sent
            thread.join()

    asyncio.run(listen())


def test_a_waiting_subscriber_is_woken() -> None:
    async def listen() -> None:
        hub = Hub()
        with hub.subscribe() as events:
            timer = threading.Timer(0.05, hub.publish, [job(1)])
            timer.start()
            assert await asyncio.wait_for(anext(events), PATIENCE_S) == job(1)
            timer.join()

    asyncio.run(listen())


def test_a_slow_subscriber_loses_old_progress_but_no_job() -> None:
    async def listen() -> None:
        hub = Hub()
        events = hub.subscribe(maxsize=4)
        for number in range(10):
            hub.publish(progress(number))
        for number in range(6):
            hub.publish(job(number))
        hub.publish(progress(99))
        hub.close()
        assert await rest(events) == [job(number) for number in range(6)]

    asyncio.run(listen())


def test_the_newest_progress_is_kept() -> None:
    async def listen() -> None:
        hub = Hub()
        events = hub.subscribe(maxsize=3)
        hub.publish(job(0))
        for number in range(10):
            hub.publish(progress(number))
        hub.close()
        assert await rest(events) == [job(0), progress(8), progress(9)]

    asyncio.run(listen())


def test_a_hopeless_subscriber_is_ended() -> None:
    async def listen() -> None:
        hub = Hub()
        with hub.subscribe(maxsize=2) as events, hub.subscribe() as other:
            for number in range(HOPELESS * 2 + 5):
                hub.publish(job(number))
            assert len(await rest(events)) == HOPELESS * 2
            assert await anext(other) == job(0)

    asyncio.run(listen())


def test_close_ends_those_who_listen_and_those_to_come() -> None:
    async def listen() -> None:
        hub = Hub()
        with hub.subscribe() as events:
            waiting = asyncio.create_task(rest(events))
            await asyncio.sleep(0)
            hub.close()
            assert await asyncio.wait_for(waiting, PATIENCE_S) == []
        assert await asyncio.wait_for(rest(hub.subscribe()), PATIENCE_S) == []

    asyncio.run(listen())


def test_a_subscriber_whose_loop_is_gone_is_forgotten() -> None:
    hub = Hub()

    async def leave() -> None:
        hub.subscribe()

    asyncio.run(leave())
    hub.publish(job(1))
    assert hub._subscriptions == set()
