"""A ComfyUI prompt as a job: a worker runs its graph, and tells what happens in ComfyUI's messages.

`Prompts.run` is the handler; what it tells goes to the sockets of clients while it works, and what history repeats of
it is in the job's result, or in the facts of its error. Answers of the last prompt stay in the worker's memory. It
knows no HTTP; `context` says what nodes see of this server, for checking a graph and for running it.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reknit.core.errors import Cancelled, InputError, ReknitError
from reknit.core.progress import Report
from reknit.engines.base import Models
from reknit.jobs.worker import Teller
from reknit.server.tasks import preview_jpeg

if TYPE_CHECKING:
    from reknit.workflow.context import Context
    from reknit.workflow.graph import Graph
    from reknit.workflow.node import Registry
    from reknit.workflow.run import Runner

KIND = "workflow"
"""The kind of these jobs."""
NO_PREVIEWS = (None, "none", "default")
"""Values of ``extra_data.preview_method`` that ask for none, as does leaving it out."""
PREVIEW_S = 0.1
"""The least time between two previews."""

Payload = Mapping[str, Any]


@cache
def registry() -> Registry:
    """Return the nodes that there are, found once in a process."""
    from reknit.workflow.node import Registry

    return Registry()


def context(root: Path, *, models: Models | None, **given: Any) -> Context:
    """Return what nodes see: the folders ``input``, ``output`` and ``temp`` below ``root``, and models.

    ``given`` are further fields of `reknit.workflow.context.Context`.
    """
    from reknit.workflow.context import Context

    return Context(
        input_dir=root / "input",
        output_dir=root / "output",
        temp_dir=root / "temp",
        model_dirs=() if models is None else tuple(models().folders()),
        models=models,
        **given,
    )


class Prompts:
    """Runs prompts, one after the other.

    Parameters
    ----------
    root : Path
        Holds ``input``, ``output`` and ``temp``.
    threads : int
    models : callable or None
    """

    def __init__(self, root: Path, *, threads: int, models: Models | None) -> None:
        self._root = root
        self._threads = threads
        self._models = models
        self._runner: Runner | None = None

    def run(self, payload: Payload, report: Teller) -> dict[str, Any]:
        """Run a prompt: its ``prompt_id``, ``client_id``, ``prompt`` (API JSON), ``outputs`` and ``extra_data``.

        Returns
        -------
        dict
            ``outputs``, ``meta`` and ``messages`` as history has them.

        Raises
        ------
        ReknitError
            What a node raised; these three are among its facts.
        Cancelled
            Likewise.
        """
        from reknit.workflow.run import Runner

        extra: Mapping[str, Any] = payload["extra_data"]
        told = Told(report=report, payload=payload, previews=extra.get("preview_method") not in NO_PREVIEWS)
        told.note("execution_start")
        self._runner = self._runner or Runner(registry())
        there = context(
            self._root,
            models=self._models,
            threads=self._threads,
            report=_Steps(report),
            prompt=payload["prompt"],
            extra=extra.get("extra_pnginfo") or {},
        )
        try:
            graph, outputs = _checked(payload, there)
            self._runner.run(graph, outputs, there, told.hear)
        except Cancelled as error:
            told.note("execution_interrupted", **told.where(), executed=told.ended)
            raise Cancelled(**told.history()) from error
        except ReknitError as error:
            told.failed(error)
            error.facts |= told.history()
            raise
        told.finish()
        told.note("execution_success")
        return {**told.history(), "images": [], "blobs": []}

    def free(self) -> None:
        """Forget answers and let go of models."""
        from reknit.engines.kept import KEPT

        if self._runner is not None:
            self._runner.free()
        KEPT.free()


def _checked(payload: Payload, there: Context) -> tuple[Graph, tuple[str, ...]]:
    """Return the graph with its values converted; files may be gone since it was queued."""
    from reknit.workflow.graph import of_api
    from reknit.workflow.validate import check

    verdict = check(of_api(payload["prompt"]), registry(), there, only=payload["outputs"])
    missing = [output for output in payload["outputs"] if output not in verdict.outputs]
    if missing:
        raise InputError(
            "; ".join(verdict.lines()) or f"there is no output node {missing[0]}",
            code="workflow.invalid",
            hint="what it needs was there when it was queued",
            node_id=missing[0],
            node_type=payload["prompt"].get(missing[0], {}).get("class_type", ""),
        )
    return verdict.graph, verdict.outputs


class _Steps:
    """A job's report without nodes' previews, which go to the prompt's own client."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def step(self, stage: str, fraction: float, preview: Any = None) -> None:
        self._report.step(stage, fraction)


@dataclass(slots=True, kw_only=True)
class Told:
    """What a run tells: the runner's events become ComfyUI's messages.

    Messages that ComfyUI sends to the prompt's client, or to all, are told at once as ``{"event", "data", "client"}``;
    those with a preview, or with a picture that a node sends, also have it as base64 in ``image``. The last one of a
    prompt is only noted: it is sent when the job has ended, so that a client that asks for its history finds it.
    """

    report: Teller
    payload: Payload
    previews: bool
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    outputs: dict[str, Any] = field(default_factory=dict[str, Any])
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    ended: list[str] = field(default_factory=list[str])
    at: str | None = None
    shown: float = 0.0

    def note(self, event: str, **data: Any) -> None:
        """Note a message for history, and tell it unless it is the last."""
        said = {"prompt_id": self.payload["prompt_id"], **data, "timestamp": int(time.time() * 1000)}
        self.messages.append((event, said))
        if event in ("execution_start", "execution_cached"):
            self._tell(event, said)

    def hear(self, event: str, data: Mapping[str, Any]) -> None:
        """Take an event of `reknit.workflow.run.Runner`."""
        if event == "execution_cached":
            self.note("execution_cached", nodes=data["nodes"])
        elif event == "executing":
            self._begin(data["node"])
        elif event == "progress":
            self._progress(data["node"], data["value"], data["max"], data["preview"])
        elif event == "executed":
            self.outputs[data["node"]] = data["output"]
            self._tell_of(data["node"], "executed", output=data["output"])
            self.finish(data["node"])

    def finish(self, node: str | None = None) -> None:
        """Say that a node, by default the one at work, is done."""
        node = node or self.at
        if node is None:
            return
        state = self.nodes.setdefault(node, {"value": 0, "max": 1, "state": "running"})
        state |= {"state": "finished", "value": state["max"]}
        if node == self.at:
            self.at = None
            self.ended.append(node)
        self._state()

    def where(self) -> dict[str, Any]:
        """Return the node at work, and its class."""
        return {"node_id": self.at or "", "node_type": self._kind(self.at)}

    def failed(self, error: ReknitError) -> None:
        """Note that the prompt failed."""
        facts = error.facts
        node = str(facts.get("node_id") or self.at or "")
        kind = str(facts.get("node_type") or self._kind(node))
        cause = error.__cause__ or error
        message = error.message.removeprefix(f"node {node} ({kind}): ")
        self.note(
            "execution_error",
            node_id=node,
            node_type=kind,
            executed=self.ended,
            exception_message=message,
            exception_type=type(cause).__name__,
            traceback=[f"{error.code}: {message}\n", *([f"{error.hint}\n"] if error.hint else [])],
            current_inputs=self._literals(node),
            current_outputs=list(self.ended),
        )

    def history(self) -> dict[str, Any]:
        """Return what history has of this run."""
        return {
            "messages": [list(message) for message in self.messages],
            "outputs": self.outputs,
            "meta": {
                node: {"node_id": node, "display_node": node, "parent_node": None, "real_node_id": node}
                for node in self.outputs
            },
        }

    def _begin(self, node: str) -> None:
        self.finish()
        self.at = node
        self.nodes[node] = {"value": 0, "max": 1, "state": "running"}
        self._state()
        self._tell_of(node, "executing")

    def _progress(self, node: str, value: int, of: int, preview: Any) -> None:
        state = self.nodes[node]
        image = self._image(preview)
        if (state["value"], state["max"]) == (value, of) and image is None:
            return
        state |= {"value": value, "max": of}
        self._state()
        data = {"value": value, "max": of, "prompt_id": self.payload["prompt_id"], "node": node}
        self._tell("progress", data, **({} if image is None else {"image": image}))

    def _image(self, preview: Any) -> str | None:
        from reknit.workflow.node import Sent

        if isinstance(preview, Sent):
            return base64.b64encode(preview.png).decode("ascii")
        now = time.monotonic()
        if preview is None or not self.previews or now - self.shown < PREVIEW_S:
            return None
        self.shown = now
        return base64.b64encode(preview_jpeg(getattr(preview, "pixels", preview))[0]).decode("ascii")

    def _state(self) -> None:
        """Tell where each node that was begun is."""
        prompt = self.payload["prompt_id"]
        nodes = {
            node: {
                **state,
                "node_id": node,
                "prompt_id": prompt,
                "display_node_id": node,
                "parent_node_id": None,
                "real_node_id": node,
            }
            for node, state in self.nodes.items()
        }
        self._tell("progress_state", {"prompt_id": prompt, "nodes": nodes})

    def _tell_of(self, node: str, event: str, **data: Any) -> None:
        self._tell(
            event, {"node": node, "display_node": node, **data, "prompt_id": self.payload["prompt_id"]}
        )

    def _tell(self, event: str, data: Mapping[str, Any], **more: Any) -> None:
        self.report.tell({"event": event, "data": data, "client": self.payload["client_id"], **more})

    def _kind(self, node: str | None) -> str:
        return str(self.payload["prompt"].get(node, {}).get("class_type") or "")

    def _literals(self, node: str) -> dict[str, list[Any]]:
        inputs: Mapping[str, Any] = self.payload["prompt"].get(node, {}).get("inputs") or {}
        return {name: [value] for name, value in inputs.items() if not isinstance(value, list)}
