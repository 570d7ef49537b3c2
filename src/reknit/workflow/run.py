"""Run a graph: each node after those it needs, and none whose answer is known from the run before.

A node's answer is kept under a key made of its class, its values, the files it reads and the keys of what it needs, so
that ids, titles and places do not matter; what a run did not use is let go. `Runner.run` tells what happens as events
named as ComfyUI's. It knows no node, no terminal and no HTTP.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from reknit.core.errors import Cancelled, EngineFailed, ReknitError
from reknit.core.progress import Report
from reknit.workflow.context import Context
from reknit.workflow.graph import Graph, GraphNode, Link, ancestors
from reknit.workflow.node import Node, Registry, Shown

Tell = Callable[[str, dict[str, Any]], None]
"""Gets an event's name and facts: ``execution_cached`` {nodes}, ``executing`` {node}, ``progress`` {node, value, max,
preview}, ``executed`` {node, output}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A node's answer: its outputs, and what is shown of it."""

    outputs: tuple[Any, ...]
    ui: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run gave.

    Attributes
    ----------
    shown : dict
        What each output node showed, by id.
    executed, cached : tuple of str
        Ids of the nodes that ran, and of those whose answer was known.
    """

    shown: dict[str, Mapping[str, Any]]
    executed: tuple[str, ...]
    cached: tuple[str, ...]


class Runner:
    """Runs graphs and remembers the answers of the last one; one run at a time."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._kept: dict[str, Done] = {}

    def free(self) -> None:
        """Forget all answers."""
        self._kept.clear()

    def run(
        self, graph: Graph, outputs: Sequence[str], context: Context, tell: Tell | None = None
    ) -> Outcome:
        """Run what ``outputs`` need of a graph that `validate.check` found right.

        Raises
        ------
        ReknitError
            A node failed: the facts ``node_id``, ``node_type`` and ``executed`` say where. What ran before it stays
            known.
        Cancelled
            ``context.report`` raised it; what ran before stays known.
        """
        tell = tell or _nobody
        order = list(ancestors(graph, outputs))
        keys = self._keys(graph, order, context)
        ahead = self._ahead(graph, outputs, keys)
        cached = tuple(name for name in order if name not in ahead)
        tell("execution_cached", {"nodes": list(cached)})
        shown: dict[str, Mapping[str, Any]] = {}
        for name in cached:
            known = self._kept.get(keys[name])
            if name in outputs and known is not None and known.ui is not None:
                shown[name] = known.ui
                tell("executed", {"node": name, "output": dict(known.ui)})
        executed: list[str] = []
        try:
            for name in (name for name in order if name in ahead):
                context.report.step(
                    graph.nodes[name].title or str(graph.nodes[name].kind), len(executed) / len(ahead)
                )
                tell("executing", {"node": name})
                done = self._answer(
                    graph.nodes[name], keys, context, tell, (len(executed), len(ahead)), executed
                )
                self._kept[keys[name]] = done
                executed.append(name)
                if done.ui is not None:
                    shown[name] = done.ui
                    tell("executed", {"node": name, "output": dict(done.ui)})
        finally:
            used = set(keys.values())
            self._kept = {key: done for key, done in self._kept.items() if key in used}
        context.report.step("done", 1.0)
        return Outcome(shown=shown, executed=tuple(executed), cached=cached)

    def _ahead(self, graph: Graph, outputs: Sequence[str], keys: Mapping[str, str]) -> set[str]:
        """Return the nodes that have to run."""
        ahead: set[str] = set()
        waiting = list(outputs)
        while waiting:
            name = waiting.pop()
            if name in ahead or keys[name] in self._kept:
                continue
            ahead.add(name)
            waiting += [link.node for link in graph.nodes[name].links.values()]
        return ahead

    def _keys(self, graph: Graph, order: Sequence[str], context: Context) -> dict[str, str]:
        keys: dict[str, str] = {}
        for name in order:
            one = graph.nodes[name]
            node = self._node(one)
            literal = {
                key: value
                for key, value in one.inputs.items()
                if node.input(key) and not isinstance(value, Link)
            }
            token = "" if node.token is None else node.token(context, **literal)
            needs = sorted((key, keys[link.node], link.slot) for key, link in one.links.items())
            said = repr((node.name, token, sorted(literal.items(), key=lambda item: item[0]), needs))
            keys[name] = hashlib.sha256(said.encode("utf-8", "backslashreplace")).hexdigest()
        return keys

    def _answer(
        self,
        one: GraphNode,
        keys: Mapping[str, str],
        context: Context,
        tell: Tell,
        place: tuple[int, int],
        executed: Sequence[str],
    ) -> Done:
        node = self._node(one)
        given: dict[str, Any] = {}
        for described in node.inputs:
            value = one.inputs.get(described.name, described.default)
            if isinstance(value, Link):
                value = self._kept[keys[value.node]].outputs[value.slot]
            given[described.name] = value
        report = _NodeReport(context.report, one, tell, place)
        try:
            made = (
                node.run(replace(context, report=report), **given)
                if node.wants_context
                else node.run(**given)
            )
        except Cancelled:
            raise
        except ReknitError as error:
            error.message = f"node {one.id} ({one.kind}): {error.message}"
            error.facts |= {"node_id": one.id, "node_type": one.kind, "executed": list(executed)}
            raise
        except Exception as error:
            raise EngineFailed(
                f"node {one.id} ({one.kind}): {type(error).__name__}: {error}",
                code="workflow.failed",
                hint="what it was given may not suit it",
                node_id=one.id,
                node_type=one.kind,
                executed=list(executed),
            ) from error
        return _done(made)

    def _node(self, one: GraphNode) -> Node:
        found = self._registry.find(one.kind or "")
        assert found is not None  # the graph was checked
        return found


class _NodeReport:
    """A node's `Report`: its steps become events, and a share of the whole run's progress."""

    def __init__(self, report: Report, one: GraphNode, tell: Tell, place: tuple[int, int]) -> None:
        self._report, self._one, self._tell, self._place = report, one, tell, place

    def step(self, stage: str, fraction: float, preview: Any = None) -> None:
        self.tick(round(100 * fraction), 100, preview)

    def say(self, stage: str) -> None:
        """Say what is being done; no step of the node's."""
        done, ahead = self._place
        self._report.step(stage, done / ahead)

    def tick(self, value: int, of: int, preview: Any = None) -> None:
        """Say that ``value`` of ``of`` steps are done."""
        self._tell("progress", {"node": self._one.id, "value": value, "max": of, "preview": preview})
        done, ahead = self._place
        stage = self._one.title or str(self._one.kind)
        self._report.step(stage, (done + value / max(of, 1)) / ahead, preview)


def _done(made: Any) -> Done:
    if isinstance(made, Shown):
        return Done(outputs=made.outputs, ui=made.ui)
    outputs: tuple[Any, ...] = made if isinstance(made, tuple) else (made,)  # pyright: ignore[reportUnknownVariableType]
    for output in outputs:
        if isinstance(output, np.ndarray):
            output.flags.writeable = False  # others get it too
    return Done(outputs=outputs, ui=None)


def _nobody(event: str, data: dict[str, Any]) -> None:
    """Tell no one."""
