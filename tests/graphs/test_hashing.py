"""Keys are equal for isomorphic graphs, or for equal ones, and different for all others."""

import pytest
import torch
from brute import all_dags, canonical, graph, linear_extensions, random_archs
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.graphs import dag, hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101


def _count(archs):
    return len(hashing.first_of_each(hashing.keys(archs)))


@pytest.mark.parametrize(("n", "num_ops"), [(1, 3), (2, 3), (3, 3), (4, 3), (5, 2)])
def test_keys_are_equal_exactly_for_isomorphic_graphs(n, num_ops):
    archs = all_dags(n, num_ops)
    _, by_key = hashing.keys(archs).unique(dim=0, return_inverse=True)
    _, by_form = canonical(archs).unique(return_inverse=True)
    pairs = torch.stack([by_key, by_form], dim=1).unique(dim=0)
    assert len(pairs) == len(by_key.unique()) == len(by_form.unique())


@pytest.mark.parametrize(
    ("n", "unlabelled_dags"),
    [
        *[(1, 1), (2, 2), (3, 6), (4, 31), (5, 302), (6, 5984)],
        pytest.param(7, 243668, marks=pytest.mark.slow),
    ],
)
def test_number_of_unlabelled_dags(n, unlabelled_dags):
    """OEIS A003087; colour refinement alone stops at 5,983 of the 5,984 graphs of 6 nodes."""
    assert _count(all_dags(n)) == unlabelled_dags


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(1, 3), st.floats(0.1, 0.9), st.integers(0, 2**30))
def test_keys_survive_every_topological_renumbering_and_padding(n, num_ops, p, seed):
    archs = random_archs(1, [n], num_ops, rng=stream(seed, "graphs"), p=p)
    key = hashing.keys(archs)
    orders = torch.tensor(list(linear_extensions(archs, 0)))
    copies = dag.reorder(archs[torch.zeros(len(orders), dtype=torch.long)], orders)
    assert (hashing.keys(copies) == key).all()
    assert torch.equal(hashing.keys(archs.pad(n + 3)), key)


@pytest.mark.parametrize("p", [0.05, 0.15, 0.5])
def test_keys_of_large_graphs_survive_renumbering_padding_and_company(p):
    rng = stream(0, "graphs")
    archs = random_archs(300, [1, 7, 9, 20, 32], 2, rng=rng, p=p)
    key = hashing.keys(archs)
    moved = dag.reorder(archs, dag.random_order(archs, rng=rng))
    assert not moved.equal(archs).all()
    assert torch.equal(hashing.keys(moved), key)
    assert torch.equal(hashing.keys(archs.pad(40)), key)
    one_by_one = [hashing.keys(archs[i : i + 1]) for i in range(20)]
    assert torch.equal(torch.cat(one_by_one), key[:20])


def test_one_edit_changes_the_key():
    archs = random_archs(500, [12], 3, rng=stream(1, "graphs"))
    relabelled = archs.ops.clone()
    relabelled[:, 5] = (relabelled[:, 5] + 1) % 3
    rewired = archs.adj.clone()
    rewired[:, 2, 9] = ~rewired[:, 2, 9]
    for ops, adj in ((relabelled, archs.adj), (archs.ops, rewired)):
        other = ArchitectureBatch(ops, adj, archs.num_nodes)
        assert (hashing.keys(other) != hashing.keys(archs)).any(dim=1).all()


def _layers(n, edges, *, spokes):
    """Input, ``n`` nodes, (``n`` spokes between i and its twin,) ``n`` nodes, output."""
    low, high = 1 + torch.arange(n), 1 + n * (1 + spokes) + torch.arange(n)
    size = 2 + n * (2 + spokes)
    joined = [(low[i], high[j]) for i, j in edges]
    if spokes:
        joined += [(low[i], low[i] + n) for i in range(n)]
        joined += [(low[i] + n, high[i]) for i in range(n)]
    joined += [(0, i) for i in low] + [(i, size - 1) for i in high]
    return graph(joined, [0] + [1] * (size - 2) + [2])


def _cayley(steps):
    """Edges of a graph on Z4 x Z4."""
    nodes = [(x, y) for x in range(4) for y in range(4)]
    return [(4 * x + y, 4 * ((x + dx) % 4) + (y + dy) % 4) for x, y in nodes for dx, dy in steps]


ROOK = _cayley([(d, 0) for d in (1, 2, 3)] + [(0, d) for d in (1, 2, 3)])
SHRIKHANDE = _cayley([(1, 0), (3, 0), (0, 1), (0, 3), (1, 1), (3, 3)])

LOOK_ALIKES = {
    "an 8-cycle and two 4-cycles": (
        _layers(4, [(i, (i + d) % 4) for i in range(4) for d in (0, 1)], spokes=False),
        _layers(4, [(i, i ^ d) for i in range(4) for d in (0, 1)], spokes=False),
    ),
    "strongly regular graphs": (
        _layers(16, ROOK, spokes=True),
        _layers(16, SHRIKHANDE, spokes=True),
    ),
}


@pytest.mark.parametrize("name", LOOK_ALIKES)
def test_graphs_that_colour_refinement_merges(name, monkeypatch):
    pair = ArchitectureBatch.cat(LOOK_ALIKES[name])
    assert int(pair.num_nodes.min()) >= 9
    key = hashing.keys(pair)
    assert not torch.equal(key[0], key[1])
    copies = pair[torch.arange(2).repeat(8)]
    moved = dag.reorder(copies, dag.random_order(copies, rng=stream(0, "orders")))
    assert torch.equal(hashing.keys(moved), key.repeat(8, 1))
    monkeypatch.setattr(hashing, "_MARKS", 0)  # colour refinement alone, nothing remembered
    key = hashing.keys(pair[torch.arange(8) % 2])[:2]
    assert torch.equal(key[0], key[1])


def test_keys_that_are_remembered_are_those_that_are_computed():
    archs = NASBench101().sample(60, rng=stream(0, "cells"))
    whole = hashing.keys(archs)
    for size in (1, 3, 1):  # new, and remembered
        few = [hashing.keys(archs[i : i + size]) for i in range(0, 60, size)]
        assert torch.equal(torch.cat(few), whole)
    padded = archs.pad(9)
    assert torch.equal(hashing.keys(padded[:2]), whole[:2])


def test_many_equal_parts_stay_cheap():
    """16 disjoint edges have 16! automorphisms."""
    edges = [(i, 16 + i) for i in range(16)]
    archs = ArchitectureBatch.cat([graph(edges, [0] * 32), graph(edges[:-1], [0] * 32)])
    assert _count(archs) == 2


@pytest.mark.parametrize(("n", "num_ops"), [(1, 3), (2, 3), (3, 3), (4, 2), (5, 1)])
def test_labelled_keys_tell_all_stored_graphs_apart(n, num_ops):
    archs = all_dags(n, num_ops)
    assert len(hashing.first_of_each(hashing.labelled_keys(archs))) == len(archs)


def test_labelled_keys_tell_sizes_apart():
    """Every stored graph of 0 to 4 nodes and two operations, in one batch."""
    archs = ArchitectureBatch.cat(
        [ArchitectureBatch(torch.zeros(1, 0, dtype=torch.long), torch.zeros(1, 0, 0).bool(),
                           torch.zeros(1, dtype=torch.long)),
         *[all_dags(n, 2) for n in range(1, 5)]]
    )  # fmt: skip
    assert len(archs) == 1 + 2 + 8 + 64 + 1024
    key = hashing.labelled_keys(archs)
    assert len(hashing.first_of_each(key)) == len(archs)
    for half in (0, 1):  # neither half does it all
        assert len(key[:, half].unique()) == len(archs)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.floats(0.1, 0.9), st.integers(0, 2**30))
def test_labelled_keys_are_equal_exactly_for_equal_graphs(n, num_ops, p, seed):
    rng = stream(seed, "graphs")
    archs = random_archs(30, [n, 1, n], num_ops, rng=rng, p=p)
    key = hashing.labelled_keys(archs)
    assert torch.equal(hashing.labelled_keys(archs.pad(n + 3)), key)
    assert torch.equal(hashing.labelled_keys(archs[7:8]), key[7:8])
    moved = dag.reorder(archs, dag.random_order(archs, rng=rng))
    both = hashing.labelled_keys(moved)
    assert torch.equal((both == key).all(dim=1), moved.equal(archs))


def test_keys_of_many_graphs_are_those_of_few():
    """More than are hashed at a time."""
    archs = random_archs(9000, [7], 3, rng=stream(0, "graphs"))
    for keys in (hashing.keys, hashing.labelled_keys):
        alone = torch.cat([keys(archs[i : i + 1]) for i in (0, 5349, 5350, 8999)])
        assert torch.equal(keys(archs)[[0, 5349, 5350, 8999]], alone)


PAIRS = st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), max_size=20)


@given(PAIRS, PAIRS)
def test_find_and_distinct_are_those_of_sorted_tuples(known, wanted):
    def as_keys(pairs):
        return torch.tensor(pairs, dtype=torch.long).view(-1, 2)

    expected = sorted(set(known))
    once = hashing.distinct(as_keys(known))
    assert list(map(tuple, once.tolist())) == expected
    place = hashing.find(once, as_keys(wanted)).tolist()
    assert place == [expected.index(pair) if pair in expected else -1 for pair in wanted]


@pytest.mark.parametrize("known", [[[2, 0], [1, 0]], [[1, 1], [1, 0]], [[1, 0], [1, 0]]])
def test_find_insists_on_order(known):
    with pytest.raises(ValueError, match=r"pass hashing\.distinct\(known\)"):
        hashing.find(torch.tensor(known), torch.tensor([[1, 0]]))


def test_first_of_each_keeps_order():
    key = torch.tensor([[5, 1], [2, 2], [5, 1], [-3, 9], [5, 0], [2, 2], [-3, 9]])
    assert hashing.first_of_each(key).tolist() == [0, 1, 3, 4]
    assert len(hashing.first_of_each(key[:0])) == 0


def test_hexadecimal_form():
    assert hashing.to_hex(torch.tensor([[-1, 1], [0, 255]])) == [
        "f" * 16 + "0" * 15 + "1",
        "0" * 30 + "ff",
    ]


def test_no_graphs():
    assert hashing.keys(ArchitectureBatch.empty(7)).shape == (0, 2)
    assert hashing.labelled_keys(ArchitectureBatch.empty(7)).shape == (0, 2)
