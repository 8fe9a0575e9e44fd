"""Networks of NAS-Bench-201 cells, as in the official `InferCell` and `TinyNetwork`.

A cell adds, at each of its nodes 1..3, what the edges from earlier nodes bring. An edge computes
only if the output depends on it: those from which no path leads to the output, and those that pass
zeros on, cost parameters but no time. The outputs are the official ones; the parameters of such an
edge get no gradient where the official code gives them one of zero.
"""

from collections.abc import Mapping, Sequence
from functools import reduce
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from netwright.graphs.batch import ArchitectureBatch
from netwright.networks.layers import ReluConvBn, ResidualDownsampling
from netwright.networks.skeleton import CellNetwork, Skeleton, check_inputs, find_preset
from netwright.spaces.nasbench201 import CELL_EDGES, NASBench201

#: "official" is the skeleton of the benchmark; "small" trains on 8x8 to 32x32 images in seconds.
PRESETS: Mapping[str, Skeleton] = MappingProxyType(
    {
        "official": Skeleton(stem_channels=16, stacks=3, cells=5),
        "small": Skeleton(stem_channels=16, stacks=2, cells=1),
    }
)

_OUTPUT = 3


class NASBench201Cell(nn.Module):
    """One cell; height, width and channels stay.

    Args:
        ops: Name of the operation on each of `CELL_EDGES`.
        channels: Channels of input and output.
        skeleton: Says how to normalise.
    """

    def __init__(self, ops: Sequence[str], channels: int, skeleton: Skeleton) -> None:
        super().__init__()
        self.edges = nn.ModuleDict(
            {
                f"{source}_{target}": _operation(op, channels, skeleton)
                for (source, target), op in zip(CELL_EDGES, ops, strict=True)
                if op != "none"
            }
        )
        needed = {_OUTPUT}  # the nodes the output depends on
        self.live: list[tuple[int, int]] = []
        for source, target in reversed(CELL_EDGES):  # by descending target
            if f"{source}_{target}" in self.edges and target in needed:
                needed.add(source)
                self.live.insert(0, (source, target))

    def forward(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch channel height width"]:
        """Compute the nodes in order; None stands for zeros."""
        values: list[Tensor | None] = [x]
        for node in range(1, _OUTPUT + 1):
            passed = (
                self._pass(self.edges[f"{source}_{target}"], values[source], x)
                for source, target in self.live
                if target == node
            )
            terms = [term for term in passed if term is not None]
            values.append(reduce(torch.add, terms) if terms else None)
        out = values[_OUTPUT]
        return torch.zeros_like(x) if out is None else out

    def _pass(self, edge: nn.Module, value: Tensor | None, x: Tensor) -> Tensor | None:
        """Return what an edge makes of its source's value."""
        if value is not None:
            passed: Tensor = edge(value)
            return passed
        return edge.of_zeros(x) if isinstance(edge, ReluConvBn) else None


def _operation(name: str, channels: int, skeleton: Skeleton) -> nn.Module:
    if name == "skip_connect":
        return nn.Identity()
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    return ReluConvBn(channels, channels, {"nor_conv_1x1": 1, "nor_conv_3x3": 3}[name], skeleton)


def nasbench201_network(
    arch: ArchitectureBatch,
    *,
    in_channels: int,
    num_classes: int,
    preset: str | Skeleton = "official",
) -> nn.Module:
    """Build the network of one NAS-Bench-201 cell.

    Weights are drawn from torch's global generator: call this inside `netwright.rng.scoped`.

    Args:
        arch: A single cell in the 8-node form of `NASBench201`.
        in_channels: Channels of the images.
        num_classes: Number of logits.
        preset: A name in `PRESETS`, or a skeleton of one's own.

    Raises:
        ValueError: If the architecture is not a cell of the space.
    """
    skeleton = find_preset(preset, PRESETS)
    check_inputs(arch, NASBench201, in_channels=in_channels, num_classes=num_classes)
    ops = [NASBench201.op_names[op] for op in arch.ops[0, 1:7].tolist()]
    body, width = nn.Sequential(), skeleton.stem_channels
    for stack, channels in enumerate(skeleton.channels):
        if stack:
            body.append(ResidualDownsampling(width, channels, skeleton))
        for _ in range(skeleton.cells):
            body.append(NASBench201Cell(ops, channels, skeleton))
        width = channels
    body.extend([skeleton.batch_norm(width), nn.ReLU(inplace=True)])
    stem = nn.Sequential(
        nn.Conv2d(in_channels, skeleton.stem_channels, 3, padding=1, bias=False),
        skeleton.batch_norm(skeleton.stem_channels),
    )
    return CellNetwork(stem, body, nn.Linear(width, num_classes))
