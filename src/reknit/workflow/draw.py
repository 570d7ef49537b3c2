"""Draw a graph as SVG: nodes in columns by what they need, links in the colours of what they carry.

It draws what is there, runnable or not; nothing here checks or runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any

from reknit.workflow.graph import Graph, GraphNode, Link
from reknit.workflow.node import Registry

COLOURS = {
    "IMAGE": "#4a7fd4", "MASK": "#3f9d5a", "LATENT": "#c25fb5", "MODEL": "#8a72d8", "CLIP": "#c99a1e",
    "VAE": "#cf5050", "CONDITIONING": "#d0803a", "CONTROL_NET": "#2f9c95", "STITCHER": "#7c8b3a",
}  # fmt: skip
OTHER = "#7a7f87"

_WIDTH, _LINE, _HEAD, _GAP_X, _GAP_Y, _MARGIN = 230, 18, 30, 70, 24, 20
_LETTERS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class _Placed:
    node: GraphNode
    x: int
    y: int
    rows: list[tuple[str, str]]
    outputs: list[tuple[str, str]]

    @property
    def height(self) -> int:
        return _HEAD + _LINE * max(1, len(self.rows) + len(self.outputs)) + 8

    def input_at(self, name: str) -> tuple[int, int]:
        row = [one for one, _ in self.rows].index(name)
        return self.x, self.y + _HEAD + _LINE * (len(self.outputs) + row) + _LINE // 2

    def output_at(self, slot: int) -> tuple[int, int]:
        return self.x + _WIDTH, self.y + _HEAD + _LINE * min(slot, max(len(self.outputs) - 1, 0)) + _LINE // 2


def svg(graph: Graph, registry: Registry) -> str:
    """Return a picture of ``graph``."""
    placed = _placed(graph, registry)
    width = max((one.x + _WIDTH for one in placed.values()), default=0) + _MARGIN
    height = max((one.y + one.height for one in placed.values()), default=0) + _MARGIN
    lines = [
        _curve(one, name, link, placed) for one in placed.values() for name, link in one.node.links.items()
    ]
    boxes = [_box(one, registry) for one in placed.values()]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12">',
            f'<rect width="{width}" height="{height}" fill="#f6f7f9"/>',
            *lines,
            *boxes,
            "</svg>\n",
        ]
    )


def _placed(graph: Graph, registry: Registry) -> dict[str, _Placed]:
    columns = _columns(graph)
    bottoms: dict[int, int] = {}
    placed: dict[str, _Placed] = {}
    for name in sorted(graph.nodes, key=lambda name: columns[name]):
        node, column = graph.nodes[name], columns[name]
        known = registry.find(node.kind or "")
        outputs = [] if known is None else [(out.name, out.kind) for out in known.outputs]
        rows = [(key, "" if isinstance(value, Link) else _short(value)) for key, value in node.inputs.items()]
        one = _Placed(
            node=node,
            x=_MARGIN + column * (_WIDTH + _GAP_X),
            y=bottoms.get(column, _MARGIN),
            rows=rows,
            outputs=outputs,
        )
        bottoms[column] = one.y + one.height + _GAP_Y
        placed[name] = one
    return placed


def _columns(graph: Graph) -> dict[str, int]:
    """Return how many nodes stand before each, on the longest way; a ring is cut somewhere."""
    columns: dict[str, int] = dict.fromkeys(graph.nodes, 0)
    for _ in range(len(graph.nodes)):
        changed = False
        for name, node in graph.nodes.items():
            needed = [columns[link.node] + 1 for link in node.links.values() if link.node in columns]
            column = min(max(needed, default=0), len(graph.nodes))
            changed |= column != columns[name]
            columns[name] = column
        if not changed:
            break
    used = sorted(set(columns.values()))
    return {name: used.index(column) for name, column in columns.items()}


def _box(one: _Placed, registry: Registry) -> str:
    known = registry.find(one.node.kind or "")
    title = one.node.title or (known.title if known else one.node.kind) or "?"
    edge = "#c4c9d1" if known else "#cf5050"
    parts = [
        f'<g><rect x="{one.x}" y="{one.y}" width="{_WIDTH}" height="{one.height}" rx="7" fill="#fff" '
        f'stroke="{edge}"/>',
        f'<text x="{one.x + 10}" y="{one.y + 19}" font-weight="600" fill="#20242b">{_text(title, 24)}</text>',
        f'<text x="{one.x + _WIDTH - 8}" y="{one.y + 19}" text-anchor="end" fill="#8b919b">'
        f"#{escape(one.node.id)}</text>",
    ]
    for slot, (name, kind) in enumerate(one.outputs):
        x, y = one.output_at(slot)
        parts.append(_dot(x, y, COLOURS.get(kind, OTHER)))
        parts.append(f'<text x="{x - 9}" y="{y + 4}" text-anchor="end" fill="#4b515b">{_text(name)}</text>')
    for name, value in one.rows:
        x, y = one.input_at(name)
        described = known.input(name) if known else None
        if isinstance(one.node.inputs[name], Link):
            parts.append(_dot(x, y, COLOURS.get(described.kind if described else "", OTHER)))
        shown = f"{name}: {value}" if value else name
        parts.append(f'<text x="{x + 10}" y="{y + 4}" fill="#4b515b">{_text(shown)}</text>')
    return "".join([*parts, "</g>"])


def _curve(one: _Placed, name: str, link: Link, placed: dict[str, _Placed]) -> str:
    if link.node not in placed:
        return ""
    source = placed[link.node]
    (x0, y0), (x1, y1) = source.output_at(link.slot), one.input_at(name)
    kind = source.outputs[link.slot][1] if 0 <= link.slot < len(source.outputs) else ""
    bend = max(40, abs(x1 - x0) // 2)
    return (
        f'<path d="M{x0} {y0} C{x0 + bend} {y0} {x1 - bend} {y1} {x1} {y1}" fill="none" '
        f'stroke="{COLOURS.get(kind, OTHER)}" stroke-width="2"/>'
    )


def _dot(x: int, y: int, colour: str) -> str:
    return f'<circle cx="{x}" cy="{y}" r="4" fill="{colour}"/>'


def _short(value: Any) -> str:
    return " ".join(str(value).split()) or "(empty)"


def _text(value: str, most: int = _LETTERS) -> str:
    return escape(value if len(value) <= most else value[: most - 1] + "…")
