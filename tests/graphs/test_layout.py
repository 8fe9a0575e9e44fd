"""Layouts read backwards, and freed."""

import pytest
import torch

from netwright.generators.base import complete
from netwright.graphs import dag, hashing
from netwright.graphs.layout import Layout
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.randwire import RandWire
from netwright.testing.generators import LAYOUTS, complete_graphs

SPACES = [NASBench101(), NASBench201(), ENAS()]


def labelled(archs):
    return {tuple(key) for key in hashing.labelled_keys(archs).tolist()}


@pytest.mark.parametrize("name", ["one node", "free", "chain", "fixed edges"])
def test_reversed_has_the_reversed_graphs_and_no_others(name):
    """Where all graphs have one size."""
    layout = LAYOUTS[name]
    turned = layout.reversed()
    assert labelled(complete_graphs(turned)) == labelled(dag.reverse(complete_graphs(layout)))


def test_reversed_has_all_reversed_graphs():
    """Where an operation ends them, unless the first operation comes up again."""
    layout = LAYOUTS["cell"]
    turned = layout.reversed()
    assert turned.end_op == 0
    assert labelled(dag.reverse(complete_graphs(layout))) <= labelled(complete_graphs(turned))
    assert turned.allowed_ops[0].nonzero().tolist() == [[3]]
    assert turned.allowed_ops[-1].nonzero().tolist() == [[0]]


def test_what_is_fixed_for_all_sizes_stays_fixed():
    layout = Layout.make(4, 3, allowed_ops=[[0], [1, 2], [1, 2], [2]], end_op=2)
    layout.free[0, 1], layout.forced[0, 1] = False, True
    turned = layout.reversed()
    archs = complete_graphs(layout)
    assert complete(dag.reverse(archs), turned).all()
    # The forced edge is the last of the reversed graph, and only one of four nodes has a fourth.
    assert turned.forced.nonzero().tolist() == [[2, 3]]
    assert turned.free.sum() == 5


@pytest.mark.parametrize("name", ["free, with an end", "mixed"])
def test_without_one_first_operation_there_is_no_end_to_read_backwards_to(name):
    assert LAYOUTS[name].reversed() is None


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_a_freed_layout_keeps_its_ends(space):
    freed = space.layout.freed(keep_ends=True)
    first, last = (freed.allowed_ops[i].nonzero()[:, 0].tolist() for i in (0, -1))
    assert [space.op_names[op] for op in first + last] == ["input", "output"]
    assert space.op_names[freed.end_op] == "output"
    assert freed.allowed_ops[1:-1].all()
    assert torch.equal(freed.free, torch.ones_like(freed.free).triu(diagonal=1))
    assert freed.max_edges is None
    assert not freed.connected
    archs = space.sample(100, rng=torch.Generator().manual_seed(0))
    assert complete(archs, freed).all()
    assert complete(dag.reverse(archs), freed.reversed()).all()


def test_density_is_of_the_pairs_that_may_be_joined():
    stages = RandWire(4, 3)  # 6 pairs in each of three cells, none between them
    full = stages.parse([";".join(["4:0-1,0-2,0-3,1-2,1-3,2-3"] * 3), "4:0-1;4:0-1;4:0-1"])
    assert stages.layout.density(full).tolist() == [1, pytest.approx(1 / 6)]
    cells = NASBench101()
    small = cells.parse(["input,conv3x3-bn-relu,output:011001000"])
    assert cells.layout.density(small).tolist() == [1]
