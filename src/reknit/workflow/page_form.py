"""ComfyUI's own JSON, as its page saves it, turned into a `Graph`.

There values that were typed in stand in a row without names, so the nodes' descriptions say which is which; muted
nodes go, bypassed ones let through what they get, reroutes and primitives are resolved. What a page expands before it
sends a graph (random words, dates) is not expanded here.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reknit.core.errors import InputError
from reknit.workflow.graph import Graph, GraphNode, Link
from reknit.workflow.node import Registry

_MUTED, _BYPASSED = 2, 4
_NOTES = ("Note", "MarkdownNote")
_SEEDS = ("seed", "noise_seed")
_AFTER = ("fixed", "increment", "decrement", "randomize")
"""What may follow a seed: how the page changes it after each run."""

Raw = Mapping[str, Any]


def graph_of(data: Raw, registry: Registry) -> Graph:
    """Return the graph of a page's JSON.

    Raises
    ------
    InputError
        ``workflow.form``
    """
    subgraphs = {one.get("id") for one in (data.get("definitions") or {}).get("subgraphs") or []}
    nodes: dict[str, Raw] = {
        str(one["id"]): one for one in data["nodes"] if isinstance(one, dict) and "id" in one
    }
    if any(one.get("type") in subgraphs for one in nodes.values()):
        raise InputError(
            "this workflow holds subgraphs",
            code="workflow.form",
            hint="export it from ComfyUI with Export (API), which unpacks them",
        )
    found = _Page(nodes=nodes, links=_links(data), registry=registry)
    made = (found.node(name) for name, one in nodes.items() if found.is_real(one))
    return Graph(nodes={node.id: node for node in made})


def _links(data: Raw) -> dict[Any, tuple[str, int, str]]:
    """Return each link's source, slot and type by its id; links are rows or, in newer files, objects."""
    found: dict[Any, tuple[str, int, str]] = {}
    for one in data.get("links") or []:
        if isinstance(one, dict):
            row = [one.get(key) for key in ("id", "origin_id", "origin_slot", "_", "_", "type")]
        else:
            row = [*one, None, None]
        found[row[0]] = str(row[1]), int(row[2] or 0), str(row[5])
    return found


class _Page:
    def __init__(self, *, nodes: dict[str, Raw], links: dict[Any, tuple[str, int, str]], registry: Registry):
        self._nodes, self._links, self._registry = nodes, links, registry

    @staticmethod
    def is_real(one: Raw) -> bool:
        return one.get("mode") not in (_MUTED, _BYPASSED) and one.get("type") not in (
            *_NOTES,
            "Reroute",
            "PrimitiveNode",
        )

    def node(self, name: str) -> GraphNode:
        one = self._nodes[name]
        inputs = self._typed_in(one)
        for given in one.get("inputs") or []:
            if given.get("link") is None:
                continue
            value = self._source(given["link"], set())
            if value is not None:
                inputs[given["name"]] = value
            elif not given.get("widget"):
                inputs.pop(given["name"], None)
        return GraphNode(id=name, kind=str(one.get("type")), inputs=inputs, title=str(one.get("title") or ""))

    def _typed_in(self, one: Raw) -> dict[str, Any]:
        values = one.get("widgets_values") or []
        if isinstance(values, dict):
            return dict(values)
        described = self._registry.find(str(one.get("type")))
        if described is None:
            return {}
        row = list(values)
        found: dict[str, Any] = {}
        for given in described.inputs:
            if not given.is_widget or not row:
                continue
            found[given.name] = row.pop(0)
            if given.name in _SEEDS and row and row[0] in _AFTER:
                row.pop(0)
        return found

    def _source(self, link: Any, seen: set[Any]) -> Any:
        """Return what comes over a link: a `Link`, a primitive's value, or None."""
        if link not in self._links or link in seen:
            return None
        seen.add(link)
        name, slot, kind = self._links[link]
        one = self._nodes.get(name)
        if one is None or one.get("mode") == _MUTED:
            return None
        given = one.get("inputs") or []
        if one.get("type") == "PrimitiveNode":
            return next(iter(one.get("widgets_values") or []), None)
        if one.get("type") == "Reroute":
            return self._source(given[0].get("link"), seen) if given else None
        if one.get("mode") != _BYPASSED:
            return Link(node=name, slot=slot)
        same = [x for x in given[slot : slot + 1] if x.get("type") == kind]
        same += [x for x in given if x.get("type") == kind]
        return self._source(same[0].get("link"), seen) if same else None
