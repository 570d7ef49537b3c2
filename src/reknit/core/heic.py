"""Pixels of HEIC files where libvips was built without an HEVC decoder, as its wheels are.

Needs the optional package pi-heif (libheif with libde265). It knows one function and no metadata: libvips has
read the header and the limits were checked.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from reknit.core.errors import Unavailable


def pixels(data: bytes) -> Any:
    """Return an upright (H, W, C) array, uint8, or uint16 with 10- and 12-bit samples in the high bits.

    Raises
    ------
    Unavailable
        ``codec.heic``: pi-heif is not installed.
    ValueError, EOFError, RuntimeError, SyntaxError
        The file is damaged.
    """
    try:
        import pi_heif  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise Unavailable(
            "HEIC needs an HEVC decoder, which this libvips does not have",
            code="codec.heic",
            hint="pip install 'reknit[heic]'",
        ) from None
    module: Any = pi_heif
    return np.array(module.open_heif(data, convert_hdr_to_8bit=False))
