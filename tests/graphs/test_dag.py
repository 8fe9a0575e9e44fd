"""Paths, orders and statistics of DAGs, against hand-computed graphs and brute force."""

from itertools import combinations, pairwise

import pytest
import torch
from brute import all_dags, graph, linear_extensions, paths, random_archs
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.graphs import dag
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream

DIAMOND = graph([(0, 1), (0, 2), (1, 3), (2, 3), (0, 3)], [0, 1, 2, 3])
CHAIN = graph([(0, 1), (1, 2), (2, 3)], [0, 1, 2, 3], pad=2)
BROKEN = graph([(0, 1), (2, 3)], [0, 1, 2, 3], pad=1)
BATCH = ArchitectureBatch.cat([DIAMOND, CHAIN, BROKEN])


def _near(actual, expected):
    assert torch.allclose(actual.double(), torch.tensor(expected).double(), equal_nan=True)


def test_hand_computed_paths():
    _near(dag.path_counts(BATCH), [3, 1, 0])
    _near(dag.mean_path(BATCH), [5 / 3, 3, torch.nan])
    assert dag.longest_path(BATCH).tolist() == [2, 3, -1]


def test_hand_computed_undirected_statistics():
    # diamond with one diagonal: ends C = 2/3 (three neighbours, two joined pairs), middle C = 1
    _near(dag.clustering_coefficient(BATCH), [5 / 6, 0, 0])
    # the pair (1, 2) is two apart, the other five are neighbours; a path of four nodes
    _near(dag.average_path_length(BATCH), [7 / 6, 10 / 6, 1])


def test_single_node():
    one = graph([], [0], pad=2)
    assert dag.path_counts(one).tolist() == [1]
    assert dag.mean_path(one).tolist() == [0]
    assert dag.longest_path(one).tolist() == [0]
    assert dag.clustering_coefficient(one).tolist() == [0]
    assert dag.average_path_length(one).isnan().all()


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_paths_agree_with_enumeration(n):
    archs = all_dags(n).pad(6)
    lengths = [[len(path) - 1 for path in paths(archs, b)] for b in range(len(archs))]
    _near(dag.path_counts(archs), [len(every) for every in lengths])
    _near(dag.mean_path(archs), [sum(x) / len(x) if x else torch.nan for x in lengths])
    assert dag.longest_path(archs).tolist() == [max(every, default=-1) for every in lengths]


def _distances(neighbours, start):
    distance, frontier = {start: 0}, [start]
    while frontier:
        found = {j for i in frontier for j in neighbours[i]} - distance.keys()
        distance |= dict.fromkeys(found, max(distance.values()) + 1)
        frontier = list(found)
    return distance


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.floats(0.1, 0.9), st.integers(0, 2**30))
def test_undirected_statistics_agree_with_search(n, p, seed):
    arch = random_archs(1, [n], 1, rng=stream(seed, "graphs"), p=p).pad(n + 2)
    neighbours = {i: set() for i in range(n)}
    for _, i, j in arch.adj.nonzero().tolist():
        neighbours[i].add(j)
        neighbours[j].add(i)
    local, distances = [], []
    for i in range(n):
        pairs = list(combinations(neighbours[i], 2))
        local.append(sum(b in neighbours[a] for a, b in pairs) / len(pairs) if pairs else 0.0)
        distances += [d for j, d in _distances(neighbours, i).items() if j != i]
    _near(dag.clustering_coefficient(arch), [sum(local) / n])
    expected = sum(distances) / len(distances) if distances else torch.nan
    _near(dag.average_path_length(arch), [expected])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**30))
def test_pruning_keeps_every_path_and_nothing_else(seed):
    archs = random_archs(8, [1, 2, 4, 6], 3, rng=stream(seed, "graphs"), p=0.4)
    pruned = dag.prune(archs)
    for b in range(len(archs)):
        before = [[int(archs.ops[b, i]) for i in path] for path in paths(archs, b)]
        after = [[int(pruned.ops[b, i]) for i in path] for path in paths(pruned, b)]
        assert sorted(before) == sorted(after)
        edges = {edge for path in paths(pruned, b) for edge in pairwise(path)}
        assert edges == {tuple(edge) for edge in pruned.adj[b].nonzero().tolist()}
        nodes = {0, int(pruned.num_nodes[b]) - 1} | {i for edge in edges for i in edge}
        assert nodes == set(range(int(pruned.num_nodes[b])))
    assert dag.prune(pruned).equal(pruned).all()


def test_every_topological_order_is_drawn():
    arch = graph([(0, 2), (1, 2), (0, 4), (3, 4)], [0] * 5, pad=1)
    copies = arch[torch.zeros(2000, dtype=torch.long)]
    drawn = dag.random_order(copies, rng=stream(0, "orders"))
    assert (drawn[:, 5] == 5).all()
    found = {tuple(order[:5]) for order in drawn.tolist()}
    assert found == {tuple(order) for order in linear_extensions(arch, 0)}


def test_reorder_moves_labels_and_edges_together():
    arch = graph([(0, 2), (1, 2), (2, 3)], [5, 6, 7, 8])
    moved = dag.reorder(arch, torch.tensor([[1, 0, 2, 3]]))
    assert moved.equal(graph([(0, 2), (1, 2), (2, 3)], [6, 5, 7, 8])).all()
    moved = dag.reorder(graph([(0, 1)], [5, 6, 7]), torch.tensor([[2, 0, 1]]))
    assert moved.equal(graph([(1, 2)], [7, 5, 6])).all()


@pytest.mark.parametrize("order", [[1, 0, 2, 3], [0, 1, 3, 2], [0, 0, 1, 3]])
def test_reorder_refuses_what_is_no_topological_order(order):
    with pytest.raises(ValueError, match="topological"):
        dag.reorder(graph([(0, 1), (1, 2)], [0, 0, 0], pad=1), torch.tensor([order]))


@pytest.mark.parametrize("n", [1, 3, 5])
def test_reachability_agrees_with_search(n):
    archs = all_dags(n).pad(6)
    reached = dag.reachable(archs)
    for b in range(0, len(archs), 7):
        after = {i: archs.adj[b, i].nonzero()[:, 0].tolist() for i in range(6)}
        for i in range(6):
            expected = set(_distances(after, i)) if i < n else set()
            assert set(reached[b, i].nonzero()[:, 0].tolist()) == expected


def test_reverse_turns_edges_around_and_nodes_with_them():
    archs = ArchitectureBatch(
        torch.tensor([[1, 2, 3, 0]]),
        torch.zeros(1, 4, 4, dtype=torch.bool),
        torch.tensor([3]),
    )
    archs.adj[0, 0, 1] = archs.adj[0, 0, 2] = True
    turned = dag.reverse(archs)
    assert turned.ops.tolist() == [[3, 2, 1, 0]]
    assert turned.adj[0].nonzero().tolist() == [[0, 2], [1, 2]]
    assert dag.reverse(turned).equal(archs).all()
