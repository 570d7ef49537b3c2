"""The law of time: seconds of one call of the denoiser, of one picture, and of the first one.

A call takes the longest of what the processor needs to dispatch it, what the device needs to compute it (operations
over its dense rate × the efficiency of its group, plus unpacking quantised weights at memory speed), and what the link
needs to bring streamed weights. A pure function; constants are in ``laws.toml``.
"""

from __future__ import annotations

from dataclasses import dataclass

from reknit.planner.facts import AREA, Component
from reknit.planner.hardware import Device
from reknit.planner.laws import Laws
from reknit.planner.memory import TILE_PX, Setup

_LINK = 24.0  # GB/s of the link that streaming was measured over
_MEMORY_SHARE = 0.8  # of the memory's bandwidth that copying reaches


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Seconds.

    Attributes
    ----------
    step : float
        One step of denoising.
    image : float
        One picture (or batch), the model being loaded.
    load : float
        What the first picture takes longer, for reading the weights.
    bound : {'dispatch', 'compute', 'link'}
        What a step waits for.
    """

    step: float
    image: float
    load: float
    bound: str


def predict(setup: Setup, device: Device, laws: Laws, *, steps: int | None = None) -> Times:
    """Return how long ``setup`` takes on ``device``; ``steps`` by default what people use."""
    family = setup.family
    call, bound = calling(setup, device, laws)
    share = laws.of(family.name).time
    step = share * call * (2 if family.guided == "twice" else 1)
    weights = sum(setup.weight_bytes().values())
    rest = 0.0
    if family.vae is not None:
        texts = sum(part.tflop(0.0) for part in family.text) * (1 if family.guided == "no" else 2)
        rest = texts / _rate(family.denoiser, setup, device, laws) + _coding(setup, device, laws)
        if setup.offload == "model" and not device.shared:
            rest += 2 * weights / (laws["link.pageable"] * 1e9)
        rest *= share
    return Times(
        step=step,
        image=step * (steps or family.steps) + rest,
        load=weights / (laws["disk"] * 1e9),
        bound=bound,
    )


def calling(setup: Setup, device: Device, laws: Laws) -> tuple[float, str]:
    """Return the seconds of one call of the denoiser, and what it waits for."""
    part = setup.family.denoiser
    ops, moved = laws.unpack.get(setup.weights or "", (0.0, 0.0))
    dispatch = (part.calls + part.linears * ops) * _tau(device, laws) * 1e-6
    compute = part.tflop(setup.area) * setup.pictures / _rate(part, setup, device, laws)
    compute += part.params * moved / (_MEMORY_SHARE * device.bandwidth * 1e9)
    link = 0.0
    if setup.offload in ("group", "denoiser", "sequential") and not device.shared:
        rate = laws["link.sequential" if setup.offload == "sequential" else "link.streamed"]
        rate *= min(1.0, device.link / _LINK)
        link = setup.weight_bytes()[part.name] / (rate * 1e9)
    times = {"dispatch": dispatch, "compute": compute, "link": link}
    bound = max(times, key=lambda name: times[name])
    return times[bound], bound


def needs_fp32(setup_dtype_of: Component, device: Device) -> bool:
    """Return whether this network has to run in fp32 there.

    fp16 gives black pictures on cards without its full rate, and overflows in transformers on cards without bf16;
    processors that do not multiply bfloat16 are slower in 16 bits.
    """
    if device.kind == "cpu":
        return not device.bf16
    if device.group in ("pascal", "turing-gtx"):
        return True
    return setup_dtype_of.kind == "dit" and device.vendor == "NVIDIA" and not device.bf16


def _rate(part: Component, setup: Setup, device: Device, laws: Laws) -> float:
    """Return the TFLOPS that ``part`` reaches."""
    peak = device.fp32 if setup.dtype == "fp32" or part.kind == "eraser" else device.half
    narrow = laws["small-channels"] if part.small_channels and device.kind != "cpu" else 1.0
    return peak * laws[f"efficiency.{device.group}"] * narrow


def _coding(setup: Setup, device: Device, laws: Laws) -> float:
    """Return the seconds of encoding the picture and the masked picture, and of decoding the result."""
    part = setup.family.vae
    if part is None:
        return 0.0
    tflop = (2 * part.encode_tflop(setup.area) + part.tflop(setup.area)) * setup.images
    if setup.tiled and setup.area > TILE_PX**2 / AREA:
        tflop *= laws["tiling"]
    peak = device.fp32 if setup.vae_dtype == "fp32" else device.half
    narrow = laws["small-channels"] if part.small_channels and device.kind != "cpu" else 1.0
    return tflop / (peak * laws[f"efficiency.{device.group}"] * narrow)


def _tau(device: Device, laws: Laws) -> float:
    if device.kind != "datacenter":
        return laws["tau.desktop"]
    return laws["tau.new-server" if device.group in ("hopper", "ada-pro") else "tau.server"]
