"""CIFAR-10 and CIFAR-100 in their official binary version; the pickled one is not read.

A record is one byte with the label (CIFAR-100: two bytes, the coarse and the fine label) and the
3 x 32 x 32 bytes of an image.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from netwright.images.data import ImageData

_IMAGE = (3, 32, 32)


class _Version(NamedTuple):
    """The files of a data set, and its records."""

    name: str
    train: tuple[str, ...]
    test: str
    names: str
    labels: int  # bytes before the image; the last is the label
    classes: int


_CIFAR10 = _Version(
    "cifar10",
    tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    "test_batch.bin",
    "batches.meta.txt",
    1,
    10,
)
_CIFAR100 = _Version("cifar100", ("train.bin",), "test.bin", "fine_label_names.txt", 2, 100)


def cifar10(path: str | Path) -> ImageData:
    """Read CIFAR-10: ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``.

    Classes are named as in ``batches.meta.txt``, by their numbers where that is missing.

    Args:
        path: The folder, called ``cifar-10-batches-bin`` in the official archive.

    Raises:
        FileNotFoundError: If there is no such folder, or a file is missing.
        ValueError: If a file is truncated or not of this version.
    """
    return _read(Path(path), _CIFAR10)


def cifar100(path: str | Path) -> ImageData:
    """Read CIFAR-100 with its 100 fine classes: ``train.bin`` and ``test.bin``.

    Classes are named as in ``fine_label_names.txt``, by their numbers where that is missing.

    Args:
        path: The folder, called ``cifar-100-binary`` in the official archive.

    Raises:
        FileNotFoundError: If there is no such folder, or a file is missing.
        ValueError: If a file is truncated or not of this version.
    """
    return _read(Path(path), _CIFAR100)


def _read(root: Path, version: _Version) -> ImageData:
    if not root.is_dir():
        raise FileNotFoundError(
            f"there is no folder {root}: give that of the binary version of {version.name}"
        )
    train_images, train_labels = _records(root, version.train, version)
    test_images, test_labels = _records(root, [version.test], version)
    return ImageData(
        name=version.name,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=_class_names(root / version.names, version.classes),
        flips=True,
    )


def _records(
    root: Path, names: Sequence[str], version: _Version
) -> tuple[UInt8[Tensor, "image 3 32 32"], Int64[Tensor, " image"]]:
    """Return the images and labels of files, in their order."""
    length = version.labels + int(np.prod(_IMAGE))
    parts = []
    for name in names:
        file = root / name
        if not file.is_file():
            raise FileNotFoundError(
                f"{root} has no {name}: put the files of the binary version of {version.name} "
                "there (the pickled version is not read)"
            )
        data = np.fromfile(file, np.uint8)
        if not len(data) or len(data) % length:
            raise ValueError(
                f"{file} is truncated or of another version: {len(data):,} bytes are not a "
                f"multiple of {length:,}, get it anew"
            )
        parts.append(data.reshape(-1, length))
        if (label := int(parts[-1][:, version.labels - 1].max())) >= version.classes:
            raise ValueError(f"{file} is damaged or of another version: it has the label {label}")
    records = torch.from_numpy(np.concatenate(parts))
    images = records[:, version.labels :].reshape(-1, *_IMAGE).contiguous()
    return images, records[:, version.labels - 1].long()


def _class_names(file: Path, classes: int) -> tuple[str, ...]:
    lines = file.read_text(encoding="utf-8").split() if file.is_file() else []
    return tuple(lines) if len(lines) == classes else tuple(map(str, range(classes)))
