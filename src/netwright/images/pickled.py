"""Batches of images that others wrote with Python's `pickle`, read as plain data.

CIFAR's "python version" and downsampled ImageNet are dicts of an array, one row of bytes for each
image (all red, all green, all blue), and lists of labels. See `netwright.pickles` for why such a
file can do no harm here.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from netwright.pickles import Limits, PickledArray, load

_LIMITS = Limits(stream=1 << 31, kept=1 << 30)


def read_pickled(file: Path) -> dict[str, Any]:
    """Return the dict in a file, its keys as texts.

    Raises:
        ValueError: If the file is damaged or holds something else.
    """
    try:
        with file.open("rb") as opened:
            content = load(opened.read, _LIMITS)
    except ValueError as error:
        raise ValueError(f"cannot read {file}: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds no dict: is it another file?")
    return {text(key): value for key, value in content.items()}


def text(value: object) -> str:
    """Return a text; those of Python 2 are bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def batch_of(
    file: Path, labels: str, shape: tuple[int, int, int]
) -> tuple[UInt8[Tensor, "image channel height width"], Int64[Tensor, " image"]]:
    """Return the images and labels of a file.

    Args:
        file: With the array under the key "data".
        labels: The key of the labels.
        shape: Channels, height and width of an image.

    Raises:
        ValueError: If the file is damaged or does not hold as many labels as such images.
    """
    content = read_pickled(file)
    data, found = content.get("data"), content.get(labels)
    if not isinstance(data, PickledArray) or not isinstance(found, list | PickledArray):
        raise ValueError(f"{file} has no images or no {labels}: is it another file?")
    if isinstance(found, PickledArray):
        found = _numbers(file, found).tolist()
    pixels = _numbers(file, data)
    wanted = (len(found), math.prod(shape))
    if pixels.dtype != np.uint8 or pixels.shape != wanted:
        raise ValueError(
            f"{file} has {pixels.dtype} numbers of shape {pixels.shape}, not bytes of {wanted}"
        )
    if not found or not all(type(label) is int for label in found):
        raise ValueError(f"{file} has no {labels}, or some that are no numbers")
    return torch.from_numpy(pixels.copy()).reshape(-1, *shape), torch.tensor(found)


def _numbers(file: Path, array: PickledArray) -> "np.ndarray[Any, np.dtype[Any]]":
    try:
        flat = np.frombuffer(array.raw, array.code)
        return flat.reshape(array.shape, order="F" if array.column_major else "C")
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file} is damaged: an array {error}") from error
