"""Variation seeds and noise of another size: A1111's arithmetic, against it written out plainly."""

import pytest

torch = pytest.importorskip("torch")

from reknit.diffusion.variation import Variation, slerp  # noqa: E402

SHAPE = (4, 8, 10)


def noise(seed: int, shape: tuple[int, ...] = SHAPE) -> object:
    return torch.randn((1, *shape), generator=torch.Generator().manual_seed(seed))


def drawn(variation: Variation, seeds: list[int]) -> object:
    generators = [torch.Generator().manual_seed(seed) for seed in variation.seeds(seeds)]
    return variation.noise(generators, seeds, SHAPE)


def test_without_one_each_seed_has_its_own_noise() -> None:
    assert torch.equal(drawn(Variation(), [3, 4]), torch.cat([noise(3), noise(4)]))


def test_strength_turns_one_noise_towards_another() -> None:
    made = drawn(Variation(seed=3, strength=0.25), [7, 8])
    for index, seed in enumerate((7, 8)):
        for channel in range(4):
            for column in range(10):
                one, other = noise(3)[0, channel, :, column], noise(seed)[0, channel, :, column]
                angle = torch.acos(one @ other / one.norm() / other.norm())
                want = (torch.sin(0.75 * angle) * one + torch.sin(0.25 * angle) * other) / torch.sin(angle)
                torch.testing.assert_close(made[index, channel, :, column], want)


def test_the_ends_are_the_two_noises() -> None:
    assert torch.equal(drawn(Variation(seed=3, strength=0.0), [7]), noise(3))
    torch.testing.assert_close(drawn(Variation(seed=3, strength=1.0), [7]), noise(7))
    torch.testing.assert_close(slerp(noise(3), noise(3), 0.4), noise(3))


@pytest.mark.parametrize(("size", "rows", "columns"), [((6, 4), (2, 6), (2, 8)), ((12, 8), (0, 8), (0, 10))])
def test_noise_of_another_size_shares_its_middle(
    size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    made, small = drawn(Variation(size=size), [3]), noise(3, (4, size[1], size[0]))
    inside = made[:, :, slice(*rows), slice(*columns)]
    cut = (size[0] - inside.shape[3]) // 2
    assert torch.equal(inside, small[:, :, :, cut : cut + inside.shape[3]])
    outside = torch.ones_like(made, dtype=torch.bool)
    outside[:, :, slice(*rows), slice(*columns)] = False
    assert torch.equal(made[outside], noise(3)[outside])


def test_what_a_walk_draws_later_is_not_what_it_began_with() -> None:
    generator = torch.Generator().manual_seed(3)
    made = Variation(seed=3, strength=0.5).noise([generator], [7], SHAPE)
    assert not torch.equal(torch.randn((1, *SHAPE), generator=generator), noise(3))
    assert made.shape == (1, *SHAPE)
