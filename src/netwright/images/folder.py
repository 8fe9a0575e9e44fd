"""The user's own images, one folder per class."""

from pathlib import Path

import torch

from netwright.images.data import ImageData
from netwright.images.decode import SUFFIXES, decode_files
from netwright.images.split import stratified_split
from netwright.rng import stream


def folder(
    path: str | Path, *, size: int | tuple[int, int] | None = None, flips: bool = False
) -> ImageData:
    """Read a folder of images.

    Either ``PATH/train/CLASS/*`` with, if there is one, ``PATH/test/CLASS/*``, or simply
    ``PATH/CLASS/*``. Without test images a fixed fifth of each class is put aside for the test
    (`stratified_split` with the stream named "folder" of seed 0). Classes are numbered in
    alphabetical order. Files that are no images by their suffix, and hidden ones, are skipped.

    Images are turned upright as their camera noted, resized to a common size (bilinear; the
    aspect ratio is not kept) and become grey if all of them are, else RGB without transparency.

    Args:
        path: The folder.
        size: Height and width to resize to, or the side of a square; if None, the size of the
            first training image of the first class.
        flips: Whether a mirrored image still belongs to its class; not so for letters or signs.

    Raises:
        FileNotFoundError: If there is no such folder.
        ImportError: If Pillow is missing.
        ValueError: On fewer than two classes, a class with too few images, a test class that
            does not occur in training, or an image that cannot be read.
    """
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(f"there is no folder {root}: give one with a subfolder per class")
    nested = bool(_subfolders(root / "train"))
    classes = _subfolders(root / "train" if nested else root)
    names = [folder.name for folder in classes]
    if len(names) < 2:
        raise ValueError(
            f"{root} has {len(names)} class folder{'s' * (len(names) != 1)}, and a classifier "
            "needs two: arrange the images as PATH/CLASS/* or PATH/train/CLASS/*"
        )
    test_classes = _subfolders(root / "test") if nested else []
    unknown = sorted({folder.name for folder in test_classes} - set(names))
    if unknown:
        raise ValueError(f"{root / 'test' / unknown[0]} is a class without {root / 'train'} images")
    train = [(i, file) for i, folder in enumerate(classes) for file in _files(folder)]
    test = [(names.index(folder.name), file) for folder in test_classes for file in _files(folder)]
    # One image to train on and one to validate on; one more if the test part is taken from here.
    fewest = 2 if test else 3
    for i, folder in enumerate(classes):
        found = sum(label == i for label, _ in train)
        if found < fewest:
            raise ValueError(
                f"{folder} has {found} image{'s' * (found != 1)}, and a class needs {fewest}: "
                f"add some (known suffixes: {' '.join(sorted(SUFFIXES))}) or remove the folder"
            )
    images = decode_files([file for _, file in train + test], size)
    labels = torch.tensor([label for label, _ in train + test])
    order = torch.arange(len(labels))
    if test:
        kept, tested = order[: len(train)], order[len(train) :]
    else:
        tested, kept = stratified_split(labels, 0.2, rng=stream(0, "folder"))
    return ImageData(
        name=root.resolve().name,
        train_images=images[kept],
        train_labels=labels[kept],
        test_images=images[tested],
        test_labels=labels[tested],
        class_names=tuple(names),
        flips=flips,
    )


def _subfolders(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _files(path: Path) -> list[Path]:
    return sorted(
        p
        for p in path.iterdir()
        if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
    )
