"""A plug-in engine that takes its time: the exemplar engine after a wait, with previews, told in words.

Tests of what happens in the middle of a job use it, so that there is a middle on any machine: it waits until the file
that PATIENT_UNTIL names is there, or it is hurried, or the seconds are over.
"""

import os
import time
from pathlib import Path

import numpy as np

from reknit.core.options import Option
from reknit.engines.base import EngineSpec
from reknit.engines.exemplar import EXEMPLAR

STEP_S = 0.1
PAINT = (150, 122, 92)
SECONDS = Option(
    name="seconds", kind="float", default=600.0, minimum=0, maximum=900, help="How long, at most."
)
PROMPT = Option(name="prompt", kind="text", default="", help="What to draw.")


class PatientSession:
    def __init__(self, session):
        self._session = session

    def run(self, crop, params, seed, report):
        steps = round(params["seconds"] / STEP_S)
        preview = crop.pixels[..., :3] // (257 if crop.pixels.dtype == np.uint16 else 1)
        preview = np.where(crop.target[..., None], PAINT, preview).astype(np.uint8)
        for step in range(steps):
            hurried = report.step("fill", 0.9 * step / steps, preview)
            if hurried or Path(os.environ["PATIENT_UNTIL"]).exists():
                break
            time.sleep(STEP_S)
        standard = {option.name: option.default for option in EXEMPLAR.spec.options}
        return self._session.run(crop, standard, seed, report)


class PatientEngine:
    spec = EngineSpec(
        name="patient",
        title="Takes its time",
        options=(SECONDS, PROMPT),
        context_min_px=96,
        seeded=True,
        hurries=True,
        native_depth=True,
    )

    def load(self, *, threads):
        return PatientSession(EXEMPLAR.load(threads=threads))


PATIENT = PatientEngine()
