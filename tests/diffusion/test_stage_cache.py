"""Results are found again by what they depend on, and the oldest leave when room is needed."""

import numpy as np

from reknit.diffusion.stage_cache import StageCache, key_of


def test_keys_depend_on_everything() -> None:
    picture = np.zeros((2, 3), np.uint8)
    keys = {
        key_of("latents", picture),
        key_of("latents", picture.reshape(3, 2)),
        key_of("latents", picture.astype(np.int8)),
        key_of("latents", picture + 1),
        key_of("text", picture),
        key_of("text", "1"),
        key_of("text", 1),
        key_of("text", 1.0),
        key_of("text", "a", "b"),
        key_of("text", "ab"),
    }
    assert len(keys) == 10
    assert key_of("latents", picture[:, ::-1]) == key_of("latents", picture.copy())


def test_the_longest_unused_leaves() -> None:
    cache = StageCache(max_bytes=200)
    for name in "abc":
        cache.put(name, np.zeros(80, np.uint8))
        cache.get("a")
    assert cache.get("a") is not None
    assert cache.get("b") is None
    assert cache.bytes == 160
    cache.clear()
    assert cache.get("a") is None
    assert cache.bytes == 0


def test_what_is_too_large_is_not_kept() -> None:
    cache = StageCache(max_bytes=10)
    cache.put("small", (np.zeros(5, np.uint8),))
    cache.put("large", [np.zeros(20, np.uint8)])
    assert cache.get("small") is not None
    assert cache.get("large") is None
    assert (cache.hits, cache.misses) == (1, 1)
