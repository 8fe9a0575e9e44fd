"""Tiny-ImageNet: 200 classes, 500 training images of 64 x 64 pixels each."""

from pathlib import Path

import torch

from netwright.images.data import ImageData
from netwright.images.decode import decode_files

_CLASSES = "wnids.txt"
_ANNOTATIONS = Path("val") / "val_annotations.txt"


def tiny_imagenet(path: str | Path) -> ImageData:
    """Read Tiny-ImageNet as it is distributed.

    ``wnids.txt`` numbers the classes; training images are ``train/CLASS/images/*.JPEG``. The
    images in ``val``, whose classes ``val/val_annotations.txt`` tells, become the test part, for
    the labels of the official one are not public. Classes are named as in ``words.txt``, by the
    first of their words. Decoded, all images take 1.4 GB.

    Args:
        path: The folder, called ``tiny-imagenet-200`` in the official archive.

    Raises:
        FileNotFoundError: If there is no such folder, or a file is missing.
        ImportError: If Pillow is missing.
        ValueError: If a class has no images, a line is none of the annotations', or an image
            cannot be read.
    """
    root = Path(path)
    for name in (_CLASSES, _ANNOTATIONS):
        if not (root / name).is_file():
            raise FileNotFoundError(f"{root} has no {name}: give the folder of Tiny-ImageNet")
    classes = (root / _CLASSES).read_text(encoding="utf-8").split()
    number = {name: i for i, name in enumerate(classes)}
    train: list[tuple[int, Path]] = []
    for name in classes:
        files = sorted((root / "train" / name / "images").glob("*.JPEG"))
        if not files:
            raise ValueError(f"{root} has no images in train/{name}/images: unpack it anew")
        train += [(number[name], file) for file in files]
    test: list[tuple[int, Path]] = []
    for i, line in enumerate((root / _ANNOTATIONS).read_text(encoding="utf-8").splitlines(), 1):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in number:
            raise ValueError(f"{root / _ANNOTATIONS}, line {i}: no file and class of Tiny-ImageNet")
        test.append((number[fields[1]], root / "val" / "images" / Path(fields[0]).name))
    images = decode_files([file for _, file in train + test], 64)
    labels = torch.tensor([label for label, _ in train + test])
    return ImageData(
        name="tiny-imagenet",
        train_images=images[: len(train)],
        train_labels=labels[: len(train)],
        test_images=images[len(train) :],
        test_labels=labels[len(train) :],
        class_names=_names(root / "words.txt", classes),
        flips=True,
    )


def _names(file: Path, classes: list[str]) -> tuple[str, ...]:
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    words = dict(line.split("\t", 1) for line in lines if "\t" in line)
    return tuple(words.get(name, name).split(",")[0] for name in classes)
