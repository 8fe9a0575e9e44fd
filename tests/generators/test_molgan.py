"""The MolGAN-like generator against its formulas, and the gradients that reach it."""

import math

import pytest
import torch

from netwright.generators import molgan as module
from netwright.generators.base import complete
from netwright.generators.molgan import MolGAN
from netwright.generators.relaxed import Relaxed, replica, stacked
from netwright.generators.three_way import ThreeWay, ThreeWayOptions
from netwright.graphs import dag
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.testing.generators import LAYOUTS as LAYOUTS_OF_CHECKS

SPACE = NASBench101()
SMALL = NASBench101(max_nodes=5)
LAYOUTS = {"nasbench101": SPACE.layout, "freed": SPACE.layout.freed(keep_ends=True)}


def make(layout=SMALL.layout, *, seed=0, **options):
    sizes = {"latent_size": 6, "widths": (8, 10), "features": 7}
    generator = MolGAN(layout, rng=stream(seed, "generator"), **sizes | options)
    with torch.no_grad():
        for parameter in generator.parameters():
            noise = torch.randn(parameter.shape, generator=stream(seed, "noise"))
            parameter.add_(noise, alpha=0.3)
    return generator


def drawn(generator, n=20, *, seeds=None, **options):
    seeds = range(generator.replicas) if seeds is None else seeds
    return generator.draw(n, rngs=[stream(seed, "draw") for seed in seeds], **options)


def noticed(generator, monkeypatch, n, **options):
    """Draw, and note the logits of edges and operations and the edges before refinement."""
    seen = {}

    def note(ops, adj, layout, nats):
        seen["adj"] = adj.detach()
        return refined(ops, adj, layout, nats)

    def note_logits(edges, ops, layout):
        seen["edges"], seen["ops"] = edges.detach(), ops.detach()
        return entropy(edges, ops, layout)

    refined, entropy = module.refined, module.choice_entropy
    with monkeypatch.context() as patch:
        patch.setattr(module, "refined", note)
        patch.setattr(module, "choice_entropy", note_logits)
        seen["graphs"] = drawn(generator, n, entropy=True, **options)
    return seen


def by_hand(generator, latent, adj):
    """Logits of one graph, pair by pair and neighbour by neighbour."""
    size = len(adj)
    hidden = latent
    for layer in generator.layers:
        hidden = torch.tanh(hidden @ layer.weight[0] + layer.bias[0])
    scores = hidden @ generator.edges.weight[0] + generator.edges.bias[0]
    features = hidden @ generator.nodes.weight[0] + generator.nodes.bias[0]
    features = features.view(size, -1)
    pairs = [(i, j) for i in range(size) for j in range(i + 1, size)]
    edges = torch.zeros(size, size)
    for k, (i, j) in enumerate(pairs):
        edges[i, j] = scores[len(pairs) + k] - scores[k]
    degree = 1 + adj.sum(dim=0)
    rows = []
    for j in range(size):
        total = features[j] / degree[j]
        for i in range(j):
            total = total + adj[i, j] / math.sqrt(degree[i] * degree[j]) * features[i]
        rows.append(total @ generator.operations.weight[0] + generator.operation_bias[0])
    return edges, torch.stack(rows)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
@torch.no_grad()
def test_logits_pair_by_pair(temperature, monkeypatch):
    generator = make()
    seen = noticed(generator, monkeypatch, 6, temperature=temperature)
    latent = torch.randn(6, 6, generator=stream(0, "draw"))
    for graph in range(6):
        edges, ops = by_hand(generator, latent[graph], seen["adj"][0, graph])
        assert torch.allclose(seen["edges"][0, graph], edges / temperature, atol=1e-5)
        allowed = generator.limits == 0
        found = seen["ops"][0, graph]
        assert torch.allclose(found[allowed], (ops / temperature)[allowed], atol=1e-5)
        assert (found[~allowed] == -torch.inf).all()


@torch.no_grad()
def test_bounds_hold_logits(monkeypatch):
    free = noticed(make(), monkeypatch, 50)
    held = noticed(make(edge_bound=0.3, op_bound=0.2), monkeypatch, 50)
    expected = 0.3 * (free["edges"] / 0.3).tanh()
    assert torch.allclose(held["edges"], expected, atol=1e-5)
    ops = held["ops"][held["ops"].isfinite()].abs()
    assert ops.max() <= 0.2
    assert free["ops"][free["ops"].isfinite()].abs().max() > 0.2


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@torch.no_grad()
def test_graphs_are_those_of_the_layout(layout):
    archs = make(layout).sample(500, rng=stream(0, "sample"))
    assert complete(archs, layout).all()
    assert archs.equal(dag.refine(archs)).all()
    assert (archs.ops[:, 0] == 0).all()
    assert len(archs.num_nodes.unique()) > 3


@torch.no_grad()
def test_edges_beyond_the_limit_never_come_out():
    for name, layout in LAYOUTS.items():
        generator = make(layout)
        half = generator.edges.bias.shape[1] // 2
        generator.edges.bias[:, half:] += 5  # every edge, nearly
        edges = generator.sample(300, rng=stream(0, "sample")).num_edges
        if name == "freed":
            assert edges.max() > 9
        else:
            assert edges.max() == 9


def test_gradients_reach_every_parameter_from_edges_and_from_operations():
    generator = make(tau=1.0)
    weight = torch.rand(200, 5, 10, generator=stream(0, "weight"))
    graphs = drawn(generator, 200)
    of_ops = (graphs.ops * weight[:, :, :5]).sum()
    of_adj = (graphs.adj * weight[:, :, 5:]).sum()
    parameters = dict(generator.named_parameters())
    for loss, unreached in (
        (of_ops, ()),  # edges are felt through the convolution
        (of_adj, ("nodes.", "operation")),
    ):
        found = torch.autograd.grad(
            loss, parameters.values(), retain_graph=True, allow_unused=True, materialize_grads=True
        )
        for name, gradient in zip(parameters, found, strict=True):
            norm = float(gradient.norm())
            assert math.isfinite(norm)
            if name.startswith(tuple(unreached)):
                assert norm == 0, name
            else:
                assert norm > 1e-3, name


def test_operations_pass_on_gradients_where_edges_are_fixed():
    graphs = drawn(generator := make(LAYOUTS_OF_CHECKS["fixed edges"], tau=1.0), 200)
    loss = (graphs.ops * torch.rand(graphs.ops.shape, generator=stream(0, "weight"))).sum()
    for gradient in torch.autograd.grad(loss, generator.layers.parameters()):
        assert gradient.norm() > 1e-3  # through node features


def test_dropout_is_part_of_draws_that_are_learned_from_only(monkeypatch):
    generator, without = make(dropout=0.5), make(dropout=0.0)
    learned = noticed(generator, monkeypatch, 400)["edges"]
    plain = noticed(without, monkeypatch, 400)["edges"]
    pairs = plain != 0
    lost = (learned[pairs] == 0).double().mean()
    whole = torch.isclose(learned[pairs], 2 * plain[pairs], rtol=1e-4).double().mean()
    assert abs(lost - 0.25) < 0.03  # both scores of a pair
    assert abs(whole - 0.25) < 0.03  # neither
    with torch.no_grad():
        assert noticed(generator, monkeypatch, 400)["edges"].equal(plain)
    generator.eval()
    assert noticed(generator, monkeypatch, 400)["edges"].equal(plain)


def test_replicas_draw_what_each_draws_alone():
    models = [make(seed=seed) for seed in range(3)]
    models[1].tau.fill_(0.5)
    alone = [drawn(model, seeds=[seed], entropy=True) for seed, model in enumerate(models)]
    states = [model.state_dict() for model in models]
    stacked(models)
    together = drawn(models[0], entropy=True)
    assert models[0].replicas == 3
    for i, one in enumerate(alone):
        assert together.ops[i].equal(one.ops[0])
        assert together.adj[i].equal(one.adj[0])
        assert together.real[i].equal(one.real[0])
        assert torch.allclose(together.entropy[i], one.entropy[0], atol=1e-5)
        again = make(seed=9)
        again.load_state_dict(replica(models[0].state_dict(), i))
        assert all(states[i][name].equal(value) for name, value in again.state_dict().items())


def test_replicas_learn_what_each_learns_alone():
    def trained(seeds, *, together):
        options = ThreeWayOptions(gan_loss="non-saturating", optimiser="sgd", entropy=0.1)
        models = [ThreeWay(make(seed=s), options, rng=stream(s, "critics")) for s in seeds]
        model = ThreeWay.together(models) if together else models[0]
        data = [SMALL.sample(8, rng=stream(s, "data")) for s in seeds]
        target = torch.stack([torch.rand(8, generator=stream(s, "target")) for s in seeds])
        part = torch.full((len(seeds),), 0.4)
        for step in range(4):
            rngs = [stream(s, f"step/{step}") for s in seeds]
            model.step(Relaxed.of(data, 5), target, part, part, rngs=rngs)
        return model.generator.state_dict()

    stack = trained([0, 1], together=True)
    for i, seed in enumerate([0, 1]):
        alone, start = trained([seed], together=False), make(seed=seed).state_dict()
        for name, value in replica(stack, i).items():
            assert torch.allclose(value, alone[name], atol=1e-5), name
            assert name == "tau" or not value.equal(start[name]), name


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"latent_size": 0}, "latent_size"),
        ({"widths": ()}, "widths"),
        ({"widths": (4, 0)}, "widths"),
        ({"features": 0}, "features"),
        ({"tau": 0.0}, "tau"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": -0.1}, "dropout"),
        ({"edge_bound": 0.0}, "edge_bound"),
        ({"op_bound": -1.0}, "op_bound"),
    ],
    ids=str,
)
def test_bad_options_are_named(options, word):
    with pytest.raises(ValueError, match=word):
        make(**options)
