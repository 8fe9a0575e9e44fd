"""Choices that carry gradients: what is drawn, how often, and what flows back."""

import math

import pytest
import torch
from scipy.stats import chisquare

from netwright.generators import relaxed
from netwright.generators.relaxed import (
    Relaxed,
    choice_entropy,
    draw_edges,
    draw_ops,
    op_limits,
    refined,
    replica,
    stacked,
    uniform,
)
from netwright.graphs import dag
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.nn.replicas import ReplicaLinear
from netwright.rng import scoped, stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.testing.generators import LAYOUTS

TAUS = [0.05, 1.0, 5.0]
FREE = Layout.make(4, 3)


def tau_of(value):
    return torch.tensor([value]).view(1, 1, 1, 1)


def normal(*shape, name="logits", scale=1.5):
    return torch.randn(shape, generator=stream(0, name)) * scale


def noise(*shape, name="noise"):
    return torch.rand(shape, generator=stream(0, name))


def same_share(count, p):
    """Whether counts of outcomes are those that probabilities let expect."""
    return float(chisquare(count, p / p.sum() * sum(count)).pvalue) > 1e-4


class TestOperations:
    @pytest.mark.parametrize("tau", TAUS)
    def test_as_often_as_the_softmax_says(self, tau):
        n, logits = 20_000, normal(4, 3)
        drawn = draw_ops(logits.expand(1, n, 4, 3), noise(1, n, 4, 3), tau_of(tau))
        assert drawn.unique().tolist() == [0, 1]
        assert (drawn.sum(dim=-1) == 1).all()
        for node in range(4):
            count = drawn[0, :, node].sum(dim=0).tolist()
            p = logits[node].double().softmax(dim=0).numpy()
            assert same_share(count, p)
            assert not same_share(count, p[::-1])

    def test_what_is_not_allowed_is_not_drawn(self):
        logits = normal(1, 5000, 4, 3)
        logits[..., 1] = -torch.inf
        drawn = draw_ops(logits, noise(1, 5000, 4, 3), tau_of(1.0))
        assert not drawn[..., 1].any()

    @pytest.mark.parametrize("tau", [0.3, 2.0])
    def test_gradient_is_that_of_the_softmax_of_noisy_logits(self, tau):
        logits, chance, weight = normal(1, 6, 4, 3), noise(1, 6, 4, 3), normal(1, 6, 4, 3, name="w")
        logits.requires_grad_()
        (draw_ops(logits, chance, tau_of(tau)) * weight).sum().backward()
        soft = ((logits.detach() - (-chance.log()).log()) / tau).softmax(dim=-1)
        inner = (soft * weight).sum(dim=-1, keepdim=True)
        assert torch.allclose(logits.grad, soft * (weight - inner) / tau, rtol=1e-3, atol=1e-6)

    def test_extreme_noise_is_finite(self):
        logits = normal(1, 2, 1, 3).requires_grad_()
        chance = torch.tensor([[0.0, 0.0, 0.0], [1 - 2**-24, 0.0, 0.5]]).view(1, 2, 1, 3)
        drawn = draw_ops(logits, chance, tau_of(0.1))
        drawn.sum().backward()
        assert drawn.isfinite().all()
        assert logits.grad.isfinite().all()


class TestEdges:
    @pytest.mark.parametrize("tau", TAUS)
    def test_as_often_as_the_logistic_function_says(self, tau):
        n, logits = 20_000, normal(4, 4)
        drawn = draw_edges(logits.expand(1, n, 4, 4), noise(1, n, 4, 4), tau_of(tau), FREE)
        assert drawn.unique().tolist() == [0, 1]
        for i, j in FREE.free.nonzero().tolist():
            there = float(drawn[0, :, i, j].sum())
            p = logits[i, j].double().sigmoid()
            assert same_share([there, n - there], torch.stack([p, 1 - p]).numpy())
            assert not same_share([n - there, there], torch.stack([p, 1 - p]).numpy())

    def test_free_pairs_are_independent(self):
        n, logits = 20_000, normal(4, 4, scale=0.7)
        drawn = draw_edges(logits.expand(1, n, 4, 4), noise(1, n, 4, 4), tau_of(1.0), FREE)
        i, j = FREE.free.nonzero(as_tuple=True)
        found = torch.corrcoef(drawn[0, :, i, j].T).fill_diagonal_(0)
        assert found.abs().max() < 5 / math.sqrt(n)

    @pytest.mark.parametrize("name", LAYOUTS)
    def test_forced_and_forbidden_pairs(self, name):
        layout = LAYOUTS[name]
        size = layout.max_nodes
        shape = (2, 500, size, size)
        drawn = draw_edges(normal(*shape), noise(*shape), tau_of(1.0), layout).bool()
        assert drawn[..., layout.forced].all()
        assert not drawn[..., ~layout.forced & ~layout.free].any()
        free = drawn[..., layout.free]
        assert free.numel() == 0 or 0.3 < free.float().mean() < 0.7

    @pytest.mark.parametrize("tau", [0.3, 2.0])
    def test_gradient_is_that_of_the_noisy_logistic_function(self, tau):
        layout = LAYOUTS["mixed"]
        shape = (1, 6, 4, 4)
        logits, chance, weight = normal(*shape), noise(*shape), normal(*shape, name="w")
        logits.requires_grad_()
        (draw_edges(logits, chance, tau_of(tau), layout) * weight).sum().backward()
        soft = ((logits.detach() + (chance / (1 - chance)).log()) / tau).sigmoid()
        expected = weight * soft * (1 - soft) / tau * layout.free
        assert torch.allclose(logits.grad, expected, rtol=1e-3, atol=1e-6)

    def test_temperatures_of_replicas(self):
        layout, shape = FREE, (2, 3, 4, 4)
        logits = normal(1, 3, 4, 4).expand(shape).clone().requires_grad_()
        chance = noise(1, 3, 4, 4).expand(shape)
        tau = torch.tensor([0.3, 2.0]).view(2, 1, 1, 1)
        draw_edges(logits, chance, tau, layout).sum().backward()
        for i, value in enumerate([0.3, 2.0]):
            alone = logits.detach()[:1].clone().requires_grad_()
            draw_edges(alone, chance[:1], tau_of(value), layout).sum().backward()
            assert torch.equal(alone.grad[0], logits.grad[i])


class TestMostEdges:
    """A layout's largest number of edges."""

    @pytest.mark.parametrize("most", [0, 1, 3, 5, 6, 9])
    def test_those_with_the_largest_margin_are_kept(self, most):
        layout = Layout.make(4, 3, max_edges=most)
        shape = (2, 100, 4, 4)
        logits, chance = normal(*shape) + 1, noise(*shape)
        drawn = draw_edges(logits, chance, tau_of(1.0), layout)
        every = draw_edges(logits, chance, tau_of(1.0), FREE)
        margin = logits + (chance / (1 - chance)).log()
        crowded = 0
        for r in range(2):
            for b in range(100):
                there = every[r, b].nonzero().tolist()
                best = sorted(there, key=lambda pair: -float(margin[r, b][tuple(pair)]))
                assert sorted(best[:most]) == drawn[r, b].nonzero().tolist()
                crowded += len(there) > most
        assert crowded > 20 or most >= 6

    def test_forced_edges_count(self):
        chain = LAYOUTS["chain"]
        layout = Layout(4, 2, chain.allowed_ops, chain.free, chain.forced, max_edges=4)
        shape = (1, 500, 4, 4)
        drawn = draw_edges(normal(*shape) + 2, noise(*shape), tau_of(1.0), layout)
        assert drawn[..., chain.forced].all()
        assert drawn.sum(dim=(2, 3)).unique().tolist() == [3, 4]

    def test_no_more_than_are_forced(self):
        chain = LAYOUTS["chain"]
        layout = Layout(4, 2, chain.allowed_ops, chain.free, chain.forced, max_edges=3)
        shape = (1, 500, 4, 4)
        drawn = draw_edges(normal(*shape) + 2, noise(*shape), tau_of(1.0), layout)
        assert torch.equal(drawn[0, 0].bool(), chain.forced)
        assert (drawn == drawn[:, :1]).all()

    def plainly_trimmed(self, drawn, margin, most):
        """Edges on paths, less those of least margin whose ends have others; then any."""
        size = len(drawn)
        archs = ArchitectureBatch(torch.zeros(1, size).long(), drawn[None], torch.tensor([size]))
        kept = dag.on_path(archs)[0]
        left = {(i, j) for i, j in drawn.nonzero().tolist() if kept[i] and kept[j]}
        if len(left) <= most:
            return drawn
        while len(left) > most:
            sources, targets = [i for i, _ in left], [j for _, j in left]
            spare = {(i, j) for i, j in left if sources.count(i) > 1 < targets.count(j)}
            left.remove(min(spare or left, key=lambda pair: float(margin[pair])))
        rest = torch.zeros_like(drawn)
        for pair in left:
            rest[pair] = True
        return rest

    @pytest.mark.parametrize("most", [1, 4, 5, 7])
    def test_nodes_on_paths_stay_there(self, most):
        """Where what lies on no path is removed, that does not count."""
        layout = NASBench101(max_nodes=5, max_edges=most).layout
        logits, chance = normal(1, 200, 5, 5) + 0.7, noise(1, 200, 5, 5)
        found = draw_edges(logits, chance, tau_of(1.0), layout)
        every = draw_edges(logits, chance, tau_of(1.0), NASBench101(max_nodes=5).layout)
        margin = logits + (chance / (1 - chance)).log()
        trimmed = 0
        for b in range(200):
            expected = self.plainly_trimmed(every[0, b].bool(), margin[0, b], most)
            assert found[0, b].bool().equal(expected)
            trimmed += not expected.equal(every[0, b].bool())
        assert trimmed > 20
        sizes = [
            refined(torch.ones(1, 200, 5, 5), adj, layout).real.sum(dim=-1)
            for adj in (every, found)
        ]
        assert most < 7 or sizes[0].equal(sizes[1])
        assert (refined(torch.ones(1, 200, 5, 5), found, layout).adj.sum(dim=(2, 3)) <= most).all()


class TestEntropy:
    def brute_force(self, edge_logits, op_logits, layout):
        total = 0.0
        for i, j in layout.free.nonzero().tolist():
            p = float(torch.sigmoid(edge_logits[i, j].double()))
            total -= p * math.log(p) + (1 - p) * math.log(1 - p)
        for row in op_logits.double().softmax(dim=-1).tolist():
            total -= sum(p * math.log(p) for p in row if p > 0)
        return total

    @pytest.mark.parametrize("name", LAYOUTS)
    def test_as_by_definition(self, name):
        layout = LAYOUTS[name]
        size = layout.max_nodes
        edges = normal(2, 3, size, size)
        ops = normal(2, 3, size, layout.num_ops) + op_limits(layout)
        found = choice_entropy(edges, ops, layout)
        for r in range(2):
            for b in range(3):
                expected = self.brute_force(edges[r, b], ops[r, b], layout)
                assert float(found[r, b]) == pytest.approx(expected, abs=1e-4)

    def test_of_sure_and_of_fair_choices(self):
        fair = choice_entropy(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 3), FREE)
        assert float(fair) == pytest.approx(6 * math.log(2) + 4 * math.log(3))
        sure = torch.full((1, 1, 4, 4), 90.0)
        ops = torch.tensor([90.0, 0, -torch.inf]).expand(1, 1, 4, 3)
        assert float(choice_entropy(sure, ops, FREE)) == pytest.approx(0, abs=1e-6)
        assert float(choice_entropy(-sure, ops, FREE)) == pytest.approx(0, abs=1e-6)

    def test_gradient_is_finite_and_right(self):
        limits = op_limits(LAYOUTS["mixed"]).double()
        edges, ops = normal(1, 2, 4, 4).double(), normal(1, 2, 4, 4).double()
        assert torch.autograd.gradcheck(
            lambda e, o: choice_entropy(e, o + limits, LAYOUTS["mixed"]),
            (edges.requires_grad_(), ops.requires_grad_()),
        )


class TestLimits:
    def test_of_a_cell(self):
        """Input, three operations, output; the output nowhere but last."""
        allowed = op_limits(NASBench101(max_nodes=4).layout) == 0
        assert allowed.long().tolist() == [
            [1, 0, 0, 0, 0],
            [0, 1, 1, 1, 0],
            [0, 1, 1, 1, 0],
            [0, 0, 0, 0, 1],
        ]

    def test_without_an_end(self):
        assert (op_limits(FREE) == 0).all()

    def test_an_end_that_is_the_only_choice(self):
        layout = Layout.make(3, 3, allowed_ops=[[0, 2], [2], [1]], end_op=2)
        assert (op_limits(layout) == 0).long().tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]


class TestBatches:
    """Between architectures and graphs with gradients."""

    CELLS = NASBench101(max_nodes=5).enumerate()

    def test_there_and_back(self):
        halves = [self.CELLS[:1000], self.CELLS[1000:2000]]
        graphs = Relaxed.of(halves, 5)
        assert graphs.archs().equal(ArchitectureBatch.cat(halves)).all()
        assert graphs.real.flatten(0, 1).equal(ArchitectureBatch.cat(halves).node_mask)
        assert (graphs.ops.sum(dim=-1) == graphs.real).all()

    def test_nodes_in_between_may_be_missing(self):
        graphs = Relaxed.of([self.CELLS[-3:]], 5)
        real = graphs.real.clone()
        real[..., 2] = False
        holes = Relaxed(graphs.ops * real[..., None], graphs.adj, real).archs()
        assert (holes.num_nodes == 4).all()
        left = torch.tensor([0, 1, 3, 4])
        assert holes.ops[:, :4].equal(self.CELLS.ops[-3:][:, left])
        assert holes.adj[:, :4, :4].equal(self.CELLS.adj[-3:][:, left][:, :, left])

    def test_gradients_are_cut(self):
        ops, adj = torch.rand(1, 2, 3, 4), torch.rand(1, 2, 3, 3)
        real = torch.ones(1, 2, 3, dtype=torch.bool)
        graphs = Relaxed(ops.requires_grad_(), adj.requires_grad_(), real)
        fixed, cut = graphs.with_fixed_edges(), graphs.detach()
        assert fixed.ops.requires_grad
        assert not fixed.adj.requires_grad
        assert not cut.ops.requires_grad
        assert not cut.adj.requires_grad
        for other in (fixed, cut):
            assert other.ops.equal(ops)
            assert other.adj.equal(adj)
            assert other.real.equal(real)


def test_replicas_draw_from_their_own_sources():
    both = uniform([stream(0, "a"), stream(1, "a")], 3, 4, device=torch.device("cpu"))
    assert both.shape == (2, 3, 4)
    assert both[0].equal(torch.rand(3, 4, generator=stream(0, "a")))
    assert both[1].equal(torch.rand(3, 4, generator=stream(1, "a")))


def test_stacked_models_and_their_parts():
    models = []
    for seed in range(3):
        with scoped(stream(seed, "layer")):
            models.append(ReplicaLinear(3, 2))
    states = [{name: value.clone() for name, value in m.state_dict().items()} for m in models]
    x = normal(3, 4, 3, name="x")
    alone = torch.cat([model(x[i : i + 1]) for i, model in enumerate(models)])
    stacked(models)
    assert torch.allclose(models[0](x), alone, atol=1e-6)
    assert models[0].weight.is_leaf
    for i, state in enumerate(states):
        part = replica(models[0].state_dict(), i)
        assert part.keys() == state.keys()
        assert all(part[name].equal(state[name]) for name in state)


def test_as_many_as_asked_for_whatever_the_chunk(monkeypatch):
    """`sample` draws chunk after chunk from one source."""
    layout, asked = NASBench101(max_nodes=5).layout, []

    class Chain:
        replicas = 1

        def __init__(self):
            self.layout = layout

        def draw(self, n, *, rngs, temperature=1.0, entropy=False):
            del entropy
            asked.append((n, rngs, temperature))
            return Relaxed.of([NASBench101(max_nodes=5).sample(n, rng=rngs[0])], 5)

    monkeypatch.setattr(relaxed, "_CHUNK", 4)
    rng = stream(0, "sample")
    archs = relaxed.sample(Chain(), 10, rng=rng, temperature=2.0)
    assert len(archs) == 10
    assert asked == [(4, [rng], 2.0), (4, [rng], 2.0), (2, [rng], 2.0)]
    assert len(relaxed.sample(Chain(), 0, rng=rng)) == 0
