"""Networks of RandWire cells ([GraphPNAS] Table 7, [Xie2019]).

Every node is a triplet of ReLU, separable 3x3 convolution and batch normalisation. A node with
several predecessors takes their weighted sum, with learned weights between 0 and 1; one without any
takes the cell's input, and there channels change and height and width are halved, as in [Xie2019].
The output is the mean of the nodes without successors.

That channels change in the nodes themselves is read off the published sizes: a fully connected cell
has one such node and 3.49 million parameters, sparse ones have several, and 3.2 to 3.3. (The text
of [GraphPNAS] places the change in a convolution at the end of each block; then all cells would
have the same size, up to the weights of sums.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.graphs.batch import ArchitectureBatch
from netwright.networks.layers import relu_conv_bn
from netwright.networks.skeleton import CellNetwork, check_inputs, find_preset
from netwright.spaces.randwire import RandWire


@dataclass(frozen=True)
class RandWireSkeleton:
    """What surrounds the cells.

    Attributes:
        stem: Channels and stride of the convolutions before the cells.
        stages: For each stage the channels of its cells, one after another.
        strides: Stride of the first cell of each stage.
        head: Channels of the 1x1 convolution before the classifier.

    Raises:
        ValueError: If a size is below 1, or the strides are not one for each stage.
    """

    stem: tuple[tuple[int, int], ...]
    stages: tuple[tuple[int, ...], ...]
    strides: tuple[int, ...]
    head: int

    def __post_init__(self) -> None:
        sizes = [*(n for pair in self.stem for n in pair), *(c for s in self.stages for c in s)]
        if min([*sizes, *self.strides, self.head]) < 1:
            raise ValueError(f"channels and strides must be at least 1: {self}")
        if not self.stem or not self.stages or len(self.strides) != len(self.stages):
            raise ValueError(f"a network has a stem, stages, and a stride for each stage: {self}")


#: "official" is the base network of Table 7, for images of 224 x 224, and "large" its larger one;
#: "small" trains on 8x8 to 32x32 images.
PRESETS: Mapping[str, RandWireSkeleton] = MappingProxyType(
    {
        "official": RandWireSkeleton(
            ((32, 2), (64, 2)), ((64,), (128,), (256,)), (2, 2, 2), head=1280
        ),
        "large": RandWireSkeleton(
            ((48, 2), (96, 2)), ((192,), (288, 384), (586,)), (2, 2, 2), head=1280
        ),
        "small": RandWireSkeleton(((16, 1),), ((16,), (32,), (64,)), (1, 2, 2), head=128),
    }
)


class RandWireCell(nn.Module):
    """One cell.

    Args:
        adj: ``adj[i][j]`` is the edge ``i -> j``, ``i < j``.
        in_channels: Channels of the input.
        channels: Channels of the output.
        stride: By which nodes without predecessors divide height and width.
    """

    def __init__(
        self, adj: Sequence[Sequence[bool]], in_channels: int, channels: int, *, stride: int = 1
    ) -> None:
        super().__init__()
        nodes = range(len(adj))
        self.predecessors = [[i for i in range(j) if adj[i][j]] for j in nodes]
        self.ends = [i for i in nodes if not any(adj[i][i + 1 :])]
        self.nodes = nn.ModuleList(
            relu_conv_bn(channels, channels, 3, separable=True)
            if self.predecessors[j]
            else relu_conv_bn(in_channels, channels, 3, stride=stride, separable=True)
            for j in nodes
        )
        # Of several inputs, the logits of their weights.
        self.weights = nn.ParameterDict(
            {
                str(j): nn.Parameter(torch.zeros(len(sources)))
                for j, sources in enumerate(self.predecessors)
                if len(sources) > 1
            }
        )

    def forward(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel_out height_out width_out"]:
        """Compute the nodes in order."""
        values: list[Tensor] = []
        for j, node in enumerate(self.nodes):
            values.append(node(self._input(j, values) if self.predecessors[j] else x))
        total: Tensor = reduce(torch.add, [values[i] for i in self.ends])
        return total / len(self.ends)

    def _input(self, node: int, values: list[Tensor]) -> Tensor:
        """Return what a node with predecessors reads."""
        sources = self.predecessors[node]
        if len(sources) == 1:
            return values[sources[0]]
        weight: Tensor = self.weights[str(node)].sigmoid()
        total: Tensor = weight[0] * values[sources[0]]
        for i, source in enumerate(sources[1:], start=1):
            total = torch.addcmul(total, weight[i], values[source])
        return total


def _space_of(arch: ArchitectureBatch) -> RandWire:
    """The space of as many cells of as many nodes."""
    cells = int(arch.ops[0].max()) + 1
    return RandWire(max(1, int(arch.num_nodes[0]) // cells), cells)


def randwire_network(
    arch: ArchitectureBatch,
    *,
    in_channels: int,
    num_classes: int,
    preset: str | RandWireSkeleton = "official",
) -> nn.Module:
    """Build the network of one wiring, or of one for each stage.

    Weights are drawn from torch's global generator: call this inside `netwright.rng.scoped`.

    Args:
        arch: A single architecture of `RandWire`, of any size.
        in_channels: Channels of the images.
        num_classes: Number of logits.
        preset: A name in `PRESETS`, or a skeleton of one's own.

    Raises:
        ValueError: If the architecture is not of the space, or there is not one cell for each
            stage.
    """
    skeleton = find_preset(preset, PRESETS)
    check_inputs(arch, partial(_space_of, arch), in_channels=in_channels, num_classes=num_classes)
    with torch.device(arch.device):  # the network may be built on another, without values
        cells = _space_of(arch).split(arch)[0].tolist()
    if len(cells) not in (1, len(skeleton.stages)):
        raise ValueError(
            f"{len(cells)} cells for {len(skeleton.stages)} stages: give one, or one for each"
        )
    stem, width = nn.Sequential(), in_channels
    for i, (channels, stride) in enumerate(skeleton.stem):
        convolution = relu_conv_bn(width, channels, 3, stride=stride, separable=True)
        stem.append(convolution if i else convolution[1:])  # images are not cut off at zero
        width = channels
    body = nn.Sequential()
    for stage, (widths, stride) in enumerate(zip(skeleton.stages, skeleton.strides, strict=True)):
        adj = cells[stage if len(cells) > 1 else 0]
        for i, channels in enumerate(widths):
            body.append(RandWireCell(adj, width, channels, stride=1 if i else stride))
            width = channels
    body.extend([relu_conv_bn(width, skeleton.head, 1), nn.ReLU()])
    return CellNetwork(stem, body, nn.Linear(skeleton.head, num_classes))
