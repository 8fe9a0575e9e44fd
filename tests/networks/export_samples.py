"""Architectures and networks for the tests of exports, and a process that has only torch."""

import os
import subprocess
import sys
import textwrap

import torch
from torch import nn

from netwright import rng as streams
from netwright.graphs.batch import ArchitectureBatch
from netwright.networks.enas import enas_network
from netwright.networks.export.card import Card
from netwright.networks.nasbench101 import nasbench101_network
from netwright.networks.nasbench201 import nasbench201_network
from netwright.networks.randwire import randwire_network
from netwright.networks.toy import toy_network
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.randwire import RandWire
from netwright.spaces.toy import Toy

BUILDERS = {
    NASBench101: nasbench101_network,
    NASBench201: nasbench201_network,
    Toy: toy_network,
    RandWire: randwire_network,
    ENAS: enas_network,
}

#: Three heads of which one is narrower, and an edge from a wider to a narrower node.
CUT = "input,conv3x3-bn-relu,conv1x1-bn-relu,maxpool3x3,output:0101100101000110000100000"
NONE = "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|"
SKIP = NONE.replace("none", "skip_connect")
CELLS201 = (
    NONE,
    SKIP,
    NONE.replace("none", "nor_conv_3x3"),
    NONE.replace("none", "avg_pool_3x3"),
    "|none~0|+|none~0|nor_conv_1x1~1|+|avg_pool_3x3~0|nor_conv_3x3~1|none~2|",  # fed with zeros
    "|none~0|+|none~0|avg_pool_3x3~1|+|none~0|nor_conv_3x3~1|skip_connect~2|",
    "|nor_conv_3x3~0|+|nor_conv_1x1~0|none~1|+|nor_conv_1x1~0|none~1|none~2|",  # dead ends
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def cells_of_size(n, count):
    """Cells of NAS-Bench-101 with exactly ``n`` nodes."""
    space = NASBench101(n, 9)
    archs = space.sample(300, rng=rng(n))
    return archs[archs.num_nodes == n][:count].pad(7)


def samples():
    """Every space, every size, and the edge cases, as pairs of a space and an architecture."""
    space = NASBench101()
    cells = ArchitectureBatch.cat(
        [space.parse([CUT]), *[cells_of_size(n, 4 if n > 3 else 1) for n in range(2, 8)]]
    )
    pairs = [(space, cells[i : i + 1]) for i in range(len(cells))]
    space = NASBench201()
    cells = ArchitectureBatch.cat([space.parse(CELLS201), space.sample(8, rng=rng())])
    pairs += [(space, cells[i : i + 1]) for i in range(len(cells))]
    space = Toy()
    cells = space.parse(["identity,identity,identity", "conv3x3,identity,conv1x1"])
    pairs += [(space, cells[i : i + 1]) for i in range(len(cells))]
    for space in (RandWire(1), RandWire(2), RandWire(9), RandWire(4, 3)):
        cells = space.sample(2, rng=rng(1))
        pairs += [(space, cells[i : i + 1]) for i in range(len(cells))]
    for space in (ENAS(1), ENAS(2), ENAS(6), ENAS(12)):
        cells = space.sample(2, rng=rng(1))
        pairs += [(space, cells[i : i + 1]) for i in range(len(cells))]
    return pairs


def card_of(of, cell, **changes):
    """A card; changes may be of any entry, its space and its architecture too."""
    values = {
        "space": of.name,
        "arch": of.to_text(cell)[0],
        "channels": 2,
        "height": 7,
        "width": 5,
        "classes": ("cat", "dog", "eel"),
        "dataset": "animals",
        "mean": (0.25, 0.5),
        "std": (0.5, 0.75),
    }
    return Card(**(values | changes))


def network_of(space, arch, *, seed=0, in_channels=2, num_classes=3, preset="small"):
    """A network whose every weight and running statistic is drawn at random."""
    with streams.scoped(rng(seed)):
        network = BUILDERS[type(space)](
            arch, in_channels=in_channels, num_classes=num_classes, preset=preset
        )
        for parameter in network.parameters():
            nn.init.normal_(parameter, std=0.3)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.running_mean)
                nn.init.uniform_(module.running_var, 0.5, 2)
    return network


BLOCK = """
import sys


BLOCKED = {"netwright", "numpy", "safetensors", "jaxtyping", "beartype", "pydantic", "scipy"}


class OnlyTorch:  # what is blocked is nowhere to be found, as if it were not installed
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in BLOCKED:
            return self.finder.find_spec(name, path, target)


sys.meta_path[:] = map(OnlyTorch, sys.meta_path)
for name in BLOCKED:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(f"{name} can be imported")
"""


def only_torch(code, folder):
    """Run code where neither Netwright nor numpy can be imported; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", BLOCK + textwrap.dedent(code)],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
