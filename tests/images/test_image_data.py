import pickle

import pytest
import torch

from netwright.images.data import ImageData
from netwright.images.digits import digits
from netwright.rng import stream


def make(train=12, test=6, channels=3, **changes):
    rng = stream(0, "images")
    draw = {"dtype": torch.uint8, "generator": rng}
    fields = {
        "name": "noise",
        "train_images": torch.randint(256, (train, channels, 5, 4), **draw),
        "train_labels": torch.arange(train) % 3,
        "test_images": torch.randint(256, (test, channels, 5, 4), **draw),
        "test_labels": torch.arange(test) % 3,
        "class_names": ("a", "b", "c"),
        "flips": True,
    }
    return ImageData(**(fields | changes))


def test_statistics_are_those_of_the_training_images():
    data = make()
    scaled = data.train_images.double() / 255
    torch.testing.assert_close(data.mean.double(), scaled.mean(dim=(0, 2, 3)))
    torch.testing.assert_close(data.std.double(), scaled.std(dim=(0, 2, 3), correction=0))
    shown = data.normalise(data.train_images)
    torch.testing.assert_close(shown.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(shown.std(dim=(0, 2, 3), correction=0), torch.ones(3))
    other = make(test_images=torch.zeros(6, 3, 5, 4, dtype=torch.uint8))
    assert torch.equal(other.mean, data.mean)
    assert torch.equal(other.std, data.std)


def test_channels_are_normalised_one_by_one():
    images = make().train_images.clone()
    images[:, 1] = 7
    data = make(train_images=images)
    assert data.std[1] == 1  # a constant channel becomes 0, not NaN
    assert data.normalise(images)[:, 1].abs().max() < 1e-6
    assert data.normalise(images)[:, 0].std() > 0.9


def test_properties_and_placement():
    data = make(channels=1)
    assert (data.channels, data.num_classes) == (1, 3)
    assert data.to("cpu") is data
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy.train_images, data.train_images)
    assert torch.equal(copy.mean, data.mean)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("a",)}, "at least two classes"),
        ({"class_names": ("a", "b")}, "training labels must be 0 to 1"),
        ({"test_labels": torch.tensor([0, 1, 2, 0, 1, 3])}, "test labels must be 0 to 2"),
        ({"test_labels": torch.tensor([0, 1, 2, 0, 1, -1])}, "test labels must be 0 to 2"),
        ({"test": 0}, "no test images"),
        ({"train": 0}, "no training images"),
    ],
)
def test_bad_data_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_digits_are_all_there_and_split_the_same_way_every_time():
    from sklearn.datasets import load_digits

    data, raw = digits(), load_digits()
    assert (len(data.train_images), len(data.test_images)) == (1438, 359)
    assert data.class_names == tuple("0123456789")
    assert not data.flips
    both = torch.cat([data.train_images, data.test_images])[:, 0].double() * 16 / 255
    images = {tuple(row) for row in both.round().flatten(1).long().tolist()}
    assert images == {tuple(row) for row in raw.data.astype(int).tolist()}
    counts = torch.from_numpy(raw.target).bincount()
    assert torch.equal(data.test_labels.bincount(), (counts.double() * 0.2).round().long())
    assert torch.equal(digits().test_images, data.test_images)


def test_digits_keep_image_and_label_together():
    from sklearn.datasets import load_digits

    raw = load_digits()
    truth = {tuple(x): y for x, y in zip(raw.data.astype(int).tolist(), raw.target, strict=True)}
    data = digits()
    for images, labels in (
        (data.train_images, data.train_labels),
        (data.test_images, data.test_labels),
    ):
        pixels = (images[:, 0].double() * 16 / 255).round().long().flatten(1).tolist()
        assert [truth[tuple(row)] for row in pixels] == labels.tolist()
