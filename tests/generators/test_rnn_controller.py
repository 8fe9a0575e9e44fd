from copy import deepcopy
from functools import partial
from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state

from netwright.generators.rnn import Recurrent
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.searchers.policy_gradient import FitOptions, Learner, Lesson, fit
from netwright.testing.generators import GENERATOR_CHECKS, LAYOUTS, complete_graphs

GENERATORS = {
    "one layer": partial(Recurrent, hidden=10),
    "two layers, no limits": partial(
        Recurrent, hidden=8, layers=2, tanh_constant=None, softmax_temperature=None
    ),
}
CELL = LAYOUTS["cell"]


@pytest.mark.parametrize("check", GENERATOR_CHECKS.values(), ids=GENERATOR_CHECKS)
@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_contract(make, check):
    check(make)


def wild(layout=CELL, seed=0, **options):
    """A generator far from uniform."""
    generator = Recurrent(layout, hidden=7, rng=stream(seed, "generator"), **options)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(10.0)
    return generator


def by_hand(generator, arch):
    """Log P of the edges and of the operations of one graph, decision by decision."""
    layout, hidden = generator.layout, generator.hidden
    constant, temperature = generator.tanh_constant, generator.softmax_temperature
    cells = []
    for layer in generator.lstm:
        cell = nn.LSTMCell(hidden, hidden, bias=False)
        cell.weight_ih.data, cell.weight_hh.data = layer.weight[0].T.split(hidden, dim=1)
        cells.append(cell)
    states = [(torch.zeros(1, hidden), torch.zeros(1, hidden)) for _ in cells]

    def step(given):
        given = given[None]
        for i, cell in enumerate(cells):
            states[i] = cell(given, states[i])
            given = states[i][0]
        return given[0]

    def limited(score):
        score = score / (temperature or 1.0)
        return score if constant is None else constant * torch.tanh(score)

    edges, ops, anchors, given = torch.zeros(()), torch.zeros(()), [], generator.start[0]
    for v in range(int(arch.num_nodes)):
        weight = limited(step(given) @ generator.op_head.weight[0]).exp() * layout.allowed_ops[v]
        op = int(arch.ops[0, v])
        ops = ops + (weight[op] / weight.sum()).log()
        given = generator.embedding[0, op]
        if not layout.free.any():
            continue
        anchors.append(step(given))
        of_earlier, of_new = generator.ends.weight[0].split(hidden, dim=1)
        for u in range(v):
            if layout.free[u, v]:
                both = torch.tanh(anchors[u] @ of_earlier + anchors[v] @ of_new)
                score = limited(both @ generator.edge_head.weight[0, :, 0])
                yes, no = torch.stack([score, -score]).softmax(dim=0)
                edges = edges + (yes if arch.adj[0, u, v] else no).log()
        chosen = [anchors[u] for u in range(v) if arch.adj[0, u, v]]
        given = sum(chosen, torch.zeros(hidden)) / (1 + len(chosen)) if v else generator.start[0]
    return torch.stack([edges, ops])


@pytest.mark.parametrize(
    ("name", "layers", "constant", "temperature"),
    [
        ("cell", 1, 2.5, 5.0),
        ("mixed", 2, 2.5, None),
        ("fixed edges", 2, None, 5.0),
        ("chain", 1, None, None),
    ],
)
def test_log_prob_is_what_is_written(name, layers, constant, temperature):
    generator = wild(
        LAYOUTS[name], tanh_constant=constant, softmax_temperature=temperature, layers=layers
    )
    archs = complete_graphs(generator.layout)
    archs = archs[torch.arange(0, len(archs), 1 + len(archs) // 5)]
    expected = torch.stack([by_hand(generator, archs[i : i + 1]) for i in range(len(archs))])
    torch.testing.assert_close(generator.log_prob_parts(archs), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(generator.log_prob(archs), expected.sum(dim=1), atol=1e-4, rtol=1e-4)
    assert expected.std() > 0.1, "far from uniform"


def test_the_sizes_and_the_start_of_enas_are_the_default():
    generator = Recurrent(CELL, rng=stream(0, "generator"))
    assert [tuple(p.shape) for p in generator.lstm.parameters()] == [(1, 200, 400)]
    assert generator.embedding.shape == (1, CELL.num_ops, 100)
    assert (generator.tanh_constant, generator.softmax_temperature) == (2.5, 5.0)
    assert not any("bias" in name for name, _ in generator.named_parameters())
    row = torch.cat([parameter.detach().flatten() for parameter in generator.parameters()])
    assert 0.099 < float(row.abs().max()) <= 0.1
    assert float(row.std()) == pytest.approx(0.2 / 12**0.5, rel=0.02)


def test_a_layout_without_edges_to_decide_has_no_second_steps(monkeypatch):
    generator = Recurrent(LAYOUTS["fixed edges"], hidden=4, rng=stream(0, "generator"))
    assert not hasattr(generator, "edge_head")
    steps = []
    step = Recurrent._step

    def count(self, given, state):
        steps.append(given)
        return step(self, given, state)

    monkeypatch.setattr(Recurrent, "_step", count)
    generator.log_prob(complete_graphs(generator.layout))
    assert len(steps) == 4, "one per node, for all graphs at once"


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("name", ["cell", "fixed edges"])
def test_replicas_side_by_side_are_the_replicas_alone(name, layers):
    generators = [wild(LAYOUTS[name], seed, layers=layers) for seed in range(3)]
    archs = complete_graphs(LAYOUTS[name])
    archs = archs[torch.arange(12) % len(archs)]
    wrong = ArchitectureBatch(archs.ops, archs.adj, archs.num_nodes - 2)
    mixed = ArchitectureBatch.cat([archs[:5], wrong[5:6], archs[6:]])
    alone = torch.cat([generators[i].log_prob_parts(mixed[4 * i : 4 * i + 4]) for i in range(3)])
    rows = stack_module_state(generators)[0]
    joined = {name: value.flatten(0, 1).detach() for name, value in rows.items()}
    together = functional_call(generators[0], joined, (mixed,))
    assert together.isinf().any()
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="11 graphs for 3 replicas"):
        functional_call(generators[0], joined, (archs[:11],))


@pytest.mark.parametrize("likelihood", ["graph", "normalised"])
def test_replicas_learn_together_what_they_learn_alone(likelihood):
    options = FitOptions(epochs=3, batch_size=4, learning_rate=0.01, likelihood=likelihood)
    archs = complete_graphs(CELL)

    def lessons():
        for seed in range(3):
            rng = stream(seed, "lesson")
            some = archs[torch.randperm(len(archs), generator=rng)[:6]]
            score = torch.rand(6, generator=rng)
            yield Lesson(Learner(wild(seed=seed)), some, score, rng)

    together, alone = list(lessons()), list(lessons())
    stats = fit(together, options)
    for lesson, other, found in zip(together, alone, stats, strict=True):
        before = other.learner.row
        expected = fit([other], options)[0]
        assert (other.learner.row - before).abs().max() > 1e-2
        torch.testing.assert_close(lesson.learner.row, other.learner.row, atol=1e-5, rtol=1e-4)
        assert found == pytest.approx(expected, rel=1e-3)


def test_learns_the_graphs_it_is_shown():
    generator = Recurrent(
        CELL, hidden=16, rng=stream(0, "g"), tanh_constant=None, softmax_temperature=None
    )
    shown = complete_graphs(CELL)[torch.tensor([5, 200])]
    adam = torch.optim.Adam(generator.parameters(), lr=5e-2)
    for _ in range(80):
        adam.zero_grad()
        (-generator.log_prob(shown).mean()).backward()
        adam.step()
    # The best that a distribution can do with two graphs is one half each.
    assert (generator.log_prob(shown).exp() - 0.5).abs().max() < 0.1
    drawn = generator.sample(200, rng=stream(0, "drawn"))
    for graph in (shown[:1], shown[1:]):
        assert drawn.equal(graph[torch.zeros(200, dtype=torch.long)]).sum() > 60


def test_edges_tell_what_follows():
    """The same operations after other edges: without feedback nothing could depend on them."""
    generator = wild(Layout.make(3, 3))
    archs = complete_graphs(generator.layout)
    alike = archs[(archs.ops == 0).all(dim=1) & ~archs.adj[:, 0, 2] & ~archs.adj[:, 1, 2]]
    assert len(alike) == 2  # with and without the edge 0 -> 1
    logits = generator._op_logits(
        generator._read(alike.ops[None], alike.adj[None])[0], generator.allowed_ops
    )[0]
    assert torch.allclose(logits[0, :2], logits[1, :2], atol=1e-6)
    assert (logits[0, 2] - logits[1, 2]).abs().max() > 1e-3


def test_bad_sizes_are_named():
    for options, message in (
        ({"hidden": 0}, "sizes must be at least 1"),
        ({"layers": 0}, "sizes must be at least 1"),
        ({"tanh_constant": 0.0}, "tanh_constant must be above 0"),
        ({"softmax_temperature": -1.0}, "softmax_temperature must be above 0"),
    ):
        with pytest.raises(ValueError, match=message):
            Recurrent(CELL, rng=stream(0, "generator"), **options)


@pytest.mark.gpu
def test_a_gpu_gives_the_same():
    here = wild()
    there = deepcopy(here).to("cuda")
    archs = complete_graphs(CELL)
    values = there.log_prob(archs.to("cuda"))
    torch.testing.assert_close(values.cpu(), here.log_prob(archs), atol=1e-4, rtol=1e-4)
    drawn = there.sample(2000, rng=stream(0, "drawn"))
    assert drawn.device.type == "cuda"
    share = here.sample(2000, rng=stream(0, "drawn")).adj.double().mean(dim=0)
    torch.testing.assert_close(drawn.to("cpu").adj.double().mean(dim=0), share, atol=0.1, rtol=0)


READ, LOGITS = Recurrent._read, Recurrent._edge_logits
OPS, CHOSEN, SAMPLE = Recurrent._op_logits, Recurrent._chosen, Recurrent.sample


def reading_the_whole_graph(self, ops, adj):
    """Edges still to come are fed back, those of the next node."""
    return READ(self, ops, torch.cat([adj[..., 1:], adj[..., :1]], dim=3))


def reading_the_next_operation(self, ops, adj):
    return READ(self, torch.cat([ops[..., 1:], ops[..., :1]], dim=2), adj)


def forgetting_edges(self, n, *, rng, temperature=1.0):
    """Sampling does not feed back the edges it drew; reading does."""

    def nothing(self, anchors, column):
        return CHOSEN(self, anchors, torch.zeros_like(column))

    with patch.object(Recurrent, "_chosen", nothing):
        return SAMPLE(self, n, rng=rng, temperature=temperature)


def upside_down(self, n, *, rng, temperature=1.0):
    """Sampling takes the probability of an edge for that of none; reading does not."""

    def negative(self, earlier, new):
        return -LOGITS(self, earlier, new)

    with patch.object(Recurrent, "_edge_logits", negative):
        return SAMPLE(self, n, rng=rng, temperature=temperature)


def any_operation(self, states, allowed):
    return OPS(self, states, torch.ones_like(allowed))


def same_always(self, n, *, rng, temperature=1.0):
    del rng
    return SAMPLE(self, n, rng=stream(0, "always"), temperature=temperature)


@pytest.mark.parametrize(
    ("check", "method", "fault"),
    [
        ("sums to one", "_read", reading_the_whole_graph),
        ("sums to one", "_read", reading_the_next_operation),
        ("frequencies", "sample", forgetting_edges),
        ("frequencies", "sample", upside_down),
        ("complete", "_op_logits", any_operation),
        ("rng is used", "sample", same_always),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_planted_fault_fails(monkeypatch, check, method, fault):
    monkeypatch.setattr(Recurrent, method, fault)
    with pytest.raises(AssertionError):
        GENERATOR_CHECKS[check](lambda layout, *, rng: wild_like(layout, rng))


def wild_like(layout, rng):
    generator = Recurrent(layout, hidden=8, rng=rng, softmax_temperature=None)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.mul_(10.0)
    return generator
