"""Networks of the toy space: chains of operations, enough to train all of them."""

from collections.abc import Mapping
from types import MappingProxyType

from torch import nn

from netwright.graphs.batch import ArchitectureBatch
from netwright.networks.layers import conv_bn_relu
from netwright.networks.skeleton import CellNetwork, Skeleton, check_inputs, find_preset
from netwright.spaces.toy import Toy

#: Both are one and the same: the toy space has no official skeleton.
PRESETS: Mapping[str, Skeleton] = MappingProxyType(
    dict.fromkeys(("official", "small"), Skeleton(stem_channels=8, stacks=2, cells=1))
)


def toy_network(
    arch: ArchitectureBatch,
    *,
    in_channels: int,
    num_classes: int,
    preset: str | Skeleton = "official",
) -> nn.Module:
    """Build the network of one chain of the toy space.

    A stack starts with a 1x1 convolution to its channels and, except the first, max-pooling; a
    cell is the chain of operations. Weights are drawn from torch's global generator: call this
    inside `netwright.rng.scoped`.

    Args:
        arch: A single chain.
        in_channels: Channels of the images.
        num_classes: Number of logits.
        preset: A name in `PRESETS`, or a skeleton of one's own.

    Raises:
        ValueError: If the architecture is not a chain of the space.
    """
    skeleton = find_preset(preset, PRESETS)
    check_inputs(arch, Toy, in_channels=in_channels, num_classes=num_classes)
    ops = [Toy.op_names[op] for op in arch.ops[0].tolist()]
    body, width = nn.Sequential(), skeleton.stem_channels
    for stack, channels in enumerate(skeleton.channels):
        if stack:
            body.append(nn.MaxPool2d(2, ceil_mode=True))
            body.append(conv_bn_relu(width, channels, 1, skeleton))
        for _ in range(skeleton.cells):
            body.append(nn.Sequential(*(_operation(op, channels, skeleton) for op in ops)))
        width = channels
    stem = conv_bn_relu(in_channels, skeleton.stem_channels, 3, skeleton)
    return CellNetwork(stem, body, nn.Linear(width, num_classes))


def _operation(name: str, channels: int, skeleton: Skeleton) -> nn.Module:
    if name == "identity":
        return nn.Identity()
    return conv_bn_relu(channels, channels, {"conv1x1": 1, "conv3x3": 3}[name], skeleton)
