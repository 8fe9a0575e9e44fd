"""Scikit-learn's handwritten digits: 1,797 grey images of 8 x 8 pixels, part of the package."""

import torch

from netwright.images.data import ImageData
from netwright.images.split import stratified_split
from netwright.rng import stream


def digits() -> ImageData:
    """Return the digits: a fixed fifth of each class is the test part (1,438 and 359 images).

    The set has no official split (all of it is the test part of a larger collection); this one
    is `stratified_split` with the stream named "digits" of seed 0. Values 0..16 become 0..255.
    """
    from sklearn.datasets import load_digits  # slow to import, and needed here only

    raw = load_digits()
    images = (torch.from_numpy(raw.images) * (255 / 16)).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(raw.target).long()
    test, train = stratified_split(labels, 0.2, rng=stream(0, "digits"))
    return ImageData(
        name="digits",
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        class_names=tuple(str(name) for name in raw.target_names),
        flips=False,
    )
