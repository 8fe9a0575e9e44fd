"""Networks of the ENAS macro space, as they are trained in the end [Pham2018].

A layer computes its operation on the layer before it and, if it skips from others, joins them with
a 1x1 convolution of the concatenation. Two factorized reductions, after a third and two thirds of
the layers, halve height and width of everything that is still used, and double the channels.

In the authors' code both separable operations become full convolutions here; their published sizes
(about 20 and 37 million parameters, also in [GraphPNAS] Table 3) are those, so "official" does the
same. Pooling, which their code leaves out, is what it is while weights are shared: a 1x1
convolution and the pooling. A reduction of a layer that nothing uses any more is not built.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.graphs.batch import ArchitectureBatch
from netwright.networks.layers import relu_conv_bn
from netwright.networks.skeleton import check_inputs, find_preset
from netwright.spaces.enas import ENAS


@dataclass(frozen=True)
class ENASSkeleton:
    """The sizes of a network.

    Attributes:
        channels: Of the stem and of the layers before the first reduction; even.
        separable: Whether separable operations are separable; officially they are not.
        dropout: Share of the features that are dropped before the classifier.

    Raises:
        ValueError: If ``channels`` is odd or below 2.
    """

    channels: int
    separable: bool = False
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.channels < 2 or self.channels % 2:
            raise ValueError(f"channels must be even and at least 2, not {self.channels}")


#: "official" has 96 channels, "large" 128; "small" trains on 8x8 to 32x32 images.
PRESETS: Mapping[str, ENASSkeleton] = MappingProxyType(
    {
        "official": ENASSkeleton(96),
        "large": ENASSkeleton(128),
        "small": ENASSkeleton(8, separable=True, dropout=0.0),
    }
)

_KERNELS = {"conv3x3": 3, "sepconv3x3": 3, "conv5x5": 5, "sepconv5x5": 5}


class FactorizedReduction(nn.Module):
    """Halve height and width, rounded up: two strided 1x1 convolutions, one shifted by a pixel."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(in_channels, channels // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(in_channels, channels - channels // 2, 1, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(channels)

    def forward(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel_out height_out width_out"]:
        """Return a map of half the height and width."""
        shifted = nn.functional.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        out: Tensor = self.bn(torch.cat([self.even(x), self.odd(shifted)], dim=1))
        return out


class ENASNetwork(nn.Module):
    """Stem, layers with skip connections, global average pooling, classifier.

    Args:
        ops: Name of each layer's operation.
        skips: For each layer the nodes it skips from; node 0 is the stem, node ``l`` layer ``l``.
        in_channels: Channels of the images.
        num_classes: Number of logits.
        skeleton: The sizes.
    """

    def __init__(
        self,
        ops: Sequence[str],
        skips: Sequence[Sequence[int]],
        *,
        in_channels: int,
        num_classes: int,
        skeleton: ENASSkeleton,
    ) -> None:
        super().__init__()
        channels, third = skeleton.channels, len(ops) // 3
        self.skips = [list(sources) for sources in skips]
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )
        self.operations, self.joins = nn.ModuleList(), nn.ModuleDict()
        self.reductions = nn.ModuleDict()  # by the layer they follow and the node they reduce
        for layer, (op, sources) in enumerate(zip(ops, self.skips, strict=True), start=1):
            self.operations.append(_operation(op, channels, skeleton))
            if layer > 1:
                self.joins[str(layer)] = relu_conv_bn((len(sources) + 1) * channels, channels, 1)
            if third and layer in (third, 2 * third):
                used = {source for later in self.skips[layer:] for source in later}
                for node in sorted(node for node in {layer, *used} if node <= layer):
                    self.reductions[f"{layer}_{node}"] = FactorizedReduction(channels, 2 * channels)
                channels *= 2
        self.dropout = nn.Dropout(skeleton.dropout)
        self.classifier = nn.Linear(channels, num_classes)

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch class"]:
        """Return the logits."""
        values: dict[int, Tensor] = {0: self.stem(images)}
        for layer, operation in enumerate(self.operations, start=1):
            out: Tensor = operation(values[layer - 1])
            if layer > 1:
                parts = [*(values[source] for source in self.skips[layer - 1]), out]
                out = self.joins[str(layer)](torch.cat(parts, dim=1))
            values[layer] = out
            if f"{layer}_{layer}" in self.reductions:
                values = {
                    node: self.reductions[f"{layer}_{node}"](value)
                    for node, value in values.items()
                    if f"{layer}_{node}" in self.reductions
                }
        features = values[len(self.operations)].mean(dim=(2, 3))
        logits: Tensor = self.classifier(self.dropout(features))
        return logits


def _operation(name: str, channels: int, skeleton: ENASSkeleton) -> nn.Module:
    first = relu_conv_bn(channels, channels, 1)
    if name in _KERNELS:
        separable = skeleton.separable and name.startswith("sep")
        kernel = relu_conv_bn(channels, channels, _KERNELS[name], separable=separable)
        return nn.Sequential(first, kernel)
    if name == "avgpool3x3":
        pool: nn.Module = nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    else:
        pool = nn.MaxPool2d(3, stride=1, padding=1)
    return nn.Sequential(first, nn.ReLU(), pool)


def path_of(arch: ArchitectureBatch) -> tuple[list[str], list[list[int]]]:
    """Return the name of each layer's operation, and the nodes it skips from.

    Node 0 is the stem, node ``l`` layer ``l``.
    """
    layers = int(arch.num_nodes[0]) - 2
    ops = [ENAS.op_names[op] for op in arch.ops[0, 1 : layers + 1].tolist()]
    adj = arch.adj[0].tolist()
    skips = [[i for i in range(layer - 1) if adj[i][layer]] for layer in range(1, layers + 1)]
    return ops, skips


def _space_of(arch: ArchitectureBatch) -> ENAS:
    """The space of as many layers."""
    return ENAS(max(1, int(arch.num_nodes[0]) - 2))


def enas_network(
    arch: ArchitectureBatch,
    *,
    in_channels: int,
    num_classes: int,
    preset: str | ENASSkeleton = "official",
) -> nn.Module:
    """Build the network of one architecture of `ENAS`, of any number of layers.

    Weights are drawn from torch's global generator: call this inside `netwright.rng.scoped`.

    Args:
        arch: A single architecture.
        in_channels: Channels of the images.
        num_classes: Number of logits.
        preset: A name in `PRESETS`, or a skeleton of one's own.

    Raises:
        ValueError: If the architecture is not of the space.
    """
    skeleton = find_preset(preset, PRESETS)
    check_inputs(arch, partial(_space_of, arch), in_channels=in_channels, num_classes=num_classes)
    ops, skips = path_of(arch)
    return ENASNetwork(
        ops, skips, in_channels=in_channels, num_classes=num_classes, skeleton=skeleton
    )
