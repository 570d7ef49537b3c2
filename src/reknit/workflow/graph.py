"""A graph of nodes, read from ComfyUI's files: API JSON, the page's own JSON, or a PNG that carries one of them.

`read` tells by content which it is. A `Graph` is in API form: each input of a node is a value or a `Link`. Whether it
can be run is `validate`'s question; nothing here runs or checks anything but the form.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from reknit.core import files, metadata
from reknit.core.errors import InputError
from reknit.workflow.node import Registry

MAX_BYTES = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """An output of another node: the node's id and the output's number."""

    node: str
    slot: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphNode:
    """A node of a graph.

    Attributes
    ----------
    id : str
    kind : str or None
        The class name; None where the file has none.
    inputs : mapping
        Values and `Link`s by the input's name. A link that is none (a list of another form) is kept as it is.
    title : str
    """

    id: str
    kind: str | None
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    title: str = ""

    @property
    def links(self) -> dict[str, Link]:
        """The inputs that come from other nodes."""
        return {name: value for name, value in self.inputs.items() if isinstance(value, Link)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Nodes by id, in the file's order."""

    nodes: Mapping[str, GraphNode]

    def to_dict(self) -> dict[str, Any]:
        """Return the graph as API JSON."""
        return {
            node.id: {
                "class_type": node.kind,
                "inputs": {name: _plain(value) for name, value in node.inputs.items()},
                "_meta": {"title": node.title or node.kind},
            }
            for node in self.nodes.values()
        }

    def with_values(self, values: Mapping[tuple[str, str], Any]) -> Graph:
        """Return the graph with other values, by node and input.

        Raises
        ------
        InputError
            ``workflow.node``: there is no such node.
        """
        nodes = dict(self.nodes)
        for (node, name), value in values.items():
            if node not in nodes:
                raise InputError(
                    f"there is no node {node} in the workflow",
                    code="workflow.node",
                    hint=f"it has {', '.join(f'{n.id} ({n.kind})' for n in self.nodes.values())}",
                )
            nodes[node] = replace(nodes[node], inputs={**nodes[node].inputs, name: value})
        return Graph(nodes=nodes)


def read(source: bytes | str | Path, registry: Registry) -> Graph:
    """Return the graph in a file.

    Parameters
    ----------
    source : Path, or str or bytes of the file itself
    registry : Registry
        Needed for the page's own form, which does not name the values that were typed in.

    Raises
    ------
    InputError
        ``workflow.form``: neither JSON of a graph nor a PNG with one.
    """
    data = files.read_bytes(source, max_bytes=MAX_BYTES) if isinstance(source, Path) else source
    if isinstance(data, bytes) and data.startswith(b"\x89PNG"):
        entries = dict(metadata.read("png", data).metadata.text)
        if "prompt" not in entries and "workflow" not in entries:
            raise _form(
                "this picture carries no workflow", "ComfyUI puts it into the PNG files that it saves"
            )
        data = entries.get("prompt") or entries["workflow"]
    try:
        loaded: Any = json.loads(data)
    except (ValueError, RecursionError) as error:
        why = "not even text" if isinstance(error, UnicodeDecodeError) else error
        raise _form(f"this is no JSON: {why}", "give ComfyUI's API JSON, its own JSON, or a PNG") from error
    return of_data(loaded, registry)


def of_data(data: Any, registry: Registry) -> Graph:
    """Return the graph that parsed JSON holds, in either form; raises as `read`."""
    if isinstance(data, dict) and isinstance(data.get("nodes"), list):
        from reknit.workflow import page_form

        return page_form.graph_of(data, registry)
    if isinstance(data, dict) and isinstance(data.get("prompt"), dict):
        data = data["prompt"]
    return of_api(data)


def of_api(data: Any) -> Graph:
    """Return the graph of parsed API JSON; raises as `read`."""
    if not isinstance(data, dict) or not data:
        raise _form("this JSON holds no nodes", "API JSON is {ID: {class_type, inputs}}")
    entries: dict[Any, Any] = data
    if not all(isinstance(entry, dict) for entry in entries.values()):
        raise _form("this JSON is no workflow", "API JSON is {ID: {class_type, inputs}}")
    nodes = [_node(str(name), entry) for name, entry in entries.items()]
    return Graph(nodes={node.id: node for node in nodes})


def _node(name: str, entry: Mapping[str, Any]) -> GraphNode:
    given = entry.get("inputs")
    meta = entry.get("_meta")
    kind = entry.get("class_type")
    inputs: Mapping[str, Any] = given if isinstance(given, dict) else {}
    title: Any = meta.get("title", "") if isinstance(meta, dict) else ""
    return GraphNode(
        id=name,
        kind=kind if isinstance(kind, str) else None,
        inputs={str(key): _value(value) for key, value in inputs.items()},
        title=str(title),
    )


def _value(value: Any) -> Any:
    """Return a link for a list of a node's id and a number, the list for ``{"__value__": list}``."""
    if isinstance(value, dict) and set(value) == {"__value__"}:
        return tuple(value["__value__"])
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str):
        slot: Any = value[1]
        if isinstance(slot, int) and not isinstance(slot, bool):
            return Link(node=value[0], slot=slot)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Link):
        return [value.node, value.slot]
    return {"__value__": list(value)} if isinstance(value, tuple) else value


def ancestors(graph: Graph, wanted: Iterable[str]) -> dict[str, None]:
    """Return the ids that ``wanted`` need, themselves too, each after those it needs; links to nowhere are left out.

    Nodes on a cycle come once, in no order that could be run.
    """
    done: dict[str, None] = {}
    for first in wanted:
        stack: list[tuple[str, bool]] = [(first, False)]
        seen: set[str] = set()
        while stack:
            name, ready = stack.pop()
            if ready:
                done[name] = None
            elif name not in done and name not in seen and name in graph.nodes:
                seen.add(name)
                stack.append((name, True))
                needed = [one.node for one in graph.nodes[name].links.values()]
                stack += [(one, False) for one in reversed(needed)]
    return done


def _form(why: str, hint: str) -> InputError:
    return InputError(why, code="workflow.form", hint=hint)
