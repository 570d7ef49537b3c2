"""What a node is: a function with a name, described inputs and typed outputs; and where nodes are found.

`node` makes one of a function; `Registry` holds them by ComfyUI's class names. A package adds nodes by an entry point
of the group ``reknit.nodes``: a `Node`, or a module that holds some. What a node describes is what is checked,
listed (`Node.info`) and drawn. Nothing here knows graphs or any node.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reknit.workflow.context import Context

_LOG = logging.getLogger(__name__)

GROUP = "reknit.nodes"
BUILT_IN = tuple(
    f"reknit.workflow.nodes.{name}"
    for name in (
        *("pictures", "masks", "outpaint", "latents", "crop_and_stitch", "inpaint_pack", "ours"),
        *("models", "conditioning", "diffusion", "sampling"),
    )
)
WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
"""Types whose values are typed in; all others come over a link."""

MAX_SIDE = 16384
"""ComfyUI's greatest width or height."""

MAX_SEED = 2**64 - 1

Choices = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An input of a node.

    Attributes
    ----------
    name : str
    kind : str
        A type's name, such as ``IMAGE``; `WIDGETS` are typed in unless they are linked.
    default : Any
        None if there is none.
    minimum, maximum, step : float or None
    choices : tuple of str, or callable of a Context
        Of a ``COMBO``; a callable where they depend on what files there are.
    required : bool
    multiline : bool
    loose : bool
        A value outside ``choices`` may do; the node's own ``check`` says.
    upload : bool
        Pages offer to upload a picture.
    """

    name: str
    kind: str
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    choices: Choices | Callable[[Context], Choices] = ()
    required: bool = True
    multiline: bool = False
    loose: bool = False
    upload: bool = False

    @property
    def is_widget(self) -> bool:
        """Whether values are typed in."""
        return self.kind in WIDGETS

    def options(self, context: Context) -> Choices:
        """Return what a ``COMBO`` offers."""
        return self.choices(context) if callable(self.choices) else self.choices

    def info(self, context: Context) -> list[Any]:
        """Return the input in the form of ComfyUI's ``/object_info``."""
        facts: dict[str, Any] = {
            "default": self.default,
            "min": self.minimum,
            "max": self.maximum,
            "step": self.step,
            "multiline": self.multiline or None,
            "image_upload": self.upload or None,
        }
        facts = {name: value for name, value in facts.items() if value is not None}
        kind: Any = list(self.options(context)) if self.kind == "COMBO" else self.kind
        return [kind, facts] if facts else [kind]


def link(name: str, kind: str, *, required: bool = True) -> Input:
    """Return an input that comes from another node."""
    return Input(name=name, kind=kind, required=required)


def integer(
    name: str, default: int, minimum: int, maximum: int = MAX_SIDE, *, step: int = 1, required: bool = True
) -> Input:
    """Return an input for a whole number."""
    return Input(
        name=name, kind="INT", default=default, minimum=minimum, maximum=maximum, step=step, required=required
    )


def number(
    name: str, default: float, minimum: float, maximum: float, *, step: float = 0.01, required: bool = True
) -> Input:
    """Return an input for a number."""
    return Input(
        name=name,
        kind="FLOAT",
        default=default,
        minimum=minimum,
        maximum=maximum,
        step=step,
        required=required,
    )


def switch(name: str, default: bool, *, required: bool = True) -> Input:
    """Return an input that is on or off."""
    return Input(name=name, kind="BOOLEAN", default=default, required=required)


def text(name: str, default: str = "", *, multiline: bool = False, required: bool = True) -> Input:
    """Return an input for text."""
    return Input(name=name, kind="STRING", default=default, multiline=multiline, required=required)


def choice(
    name: str,
    choices: Choices | Callable[[Context], Choices],
    default: str | None = None,
    *,
    loose: bool = False,
    upload: bool = False,
    required: bool = True,
) -> Input:
    """Return an input for one of several words."""
    return Input(
        name=name,
        kind="COMBO",
        default=default,
        choices=choices,
        loose=loose,
        upload=upload,
        required=required,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """An output of a node: its type, and its name."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What an output node gives besides its outputs: what a page shows of it, such as the files it wrote.

    Attributes
    ----------
    outputs : tuple
    ui : mapping
    """

    ui: Mapping[str, Any]
    outputs: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A picture for whoever asked for the run, in place of a preview: a PNG file, to be handed on as it is."""

    png: bytes


Run = Callable[..., Any]
Check = Callable[..., "str | None"]
Token = Callable[..., str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A kind of node.

    Attributes
    ----------
    name : str
        ComfyUI's class name.
    title : str
        What people read.
    category : str
    inputs : tuple of Input
    outputs : tuple of Output
    run : callable
        Gets the inputs by name, and first the `Context` if ``wants_context``; returns the only output, a tuple of
        all, or a `Shown`.
    is_output : bool
        Graphs are run for these.
    wants_context : bool
    check : callable or None
        Gets a context and the literal inputs, before anything runs; returns what is wrong, or None.
    token : callable or None
        Gets a context and the literal inputs; the node runs again when what it returns changes.
    note : str
        One sentence for people.
    """

    name: str
    title: str
    category: str
    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    run: Run
    is_output: bool = False
    wants_context: bool = False
    check: Check | None = None
    token: Token | None = None
    note: str = ""

    def input(self, name: str) -> Input | None:
        """Return an input by name, or None."""
        return next((one for one in self.inputs if one.name == name), None)

    def info(self, context: Context) -> dict[str, Any]:
        """Return the node in the form of ComfyUI's ``/object_info``."""
        groups: dict[str, dict[str, Any]] = {"required": {}}
        for one in self.inputs:
            groups.setdefault("required" if one.required else "optional", {})[one.name] = one.info(context)
        return {
            "input": groups,
            "input_order": {group: list(names) for group, names in groups.items()},
            "output": [one.kind for one in self.outputs],
            "output_is_list": [False] * len(self.outputs),
            "output_name": [one.name for one in self.outputs],
            "name": self.name,
            "display_name": self.title,
            "description": self.note,
            "python_module": "nodes",
            "category": self.category,
            "output_node": self.is_output,
        }


def node(
    name: str,
    *inputs: Input,
    outputs: str = "",
    title: str = "",
    category: str = "",
    is_output: bool = False,
    wants_context: bool = False,
    check: Check | None = None,
    token: Token | None = None,
) -> Callable[[Run], Node]:
    """Return a decorator that makes a `Node` of a function.

    Parameters
    ----------
    name : str
        ComfyUI's class name.
    *inputs : Input
    outputs : str
        Types in order, each with a name after a colon where it is not the type's: ``"IMAGE MASK:hole"``.
    title, category, is_output, wants_context, check, token
        As in `Node`.

    Examples
    --------
    >>> @node("InvertMask", link("mask", "MASK"), outputs="MASK")
    ... def invert_mask(mask):
    ...     return 1.0 - mask
    >>> invert_mask.name
    'InvertMask'
    """
    made = tuple(
        Output(kind=kind, name=given or kind)
        for kind, _, given in (part.partition(":") for part in outputs.split())
    )

    def decorate(function: Run) -> Node:
        return Node(
            name=name,
            title=title or name,
            category=category,
            inputs=inputs,
            outputs=made,
            run=function,
            is_output=is_output,
            wants_context=wants_context,
            check=check,
            token=token,
            note=(function.__doc__ or "").strip().split("\n\n")[0].replace("\n    ", " "),
        )

    return decorate


@dataclass(slots=True)
class Registry:
    """Nodes by class name; the built-in ones and those of plug-ins, unless others are given."""

    nodes: Mapping[str, Node] = field(default_factory=lambda: {one.name: one for one in _every()})

    def find(self, name: str) -> Node | None:
        """Return the node of a class, or None."""
        return self.nodes.get(name)

    def info(self, context: Context) -> dict[str, Any]:
        """Return all nodes in the form of ComfyUI's ``/object_info``."""
        return {name: one.info(context) for name, one in self.nodes.items()}


def _every() -> Iterator[Node]:
    """Yield plug-ins' nodes, then the built-in ones, which they cannot replace."""
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP):
        try:
            found = point.load()
        except Exception as error:
            _LOG.warning("the nodes of %s cannot be loaded: %s", point.value, error)
            continue
        yield from [found] if isinstance(found, Node) else _of(found)
    for name in BUILT_IN:
        yield from _of(import_module(name))


def _of(module: Any) -> list[Node]:
    held: list[Any] = [getattr(module, name) for name in dir(module)]
    return [one for one in held if isinstance(one, Node)]
