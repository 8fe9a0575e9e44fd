"""Every space honours the same contract, and the contract catches those that do not."""

import pytest
import torch

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.spaces.base import SearchSpace
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.nasbenchgraph import NASBenchGraph
from netwright.spaces.nats_pruned import NATSPruned
from netwright.spaces.randwire import RandWire
from netwright.spaces.toy import Toy
from netwright.testing.spaces import SPACE_CHECKS, check_space

SPACES = {
    "toy": Toy,
    "nasbench101": NASBench101,
    "nasbench101 of 5 nodes": lambda: NASBench101(5, 7),
    "nasbench101 of 2 nodes": lambda: NASBench101(2, 1),
    "nasbench101 of 9 nodes": lambda: NASBench101(9, 14),
    "nasbench201": NASBench201,
    "nats_pruned": NATSPruned,
    "enas": ENAS,
    "enas of 1 layer": lambda: ENAS(1),
    "enas of 3 layers": lambda: ENAS(3),
    "enas of 12 layers": lambda: ENAS(12),
    "nasbenchgraph": NASBenchGraph,
    "randwire": RandWire,
    "randwire of 5 nodes": lambda: RandWire(5),
    "randwire of 3 cells": lambda: RandWire(4, cells=3),
    "nasbenchgraph of proteins": lambda: NASBenchGraph(proteins=True),
}


@pytest.mark.parametrize("check", SPACE_CHECKS.values(), ids=SPACE_CHECKS.keys())
@pytest.mark.parametrize("make", SPACES.values(), ids=SPACES.keys())
def test_contract(make, check):
    check(make())


class Delegating(SearchSpace):
    """The toy space, seen through methods that a fault can replace."""

    def __init__(self, toy):
        self.toy = toy
        self.name, self.op_names, self.layout = toy.name, toy.op_names, toy.layout

    size = 27

    def sample(self, n, *, rng):
        return self.toy.sample(n, rng=rng)

    def neighbours(self, arch):
        return self.toy.neighbours(arch)

    def to_text(self, archs):
        return self.toy.to_text(archs)

    def from_text(self, texts):
        return self.toy.from_text(texts)

    def enumerate(self):
        return self.toy.enumerate()


def _fixed_seed(space, n, *, rng):
    del rng
    return space.toy.sample(n, rng=torch.Generator().manual_seed(0))


def _global_seed(space, n, *, rng):
    torch.rand(1)
    return space.toy.sample(n, rng=rng)


def _draws_without_advancing(space, n, *, rng):
    return space.toy.sample(n, rng=torch.Generator().set_state(rng.get_state()))


def _invalid(space, n, *, rng):
    archs = space.toy.sample(n, rng=rng)
    return ArchitectureBatch(archs.ops, torch.zeros_like(archs.adj), archs.num_nodes)


def _unmasked(space, n, *, rng):
    archs = space.toy.sample(n, rng=rng).pad(4)
    return ArchitectureBatch(
        archs.ops.index_fill(1, torch.tensor([3]), 1), archs.adj, archs.num_nodes
    )


def _forgetful_text(space, archs):
    return [",".join(["identity", *text.split(",")[1:]]) for text in space.toy.to_text(archs)]


def _lenient(space, texts):
    names = [[name for name in text.split(",") if name in space.op_names] for text in texts]
    return space.toy.from_text([",".join((row + ["identity"] * 3)[:3]) for row in names])


def _self_loving(space, arch):
    return ArchitectureBatch.cat([space.toy.neighbours(arch), arch])


def _repeating(space, arch):
    near = space.toy.neighbours(arch)
    return ArchitectureBatch.cat([near, near[:1]])


def _disconnected(space, arch):
    near = space.toy.neighbours(arch)
    return ArchitectureBatch(near.ops, torch.zeros_like(near.adj), near.num_nodes)


def _restless(_, archs):
    ops = torch.where(archs.node_mask, (archs.ops + 1) % 3, 0)
    return ArchitectureBatch(ops, archs.adj, archs.num_nodes)


def _rule(fn):
    return lambda _, archs: {"luck": torch.full((len(archs),), fn(archs))}


FAULTS = {
    "sample ignores rng": ("sampling is reproducible", {"sample": _fixed_seed}),
    "sample uses the global rng": ("sampling is reproducible", {"sample": _global_seed}),
    "sample does not advance rng": (
        "sampling is reproducible",
        {"sample": _draws_without_advancing},
    ),
    "sample returns too few": (
        "samples",
        {"sample": lambda s, n, *, rng: s.toy.sample(n // 2, rng=rng)},
    ),
    "sample is invalid": ("samples", {"sample": _invalid}),
    "sample leaves padding dirty": ("samples", {"sample": _unmasked}),
    "sample leaves the space": (
        "layout",
        {"sample": _invalid, "rules": _rule(lambda _: True)},
    ),
    "validity depends on the batch": ("reasons", {"rules": _rule(lambda archs: len(archs) > 1)}),
    "text loses operations": ("text", {"to_text": _forgetful_text}),
    "text has two lines": (
        "text",
        {"to_text": lambda s, archs: [f"{t}\n{t}" for t in s.toy.to_text(archs)]},
    ),
    "any text is read": ("bad text", {"from_text": _lenient}),
    "neighbours include itself": ("neighbours", {"neighbours": _self_loving}),
    "neighbours repeat": ("neighbours", {"neighbours": _repeating}),
    "neighbours are invalid": ("neighbours", {"neighbours": _disconnected}),
    "simplify never rests": ("simplify", {"simplify": _restless}),
    "padding matters": ("padding", {"rules": _rule(lambda archs: archs.max_nodes == 3)}),
    "enumeration repeats": (
        "enumeration",
        {"enumerate": lambda s: s.toy.enumerate()[torch.arange(27).clamp(min=1)]},
    ),
    "enumeration is short": ("enumeration", {"enumerate": lambda s: s.toy.enumerate()[1:]}),
    "enumeration and size miss some": (
        "enumeration",
        {"enumerate": lambda s: s.toy.enumerate()[9:], "size": 18},
    ),
    "enumeration changes its order": (
        "enumeration",
        {"enumerate": lambda s: s.toy.enumerate()[torch.randperm(27)]},
    ),
}  # fmt: skip


def test_the_toy_space_passes_through_delegation():
    check_space(Delegating(Toy()))


@pytest.mark.parametrize(("check", "methods"), FAULTS.values(), ids=FAULTS.keys())
def test_faults_are_caught(check, methods):
    faulty = type("Faulty", (Delegating,), methods)(Toy())
    with pytest.raises(AssertionError):
        SPACE_CHECKS[check](faulty)


def test_a_vocabulary_of_the_wrong_size_is_caught():
    space = Delegating(Toy())
    space.layout = Layout.make(3, 4, edges=[(0, 1), (1, 2)])
    with pytest.raises(AssertionError, match="num_ops"):
        SPACE_CHECKS["vocabulary"](space)
