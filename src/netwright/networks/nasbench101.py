"""Networks of NAS-Bench-101 cells, as in the official `model_builder` and `base_ops`.

The input of a cell is projected (1x1 convolution, normalisation, ReLU) wherever it goes. Interior
nodes add their inputs; the output concatenates its interior predecessors and adds the projected
input if there is an edge from it. Where channels do not divide evenly, the first predecessors of
the output get one more, so renumbering the nodes can move a channel from one operation to another:
build a benchmark's cell in the benchmark's own node order.
"""

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.graphs.batch import ArchitectureBatch
from netwright.networks.layers import conv_bn_relu
from netwright.networks.skeleton import CellNetwork, Skeleton, check_inputs, find_preset
from netwright.spaces.nasbench101 import NASBench101

#: "official" is the skeleton of the benchmark; "small" trains on 8x8 to 32x32 images in seconds.
PRESETS: Mapping[str, Skeleton] = MappingProxyType(
    {
        # TensorFlow's momentum of 0.997 is torch's 0.003.
        "official": Skeleton(stem_channels=128, stacks=3, cells=3, bn_momentum=0.003),
        "small": Skeleton(stem_channels=16, stacks=2, cells=1),
    }
)


def node_channels(adj: Sequence[Sequence[bool]], in_channels: int, channels: int) -> list[int]:
    """Divide a cell's channels among its nodes (the official `compute_vertex_channels`).

    The predecessors of the output share ``channels`` evenly, the first ones taking the remainder,
    one each. Any other interior node has as many as the largest of its successors.

    Args:
        adj: ``adj[i][j]`` is the edge ``i -> j``; every node on a path from first to last.
        in_channels: Channels of the cell's input.
        channels: Channels of the cell's output.

    Raises:
        ValueError: If there are more predecessors of the output than channels.
    """
    last = len(adj) - 1
    counts = [0] * (last + 1)
    counts[0], counts[last] = in_channels, channels
    into_output = [node for node in range(1, last) if adj[node][last]]
    if len(into_output) > channels:
        raise ValueError(
            f"{channels} channels cannot be divided among {len(into_output)} nodes: "
            "use a skeleton with more stem_channels"
        )
    for rank, node in enumerate(into_output):
        share, remainder = divmod(channels, len(into_output))
        counts[node] = share + (rank < remainder)
    for node in range(last - 1, 0, -1):
        if not adj[node][last]:
            counts[node] = max(counts[to] for to in range(node + 1, last) if adj[node][to])
    return counts


class NASBench101Cell(nn.Module):
    """One cell.

    Args:
        ops: Name of each node's operation, those of input and output included.
        adj: ``adj[i][j]`` is the edge ``i -> j``.
        in_channels: Channels of the input.
        channels: Channels of the output.
        skeleton: Says how to normalise.
    """

    def __init__(
        self,
        ops: Sequence[str],
        adj: Sequence[Sequence[bool]],
        in_channels: int,
        channels: int,
        skeleton: Skeleton,
    ) -> None:
        super().__init__()
        last = len(ops) - 1
        self.node_channels = node_channels(adj, in_channels, channels)
        self.predecessors = [[i for i in range(1, j) if adj[i][j]] for j in range(last + 1)]
        self.projections = nn.ModuleDict(
            {
                str(node): conv_bn_relu(in_channels, self.node_channels[node], 1, skeleton)
                for node in range(1, last + 1)
                if adj[0][node]
            }
        )
        self.operations = nn.ModuleDict(
            {
                str(node): _operation(ops[node], self.node_channels[node], skeleton)
                for node in range(1, last)
            }
        )

    def forward(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel_out height width"]:
        """Compute the nodes in order."""
        values = [x]
        for node, operation in enumerate(self.operations.values(), start=1):
            size = self.node_channels[node]  # predecessors may have one channel more: cut it off
            inputs = [values[source][:, :size] for source in self.predecessors[node]]
            values.append(operation(self._sum(node, inputs, x)))
        last = len(values)
        parts = [values[source] for source in self.predecessors[last]]
        return self._sum(last, [torch.cat(parts, dim=1)] if parts else [], x)

    def _sum(self, node: int, inputs: list[Tensor], x: Tensor) -> Tensor:
        """Add the inputs of a node, the projected input of the cell among them."""
        if str(node) in self.projections:
            inputs = [*inputs, self.projections[str(node)](x)]
        return reduce(torch.add, inputs)


def _operation(name: str, channels: int, skeleton: Skeleton) -> nn.Module:
    if name == "maxpool3x3":
        return nn.MaxPool2d(3, stride=1, padding=1)
    return conv_bn_relu(
        channels, channels, {"conv1x1-bn-relu": 1, "conv3x3-bn-relu": 3}[name], skeleton
    )


def _space_of(arch: ArchitectureBatch) -> NASBench101:
    """The space of cells as large as this one: networks know no limit."""
    return NASBench101(max(2, int(arch.num_nodes[0])), max(1, int(arch.num_edges[0])))


def nasbench101_network(
    arch: ArchitectureBatch,
    *,
    in_channels: int,
    num_classes: int,
    preset: str | Skeleton = "official",
) -> nn.Module:
    """Build the network of one NAS-Bench-101 cell.

    Weights are drawn from torch's global generator: call this inside `netwright.rng.scoped`.

    Args:
        arch: A single cell, of any size, as `NASBench101.simplify` leaves it.
        in_channels: Channels of the images.
        num_classes: Number of logits.
        preset: A name in `PRESETS`, or a skeleton of one's own.

    Raises:
        ValueError: If the architecture is not a cell, or the skeleton cannot hold it.
    """
    skeleton = find_preset(preset, PRESETS)
    space = partial(_space_of, arch)
    check_inputs(arch, space, in_channels=in_channels, num_classes=num_classes)
    n = int(arch.num_nodes[0])
    ops = [NASBench101.op_names[op] for op in arch.ops[0, :n].tolist()]
    adj = arch.adj[0, :n, :n].tolist()
    body, width = nn.Sequential(), skeleton.stem_channels
    for stack, channels in enumerate(skeleton.channels):
        if stack:
            body.append(nn.MaxPool2d(2, ceil_mode=True))
        for _ in range(skeleton.cells):
            body.append(NASBench101Cell(ops, adj, width, channels, skeleton))
            width = channels
    classifier = nn.Linear(width, num_classes)
    nn.init.xavier_uniform_(classifier.weight)  # what TensorFlow's dense layer starts from
    nn.init.zeros_(classifier.bias)
    stem = conv_bn_relu(in_channels, skeleton.stem_channels, 3, skeleton)
    return CellNetwork(stem, body, classifier)
