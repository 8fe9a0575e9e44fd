"""How weights, and with them images, lie in memory while a network computes."""

import torch
from torch import nn


def channels_last(model: nn.Module, device: torch.device) -> None:
    """Move a model to a device and its weights into channels-last order, in place.

    What it computes then lies in that order too, in which GPUs multiply in half precision and
    pooling on a CPU is 3.5 times faster. Values change by rounding only.

    There is an exception: on CPUs oneDNN's gradient of strided 1x1 convolutions of fewer than 8
    channels writes beyond its memory then (torch 2.13), and the process ends. A model with such
    stays as it is.
    """
    broken = device.type == "cpu" and any(
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (1, 1)
        and max(module.stride) > 1
        and module.in_channels // module.groups < 8
        for module in model.modules()
    )
    _lay_out(model.to(device), torch.contiguous_format if broken else torch.channels_last)


def channels_first(model: nn.Module) -> None:
    """Move a model's weights into torch's usual order, which files of weights have, in place."""
    _lay_out(model, torch.contiguous_format)


def _lay_out(model: nn.Module, order: torch.memory_format) -> None:
    model.to(memory_format=order)  # type: ignore[call-overload]  # torch's annotations lack it
