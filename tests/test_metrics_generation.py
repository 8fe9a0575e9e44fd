"""Measures of generators: by hand, and against sets of tuples."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.graphs import dag, hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.metrics import (
    edit_distance,
    novelty,
    reconstruction_accuracy,
    uniqueness,
    validity,
)
from netwright.rng import stream


def graph(ops, edges):
    n = len(ops)
    adj = torch.zeros(1, n, n, dtype=torch.bool)
    for source, target in edges:
        adj[0, source, target] = True
    return ArchitectureBatch(torch.tensor([ops]), adj, torch.tensor([n]))


def random_graphs(n, seed, *, nodes=4, num_ops=2):
    """Few enough different graphs that many come up twice."""
    rng = stream(seed, "graphs")
    sizes = torch.randint(1, nodes + 1, (n,), generator=rng)
    adj = torch.rand(n, nodes, nodes, generator=rng) < 0.5
    return ArchitectureBatch.masked(torch.randint(num_ops, (n, nodes), generator=rng), adj, sizes)


def tuples(archs):
    """Each graph as what it says, read one by one."""
    return [
        (tuple(archs.ops[i, :n].tolist()), tuple(map(tuple, archs.adj[i, :n, :n].tolist())))
        for i, n in enumerate(archs.num_nodes.tolist())
    ]


A = graph([0, 1, 2], [(0, 1), (1, 2)])
B = graph([0, 1, 2], [(0, 1), (0, 2), (1, 2)])
# Two nodes side by side, with different operations: the same graph in two orders.
LEFT = graph([0, 1, 2, 3], [(0, 1), (0, 2), (1, 3), (2, 3)])
RIGHT = graph([0, 2, 1, 3], [(0, 1), (0, 2), (1, 3), (2, 3)])


class TestReconstruction:
    """The share of decoded graphs that are their original."""

    def test_by_hand(self):
        archs = ArchitectureBatch.cat([A, B])
        decoded = ArchitectureBatch.cat([A, A, B, B, A, A])
        assert reconstruction_accuracy(archs, decoded) == pytest.approx(3 / 6)
        assert reconstruction_accuracy(archs, decoded[:2]) == pytest.approx(1 / 2)

    def test_the_order_of_nodes_counts_as_published(self):
        decoded = ArchitectureBatch.cat([LEFT, RIGHT, A, B])
        assert reconstruction_accuracy(LEFT, decoded) == 0.25
        assert reconstruction_accuracy(LEFT, decoded, keys=hashing.keys) == 0.5

    def test_padding_does_not_count(self):
        assert reconstruction_accuracy(A, A.pad(5)) == 1.0

    @given(st.integers(1, 10), st.integers(1, 5), st.integers(0, 2**30))
    @settings(max_examples=30, deadline=None)
    def test_it_is_the_mean_over_all_decoded_graphs(self, n, each, seed):
        archs, decoded = random_graphs(n, seed, nodes=2), random_graphs(n * each, seed, nodes=2)
        wanted, found = tuples(archs), tuples(decoded)
        expected = sum(found[i] == wanted[i // each] for i in range(n * each)) / (n * each)
        assert reconstruction_accuracy(archs, decoded) == pytest.approx(expected)

    @pytest.mark.parametrize("count", [0, 3, 1])
    def test_equally_many_for_each(self, count):
        two = ArchitectureBatch.cat([A, B])
        with pytest.raises(ValueError, match=f"{count} decoded graphs .* each of 2 originals"):
            reconstruction_accuracy(two, two[torch.zeros(count, dtype=torch.long)])

    def test_nothing_to_reconstruct(self):
        assert math.isnan(reconstruction_accuracy(A[:0], A[:0]))


class TestGeneration:
    """Validity, uniqueness, novelty."""

    def test_by_hand(self):
        made = ArchitectureBatch.cat([A, A, B, LEFT, RIGHT, A, LEFT, B])
        valid = torch.tensor([True, True, True, True, True, False, False, False])
        key, known = hashing.labelled_keys(made), hashing.labelled_keys(A)
        assert validity(valid) == 5 / 8
        assert uniqueness(key, valid) == 4 / 5  # A, B, LEFT, RIGHT
        assert novelty(key, valid, known) == 3 / 5  # A twice is not new
        key, known = hashing.keys(made), hashing.distinct(hashing.keys(LEFT))
        assert uniqueness(key, valid) == 3 / 5
        assert novelty(key, valid, known) == 3 / 5

    @given(st.integers(1, 60), st.integers(0, 30), st.floats(0, 1), st.integers(0, 2**30))
    @settings(max_examples=50, deadline=None)
    def test_it_is_what_sets_of_tuples_say(self, n, trained, share, seed):
        made, training = random_graphs(n, seed), random_graphs(trained, seed + 1)
        valid = torch.rand(n, generator=stream(seed, "valid")) < share
        counted = [form for form, ok in zip(tuples(made), valid.tolist(), strict=True) if ok]
        known = set(tuples(training))
        keys = hashing.labelled_keys(made)
        prepared = hashing.distinct(hashing.labelled_keys(training))
        unique, new = uniqueness(keys, valid), novelty(keys, valid, prepared)
        if not counted:
            assert math.isnan(unique)
            assert math.isnan(new)
            return
        assert unique == pytest.approx(len(set(counted)) / len(counted))
        assert new == pytest.approx(sum(form not in known for form in counted) / len(counted))

    @given(st.integers(1, 40), st.integers(0, 2**30))
    @settings(max_examples=20, deadline=None)
    def test_isomorphic_graphs_are_one_where_keys_say_so(self, n, seed):
        """Renumbering may change the published figures, but never the isomorphism-aware ones."""
        made = random_graphs(n, seed)
        moved = dag.reorder(made, dag.random_order(made, rng=stream(seed, "orders")))
        everything = torch.ones(2 * n, dtype=torch.bool)
        both = ArchitectureBatch.cat([made, moved])
        one, two = hashing.keys(made), hashing.keys(both)
        unique = uniqueness(one, everything[:n])
        assert uniqueness(two, everything) == pytest.approx(unique / 2)
        assert uniqueness(hashing.labelled_keys(both), everything) >= unique / 2
        assert novelty(hashing.keys(moved), everything[:n], hashing.distinct(one)) == 0

    def test_training_keys_must_be_prepared(self):
        key = hashing.labelled_keys(random_graphs(50, 0))
        with pytest.raises(ValueError, match=r"pass hashing\.distinct"):
            novelty(key, torch.ones(50, dtype=torch.bool), key)

    def test_nothing_generated(self):
        assert math.isnan(validity(torch.zeros(0, dtype=torch.bool)))


class TestEditDistance:
    """What differs, node by node and edge by edge."""

    def test_by_hand(self):
        assert edit_distance(A, A).tolist() == [0]
        assert edit_distance(A, B).tolist() == [1]
        assert edit_distance(LEFT, RIGHT).tolist() == [2]
        # Node 3 and edges (0, 2), (1, 3), (2, 3) are LEFT's alone, edge (1, 2) is A's alone.
        assert edit_distance(A, LEFT).tolist() == [5]

    def test_a_missing_node_counts_though_its_operation_is_0(self):
        assert edit_distance(graph([0, 0], []), graph([0], [])).tolist() == [1]

    @given(st.integers(1, 30), st.integers(0, 2**30))
    @settings(max_examples=30, deadline=None)
    def test_it_is_the_symmetric_difference_of_nodes_and_edges(self, n, seed):
        a, b = random_graphs(n, seed), random_graphs(n, seed + 1, nodes=6, num_ops=3)
        found = edit_distance(a, b)
        assert torch.equal(found, edit_distance(b, a))
        assert torch.equal(found == 0, a.equal(b))
        for i in range(n):
            nodes = [dict(enumerate(x.ops[i, : x.num_nodes[i]].tolist())) for x in (a, b)]
            edges = [set(map(tuple, x.adj[i].nonzero().tolist())) for x in (a, b)]
            differ = sum(nodes[0].get(v) != nodes[1].get(v) for v in nodes[0].keys() | nodes[1])
            assert found[i] == differ + len(edges[0] ^ edges[1])

    def test_one_by_one(self):
        with pytest.raises(ValueError, match="2 graphs cannot be compared with 1"):
            edit_distance(ArchitectureBatch.cat([A, B]), A)
