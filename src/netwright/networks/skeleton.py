"""What surrounds the cells of a network: sizes, normalisation, stem and classifier."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.graphs.batch import ArchitectureBatch
from netwright.spaces.base import SearchSpace

_Sizes = TypeVar("_Sizes")


def find_preset(preset: str | _Sizes, presets: Mapping[str, _Sizes]) -> _Sizes:
    """Look a preset up by name; the sizes of a network stand for themselves.

    Raises:
        ValueError: If there is no preset of that name.
    """
    if not isinstance(preset, str):
        return preset
    if preset not in presets:
        kind = type(next(iter(presets.values()))).__name__
        raise ValueError(f"no preset {preset!r}: use {', '.join(presets)} or a {kind}")
    return presets[preset]


@dataclass(frozen=True)
class Skeleton:
    """The sizes of a network made of equal cells.

    Channels double, and height and width halve, from one stack to the next.

    Attributes:
        stem_channels: Channels of the stem and of the first stack.
        stacks: Number of stacks.
        cells: Number of cells in each stack.
        bn_momentum: Weight of the newest batch in the running statistics (torch's convention:
            one minus TensorFlow's).
        bn_eps: Added to the variance.
    """

    stem_channels: int
    stacks: int
    cells: int
    bn_momentum: float = 0.1
    bn_eps: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("stem_channels", "stacks", "cells"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    @property
    def channels(self) -> list[int]:
        """Channels of each stack."""
        return [self.stem_channels << stack for stack in range(self.stacks)]

    def batch_norm(self, channels: int) -> nn.BatchNorm2d:
        """Make a batch normalisation with trainable scale and shift."""
        return nn.BatchNorm2d(channels, eps=self.bn_eps, momentum=self.bn_momentum)


class CellNetwork(nn.Module):
    """Stem, body, global average pooling, linear classifier."""

    def __init__(self, stem: nn.Module, body: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.body = body
        self.classifier = classifier

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch class"]:
        """Return the logits."""
        features: Tensor = self.body(self.stem(images))
        logits: Tensor = self.classifier(features.mean(dim=(2, 3)))
        return logits


def check_inputs(
    arch: ArchitectureBatch,
    space: Callable[[], SearchSpace],
    *,
    in_channels: int,
    num_classes: int,
) -> None:
    """Insist on one architecture of ``space()``, and on images and classes that exist.

    Raises:
        ValueError: Naming what is wrong.
    """
    if len(arch) != 1:
        raise ValueError(f"a network has one architecture, not {len(arch)}: pass archs[i : i + 1]")
    with torch.device(arch.device):  # the network may be built on another, without values ("meta")
        reason = space().invalid_reason(arch)
    if reason is not None:
        raise ValueError(f"no network can be built: {reason}")
    for name, value in (("in_channels", in_channels), ("num_classes", num_classes)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, not {value}")
