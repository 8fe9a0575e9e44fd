"""Refinement, as arrays and with gradients, against the plain loops of [GNN2GNN]."""

import pytest
import torch
from brute import all_dags, paths

from netwright.generators.relaxed import Relaxed, refined
from netwright.graphs import dag
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import stream

#: Any operation within; the last of them ends a graph.
OPS = 3


def cells(size, adj):
    """Complete graphs with these edges and random operations between input and output."""
    within = torch.randint(1, OPS + 1, (len(adj), size - 2), generator=stream(size, "ops"))
    first, last = torch.zeros(len(adj), 1, dtype=torch.long), torch.full((len(adj), 1), OPS + 1)
    ops = torch.cat([first, within, last], dim=1)
    return ArchitectureBatch(ops, adj, torch.full((len(adj),), size))


def of_size(size):
    """All cells of five nodes or fewer; 3,000 random ones of more."""
    if size <= 5:
        return cells(size, all_dags(size).adj)
    rng = stream(size, "edges")
    density = torch.rand(3000, 1, 1, generator=rng)  # sparse ones have much to remove
    return cells(size, (torch.rand(3000, size, size, generator=rng) < density).triu(diagonal=1))


def plainly(ops, adj):
    """Refine one graph like the released code: drop nodes one after the other."""
    size = len(ops)
    adj, kept = [list(row) for row in adj], list(range(size))
    for node in range(1, size - 1):  # without inputs, front to back
        if not any(adj[i][node] for i in range(size)):
            kept.remove(node)
            adj[node] = [False] * size
    for node in range(size - 2, 0, -1):  # without outputs, back to front
        if node in kept and not any(adj[node]):
            kept.remove(node)
            for row in adj:
                row[node] = False
    left = [[adj[i][j] for j in kept] for i in kept]
    if not any(map(any, left)):
        kept, left = [0, size - 1], [[False, True], [False, False]]
    return [ops[i] for i in kept], left


def layout(size):
    within = list(range(1, OPS + 2))
    allowed = [[0], *[within] * (size - 2), [OPS + 1]]
    return Layout.make(size, OPS + 2, allowed_ops=allowed, end_op=OPS + 1)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6, 7, 8, 10])
class TestRefined:
    def test_as_plain_loops(self, size):
        archs = of_size(size)
        assert len(archs) >= min(2 ** (size * (size - 1) // 2), 1024)
        found = dag.refine(archs)
        for i in range(len(archs)):
            ops, adj = plainly(archs.ops[i].tolist(), archs.adj[i].tolist())
            n = int(found.num_nodes[i])
            assert found.ops[i, :n].tolist() == ops
            assert found.adj[i, :n, :n].tolist() == adj
            assert not found.ops[i, n:].any()
            assert not found.adj[i, n:].any()
            assert not found.adj[i, :, n:].any()

    def test_gradients_change_nothing(self, size):
        archs = of_size(size)
        halves = [archs[: len(archs) // 2], archs[len(archs) // 2 :]]
        replicas = [half[: len(halves[0])] for half in halves]
        hard = Relaxed.of(replicas, OPS + 2)
        adj = hard.adj.clone().requires_grad_()
        left = refined(hard.ops, adj, layout(size)).archs()
        assert left.equal(dag.refine(ArchitectureBatch.cat(replicas))).all()
        assert left.adj.equal(dag.refine(ArchitectureBatch.cat(replicas)).adj)

    def test_all_that_is_left_lies_on_paths(self, size):
        found = dag.refine(of_size(size))
        assert (dag.on_path(found) == found.node_mask).all()
        assert (found.num_nodes >= 2).all()
        assert (found.ops[:, 0] == 0).all()
        assert (found.ops.gather(1, found.num_nodes[:, None] - 1) == OPS + 1).all()
        assert not found.adj.tril().any()
        assert found.equal(dag.refine(found)).all()


def test_paths_are_the_same_before_and_after():
    archs = of_size(5)
    found = dag.refine(archs)
    for i in range(0, len(archs), 7):
        ways = paths(archs, i)
        words = [[int(archs.ops[i, node]) for node in way] for way in ways] or [[0, OPS + 1]]
        left = [[int(found.ops[i, node]) for node in way] for way in paths(found, i)]
        assert sorted(left) == sorted(words)


def test_smaller_graphs_in_a_batch():
    archs = ArchitectureBatch.cat([of_size(size) for size in (2, 3, 4)])
    apart = ArchitectureBatch.cat([dag.refine(of_size(size)) for size in (2, 3, 4)])
    assert dag.refine(archs).equal(apart).all()


def test_no_edge_in_a_single_node():
    one = ArchitectureBatch(
        torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 1, 1).bool(), torch.ones(1).long()
    )
    assert dag.refine(one).equal(one).all()
    assert not dag.refine(one.pad(3)).adj.any()


class TestGradients:
    def test_of_what_is_left_only(self):
        """A removed edge and a removed node's operation get none; the edge put in gets none."""
        archs = of_size(5)
        hard = Relaxed.of([archs], OPS + 2)
        ops, adj = hard.ops.clone().requires_grad_(), hard.adj.clone().requires_grad_()
        graphs = refined(ops, adj, layout(5))
        (graphs.adj.sum() + graphs.ops.sum()).backward()
        kept = dag.on_path(archs)
        kept[:, [0, -1]] = True
        assert ops.grad[0].equal(kept[:, :, None].float().expand_as(ops.grad[0]))
        assert adj.grad[0].equal((kept[:, :, None] & kept[:, None, :]).float())

    def test_nodes_stay_where_they_are(self):
        hard = Relaxed.of([of_size(5)], OPS + 2)
        graphs = refined(hard.ops, hard.adj, layout(5))
        assert graphs.real.equal((graphs.ops > 0).any(dim=-1))
        assert (graphs.ops * graphs.real[..., None]).equal(hard.ops * graphs.real[..., None])
        assert graphs.real[..., [0, -1]].all()


@pytest.mark.parametrize(
    "kept",
    [
        Layout.make(4, 3),
        Layout.make(4, 3, end_op=2, edges=[(0, 1), (1, 2), (2, 3)]),
        Layout.make(4, 3, end_op=2, allowed_ops=[[0], [0, 1, 2], [0, 1], [2]]),
    ],
    ids=["one size", "fixed edges", "no end at some node"],
)
def test_nothing_is_removed_where_sizes_are_fixed(kept):
    archs = all_dags(4)
    hard = Relaxed.of([archs], 3)
    graphs = refined(hard.ops, hard.adj, kept)
    assert graphs.real.all()
    assert graphs.adj.equal(hard.adj)
    assert graphs.ops.equal(hard.ops)
