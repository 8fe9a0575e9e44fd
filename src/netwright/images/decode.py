"""Image files and Pillow's images as bytes in tensors."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
)
_GREY = {"1", "L", "LA", "La"}
_DEEP = {"I", "F"}  # more than 8 bits per channel; so are modes "I;16", "I;16B", ...


def decode_files(
    files: Sequence[Path], size: int | tuple[int, int] | None
) -> UInt8[Tensor, "image channel height width"]:
    """Decode files to one size and one number of channels; see `stack`.

    Raises:
        ImportError: If Pillow is missing.
        ValueError: If a file cannot be read, naming it.
    """
    return stack((_open(file) for file in files), size)


def stack(
    images: Iterable["Image.Image"], size: int | tuple[int, int] | None
) -> UInt8[Tensor, "image channel height width"]:
    """Bring images, grey or RGB, to one size and one number of channels.

    They are resized bilinearly; the aspect ratio is not kept. All are grey if each is, else RGB.

    Args:
        images: As `plain` makes them.
        size: Height and width, or the side of a square; if None, the size of the first.

    Raises:
        ValueError: If the size is below one pixel.
    """
    height, width = (size, size) if isinstance(size, int) else size or (0, 0)
    if size is not None and min(height, width) < 1:
        raise ValueError(f"the image size must be at least 1 pixel, not {height} x {width}")
    pixels: list[UInt8[Tensor, "channel height width"]] = []
    for image in images:
        if not width:
            width, height = image.size
        if image.size != (width, height):
            image = image.resize((width, height), resample=2)  # bilinear, averaging if smaller
        array = torch.from_numpy(np.array(image))
        pixels.append(array[None] if array.dim() == 2 else array.permute(2, 0, 1))
    channels = max(len(image) for image in pixels)
    return torch.stack([image.expand(channels, -1, -1) for image in pixels])


def plain(raw: "Image.Image") -> "Image.Image":
    """Turn an image upright as its camera noted, and make it grey or RGB, without transparency.

    Raises:
        ValueError: If it has more than 8 bits per channel.
    """
    from PIL import ImageOps

    if raw.mode in _DEEP or raw.mode.startswith("I;"):
        raise ValueError("more than 8 bits per channel; convert it to 8")
    grey = raw.mode in _GREY
    upright = ImageOps.exif_transpose(raw)
    if "transparency" in raw.info:  # of a palette image, as bytes: Pillow wants RGBA first
        upright = upright.convert("RGBA")
    return upright.convert("L" if grey else "RGB")


def _open(file: Path) -> "Image.Image":
    """Decode one file."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError(
            "reading image files needs Pillow: pip install 'netwright[data]'"
        ) from None
    try:
        with Image.open(file) as raw:
            raw.load()
            return plain(raw)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"cannot read the image {file} ({reason}): repair or remove it") from error
