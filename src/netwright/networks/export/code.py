"""Networks as source code: the same modules as `netwright.networks` builds, weight by weight."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from netwright.graphs.batch import ArchitectureBatch
from netwright.networks import nasbench101, nasbench201, toy
from netwright.networks.enas import PRESETS as ENAS_PRESETS
from netwright.networks.enas import ENASSkeleton, enas_network, path_of
from netwright.networks.export import layers
from netwright.networks.export.cells import (
    CellCode,
    nasbench101_cell,
    nasbench201_cell,
    toy_cell,
)
from netwright.networks.export.enas import enas_code
from netwright.networks.export.randwire import randwire_code
from netwright.networks.randwire import PRESETS as RANDWIRE_PRESETS
from netwright.networks.randwire import RandWireSkeleton, randwire_network
from netwright.networks.skeleton import Skeleton, find_preset
from netwright.spaces.base import SearchSpace
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.randwire import RandWire
from netwright.spaces.toy import Toy


@dataclass(frozen=True)
class NetworkCode:
    """The classes of a network.

    Attributes:
        source: Of the classes, the last of which is ``Network``, made without arguments.
        names: From the names of the weights in `netwright.networks` to those in the source.
        parameters: Number of trainable numbers.
    """

    source: str
    names: Mapping[str, str]
    parameters: int


def network_code(
    space: SearchSpace,
    arch: ArchitectureBatch,
    *,
    in_channels: int,
    num_classes: int,
    preset: str | Skeleton | RandWireSkeleton | ENASSkeleton,
) -> NetworkCode:
    """Write the network of a single architecture.

    Raises:
        ValueError: If the space is not one of the library's, or the network cannot be built.
    """
    arguments: dict[str, Any] = {"in_channels": in_channels, "num_classes": num_classes}
    if isinstance(space, RandWire | ENAS):
        return _whole(space, arch, preset, arguments)
    build: Callable[..., nn.Module]
    match space:  # by type: anything may call itself nasbench101
        case NASBench101():
            build, presets, write = nasbench101.nasbench101_network, nasbench101.PRESETS, _write101
        case NASBench201():
            build, presets, write = nasbench201.nasbench201_network, nasbench201.PRESETS, _write201
        case Toy():
            build, presets, write = toy.toy_network, toy.PRESETS, _write_toy
        case _:
            raise ValueError(
                "only networks of the library's own spaces can be written as Python: that of "
                f"{space.name} is Python already; use the format torch or onnx"
            )
    if not isinstance(preset, str | Skeleton):
        raise ValueError(f"a network of {space.name} has a Skeleton, not {preset!r}")
    skeleton = find_preset(preset, presets)
    with torch.device("meta"):  # checks the architecture, and has the weights' names
        network = build(arch, **arguments, preset=skeleton)
    cell, body, classes = write(space, arch, skeleton)
    glorot = isinstance(space, NASBench101)
    stem = (
        ["nn.Sequential(", f"    nn.Conv2d(in_channels, {skeleton.stem_channels}, 3, padding=1, "
         "bias=False),", f"    {layers.batch_norm(str(skeleton.stem_channels), skeleton)},", ")"]
        if isinstance(space, NASBench201)
        else [f"ConvBnRelu(in_channels, {skeleton.stem_channels}, 3)"]
    )  # fmt: skip
    top = _network(stem, body, skeleton.channels[-1], in_channels, num_classes, glorot=glorot)
    names = {name: _renamed(name, body, cell) for name in network.state_dict()}
    parameters = sum(p.numel() for p in network.parameters())
    return NetworkCode("\n\n".join([*classes, cell.source, top]), names, parameters)


def _whole(
    space: RandWire | ENAS, arch: ArchitectureBatch, preset: object, arguments: dict[str, Any]
) -> NetworkCode:
    """Write a network of one piece; its weights keep their names."""
    build: Callable[..., nn.Module] = (
        randwire_network if isinstance(space, RandWire) else enas_network
    )
    with torch.device("meta"):  # checks the architecture, and has the weights' names
        network = build(arch, **arguments, preset=preset)
    if isinstance(space, RandWire):
        found = find_preset(preset, RANDWIRE_PRESETS)
        assert isinstance(found, RandWireSkeleton)
        source = randwire_code(space.cells, found, **arguments)
    else:
        sizes = find_preset(preset, ENAS_PRESETS)
        assert isinstance(sizes, ENASSkeleton)
        source = enas_code(*path_of(arch), sizes, **arguments)
    names = {name: name for name in network.state_dict()}
    return NetworkCode(source, names, sum(p.numel() for p in network.parameters()))


_Parts = tuple[CellCode, list[str], list[str]]  # the cell; the body's modules; further classes


def _ops(space: SearchSpace, arch: ArchitectureBatch) -> list[str]:
    return [space.op_names[op] for op in arch.ops[0, : int(arch.num_nodes[0])].tolist()]


def _write101(space: SearchSpace, arch: ArchitectureBatch, skeleton: Skeleton) -> _Parts:
    n = int(arch.num_nodes[0])
    cell = nasbench101_cell(_ops(space, arch), arch.adj[0, :n, :n].tolist())
    body, width = list[str](), skeleton.stem_channels
    for stack, channels in enumerate(skeleton.channels):
        if stack:
            body.append("nn.MaxPool2d(2, ceil_mode=True)")
        for _ in range(skeleton.cells):
            body.append(f"Cell({width}, {channels})")
            width = channels
    return cell, body, [layers.conv_bn_relu(skeleton)]


def _write201(space: SearchSpace, arch: ArchitectureBatch, skeleton: Skeleton) -> _Parts:
    cell = nasbench201_cell(_ops(space, arch)[1:7])
    body, width = list[str](), skeleton.stem_channels
    for stack, channels in enumerate(skeleton.channels):
        if stack:
            body.append(f"Downsampling({width}, {channels})")
        body += [f"Cell({channels})"] * skeleton.cells
        width = channels
    body += [layers.batch_norm(str(width), skeleton), "nn.ReLU(inplace=True)"]
    conv = layers.relu_conv_bn(skeleton, of_zeros=".of_zeros(" in cell.source)
    return cell, body, [conv, layers.DOWNSAMPLING]


def _write_toy(space: SearchSpace, arch: ArchitectureBatch, skeleton: Skeleton) -> _Parts:
    cell = toy_cell(_ops(space, arch))
    body, width = list[str](), skeleton.stem_channels
    for stack, channels in enumerate(skeleton.channels):
        if stack:
            body += ["nn.MaxPool2d(2, ceil_mode=True)", f"ConvBnRelu({width}, {channels}, 1)"]
        body += [f"Cell({channels})"] * skeleton.cells
        width = channels
    return cell, body, [layers.conv_bn_relu(skeleton)]


def _network(
    stem: list[str],
    body: list[str],
    width: int,
    in_channels: int,
    num_classes: int,
    *,
    glorot: bool,
) -> str:
    init = [f"self.stem = {stem[0]}", *stem[1:], "self.body = nn.Sequential("]
    init += [f"    {module}," for module in body]
    init += [")", f"self.classifier = nn.Linear({width}, num_classes)"]
    if glorot:
        init += [
            "nn.init.xavier_uniform_(self.classifier.weight)",
            "nn.init.zeros_(self.classifier.bias)",
        ]
    sizes = {"in_channels": in_channels, "num_classes": num_classes}
    return layers.network_class(layers.STEM_AND_BODY, init, layers.FORWARD, **sizes)


def _renamed(name: str, body: list[str], cell: CellCode) -> str:
    """Return what a weight is called in the source: only those of cells are called differently."""
    part, _, rest = name.partition(".")
    place, _, rest = rest.partition(".")
    if part != "body" or not body[int(place)].startswith("Cell("):
        return name
    old = next(old for old in cell.attributes if rest.startswith(f"{old}."))
    return f"body.{place}.{cell.attributes[old]}{rest.removeprefix(old)}"
