"""Random crops, flips and holes of whole batches."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor


def crop_and_flip(
    images: Shaped[Tensor, "image channel height width"],
    *,
    padding: int,
    flip: bool,
    rng: torch.Generator,
) -> Shaped[Tensor, "image channel height width"]:
    """Shift each image by up to ``padding`` pixels and mirror it by a coin ([GraphPNAS] C.2).

    An image is padded with zeros on all sides and a window of its old size is cut out at a
    random place; all windows are read by one gather.

    Args:
        images: On any device, of any dtype.
        padding: Pixels on every side; 0 for no crop.
        flip: Whether to mirror half of the images left to right.
        rng: CPU generator; it decides alike for every device.
    """
    if not padding and not flip:
        return images
    n, channels, height, width = images.shape
    top, left = torch.randint(2 * padding + 1, (2, n, 1), generator=rng)
    rows = top + torch.arange(height)
    columns = left + torch.arange(width)
    if flip:
        mirrored = torch.rand(n, 1, generator=rng) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    rows, columns = rows.to(images.device), columns.to(images.device)
    padded = torch.nn.functional.pad(images, (padding,) * 4)
    image = torch.arange(n, device=images.device)[:, None, None, None]
    channel = torch.arange(channels, device=images.device)[:, None, None]
    return padded[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def cutout(
    images: Float[Tensor, "image channel height width"],
    side: int,
    *,
    chance: float = 1.0,
    rng: torch.Generator,
) -> Float[Tensor, "image channel height width"]:
    """Set a square of each image to 0, which is the mean of normalised images ([DeVries2017]).

    Args:
        images: Normalised, on any device.
        side: Of the square, in pixels; 0 for none. Its centre is any pixel, so that a part of it
            may lie outside.
        chance: Share of the images, by a coin for each, that get one.
        rng: CPU generator; it decides alike for every device.
    """
    if not side:
        return images
    n, _, height, width = images.shape
    begins = torch.rand(2, n, 1, generator=rng) * torch.tensor([[[height]], [[width]]])
    top, left = begins.long() - side // 2
    rows, columns = torch.arange(height), torch.arange(width)
    in_rows = (rows >= top) & (rows < top + side)
    in_columns = (columns >= left) & (columns < left + side)
    hole = in_rows[:, :, None] & in_columns[:, None, :]
    if chance < 1:
        hole &= torch.rand(n, 1, 1, generator=rng) < chance
    return images.masked_fill(hole.to(images.device)[:, None], 0)
