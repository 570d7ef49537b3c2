"""What ComfyUI's replies and messages hold, stated apart from this server, field by field.

The facts are ComfyUI's own: what its frontend accepts (zod schemas in ``src/schemas/apiSchema.ts`` and
``nodeDefSchema.ts`` of Comfy-Org/ComfyUI_frontend) and what its server sends (``add_message``, ``validate_prompt``,
``handle_execution_error`` and ``task_done`` in ``execution.py``, ``node_info`` and ``system_stats`` in ``server.py``,
``comfy_execution/progress.py``, of Comfy-Org/ComfyUI). Names, types and which may be absent; no code. Every message and
reply that `tests.server.comfy.Script` sees goes through `message` or `reply`, and a field that the original does not
have is a fault too.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

Whole = Annotated[int, Field(strict=True)]
Number = Whole | Annotated[float, Field(strict=True)]
Text = Annotated[str, Field(strict=True)]
Yes = Annotated[bool, Field(strict=True)]


class Shape(BaseModel):
    """Has these fields and no others."""

    model_config = ConfigDict(extra="forbid")


class File(Shape):
    filename: Text
    subfolder: Text
    type: Literal["input", "output", "temp"]


class Output(Shape):
    images: list[File]


class ExecInfo(Shape):
    queue_remaining: Whole


class QueueInfo(Shape):
    exec_info: ExecInfo


# ---- messages of the socket


class Status(Shape):
    status: QueueInfo
    sid: Text = ""


class Base(Shape):
    prompt_id: Text


class Timed(Base):
    timestamp: Annotated[int, Field(strict=True, gt=1_600_000_000_000)]
    """Milliseconds."""


class Cached(Timed):
    nodes: list[Text]


class Executing(Shape):
    """A node begins: all three. Nothing works any more: ``node`` is null. To one that comes back: ``node`` alone."""

    node: Text | None
    display_node: Text = ""
    prompt_id: Text = ""


class Progress(Base):
    value: Whole
    max: Whole
    node: Text


class NodeState(Base):
    value: Number
    max: Number
    state: Literal["pending", "running", "finished", "error"]
    node_id: Text
    display_node_id: Text
    parent_node_id: Text | None
    real_node_id: Text


class ProgressState(Base):
    nodes: dict[str, NodeState]


class Executed(Base):
    node: Text
    display_node: Text
    output: Output


class Interrupted(Timed):
    node_id: Text
    node_type: Text
    executed: list[Text]


class Failed(Interrupted):
    exception_message: Text
    exception_type: Text
    traceback: list[Text]
    current_inputs: dict[str, Any]
    current_outputs: list[Text]


MESSAGES: dict[str, type[Shape]] = {
    "status": Status, "execution_start": Timed, "execution_cached": Cached, "executing": Executing,
    "progress": Progress, "progress_state": ProgressState, "executed": Executed, "execution_success": Timed,
    "execution_interrupted": Interrupted, "execution_error": Failed,
}  # fmt: skip
ENDS = ("execution_success", "execution_interrupted", "execution_error")


class Features(Shape):
    supports_preview_metadata: Yes
    max_upload_size: Whole


def message(told: dict[str, Any]) -> None:
    """Check a text message of the socket."""
    assert set(told) == {"type", "data"}, told
    shape = Features if told["type"] == "feature_flags" else MESSAGES[told["type"]]
    shape.model_validate(told["data"])


# ---- replies


class Error(Shape):
    type: Text
    message: Text
    details: Text
    extra_info: dict[str, Any]


class NodeError(Shape):
    errors: Annotated[list[Error], Field(min_length=1)]
    dependent_outputs: list[Text]
    class_type: Text | None


class Queued(Shape):
    prompt_id: Text
    number: Number
    node_errors: dict[str, NodeError]


class Refused(Shape):
    error: Error
    node_errors: dict[str, NodeError]


class PromptNode(BaseModel):
    inputs: dict[str, Any]
    class_type: Text


Item = tuple[Number, Text, dict[str, PromptNode], dict[str, Any], list[Text]]
"""number, prompt_id, prompt, extra_data, outputs"""


class Queue(Shape):
    queue_running: list[Item]
    queue_pending: list[Item]


def _event(told: Any) -> Any:
    name, data = told
    assert name in ("execution_start", "execution_cached", *ENDS), name
    MESSAGES[name].model_validate(data)
    return told


class PromptStatus(Shape):
    status_str: Literal["success", "error"]
    completed: Yes
    messages: list[Annotated[tuple[Text, dict[str, Any]], BeforeValidator(_event)]]


class NodeMeta(Shape):
    node_id: Text
    display_node: Text
    parent_node: Text | None
    real_node_id: Text


class History(Shape):
    prompt: Item
    outputs: dict[str, Output]
    status: PromptStatus
    meta: dict[str, NodeMeta]


class Options(BaseModel):
    """Of an input; ``min``, ``max`` and ``step`` are numbers where they are there."""

    model_config = ConfigDict(extra="allow")

    min: Number = 0
    max: Number = 0
    step: Number = 1
    multiline: Yes = False
    tooltip: Text = ""
    image_upload: Yes = False


InputSpec = tuple[Text | list[Any]] | tuple[Text | list[Any], Options]


class Inputs(Shape):
    required: dict[str, InputSpec] = {}
    optional: dict[str, InputSpec] = {}
    hidden: dict[str, Any] = {}


class NodeInfo(Shape):
    input: Inputs
    input_order: dict[str, list[Text]]
    is_input_list: Yes = False
    output: list[Text | list[Any]]
    output_is_list: list[Yes]
    output_name: list[Text]
    output_tooltips: list[Text] = []
    name: Text
    display_name: Text
    description: Text
    python_module: Text
    category: Text
    output_node: Yes
    deprecated: Yes = False
    experimental: Yes = False


class System(BaseModel):
    os: Text
    ram_total: Whole
    ram_free: Whole
    comfyui_version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    python_version: Text
    pytorch_version: Text
    embedded_python: Yes
    argv: list[Text]


class Device(Shape):
    name: Text
    type: Text
    index: Whole | None
    """None for a CPU, as torch says it."""
    vram_total: Whole
    vram_free: Whole
    torch_vram_total: Whole
    torch_vram_free: Whole


class Stats(Shape):
    system: System
    devices: Annotated[list[Device], Field(min_length=1)]


class Upload(Shape):
    name: Text
    subfolder: Text
    type: Literal["input", "output", "temp"]


REPLIES: tuple[tuple[str, Any], ...] = (
    ("GET /prompt", QueueInfo), ("POST /prompt", Queued), ("GET /queue", Queue),
    (r"GET /history(/[^/]*)?", dict[str, History]), (r"GET /object_info(/\w+)?", dict[str, NodeInfo]),
    ("GET /system_stats", Stats), ("GET /features", Features), (r"POST /upload/(image|mask)", Upload),
    (r"GET /(embeddings|extensions|models(/\w+)?)", list[Text]),
)  # fmt: skip


def reply(method: str, path: str, told: Any, status: int = 200) -> None:
    """Check a JSON reply; ``path`` may have a query, and ``/api`` before it."""
    asked = f"{method} /{path.partition('?')[0].lstrip('/').removeprefix('api/')}"
    [shape] = [shape for pattern, shape in REPLIES if re.fullmatch(pattern, asked)]
    TypeAdapter(Refused if status == 400 else shape).validate_python(told)
    if shape == dict[str, NodeInfo]:
        for info in told.values():
            for kind, names in info["input_order"].items():
                assert names == list(info["input"][kind]), "in the order of the inputs"
            assert len(info["output"]) == len(info["output_name"]) == len(info["output_is_list"])
