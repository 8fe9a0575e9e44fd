"""Folders of idx files, the format of MNIST and of the sets made after its model.

Four files, each gzipped or not: ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, and the
same with ``t10k`` for the test part. A file is two zero bytes, the type of its numbers (8: unsigned
bytes), the number of axes, the length of each axis as a big-endian 32-bit number, and the numbers.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from netwright.images.data import ImageData

_UNSIGNED_BYTES = 8


def idx(path: str | Path, *, flips: bool = False) -> ImageData:
    """Read a folder of idx files: MNIST, Fashion-MNIST, KMNIST, ...

    Classes are named by their numbers, from 0 to the largest label of the training part.

    Args:
        path: The folder.
        flips: Whether a mirrored image still belongs to its class; not so for letters or digits.

    Raises:
        FileNotFoundError: If there is no such folder, or one of the four files is missing.
        ValueError: If a file is truncated, too long, or no idx file of bytes, if images and labels
            do not fit each other, or if test images have another size than training images.
    """
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}: give one with four idx files")
    (train, train_labels), (test, test_labels) = (_part(root, name) for name in ("train", "t10k"))
    if train.shape[1:] != test.shape[1:]:
        sizes = " and ".join("x".join(map(str, part.shape[1:])) for part in (train, test))
        raise ValueError(f"{root}: training and test images differ in size ({sizes})")
    return ImageData(
        name=root.resolve().name,
        train_images=train[:, None],
        train_labels=train_labels.long(),
        test_images=test[:, None],
        test_labels=test_labels.long(),
        class_names=tuple(map(str, range(int(train_labels.max()) + 1))),
        flips=flips,
    )


def read_idx(path: Path) -> UInt8[Tensor, "..."]:
    """Read one idx file of unsigned bytes, gzipped if its name ends in ``.gz``.

    Raises:
        ValueError: If it is damaged or holds something else.
    """
    data = path.read_bytes()
    if path.suffix == ".gz":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path} is damaged ({error}): get it anew") from error
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != _UNSIGNED_BYTES:
        raise ValueError(f"{path} is not an idx file of unsigned bytes: it begins {data[:4]!r}")
    axes, start = data[3], 4 + 4 * data[3]
    shape = np.frombuffer(data[4:start], ">u4").tolist() if len(data) >= start else []
    expected = start + math.prod(shape)
    if len(shape) != axes or len(data) != expected:
        raise ValueError(
            f"{path} is truncated or damaged: {len(data):,} bytes instead of {expected:,}, get it "
            "anew"
        )
    values = torch.from_numpy(np.frombuffer(data, np.uint8, offset=start).copy())
    return values.reshape(shape)


def _part(root: Path, name: str) -> tuple[Tensor, Tensor]:
    """Return the images and the labels of a part."""
    files = [_find(root, f"{name}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1")]
    images, labels = map(read_idx, files)
    for file, values, axes in zip(files, (images, labels), (3, 1), strict=True):
        if values.ndim != axes:
            raise ValueError(f"{file} has {values.ndim} axes instead of {axes}: is it mislabelled?")
    if not 0 < len(images) == len(labels):
        raise ValueError(f"{files[0]} has {len(images)} images but {len(labels)} labels")
    return images, labels


def _find(root: Path, name: str) -> Path:
    """Return a file, gzipped or not.

    Raises:
        FileNotFoundError: If there is neither.
    """
    found = [path for path in (root / name, root / f"{name}.gz") if path.is_file()]
    if not found:
        raise FileNotFoundError(f"{root} has no {name} or {name}.gz: put it there")
    return found[0]
