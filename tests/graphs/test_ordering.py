"""The orders in which a graph can be stored, against a list of all permutations."""

import pytest
import torch
from brute import graph, linear_extensions, random_archs
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.graphs import dag, hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.ordering import reorderings, topological_orders
from netwright.rng import stream
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench101 import NASBench101

GRAPHS = st.tuples(st.integers(1, 6), st.integers(1, 3), st.floats(0, 1), st.integers(0, 2**30))


def draw(nodes, num_ops, p, seed):
    """A few graphs of up to so many nodes; the first comes twice."""
    archs = random_archs(3, list(range(nodes + 1)), num_ops, rng=stream(seed, "graphs"), p=p)
    return archs[torch.tensor([0, 1, 2, 0])]


def forms(archs):
    """Each graph as what it says."""
    return [
        (tuple(archs.ops[i, :n].tolist()), tuple(map(tuple, archs.adj[i, :n, :n].tolist())))
        for i, n in enumerate(archs.num_nodes.tolist())
    ]


@settings(max_examples=40, deadline=None)
@given(GRAPHS)
def test_orders_are_all_linear_extensions(parameters):
    archs = draw(*parameters)
    order, origin = topological_orders(archs)
    assert origin.tolist() == sorted(origin.tolist())
    for b, n in enumerate(archs.num_nodes.tolist()):
        padding = list(range(n, archs.max_nodes))
        expected = [[*extension, *padding] for extension in linear_extensions(archs, b)]
        assert order[origin == b].tolist() == sorted(expected)


@settings(max_examples=40, deadline=None)
@given(GRAPHS, st.integers(1, 5))
def test_a_limit_keeps_the_first_orders(parameters, limit):
    archs = draw(*parameters)
    (order, origin), (few, of) = topological_orders(archs), topological_orders(archs, limit=limit)
    for b in range(len(archs)):
        assert torch.equal(few[of == b], order[origin == b][:limit])


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(GRAPHS)
def test_reorderings_are_the_other_forms_each_once(parameters):
    archs = draw(*parameters)
    copies, origin = reorderings(archs)
    assert torch.equal(hashing.keys(copies), hashing.keys(archs)[origin])
    found = forms(copies)
    for b, own in enumerate(forms(archs)):
        one = archs[b : b + 1].pad(int(archs.num_nodes[b]))
        orders = torch.tensor(list(linear_extensions(archs, b)), dtype=torch.long)
        expected = set(forms(dag.reorder(one[torch.zeros(len(orders)).long()], orders)))
        mine = [found[i] for i in (origin == b).nonzero()[:, 0].tolist()]
        assert len(mine) == len(set(mine))
        assert set(mine) == expected - {own}


def test_by_hand():
    """Two nodes side by side differ in their operations or have no other form."""
    edges = [(0, 1), (0, 2), (1, 3), (2, 3)]
    archs = ArchitectureBatch.cat([graph(edges, [0, 1, 2, 3]), graph(edges, [0, 1, 1, 3])])
    order, origin = topological_orders(archs)
    assert order.tolist() == [[0, 1, 2, 3], [0, 2, 1, 3]] * 2
    assert origin.tolist() == [0, 0, 1, 1]
    copies, origin = reorderings(archs)
    assert forms(copies) == forms(graph(edges, [0, 2, 1, 3]))
    assert origin.tolist() == [0]
    assert len(reorderings(archs, limit=1)[0]) == 0


def test_no_graphs():
    copies, origin = reorderings(ArchitectureBatch.empty(4))
    assert (len(copies), copies.max_nodes, origin.tolist()) == (0, 4, [])


def test_enas_leaves_one_order():
    """Since its layers form a chain ([SVGe] III-D)."""
    copies, _ = reorderings(ENAS().sample(100, rng=stream(0, "samples")))
    assert len(copies) == 0


def stored_cells(n, max_edges):
    """Count upper triangular matrices and interior operations that are cells of NAS-Bench-101."""
    pairs = torch.triu_indices(n, n, offset=1)
    bits = torch.arange(2 ** pairs.shape[1])[:, None] >> torch.arange(pairs.shape[1]) & 1
    adj = torch.zeros(len(bits), n, n, dtype=torch.bool)
    adj[:, pairs[0], pairs[1]] = bits.bool()
    used, fed = adj.any(dim=2)[:, :-1].all(dim=1), adj.any(dim=1)[:, 1:].all(dim=1)
    return int((used & fed & (bits.sum(dim=1) <= max_edges)).sum()) * 3 ** (n - 2)


@pytest.mark.parametrize(
    ("n", "cells", "pairs"),
    [(5, 2441, 826), pytest.param(7, 359_082, 805_617, marks=pytest.mark.slow)],
)
def test_cells_of_nasbench101(n, cells, pairs):
    """Each cell and its copies are all the ways to write it: the experiment of [SVGe] III-D."""
    archs = NASBench101(n, 9).enumerate()
    archs = archs[archs.num_nodes == n]
    copies, origin = reorderings(archs)
    assert len(archs) == cells
    assert len(archs) + len(copies) == stored_cells(n, 9)
    assert len(copies) == pairs
    assert torch.equal(hashing.keys(copies), hashing.keys(archs)[origin])
    stored = hashing.labelled_keys(ArchitectureBatch.cat([archs, copies]))
    assert len(hashing.distinct(stored)) == len(stored)
