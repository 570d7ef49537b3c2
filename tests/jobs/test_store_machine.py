"""Any sequence of what clients, workers and the supervisor do, compared with a model of the store in plain Python."""

import time
from dataclasses import dataclass
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from reknit.core.errors import InputError
from reknit.jobs.job import FINAL, STATES, Job
from reknit.jobs.store import Store

DIED = {"code": "died"}


@dataclass(slots=True)
class Known:
    """What the model knows about a job."""

    state: str
    priority: int
    attempts: int = 0
    lease: int = 0
    asked: bool = False


class Machine(RuleBasedStateMachine):
    """The store and its model."""

    ids: Bundle[str] = Bundle("ids")
    claims: Bundle[Job] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.store = Store(Path(":memory:"))
        self.model: dict[str, Known] = {}

    def teardown(self) -> None:
        self.store.check()
        self.store.close()

    @rule(target=ids, priority=st.integers(-1, 1))
    def submit(self, priority: int) -> str:
        job, created = self.store.submit("fill", {}, priority=priority)
        assert created
        self.model[job.id] = Known(state="queued", priority=priority)
        return job.id

    @rule(target=claims)
    def claim(self) -> Job | MultipleResults[Job]:
        queued = [id_ for id_, known in self.model.items() if known.state == "queued"]
        job = self.store.claim("cpu", 60)
        assert (job.id if job else None) == min(
            queued, key=lambda id_: (-self.model[id_].priority, id_), default=None
        )
        if job is None:
            return multiple()
        known = self.model[job.id]
        known.state, known.attempts, known.lease = "running", known.attempts + 1, job.lease
        return job

    def held(self, job: Job) -> Known | None:
        known = self.model.get(job.id)
        return known if known and known.state == "running" and known.lease == job.lease else None

    @rule(job=claims, how=st.sampled_from(["finish", "fail", "fail again", "cancelled", "back", "renew"]))
    def settle(self, job: Job, how: str) -> None:
        written = {
            "finish": lambda: self.store.finish(job, {}),
            "fail": lambda: self.store.fail(job, DIED),
            "fail again": lambda: self.store.fail(job, DIED, retry=True),
            "cancelled": lambda: self.store.cancelled(job),
            "back": lambda: self.store.hand_back(job),
            "renew": lambda: self.store.renew(job, 60, "x", 0.5),
        }[how]()
        known = self.held(job)
        assert (written is not None) == (known is not None)
        if known is None:
            return
        if how == "fail again":
            self.abandon(known)
        elif how == "back":
            known.state = "cancelled" if known.asked else "queued"
            known.attempts -= 1
        else:
            known.state = {"finish": "done", "fail": "failed", "renew": "running"}.get(how, how)

    @staticmethod
    def abandon(known: Known) -> None:
        known.state = "cancelled" if known.asked else "queued" if known.attempts < 2 else "failed"

    @rule(expire=st.booleans())
    def lose_the_workers(self, expire: bool) -> None:
        running = {id_ for id_, known in self.model.items() if known.state == "running"}
        taken = self.store.expire(time.time() + 100) if expire else self.store.release("cpu", DIED)
        assert {job.id for job in taken} == running
        for id_ in running:
            self.abandon(self.model[id_])

    @rule(job=claims)
    def cancel_claimed(self, job: Job) -> None:
        if job.id in self.model:
            self.cancel(job.id)

    @rule(job_id=ids)
    def cancel_any(self, job_id: str) -> None:
        self.cancel(job_id)

    def cancel(self, job_id: str) -> None:
        known = self.model[job_id]
        if known.state in ("queued", "running"):
            known.asked = True
        if known.state == "queued":
            known.state = "cancelled"
        assert self.store.cancel(job_id).state == known.state

    @rule(job_id=ids)
    def retry(self, job_id: str) -> None:
        known = self.model[job_id]
        try:
            self.store.retry(job_id)
        except InputError:
            assert known.state not in ("failed", "cancelled")
        else:
            assert known.state in ("failed", "cancelled")
            known.state, known.attempts, known.asked = "queued", 0, False

    @rule(job_id=consumes(ids))
    def delete(self, job_id: str) -> None:
        try:
            self.store.delete(job_id)
        except InputError:
            assert self.model[job_id].state not in FINAL
        else:
            assert self.model.pop(job_id).state in FINAL

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        jobs = self.store.list(limit=1000)
        assert [job.id for job in jobs] == sorted(self.model, reverse=True)
        for job in jobs:
            known = self.model[job.id]
            assert (job.state, job.attempts, job.lease) == (known.state, known.attempts, known.lease)
            assert job.attempts <= 2
            assert (job.state in FINAL) == (job.finished is not None)
            assert (job.state == "failed") == (job.error is not None)
            assert job.state != "queued" or not job.cancel_requested
        states = [known.state for known in self.model.values()]
        assert self.store.counts() == {state: states.count(state) for state in STATES}


Machine.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestAnySequence = Machine.TestCase
