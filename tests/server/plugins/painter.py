"""A plug-in engine that stands in for one told in words: it paints a colour that its seed decides, with previews.
Hurried, it gives what it has: so much less of the colour.

The red channel of what it paints says how wide the crop was that it got, so that tests see what it worked at.
Told to "hold 7", it stays in the middle of the picture whose seed is 7 until it is stopped, so that there is a middle
on any machine.
"""

import re
import time

import numpy as np

from reknit.core.fit import SizeRule
from reknit.core.options import Option
from reknit.engines.base import EngineSpec


def _option(name, kind, default):
    return Option(name=name, kind=kind, default=default, help="As the engine diffusion has it.")


OPTIONS = (
    *(_option(name, "text", "") for name in ("prompt", "negative_prompt")),
    *(_option(name, "text", None) for name in ("sampler", "scheduler", "content")),
    *(_option(name, "int", None) for name in ("steps", "side")),
    *(_option(name, "float", None) for name in ("guidance", "eta", "softness")),
    _option("strength", "float", 1.0),
    _option("clip_skip", "int", 0),
    _option("strength_rule", "text", "diffusers"),
    *(_option(name, "text", None) for name in ("control", "control_image")),
    *(_option(f"control_{name}", "float", None) for name in ("strength", "start", "end")),
)


class PainterSession:
    def run(self, crop, params, seed, report):
        width = crop.pixels.shape[1]
        colour = np.array((width // 8 % 256, seed % 256, 77), np.float32)
        steps = params["steps"] or 8
        if params["prompt"] == "crash":
            raise RuntimeError("out of paint")
        out = crop.pixels.astype(np.float32)
        strength, step = params["strength"], 0
        held = re.fullmatch(r"hold (\d+)", params["prompt"])
        while step < steps:
            if report.step("denoise", step / steps, np.broadcast_to(colour / 255, (8, 8, 3))):
                strength *= (step + 1) / (steps + 1)  # it was asked to end early
                break
            time.sleep(0.01)
            if not (held and int(held[1]) == seed and step == steps // 2):
                step += 1
        mixed = out * (1 - strength) + colour * strength
        return np.where(crop.hole[..., None], mixed, out).round().astype(np.uint8)


class PainterEngine:
    spec = EngineSpec(
        name="painter",
        title="Paints a colour",
        options=OPTIONS,
        size_rule=SizeRule(multiple=8),
        seeded=True,
    )

    def load(self, *, threads):
        return PainterSession()


PAINTER = PainterEngine()
