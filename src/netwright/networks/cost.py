"""What a network costs: parameters and multiply-adds, counted without memory or weights."""

from collections.abc import Callable

import torch
from torch import nn


def count_parameters(module: nn.Module) -> int:
    """Count the trainable numbers of a module, on whatever device it lies.

    Build inside `torch.device("meta")` to count a network that was never allocated.
    """
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def measure_flops(build: Callable[[], nn.Module], image_shape: tuple[int, int, int]) -> int:
    """Count the multiply-adds of one image's forward pass, on the meta device.

    This is what NAS-Bench-201 and most of the field publish as "FLOPs" (in millions); counted as
    separate multiplications and additions it would be twice as many. Convolutions and linear
    layers count, as in the official figures; normalisation, pooling and additions do not. Only
    what is computed counts: the official figures also count operations whose result nothing uses.

    Args:
        build: Makes the network.
        image_shape: Channels, height and width.
    """
    from torch.utils.flop_counter import FlopCounterMode  # slow to import

    counter = FlopCounterMode(display=False)
    with torch.device("meta"), torch.no_grad(), counter:
        network = build().eval().requires_grad_(False)  # the counter trips over parameters
        network(torch.empty(1, *image_shape))
    flops: int = counter.get_total_flops()
    return flops // 2  # the counter counts a multiply-add as two
