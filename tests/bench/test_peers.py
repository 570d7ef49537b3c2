"""Peers fill the hole, leave the rest, and are left out when missing."""

import numpy as np
import pytest

from bench import peers
from examples import scenes


@pytest.mark.parametrize("name", list(peers.installed()))
def test_a_peer_fills_only_the_hole(name):
    photo = scenes.render("stucco", 96, 72, 1)
    hole = np.zeros((72, 96), bool)
    hole[20:34, 30:50] = True
    holed = photo.copy()
    holed[hole] = 0
    with peers.quiet():
        filled = peers.installed()[name](holed, hole)
    assert filled.dtype == np.uint8
    assert np.array_equal(filled[~hole], photo[~hole])
    assert np.abs(filled[hole].astype(int) - photo[hole]).mean() < 60
    assert (holed[hole] == 0).all()


def test_every_peer_is_installed_or_explained():
    assert set(peers.installed()) | set(peers.missing()) == set(peers.catalogue())
    assert not set(peers.installed()) & set(peers.missing())


def test_unknown_peers_are_refused():
    with pytest.raises(ValueError, match="photoshop"):
        peers.installed(["photoshop"])
