"""CIFAR-10 and CIFAR-100, in their official binary version or in their python version.

A record of the binary version is one byte with the label (CIFAR-100: two bytes, the coarse and the
fine label) and the 3 x 32 x 32 bytes of an image. The python version holds the same in pickles,
which are read as plain data.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from netwright.images.data import ImageData
from netwright.images.pickled import batch_of, read_pickled, text

_IMAGE = (3, 32, 32)


class _Files(NamedTuple):
    """The files of a version."""

    train: tuple[str, ...]
    test: str
    names: str


class _DataSet(NamedTuple):
    """A data set, and its records."""

    name: str
    classes: int
    binary: _Files
    python: _Files
    label_bytes: int  # before the image; the last is the label
    labels: str  # key in the python version
    class_names: str  # likewise


_CIFAR10 = _DataSet(
    "cifar10",
    10,
    _Files(tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin", "batches.meta.txt"),
    _Files(tuple(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta"),
    label_bytes=1,
    labels="labels",
    class_names="label_names",
)
_CIFAR100 = _DataSet(
    "cifar100",
    100,
    _Files(("train.bin",), "test.bin", "fine_label_names.txt"),
    _Files(("train",), "test", "meta"),
    label_bytes=2,
    labels="fine_labels",
    class_names="fine_label_names",
)


def cifar10(path: str | Path) -> ImageData:
    """Read CIFAR-10: ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``.

    Or the same files without ``.bin``, of the python version. Classes are named as in
    ``batches.meta.txt`` or ``batches.meta``, by their numbers where that is missing.

    Args:
        path: The folder, called ``cifar-10-batches-bin`` or ``cifar-10-batches-py`` in the
            official archives.

    Raises:
        FileNotFoundError: If there is no such folder, or a file is missing.
        ValueError: If a file is truncated or not of this data set.
    """
    return _read(Path(path), _CIFAR10)


def cifar100(path: str | Path) -> ImageData:
    """Read CIFAR-100 with its 100 fine classes: ``train.bin`` and ``test.bin``.

    Or the same files without ``.bin``, of the python version. Classes are named as in
    ``fine_label_names.txt`` or ``meta``, by their numbers where that is missing.

    Args:
        path: The folder, called ``cifar-100-binary`` or ``cifar-100-python`` in the official
            archives.

    Raises:
        FileNotFoundError: If there is no such folder, or a file is missing.
        ValueError: If a file is truncated or not of this data set.
    """
    return _read(Path(path), _CIFAR100)


def _read(root: Path, kind: _DataSet) -> ImageData:
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}: give that of the files of {kind.name}")
    pickled = not (root / kind.binary.train[0]).is_file() and any(
        (root / name).is_file() for name in (*kind.python.train, kind.python.test)
    )
    files = kind.python if pickled else kind.binary
    for name in (*files.train, files.test):
        if not (root / name).is_file():
            raise FileNotFoundError(
                f"{root} has no {name}: put the files of the "
                f"{'python' if pickled else 'binary'} version of {kind.name} there"
            )
    parts = []
    for names in (files.train, (files.test,)):
        if pickled:
            batches = [batch_of(root / name, kind.labels, _IMAGE) for name in names]
            images, labels = (torch.cat(part) for part in zip(*batches, strict=True))
            if not 0 <= int(labels.min()) <= int(labels.max()) < kind.classes:
                raise ValueError(f"{root / names[0]} is damaged: a label is none of {kind.name}'s")
        else:
            images, labels = _records(root, names, kind)
        parts += [images, labels]
    train_images, train_labels, test_images, test_labels = parts
    return ImageData(
        name=kind.name,
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        class_names=_class_names(root / files.names, kind, pickled),
        flips=True,
    )


def _records(
    root: Path, names: Sequence[str], kind: _DataSet
) -> tuple[UInt8[Tensor, "image 3 32 32"], Int64[Tensor, " image"]]:
    """Return the images and labels of binary files, in their order."""
    length = kind.label_bytes + int(np.prod(_IMAGE))
    parts = []
    for name in names:
        file = root / name
        data = np.fromfile(file, np.uint8)
        if not len(data) or len(data) % length:
            raise ValueError(
                f"{file} is truncated or of another version: {len(data):,} bytes are not a "
                f"multiple of {length:,}, get it anew"
            )
        parts.append(data.reshape(-1, length))
        if (label := int(parts[-1][:, kind.label_bytes - 1].max())) >= kind.classes:
            raise ValueError(f"{file} is damaged or of another version: it has the label {label}")
    records = torch.from_numpy(np.concatenate(parts))
    images = records[:, kind.label_bytes :].reshape(-1, *_IMAGE).contiguous()
    return images, records[:, kind.label_bytes - 1].long()


def _class_names(file: Path, kind: _DataSet, pickled: bool) -> tuple[str, ...]:
    names: Sequence[str] = ()
    if file.is_file():
        if pickled:
            names = [text(name) for name in read_pickled(file).get(kind.class_names, ())]
        else:
            names = file.read_text(encoding="utf-8").split()
    return tuple(names) if len(names) == kind.classes else tuple(map(str, range(kind.classes)))
