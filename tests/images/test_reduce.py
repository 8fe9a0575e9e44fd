import pytest
import torch

from netwright.images.data import ImageData
from netwright.images.digits import digits
from netwright.images.reduce import halved, reduced
from netwright.rng import stream


def test_every_class_gives_the_same_share():
    whole = digits()
    some = reduced(whole, train=300, test=100, rng=stream(0, "some"))
    for part, kept, count in (
        (whole.train_labels, some.train_labels, 300),
        (whole.test_labels, some.test_labels, 100),
    ):
        exact = part.bincount() * count / len(part)
        assert float((kept.bincount() - exact).abs().max()) <= 0.5
    assert some.class_names == whole.class_names


def test_images_keep_their_labels_and_their_statistics_are_their_own():
    whole = digits()
    some = reduced(whole, train=50, test=20, rng=stream(0, "some"))
    known = {tuple(x): y for x, y in zip(*_flat(whole), strict=True)}
    assert all(known[tuple(x)] == y for x, y in zip(*_flat(some), strict=True))
    scaled = some.train_images.double() / 255
    torch.testing.assert_close(some.mean.double(), scaled.mean(dim=(0, 2, 3)))


def _flat(data):
    return data.train_images.flatten(1).tolist(), data.train_labels.tolist()


def test_the_choice_is_random_and_repeatable():
    whole = digits()
    a, b, c = (reduced(whole, train=50, test=20, rng=stream(s, "some")) for s in (0, 0, 1))
    assert torch.equal(a.train_images, b.train_images)
    assert not torch.equal(a.train_images, c.train_images)


def test_no_more_than_there_is():
    whole = digits()
    same = reduced(whole, train=10_000, test=359, rng=stream(0, "some"))
    assert torch.equal(same.train_images, whole.train_images)
    assert torch.equal(same.test_labels, whole.test_labels)
    with pytest.raises(ValueError, match="at least one image, not 0"):
        reduced(whole, train=0, test=1, rng=stream(0, "some"))


def test_a_pixel_is_the_mean_of_four():
    images = torch.tensor([[1, 2, 10, 10], [3, 4, 10, 12], [0, 0, 255, 255], [0, 1, 255, 255]])
    images = torch.stack([images, images.flip(1)]).to(torch.uint8)[:, None]
    labels = torch.arange(2)
    data = ImageData("four", images, labels, images[:1], labels[:1], ("a", "b"), flips=True)
    # 2.5 is rounded to the even 2, 10.5 to 10, 0.25 to 0
    assert halved(data).train_images[0, 0].tolist() == [[2, 10], [0, 255]]
    assert halved(data).test_images.tolist() == [[[[2, 10], [0, 255]]]]
    with pytest.raises(ValueError, match="images of 1x1 pixels cannot be halved"):
        halved(halved(halved(data)))
