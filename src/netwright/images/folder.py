"""The user's own images, one folder per class."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from netwright.images.data import ImageData
from netwright.images.split import stratified_split
from netwright.rng import stream

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
)
_GREY = {"1", "L", "LA", "La"}
_DEEP = {"I", "F"}  # more than 8 bits per channel; so are modes "I;16", "I;16B", ...


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
    images = _read([file for _, file in train + test], size)
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


def _read(
    files: list[Path], size: int | tuple[int, int] | None
) -> UInt8[Tensor, "image channel height width"]:
    """Decode all files to one size and one number of channels."""
    height, width = (size, size) if isinstance(size, int) else size or (0, 0)
    if size is not None and min(height, width) < 1:
        raise ValueError(f"the image size must be at least 1 pixel, not {height} x {width}")
    pixels: list[UInt8[Tensor, "channel height width"]] = []
    for file in files:
        image = _open(file)
        if not width:
            width, height = image.size
        if image.size != (width, height):
            image = image.resize((width, height), resample=2)  # bilinear, averaging if smaller
        array = torch.from_numpy(np.array(image))
        pixels.append(array[None] if array.dim() == 2 else array.permute(2, 0, 1))
    channels = max(len(image) for image in pixels)
    return torch.stack([image.expand(channels, -1, -1) for image in pixels])


def _open(file: Path) -> "Image.Image":
    """Decode one file, upright, grey or RGB."""
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise ImportError(
            "reading image files needs Pillow: pip install 'netwright[data]'"
        ) from None
    try:
        with Image.open(file) as raw:
            raw.load()
            mode = raw.mode
            if mode in _DEEP or mode.startswith("I;"):
                raise ValueError("more than 8 bits per channel; convert it to 8")
            upright = ImageOps.exif_transpose(raw)
            if "transparency" in raw.info:  # of a palette image, as bytes: Pillow wants RGBA first
                upright = upright.convert("RGBA")
            return upright.convert("L" if mode in _GREY else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"cannot read the image {file} ({reason}): repair or remove it") from error
