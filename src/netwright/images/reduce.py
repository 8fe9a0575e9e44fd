"""Smaller versions of a data set, for experiments at small scale."""

from dataclasses import replace

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from netwright.images.data import ImageData
from netwright.images.split import stratified_split


def reduced(data: ImageData, *, train: int, test: int, rng: torch.Generator) -> ImageData:
    """Keep about that many training and test images, the same share of every class.

    A part that is no larger stays as it is.

    Args:
        data: All images.
        train: Training images to keep; the number differs by rounding within each class.
        test: Test images to keep.
        rng: Decides which.

    Raises:
        ValueError: If a number is below 1, or a class has a single image.
    """
    kept_train = _some(data.train_labels, train, rng)
    kept_test = _some(data.test_labels, test, rng)
    return replace(
        data,
        train_images=data.train_images[kept_train],
        train_labels=data.train_labels[kept_train],
        test_images=data.test_images[kept_test],
        test_labels=data.test_labels[kept_test],
    )


def halved(data: ImageData) -> ImageData:
    """Halve height and width: each pixel is the rounded mean of four.

    Raises:
        ValueError: If height or width is odd.
    """
    if any(size % 2 for size in data.train_images.shape[-2:]):
        size = "x".join(map(str, data.train_images.shape[-2:]))
        raise ValueError(f"images of {size} pixels cannot be halved")
    return replace(
        data,
        train_images=_half(data.train_images),
        test_images=_half(data.test_images),
    )


def _some(
    labels: Int64[Tensor, " image"], count: int, rng: torch.Generator
) -> Int64[Tensor, " kept"]:
    if count < 1:
        raise ValueError(f"keep at least one image, not {count}")
    if count >= len(labels):
        return torch.arange(len(labels))
    return stratified_split(labels, count / len(labels), rng=rng)[0]


def _half(
    images: UInt8[Tensor, "image channel height width"],
) -> UInt8[Tensor, "image channel half_height half_width"]:
    parts = [
        torch.nn.functional.avg_pool2d(some.float(), 2).round().to(torch.uint8)
        for some in images.split(10_000)  # as floats, all of them would take four times the memory
    ]
    return torch.cat(parts)
