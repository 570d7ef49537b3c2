"""Draw the README's picture, before-after.jpg: a generated scene with an object, and the same scene filled.

Run ``python docs/images/make_before_after.py``. Nothing in it comes from a photo.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from reknit.examples import scenes

import reknit
from reknit.core import codec
from reknit.core.image import Photo

SCENE, KIND, SEED, SIZE = "mountains", "person", 11, (560, 420)
GAP_PX = 8


def main() -> None:
    """Write the picture beside this file."""
    photo, mask, _ = scenes.with_object(SCENE, *SIZE, SEED, kind=KIND, area=0.06)
    after = reknit.fill(photo, mask, params={"quality": "best"}).to_numpy()
    gap = np.full((SIZE[1], GAP_PX, 3), 255, np.uint8)
    both = Photo.from_array(np.hstack((photo, gap, after)))
    codec.write(both, Path(__file__).with_name("before-after.jpg"), quality=85)


if __name__ == "__main__":
    main()
