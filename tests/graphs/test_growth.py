from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.graphs import dag, hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.growth import appended, prepended
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101

SPACE = NASBench101()
LARGER = NASBench101(max_nodes=8, max_edges=28)
CONV1, CONV3, POOL = 1, 2, 3
OPS = (CONV1, CONV3, POOL)


def cell(ops, edges):
    adj = torch.zeros(1, len(ops), len(ops), dtype=torch.bool)
    for i, j in edges:
        adj[0, i, j] = True
    return ArchitectureBatch(torch.tensor([ops]), adj, torch.tensor([len(ops)]))


# The best cell of the benchmark by validation accuracy ([SVGe] section IV-E).
BEST_EDGES = {(0, 1), (0, 2), (0, 4), (0, 6), (1, 5), (2, 3), (3, 4), (4, 5), (5, 6)}
BEST = cell([0, CONV3, CONV3, CONV3, CONV3, CONV1, 4], BEST_EDGES)


def as_sets(archs):
    """Each graph as its operations and its set of edges."""
    return {
        (tuple(ops), frozenset(map(tuple, adj.nonzero().tolist())))
        for ops, adj in zip(archs.ops.tolist(), archs.adj, strict=True)
    }


def test_the_best_cell_is_appended_as_in_the_paper():
    expected = set()
    for op, bits in product(OPS, product((False, True), repeat=6)):
        extra = {(i, 7) for i, bit in enumerate(bits) if bit}
        edges = BEST_EDGES | {(6, 7)} | extra
        expected.add(((0, CONV3, CONV3, CONV3, CONV3, CONV1, op, 4), frozenset(edges)))
    found = appended(BEST, OPS)
    assert len(found) == 192
    assert as_sets(found) == expected


def test_the_best_cell_is_prepended_as_in_the_paper():
    moved = {(i + 1, j + 1) for i, j in BEST_EDGES}
    expected = set()
    for op, bits in product(OPS, product((False, True), repeat=6)):
        extra = {(0, i + 2) for i, bit in enumerate(bits) if bit}
        edges = moved | {(0, 1)} | extra
        expected.add(((0, op, CONV3, CONV3, CONV3, CONV3, CONV1, 4), frozenset(edges)))
    found = prepended(BEST, OPS)
    assert len(found) == 192
    assert as_sets(found) == expected


def test_expansions_are_distinct_cells_of_eight_nodes_and_ten_to_sixteen_edges():
    both = ArchitectureBatch.cat([appended(BEST, OPS), prepended(BEST, OPS)])
    assert bool(LARGER.is_valid(both).all())
    assert set(both.num_nodes.tolist()) == {8}
    assert set(both.num_edges.tolist()) == set(range(10, 17))  # never within the benchmark's 9
    assert len(hashing.first_of_each(hashing.keys(both[:192]))) == 192
    assert len(hashing.first_of_each(hashing.keys(both[192:]))) == 192


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_counts_and_mirror_image_of_any_cell(seed):
    arch = SPACE.sample(1, rng=stream(seed, "cell"))  # padded to seven nodes
    n = int(arch.num_nodes[0])
    after, before = appended(arch, OPS), prepended(arch, OPS)
    assert len(after) == len(before) == 3 * 2 ** (n - 1)
    assert len(as_sets(after)) == len(as_sets(before)) == len(after)
    assert bool(LARGER.is_valid(after.pad(8)).all() and LARGER.is_valid(before.pad(8)).all())
    assert as_sets(dag.reverse(before)) == as_sets(appended(dag.reverse(arch.pad(n)), OPS))
    # Without its new edges and labels the old graph is there again.
    assert bool((after.adj[:, :n, :n] == arch.adj[:, :n, :n]).all())
    assert bool((before.adj[:, 1:, 1:] == arch.adj[:, :n, :n]).all())


def test_one_graph_at_a_time():
    two = ArchitectureBatch.cat([BEST, BEST])
    for wrong in (two, two[:0], cell([0], [])):
        with pytest.raises(ValueError, match="one graph at a time, of at least two nodes"):
            appended(wrong, OPS)
