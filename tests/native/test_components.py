import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from reknit import _native

masks = arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(masks)
def test_components_are_those_of_scipy_in_raster_order(mask):
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    expected = [
        [columns.start, rows.start, columns.stop, rows.stop, int((labels == i).sum())]
        for i, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1)
    ]
    assert _native.components(mask).tolist() == expected


@given(masks, st.integers(1, 50))
def test_cells_cover_each_set_pixel_once_and_are_tight(mask, cell_px):
    seen = np.zeros_like(mask)
    for x0, y0, x1, y1, area in _native.occupied_cells(mask, cell_px).tolist():
        part = mask[y0:y1, x0:x1]
        assert part.sum() == area > 0
        assert x0 // cell_px == (x1 - 1) // cell_px
        assert y0 // cell_px == (y1 - 1) // cell_px
        assert part[0].any() and part[-1].any() and part[:, 0].any() and part[:, -1].any()
        assert not seen[y0:y1, x0:x1].any()
        seen[y0:y1, x0:x1] = True
    assert not (mask & ~seen).any()


def test_a_spiral_is_one_component():
    mask = np.zeros((41, 41), np.bool_)
    mask[::4] = True
    mask[:, 0] |= np.arange(41) % 8 < 5
    mask[:, -1] |= (np.arange(41) + 4) % 8 < 5
    assert len(_native.components(mask)) == 1


def test_a_50_megapixel_mask_takes_a_moment():
    mask = np.zeros((6000, 8333), np.bool_)
    mask[1000:2500, 300:3000] = True
    mask[::97, ::89] = True
    _native.components(mask)
    start = time.process_time()
    _native.components(mask)
    assert (
        time.process_time() - start < 0.6
    )  # 0.01 s on an idle machine; a picture of labels would take seconds
