"""What is wrong with a graph, all of it at once, in ComfyUI's words.

`check` looks at every node that an output needs and gives a `Verdict`: which outputs can run, and the errors of the
others in the form of ComfyUI's answer to ``POST /prompt``. Values of the wrong type that can be converted are, as there
(``"5"`` is 5): the verdict's graph has them so. It runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from reknit.workflow.context import Context
from reknit.workflow.graph import Graph, GraphNode, Link, ancestors
from reknit.workflow.node import Input, Node, Registry

_LONG_LIST = 20
_CONVERT: Mapping[str, Any] = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}

Fault = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What `check` found.

    Attributes
    ----------
    graph : Graph
        As given, with values converted to their types.
    outputs : tuple of str
        The ids of the outputs that can run.
    error : dict or None
        ``type``, ``message``, ``details`` and ``extra_info`` where nothing can run.
    node_errors : dict
        By id: ``errors``, ``dependent_outputs`` and ``class_type``.
    """

    graph: Graph
    outputs: tuple[str, ...]
    error: dict[str, Any] | None
    node_errors: dict[str, dict[str, Any]]

    def lines(self) -> list[str]:
        """Return the faults as lines for people."""
        found = [
            f"node {name} ({entry['class_type']}): {fault['message']}{_after(fault['details'])}"
            for name, entry in self.node_errors.items()
            for fault in entry["errors"]
        ]
        if self.error is not None and not found:
            found.append(f"{self.error['message']}{_after(self.error['details'])}")
        return found


def _after(details: str) -> str:
    return f": {details}" if details else ""


def check(
    graph: Graph, registry: Registry, context: Context, *, only: Iterable[str] | None = None
) -> Verdict:
    """Return what can run of a graph, and what is wrong with the rest.

    Parameters
    ----------
    graph : Graph
    registry : Registry
    context : Context
        What files there are decides what loaders may load.
    only : iterable of str or None
        Which outputs are wanted; all by default.
    """
    strangers = [node for node in graph.nodes.values() if registry.find(node.kind or "") is None]
    if strangers:
        node_errors = {
            node.id: {"errors": [_stranger(node)], "dependent_outputs": [], "class_type": node.kind}
            for node in strangers
        }
        return Verdict(graph=graph, outputs=(), error=_stranger(strangers[0]), node_errors=node_errors)
    known = {name: _found(registry, node) for name, node in graph.nodes.items()}
    outputs = [name for name in graph.nodes if known[name].is_output]
    if only is not None:
        wanted = set(only)
        outputs = [name for name in outputs if name in wanted]
    if not outputs:
        return Verdict(
            graph=graph,
            outputs=(),
            error=_fault("prompt_no_outputs", "Prompt has no outputs", ""),
            node_errors={},
        )
    return _judged(graph, known, outputs, context)


def _judged(graph: Graph, known: Mapping[str, Node], outputs: list[str], context: Context) -> Verdict:
    needed = {output: ancestors(graph, [output]) for output in outputs}
    every = dict.fromkeys(name for names in needed.values() for name in names)
    faults: dict[str, list[Fault]] = {}
    nodes = dict(graph.nodes)
    rings = _rings(graph)
    for name in every:
        values, found = _node_faults(nodes[name], known, context)
        if name in rings:
            found.append(_ring_fault(graph, rings, name))
        if found:
            faults[name] = found
        nodes[name] = replace(nodes[name], inputs=values)
    good = tuple(output for output in outputs if not any(name in faults for name in needed[output]))
    node_errors = {
        name: {
            "errors": found,
            "dependent_outputs": [output for output in outputs if name in needed[output]],
            "class_type": nodes[name].kind,
        }
        for name, found in faults.items()
    }
    error = None
    if not good:
        lines = [
            f"{fault['message']}{_after(fault['details'])}" for found in faults.values() for fault in found
        ]
        error = _fault(
            "prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(lines)
        )
    return Verdict(graph=Graph(nodes=nodes), outputs=good, error=error, node_errors=node_errors)


def _found(registry: Registry, node: GraphNode) -> Node:
    found = registry.find(node.kind or "")
    assert found is not None  # looked up before
    return found


def _stranger(node: GraphNode) -> Fault:
    title: str | None = node.title or node.kind
    message = f"Node '{title}' not found. The custom node may not be installed."
    if node.kind is None:
        title = node.title or None
        message = (
            f"Node '{title or f'ID #{node.id}'}' has no class_type. The workflow may be corrupted or a custom node is"
            " missing."
        )
    where = {"node_id": node.id, "class_type": node.kind, "node_title": title}
    return _fault("missing_node_type", message, f"Node ID '#{node.id}'", **where)


def _node_faults(
    node: GraphNode, known: Mapping[str, Node], context: Context
) -> tuple[dict[str, Any], list[Fault]]:
    """Return a node's inputs, converted, and its faults."""
    described = known[node.id]
    values, faults = dict(node.inputs), list[Fault]()
    for given in described.inputs:
        if given.name not in values:
            if given.required:
                missing = _fault(
                    "required_input_missing", "Required input is missing", given.name, input_name=given.name
                )
                faults.append(missing)
            continue
        value = values[given.name]
        if isinstance(value, Link):
            faults += _link_faults(given, value, known, context)
        elif isinstance(value, list) or not given.is_widget:
            message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
            faults.append(_input_fault("bad_linked_input", message, given.name, given, context, value))
        else:
            values[given.name], found = _value_faults(given, value, context)
            faults += found
    if described.check is not None and not faults:
        literal = {name: value for name, value in values.items() if not isinstance(value, Link)}
        try:
            says = described.check(context, **{one.name: literal.get(one.name) for one in described.inputs})
        except Exception as error:
            says = str(error)
        if says is not None:
            name = says.partition(" - ")[0]
            where = {"input_name": name} if described.input(name) else {}
            faults.append(
                _fault("custom_validation_failed", "Custom validation failed for node", says, **where)
            )
    return values, faults


def _link_faults(given: Input, link: Link, known: Mapping[str, Node], context: Context) -> list[Fault]:
    source = known.get(link.node)
    if source is None or not 0 <= link.slot < len(source.outputs):
        message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
        value = [link.node, link.slot]
        details = f"{given.name}: there is no output {link.slot} of a node {link.node}"
        return [_input_fault("bad_linked_input", message, details, given, context, value)]
    received = source.outputs[link.slot].kind
    if "*" in (received, given.kind) or set(received.split(",")) & set(given.kind.split(",")):
        return []
    details = f"{given.name}, received_type({received}) mismatch input_type({given.kind})"
    message = "Return type mismatch between linked nodes"
    fault = _input_fault("return_type_mismatch", message, details, given, context, [link.node, link.slot])
    fault["extra_info"] |= {
        "received_type": received,
        "linked_node": fault["extra_info"].pop("received_value"),
    }
    return [fault]


def _value_faults(given: Input, value: Any, context: Context) -> tuple[Any, list[Fault]]:
    """Return a typed-in value, converted to its type, and its faults."""
    if given.kind in _CONVERT:
        try:
            value = _CONVERT[given.kind](value)
        except (TypeError, ValueError, OverflowError) as error:
            message = f"Failed to convert an input value to a {given.kind} value"
            details = f"{given.name}, {value}, {error}"
            fault = _input_fault("invalid_input_type", message, details, given, context, value)
            fault["extra_info"]["exception_message"] = str(error)
            return value, [fault]
    if given.kind in ("INT", "FLOAT"):
        if given.minimum is not None and value < given.minimum:
            message = f"Value {value} smaller than min of {given.minimum}"
            fault = _input_fault("value_smaller_than_min", message, given.name, given, context, value)
            return value, [fault]
        if given.maximum is not None and value > given.maximum:
            message = f"Value {value} bigger than max of {given.maximum}"
            return value, [_input_fault("value_bigger_than_max", message, given.name, given, context, value)]
        if value != value:  # not a number
            return value, [
                _input_fault("invalid_input_type", "Not a number", given.name, given, context, value)
            ]
    if given.kind == "COMBO" and not given.loose:
        options = given.options(context)
        if value not in options:
            long = len(options) > _LONG_LIST
            listed = f"(list of length {len(options)})" if long else str(list(options))
            details = f"{given.name}: '{value}' not in {listed}"
            fault = _input_fault("value_not_in_list", "Value not in list", details, given, context, value)
            if long:
                fault["extra_info"]["input_config"] = None
            return value, [fault]
    return value, []


def _input_fault(kind: str, message: str, details: str, given: Input, context: Context, value: Any) -> Fault:
    return _fault(
        kind,
        message,
        details,
        input_name=given.name,
        input_config=given.info(context),
        received_value=value,
    )


def _fault(kind: str, message: str, details: str, **extra: Any) -> Fault:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def _ring_fault(graph: Graph, rings: set[str], name: str) -> Fault:
    """Say on which way a node needs itself, from where the others come upon it."""
    used = {
        link.node for node in graph.nodes.values() if node.id not in rings for link in node.links.values()
    }
    way = [name]
    while way[-1] not in way[:-1]:
        way.append(next(link.node for link in graph.nodes[way[-1]].links.values() if link.node in rings))
    ring = way[way.index(way[-1]) : -1]
    first = next((index for index, each in enumerate(ring) if each in used), 0)
    ring = ring[first:] + ring[:first]
    details = " -> ".join(f"{each} ({graph.nodes[each].kind})" for each in (*ring, ring[0]))
    return _fault("dependency_cycle", "Dependency cycle detected", details, node_id=name, cycle_nodes=ring)


def _rings(graph: Graph) -> set[str]:
    """Return the ids of nodes that need themselves."""
    left = {
        name: {link.node for link in node.links.values()} & set(graph.nodes)
        for name, node in graph.nodes.items()
    }
    while True:
        free = {name for name, needs in left.items() if not needs}
        if not free:
            break
        left = {name: needs - free for name, needs in left.items() if name not in free}
    needed_by = {name: {other for other, needs in left.items() if name in needs} for name in left}
    while True:  # what only hangs on a ring is not on it
        loose = {name for name, users in needed_by.items() if not users}
        if not loose:
            return set(needed_by)
        needed_by = {name: users - loose for name, users in needed_by.items() if name not in loose}
