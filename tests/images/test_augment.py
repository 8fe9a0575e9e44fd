import pytest
import torch

from netwright.images.augment import crop_and_flip, cutout
from netwright.rng import stream


def slowly(images, padding, flip, rng):
    """The same, image by image and pixel by pixel."""
    n, _, height, width = images.shape
    top, left = torch.randint(2 * padding + 1, (2, n, 1), generator=rng)[..., 0].tolist()
    mirrored = (torch.rand(n, 1, generator=rng) < 0.5)[:, 0].tolist() if flip else [False] * n
    out = torch.zeros_like(images)
    for i in range(n):
        for y in range(height):
            for x in range(width):
                at_y = y + top[i] - padding
                at_x = (width - 1 - x if mirrored[i] else x) + left[i] - padding
                if 0 <= at_y < height and 0 <= at_x < width:
                    out[i, :, y, x] = images[i, :, at_y, at_x]
    return out


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("padding", "flip"), [(0, True), (2, False), (2, True), (4, True)])
def test_equals_the_slow_way(channels, padding, flip):
    images = torch.randint(
        1, 256, (9, channels, 5, 7), dtype=torch.uint8, generator=stream(0, "images")
    )
    got = crop_and_flip(images, padding=padding, flip=flip, rng=stream(1, "augment"))
    assert torch.equal(got, slowly(images, padding, flip, stream(1, "augment")))
    assert got.dtype == torch.uint8


def test_nothing_to_do_draws_nothing():
    images, rng = torch.ones(2, 1, 3, 3), stream(0, "augment")
    before = rng.get_state()
    assert crop_and_flip(images, padding=0, flip=False, rng=rng) is images
    assert torch.equal(rng.get_state(), before)


def test_shifts_and_flips_are_uniform():
    """Each of 3 x 3 shifts comes equally often, half of the images mirrored."""
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 2, 2], image[0, 0, 2, 1] = 1, 2  # a dot, and another to its left
    n = 9000
    shown = crop_and_flip(image.expand(n, -1, -1, -1), padding=1, flip=True, rng=stream(0, "a"))
    place = (shown == 1).flatten(1).long().argmax(dim=1)
    other = (shown == 2).flatten(1).long().argmax(dim=1)
    assert set((other - place).tolist()) == {-1, 1}
    assert abs(float((other > place).float().mean()) - 0.5) < 5 * 0.5 / n**0.5
    counts = place.bincount(minlength=25).view(5, 5)[1:4, 1:4].flatten().double()
    assert counts.sum() == n
    assert ((counts - n / 9) ** 2 / (n / 9)).sum() < 26.1  # chi-square, 8 degrees, p = 0.001


def test_a_seed_decides_and_the_global_state_is_untouched():
    images = torch.rand(8, 1, 6, 6, generator=stream(0, "images"))
    before = torch.get_rng_state()
    a, b, c = (crop_and_flip(images, padding=2, flip=True, rng=stream(s, "x")) for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_same():
    images = torch.rand(8, 3, 6, 6, generator=stream(0, "images"))
    here = crop_and_flip(images, padding=2, flip=True, rng=stream(1, "x"))
    there = crop_and_flip(images.cuda(), padding=2, flip=True, rng=stream(1, "x"))
    assert torch.equal(here, there.cpu())


class TestCutout:
    def test_equals_the_slow_way(self):
        images = torch.ones(40, 2, 5, 7)
        for side in (1, 2, 3, 4, 20):
            rng = stream(side, "holes")
            draws = torch.rand(2, 40, 1, generator=stream(side, "holes"))
            got = cutout(images, side, rng=rng)
            for i in range(40):
                y = int(draws[0, i] * 5) - side // 2
                x = int(draws[1, i] * 7) - side // 2
                expected = torch.ones(2, 5, 7)
                expected[:, max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)] = 0
                assert torch.equal(got[i], expected)

    def test_every_pixel_is_the_centre_equally_often(self):
        n = 12_000
        holes = 1 - cutout(torch.ones(n, 1, 3, 4), 1, rng=stream(0, "holes"))
        assert (holes.flatten(1).sum(dim=1) == 1).all()
        counts = holes.sum(dim=(0, 1)).flatten().double()
        assert ((counts - n / 12) ** 2 / (n / 12)).sum() < 31.3  # chi-square, 11 degrees, p = 0.001

    def test_no_hole_draws_nothing_and_images_stay(self):
        images, rng = torch.ones(3, 1, 4, 4), stream(0, "holes")
        before = rng.get_state()
        assert cutout(images, 0, rng=rng) is images
        assert torch.equal(rng.get_state(), before)
        cutout(images, 2, rng=rng)
        assert images.all()
