"""Random crops and flips of whole batches."""

import torch
from jaxtyping import Shaped
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
