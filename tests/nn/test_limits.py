"""Graphs that grow under limits can always be completed, and are changed no more than needed."""

import pytest
import torch

from netwright.graphs import dag
from netwright.graphs.batch import ArchitectureBatch
from netwright.nn.limits import Limits
from netwright.rng import stream


def grown(limits, count, size, likely, seed):
    """Grow random graphs of at most ``size`` nodes; operation 1 ends a graph."""
    rng = stream(seed, "growing")
    adj = torch.zeros(count, size, size, dtype=torch.bool)
    num_nodes = torch.full((count,), size)
    done = torch.zeros(count, dtype=torch.bool)
    for step in range(1, size):
        allowed = torch.ones(count, 2, dtype=torch.bool)
        allowed[:, 0] = step + 1 < size
        end = torch.ones(count, dtype=torch.long)
        allowed = limits.ops(allowed, adj, step, end)
        assert allowed.any(dim=1).all()
        wants_end = torch.rand(count, generator=rng) < 0.2
        ends = torch.where(allowed.all(dim=1), wants_end, allowed[:, 1])
        score = torch.randn(count, step, generator=rng)
        drawn = torch.rand(count, step, generator=rng) < likely
        free = torch.ones(count, step, dtype=torch.bool)
        column = limits.edges(drawn, free, score, adj, step, ends)
        adj[:, :step, step] = torch.where(done[:, None], adj[:, :step, step], column)
        num_nodes = torch.where(ends & ~done, step + 1, num_nodes)
        done |= ends
    return ArchitectureBatch.masked(torch.zeros(count, size, dtype=torch.long), adj, num_nodes)


@pytest.mark.parametrize("likely", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(("size", "max_edges"), [(2, 1), (5, 4), (7, 9), (7, 6), (9, 30)])
def test_every_graph_is_connected_and_has_few_edges(size, max_edges, likely):
    archs = grown(Limits(max_edges, connected=True), 500, size, likely, seed=size)
    assert (archs.num_edges <= max_edges).all()
    assert (dag.on_path(archs) | ~archs.node_mask).all()


def test_few_edges_alone():
    archs = grown(Limits(3, connected=False), 300, 6, 0.5, seed=0)
    assert (archs.num_edges <= 3).all()
    assert (archs.num_edges == 3).any()


def test_connected_alone():
    archs = grown(Limits(None, connected=True), 300, 6, 0.3, seed=0)
    assert (dag.on_path(archs) | ~archs.node_mask).all()


def test_what_keeps_to_the_limits_is_left_alone():
    limits = Limits(9, connected=True)
    adj = torch.zeros(1, 4, 4, dtype=torch.bool)
    adj[0, 0, 1] = True
    drawn = torch.tensor([[True, True]])
    free, score = torch.ones_like(drawn), torch.zeros(1, 2)
    kept = limits.edges(drawn, free, score, adj, 2, torch.tensor([False]))
    assert torch.equal(kept, drawn)


def test_the_likeliest_loose_end_feeds_a_node_without_edges():
    limits = Limits(None, connected=True)
    adj = torch.zeros(1, 4, 4, dtype=torch.bool)
    adj[0, 0, 1] = adj[0, 0, 2] = True  # nodes 1 and 2 are loose ends
    drawn = torch.zeros(1, 3, dtype=torch.bool)
    score = torch.tensor([[9.0, 1.0, 2.0]])
    fed = limits.edges(drawn, ~drawn, score, adj, 3, torch.tensor([False]))
    assert fed.tolist() == [[False, False, True]]


def test_the_likeliest_edges_are_kept_where_there_are_too_many():
    limits = Limits(6, connected=True)
    adj = torch.zeros(1, 5, 5, dtype=torch.bool)
    adj[0, 0, 1] = adj[0, 1, 2] = adj[0, 2, 3] = True  # a chain: node 3 is the loose end
    drawn = torch.ones(1, 4, dtype=torch.bool)
    score = torch.tensor([[0.3, 0.1, 0.2, -5.0]])
    kept = limits.edges(drawn, drawn, score, adj, 4, torch.tensor([True]))
    assert kept.tolist() == [[True, False, True, True]]  # 3 + 1 + 2 edges
