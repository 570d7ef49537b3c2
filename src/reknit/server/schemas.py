"""What the API's JSON looks like: strict bodies and queries in, documented objects out.

Every knob is taken from the `Option` that the command line uses, with its default, range, unit and help, so
there is one description of it. Unknown names are refused with the nearest one; nothing is converted. These
models know no store and no picture.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from reknit.batch.folder import OPTIONS as BATCH_OPTIONS
from reknit.core.errors import nearest_name
from reknit.core.options import Option
from reknit.core.request import FILL_OPTIONS
from reknit.engines.base import EngineSpec
from reknit.pipeline import canvas, defects

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""The id of a picture: lower-case SHA-256."""
Place = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
ShortText = Annotated[str, StringConstraints(max_length=200)]
Value = bool | int | float | Annotated[str, StringConstraints(max_length=20_000)] | None
Params = Annotated[dict[ShortText, Value], Field(max_length=100, description="The engine's own options.")]
Globs = Annotated[list[ShortText], Field(max_length=100)]
Amount = int | ShortText
State = Literal["queued", "running", "done", "failed", "cancelled"]
Kind = Literal["fill", "extend", "repair", "paint", "batch", "workflow"]

EXAMPLE_ID = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
EXAMPLE_JOB = "0660d39dfd09173ac5fcc6"
EXAMPLE_MASK = "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"


class Strict(BaseModel):
    """A body or query that takes exactly its fields, each in its own type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown(cls, given: Any) -> Any:
        if isinstance(given, dict):
            for name in map(str, cast("dict[object, object]", given)):
                if name not in cls.model_fields:
                    hint = nearest_name(name[:200], cls.model_fields)
                    told = {"name": name[:200], "hint": hint}
                    raise PydanticCustomError("unknown_field", "there is no field {name}", told)
        return cast("object", given)


def knob(options: Iterable[Option], name: str) -> Any:
    """Return the field that takes the option called ``name``: its default, range, unit and help."""
    option = next(option for option in options if option.name == name)
    extra: dict[str, Any] = {"x-unit": option.unit} if option.unit else {}
    if option.choices:
        extra["enum"] = list(option.choices)
    return Field(
        default=option.default,
        ge=option.minimum,
        le=option.maximum,
        description=option.help,
        json_schema_extra=extra or None,
    )


class Work(Strict):
    """What every job takes."""

    image: Digest = Field(description="Id of the uploaded picture.")
    engine: ShortText = knob(FILL_OPTIONS, "engine")
    params: Params = {}
    seed: int = knob(FILL_OPTIONS, "seed")
    priority: int = Field(default=0, ge=-100, le=100, description="Higher ones run first.")


class FillBody(Work):
    """Fill the masked part of a picture."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"image": EXAMPLE_ID, "mask": EXAMPLE_MASK, "engine": "auto", "seed": 7}
        }
    )

    mask: Digest = Field(description="Id of the mask, a picture of the same size uploaded the same way.")
    source: Digest | None = Field(
        default=None, description="Id of a mask: white = the fill may copy from there."
    )
    count: int = knob(FILL_OPTIONS, "count")
    grow: float = knob(FILL_OPTIONS, "grow")
    feather: float | None = knob(FILL_OPTIONS, "feather")
    context: int | None = knob(FILL_OPTIONS, "context")
    mask_from: Literal["luma", "alpha"] = Field(default="luma", description="White, or transparent, = fill.")
    invert: bool = Field(default=False, description="Swap fill and keep.")


class ExtendBody(Work):
    """Extend a picture beyond its borders."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"image": EXAMPLE_ID, "right": "25%", "engine": "exemplar"}}
    )

    engine: ShortText = Field(default="exemplar", description="Which engine fills the new area.")
    left: Amount = knob(canvas.OPTIONS, "left")
    right: Amount = knob(canvas.OPTIONS, "right")
    top: Amount = knob(canvas.OPTIONS, "top")
    bottom: Amount = knob(canvas.OPTIONS, "bottom")
    aspect: ShortText | None = knob(canvas.OPTIONS, "aspect")
    anchor: ShortText = knob(canvas.OPTIONS, "anchor")
    count: int = knob(FILL_OPTIONS, "count")


class RepairBody(Work):
    """Find damage and fill it."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"image": EXAMPLE_ID, "kinds": ["dust", "scratch"]}}
    )

    kinds: list[Literal["dust", "scratch", "fold", "tear"]] = Field(
        default=list(defects.KINDS),
        min_length=1,
        max_length=len(defects.KINDS),
        description="What to look for.",
    )
    sensitivity: float = knob(defects.OPTIONS, "sensitivity")
    detect_only: bool = Field(default=False, description="Give the mask of what was found, and fill nothing.")


class BatchBody(Strict):
    """Fill every picture in a folder of the server that its operator allowed."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "folder": "photos/2019",
                "out": "photos/clean",
                "mask": "photos/masks",
                "engine": "auto",
            }
        }
    )

    folder: Place = Field(description="Where the pictures are: NAME/FOLDER, as GET /api/v1/batch lists them.")
    out: Place = Field(description="Where results go, under the pictures' own names; it need not exist.")
    manifest: Place | None = Field(
        default=None,
        examples=["photos/jobs.csv"],
        description="A file with one row a picture, instead of all in the folder: NAME/FILE.csv, .jsonl or .parquet.",
    )
    mask: Place | None = Field(default=None, description="One mask for all, or a folder with one for each.")
    mask_suffix: ShortText | None = Field(default=None, description="Masks lie beside the pictures: _mask.")
    include: Globs = Field(default=[], description="Only these names, or paths below the folder.")
    exclude: Globs = Field(default=[], description="Not these.")
    name: ShortText = Field(default="{stem}{suffix}", description="Names of outputs.")
    boxes: list[ShortText] = Field(
        default=[], max_length=100, description="X,Y,W,H to fill in all, in pixels."
    )
    find: Literal["damage", "timestamp"] | None = Field(
        default=None, description="Look for the mask in each picture."
    )
    corner: Literal["bottom-right", "bottom-left", "top-right", "top-left"] = Field(
        default="bottom-right", description="Where a time stamp is."
    )
    kinds: list[Literal["dust", "scratch", "fold", "tear"]] = Field(
        default=list(defects.KINDS),
        min_length=1,
        max_length=len(defects.KINDS),
        description="What damage to find.",
    )
    sensitivity: float = knob(defects.OPTIONS, "sensitivity")
    mask_from: Literal["luma", "alpha"] = Field(default="luma", description="White, or transparent, = fill.")
    invert: bool = Field(default=False, description="Black = fill.")
    resize_mask: bool = Field(default=False, description="Scale masks of another size to the picture's.")
    engine: ShortText = knob(FILL_OPTIONS, "engine")
    params: Params = {}
    seed: int = knob(FILL_OPTIONS, "seed")
    count: int = knob(FILL_OPTIONS, "count")
    grow: float | None = Field(default=None, ge=0, le=512, description="As of a fill.")
    feather: float | None = knob(FILL_OPTIONS, "feather")
    context: int | None = knob(FILL_OPTIONS, "context")
    overwrite: bool = Field(
        default=False, description="Replace files that are in OUT already; sources never."
    )
    retry_failed: bool = Field(default=False, description="Try again what failed before.")
    workers: int | None = knob(BATCH_OPTIONS, "workers")
    retries: int = knob(BATCH_OPTIONS, "retries")
    priority: int = Field(default=0, ge=-100, le=100, description="Higher ones run first.")


class JobsQuery(BaseModel):
    """Which jobs to list, newest first."""

    model_config = ConfigDict(extra="forbid")

    state: State | None = None
    kind: Kind | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    before: ShortText | None = Field(default=None, description="Only jobs older than the one with this id.")


class ProblemOut(BaseModel):
    """A failure."""

    status: int
    code: str = Field(description="Stable, dotted; docs/errors.md lists them.")
    message: str
    hint: str
    facts: dict[str, Any]


class ErrorOut(BaseModel):
    """Why a job failed."""

    code: str
    message: str
    hint: str
    facts: dict[str, Any]


class JobOut(BaseModel):
    """A job."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": EXAMPLE_JOB, "kind": "fill", "state": "running", "priority": 0, "position": None,
                "created": 1795311865.2, "started": 1795311865.3, "finished": None, "attempts": 1,
                "stage": "fill", "fraction": 0.4, "worker": "cpu", "cancel_requested": False,
                "payload": {"image": EXAMPLE_ID, "mask": EXAMPLE_MASK, "engine": "auto", "seed": 7},
                "result": None, "error": None,
            }
        }
    )  # fmt: skip

    id: str
    kind: str
    state: State
    priority: int
    position: int | None = Field(description="How many jobs will run before it; null unless queued.")
    created: float = Field(description="Unix time in seconds.")
    started: float | None
    finished: float | None
    attempts: int
    stage: str
    fraction: float = Field(description="How much is done, 0 to 1.")
    worker: str = Field(description="The device that runs it, or ran it last.")
    cancel_requested: bool
    payload: dict[str, Any]
    result: dict[str, Any] | None
    error: ErrorOut | None


class JobsOut(BaseModel):
    """A page of jobs."""

    jobs: list[JobOut]
    counts: dict[State, int]


class FolderOut(BaseModel):
    """A folder that may be named in a batch."""

    name: str
    pictures: int = Field(description="How many lie in it, not counting those of the folders in it.")


class FoldersOut(BaseModel):
    """The folders that the operator allowed; none if there are none."""

    folders: list[FolderOut]


class RegionOut(BaseModel):
    """A separate piece of work; boxes are x0, y0, x1, y1 in the picture."""

    hole: list[int]
    context: list[int] = Field(description="What the engine sees.")


class PlanOut(BaseModel):
    """How a fill would be carried out."""

    model_config = ConfigDict(extra="allow")

    engine: str
    reasons: list[str] = Field(description="Why this engine and these regions.")
    params: dict[str, Any]
    width: int
    height: int
    hole_px: int = Field(description="Pixels that would be filled: the mask, grown.")
    grow_px: float
    feather_px: float
    regions: list[RegionOut]
    threads: int
    seconds: float = Field(description="Predicted.")
    peak_bytes: int = Field(description="Predicted.")


class OptionOut(BaseModel):
    """A knob, as a JSON-schema property with its name."""

    model_config = ConfigDict(extra="allow")

    name: str
    type: str
    description: str
    important: bool


class EngineOut(BaseModel):
    """An engine and its own options."""

    name: str
    title: str
    seeded: bool
    needs_model: bool = Field(description="Whether it runs a model, named by its option `model`.")
    hurries: bool = Field(
        description="Whether `POST jobs/{id}/hurry` ends its work early; it does from the first preview on."
    )
    options: list[OptionOut]


class EnginesOut(BaseModel):
    """Every engine that can run here, and the knobs of a fill."""

    engines: list[EngineOut]
    request: list[OptionOut]


class VerdictOut(BaseModel):
    """Whether a model fits this machine."""

    level: Literal["fits", "offload", "wont-fit", "unknown"]
    reason: str


class ModelOut(BaseModel):
    """A model."""

    name: str
    engine: str = Field(description="What uses it: an engine's name, or `select`.")
    title: str
    installed: bool
    verdict: VerdictOut


class ModelsOut(BaseModel):
    """The models known here."""

    models: list[ModelOut]


class CheckQuery(BaseModel):
    """A question to the planner."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(
        default=None, max_length=200, description="Id of a model; every one if it is left out."
    )
    gpu: str | None = Field(
        default=None,
        max_length=200,
        description="A card, such as `RTX 3060 12GB` or `M2 Pro`, or `cpu`; the server's machine if it is left out.",
    )
    vram: float | None = Field(default=None, ge=0.5, le=4096, description="GiB of the card.")
    ram: float | None = Field(default=None, ge=0.5, le=65536, description="GiB of main memory.")
    size: str | None = Field(
        default=None, max_length=20, description="`1024` or `1280x832`; by default what it was trained for."
    )
    steps: int | None = Field(default=None, ge=1, le=1000)
    count: int = Field(default=1, ge=1, le=64, description="Variations.")


class CheckOut(BaseModel):
    """Whether and how a model runs: what `reknit check --json` prints. GiB and seconds."""

    model_config = ConfigDict(extra="allow")

    model: str
    title: str
    device: str
    size: list[int]
    answer: Literal["yes", "yes-with", "no"]
    says: str
    sure: Literal["sure", "likely", "close"]
    peak_vram_gib: float
    ram_gib: float
    download_gb: float
    seconds_image: float
    plan: dict[str, Any]
    changes: list[str] = Field(
        description="If the answer is no: the cheapest changes that would make it fit."
    )
    notes: list[str]


class ChecksOut(BaseModel):
    """Verdicts; one if a model was named."""

    verdicts: list[CheckOut]


class WorkerOut(BaseModel):
    """A process that does the work."""

    device: str
    pid: int | None
    state: str
    restarts: int


class HealthOut(BaseModel):
    """How the server is."""

    status: Literal["ok", "starting", "degraded"]
    version: str
    uptime_s: float
    workers: list[WorkerOut]
    queue: dict[str, int]
    token_required: bool


def option_out(option: Option, *, important: bool = False) -> dict[str, Any]:
    """Return an option as a named JSON-schema property."""
    return {"name": option.name, **option.schema(), "important": important}


def engine_out(spec: EngineSpec) -> dict[str, Any]:
    """Return an engine and its options; the first two of them matter most."""
    return {
        "name": spec.name,
        "title": spec.title,
        "seeded": spec.seeded,
        "needs_model": spec.needs_model,
        "hurries": spec.hurries,
        "options": [option_out(option, important=i < 2) for i, option in enumerate(spec.options)],
    }
