"""Discriminator and valuer against dense loops; what they must not see; dropout."""

import math

import pytest
import torch

from netwright.generators.critics import Critic
from netwright.generators.relaxed import Relaxed, replica, stacked
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101

CELLS = NASBench101(max_nodes=5).enumerate()
KINDS = {
    "mean": {},
    "sum": {"pool": "sum"},
    "attention": {"pool": "attention"},
    "both ways": {"both_ways": True, "pool": "attention"},
    "one layer": {"widths": (4,), "pool": "attention"},
    "three layers": {"widths": (6, 5, 7)},
}


def make(*, seed=0, widths=(6, 8), **options):
    critic = Critic(5, rng=stream(seed, "critic"), widths=widths, **options)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=stream(seed, "noise")), alpha=0.7)
    return critic.requires_grad_(False)


def some(n=40):
    """Cells of all sizes from 2 to 5."""
    order = torch.randperm(len(CELLS), generator=stream(0, "order"))[: n - 3]
    return CELLS[torch.cat([torch.tensor([0, 1, 5]), order])]


def soft(n=40):
    """Graphs with straight-through weights, as far as values go: any numbers."""
    graphs = Relaxed.of([some(n)], 5)
    shake = torch.rand(graphs.adj.shape, generator=stream(0, "shake")) + 0.5
    return Relaxed(graphs.ops, graphs.adj * shake, graphs.real)


def by_loops(critic, ops, adj, real):
    """The value of one graph: Kipf and Welling's formula, node by node."""
    nodes = [i for i in range(len(real)) if real[i]]
    weight = {(i, j): float(adj[i, j]) + float(i == j) for i in nodes for j in nodes}
    into = {j: sum(weight[i, j] for i in nodes) for j in nodes}
    out = {i: sum(weight[i, j] for j in nodes) for i in nodes}
    state = {i: ops[i] for i in nodes}
    for layer in critic.convolutions:
        around = {}
        for j in nodes:
            seen = [sum(weight[i, j] / math.sqrt(into[i] * into[j]) * state[i] for i in nodes)]
            if critic.both_ways:
                seen.append(
                    sum(weight[j, i] / math.sqrt(out[i] * out[j]) * state[i] for i in nodes)
                )
            around[j] = torch.cat(seen)
        state = {j: (around[j] @ layer.weight[0] + layer.bias[0]).clamp(min=0) for j in nodes}
    if critic.pool == "attention":
        gate = [state[i] @ critic.gate.weight[0, :, 0] + critic.gate.bias[0, 0] for i in nodes]
        share = [math.exp(g) / sum(math.exp(h) for h in gate) for g in gate]
        pooled = sum(
            a * (state[i] @ critic.value.weight[0] + critic.value.bias[0])
            for a, i in zip(share, nodes, strict=True)
        )
    else:
        pooled = sum(state.values()) / (len(nodes) if critic.pool == "mean" else 1)
    return float(pooled @ critic.head.weight[0, :, 0] + critic.head.bias[0, 0])


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
class TestFormula:
    @pytest.mark.parametrize("graphs", [Relaxed.of([some()], 5), soft()], ids=["hard", "soft"])
    def test_node_by_node(self, options, graphs):
        critic = make(**options)
        found = critic(graphs)
        assert found.shape == (1, 40)
        assert found.std() > 0.1
        for b in range(40):
            expected = by_loops(critic, graphs.ops[0, b], graphs.adj[0, b], graphs.real[0, b])
            assert float(found[0, b]) == pytest.approx(expected, abs=1e-4)

    def test_numbers_of_nodes_do_not_matter(self, options):
        graphs = soft()
        critic, order = make(**options), torch.tensor([3, 0, 4, 2, 1])
        moved = Relaxed(
            graphs.ops[:, :, order],
            graphs.adj[:, :, order][..., order],
            graphs.real[:, :, order],
        )
        assert torch.allclose(critic(moved), critic(graphs), atol=1e-5)
        turned = Relaxed(graphs.ops, graphs.adj.mT, graphs.real)
        assert not torch.allclose(critic(turned), critic(graphs), atol=1e-2)

    def test_padding_does_not_matter(self, options):
        critic, archs = make(**options), some()
        wide = Relaxed.of([archs.pad(9)], 5)
        assert torch.allclose(critic(wide), critic(Relaxed.of([archs], 5)), atol=1e-5)

    def test_missing_nodes_do_not_matter(self, options):
        """Graphs as `refined` leaves them, with holes, are what they are without."""
        critic, graphs = make(**options), Relaxed.of([CELLS[-200:]], 5)
        keep = torch.rand(graphs.real.shape, generator=stream(0, "keep")) < 0.6
        keep[..., [0, -1]] = True
        ops = graphs.ops * keep[..., None]
        adj = graphs.adj * (keep[..., :, None] * keep[..., None, :])
        holes = Relaxed(ops, adj, keep)
        compact = Relaxed.of([holes.archs()], 5)
        assert not compact.real.equal(holes.real)
        assert torch.allclose(critic(holes), critic(compact), atol=1e-5)

    def test_graphs_of_a_batch_are_apart(self, options):
        critic, graphs = make(**options), soft()
        some_of_them = Relaxed(graphs.ops[:, 7:9], graphs.adj[:, 7:9], graphs.real[:, 7:9])
        assert torch.allclose(critic(some_of_them), critic(graphs)[:, 7:9], atol=1e-5)

    def test_replicas(self, options):
        critics = [make(seed=seed, **options) for seed in range(3)]
        parts = [some(), CELLS[100:140], CELLS[900:940]]
        alone = [c(Relaxed.of([p], 5)) for c, p in zip(critics, parts, strict=True)]
        state = critics[1].state_dict()
        state = {name: value.clone() for name, value in state.items()}
        stacked(critics)
        assert torch.allclose(critics[0](Relaxed.of(parts, 5)), torch.cat(alone), atol=1e-5)
        second = replica(critics[0].state_dict(), 1)
        assert all(second[name].equal(state[name]) for name in state)


def test_along_the_edges_only():
    """What a node feeds is seen by `both_ways` alone: one convolution, and the input's feature."""
    archs = CELLS[CELLS.num_nodes == 4]
    graphs = Relaxed.of([archs], 5)
    changed = graphs.ops.clone()
    changed[:, :, 1] = torch.tensor([0.0, 0, 0, 1, 0])
    seen = {}
    for both_ways in (False, True):
        critic = make(both_ways=both_ways, widths=(6,), pool="sum")
        state = {}
        hook = critic.convolutions[0].register_forward_hook(
            lambda *call, state=state: state.update(rows=call[2])
        )
        critic(graphs)
        before = state["rows"].view(len(archs), 5, 6)[:, 0]
        critic(Relaxed(changed, graphs.adj, graphs.real))
        after = state["rows"].view(len(archs), 5, 6)[:, 0]
        hook.remove()
        seen[both_ways] = ((before - after).abs() > 1e-6).any(dim=-1)
    feeds = archs.adj[:, 0, 1] & (archs.ops[:, 1] != 3)
    assert feeds.any()
    assert not seen[False].any()
    assert seen[True].equal(feeds)


class TestDropout:
    def pooled(self, critic, rngs, n=400):
        """What the linear layer is given."""
        seen = {}
        hook = critic.head.register_forward_pre_hook(lambda _, given: seen.update(x=given[0]))
        critic(Relaxed.of([CELLS[:n]] * len(rngs or [0]), 5), rngs=rngs)
        hook.remove()
        return seen["x"]

    @pytest.mark.parametrize("pool", ["mean", "sum", "attention"])
    @pytest.mark.parametrize("share", [0.2, 0.5])
    def test_share_and_scale(self, pool, share):
        critic = make(dropout=share, pool=pool, widths=(6, 16))
        plain = self.pooled(critic, None)
        dropped = self.pooled(critic, [stream(0, "dropout")])
        there = plain != 0
        gone = (dropped == 0)[there]
        n = int(there.sum())
        assert n > 1000
        assert abs(float(gone.float().mean()) - share) < 5 * math.sqrt(share * (1 - share) / n)
        kept = there & (dropped != 0)
        assert torch.allclose(dropped[kept], plain[kept] / (1 - share))

    def test_off_without_sources(self):
        graphs = Relaxed.of([some()], 5)
        assert make(dropout=0.9)(graphs).equal(make(dropout=0.0)(graphs))
        assert make(dropout=0.0)(graphs, rngs=[stream(0, "x")]).equal(make()(graphs))
        critic = make().train()
        assert critic(graphs).equal(critic.eval()(graphs))

    def test_own_sources(self):
        critic, graphs = make(dropout=0.5), Relaxed.of([some()], 5)
        first, same, other = (critic(graphs, rngs=[stream(i, "x")]) for i in (0, 0, 1))
        assert first.equal(same)
        assert not first.equal(other)
        rng = stream(0, "x")
        assert not critic(graphs, rngs=[rng]).equal(critic(graphs, rngs=[rng]))

    def test_replicas_have_their_own(self):
        critics = [make(dropout=0.5) for _ in range(2)]
        stacked(critics)
        both = self.pooled(critics[0], [stream(0, "x"), stream(1, "x")])
        assert not both[0].equal(both[1])
        for i in range(2):
            assert torch.allclose(both[i], self.pooled(make(dropout=0.5), [stream(i, "x")])[0])

    def test_global_state_is_untouched(self):
        before = torch.get_rng_state()
        make(dropout=0.5)(Relaxed.of([some()], 5), rngs=[stream(0, "x")])
        assert before.equal(torch.get_rng_state())


def test_initial_parameters_are_drawn_from_the_source():
    first, same, other = (Critic(5, rng=stream(i, "c")).state_dict() for i in (0, 0, 1))
    assert all(first[name].equal(same[name]) for name in first)
    assert not any(first[name].equal(other[name]) for name in first)


@pytest.mark.parametrize("pool", ["mean", "attention"])
def test_gradients_reach_edges_and_operations(pool):
    graphs = soft()
    ops, adj = graphs.ops.clone().requires_grad_(), graphs.adj.clone().requires_grad_()
    critic = make(pool=pool).double()
    graphs = Relaxed(ops.double(), adj.double(), graphs.real)
    critic(graphs).sum().backward()
    there = graphs.real[0].float()
    for given in (ops, adj):
        assert given.grad[0, 3:].abs().amax(dim=(1, 2)).min() > 1e-6
    assert (ops.grad[0].abs().amax(dim=-1) * (1 - there)).max() == 0
    with torch.no_grad():
        direction = torch.randn(adj.shape, generator=stream(0, "d")).double() * graphs.adj
        above, below = (
            critic(Relaxed(graphs.ops, graphs.adj + step * direction, graphs.real)).sum()
            for step in (1e-5, -1e-5)
        )
        slope = (adj.grad.double() * direction).sum()
        assert float((above - below) / 2e-5) == pytest.approx(float(slope), rel=1e-2)


@pytest.mark.parametrize("widths", [(), (0,), (8, -1)], ids=["none", "zero", "negative"])
def test_bad_widths(widths):
    with pytest.raises(ValueError, match="widths must be one or more sizes of at least 1"):
        Critic(5, rng=stream(0, "c"), widths=widths)
