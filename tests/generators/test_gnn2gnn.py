"""GNN2GNN's generator against its formulas, and the gradients that reach it."""

import math

import pytest
import torch
from torch.nn.functional import logsigmoid, softplus

from netwright.generators import gnn2gnn as module
from netwright.generators.critics import Critic
from netwright.generators.gnn2gnn import GNN2GNN
from netwright.generators.relaxed import Relaxed, sample, stacked
from netwright.graphs import dag
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.testing.generators import LAYOUTS

SPACE = NASBench101(max_nodes=5)
VARIANTS = {
    "paper": {},
    "released": {"variant": "released"},
    "bounded": {"edge_bound": 1.0, "op_bound": 2.0},
    "three layers": {"layers": 3},
    "no layer": {"layers": 0},
}


def make(layout=SPACE.layout, *, seed=0, hidden=12, **options):
    return GNN2GNN(layout, rng=stream(seed, "generator"), hidden=hidden, **options)


def drawn(generator, n=20, *, seed=0, **options):
    rngs = [stream(seed + i, "draw") for i in range(generator.replicas)]
    return generator.draw(n, rngs=rngs, **options)


def noticed(generator, monkeypatch, n=20, **options):
    """Draw, and note the logits of edges and of operations, what was drawn, and its noise."""
    seen = {}

    def note(name, original):
        def noting(logits, noise, tau, *rest):
            seen[name], seen[f"noise of {name}"] = logits.detach(), noise
            seen[f"drawn {name}"] = original(logits, noise, tau, *rest)
            return seen[f"drawn {name}"]

        return noting

    with monkeypatch.context() as patch:
        patch.setattr(module, "draw_edges", note("edges", module.draw_edges))
        patch.setattr(module, "draw_ops", note("ops", module.draw_ops))
        drawn(generator, n, **options)
    return seen


def node_by_node(generator, noise):
    """Features and edge logits of one graph, in the words of the paper."""
    size = len(noise)
    features = [noise[i] for i in range(size)]
    for layer in generator.convolutions:
        around = [
            sum(features[i] / math.sqrt((i + 1) * (j + 1)) for i in range(j + 1))
            for j in range(size)
        ]
        features = [(row @ layer.weight[0] + layer.bias[0]).clamp(min=0) for row in around]
    weight, bias = generator.edge_scorer.weight[0], generator.edge_scorer.bias[0]
    logits = torch.zeros(size, size)
    for i in range(size):
        for j in range(i + 1, size):
            if generator.variant == "paper":
                logits[i, j] = features[i] @ weight[:, 0] + bias[0]
                logits[i, j] += features[j] @ weight[:, 1] + bias[1] + generator.edge_bias[0, 0]
            else:  # both channels: a softmax over the edges into j, plus a half
                shares = []
                for channel in range(2):
                    scores = [
                        features[k] @ weight[:, channel]
                        + features[j] @ weight[:, 2 + channel]
                        + bias[channel]
                        + bias[2 + channel]
                        + generator.edge_bias[0, channel]
                        for k in range(j)
                    ]
                    shares.append(torch.stack(scores).softmax(dim=0)[i] + 0.5)
                p = torch.stack(shares).softmax(dim=0)[1]
                logits[i, j] = p.logit()
    return features, logits


def op_logits(generator, features, adj):
    """The last convolution, on the drawn edges, neighbour by neighbour."""
    size = len(features)
    weight = [
        [float(adj[i, j]) + 1e-3 if i < j else float(i == j) for j in range(size)]
        for i in range(size)
    ]
    degree = [sum(weight[i][j] for i in range(size)) for j in range(size)]
    rows = []
    for j in range(size):
        total = torch.zeros(generator.layout.num_ops)
        for i in range(size):
            value = features[i] @ generator.operations.weight[0]
            total += weight[i][j] / math.sqrt(degree[i] * degree[j]) * value
        rows.append(total + generator.operation_bias[0])
    return torch.stack(rows)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@torch.no_grad()
def test_forward_pass_node_by_node(options, monkeypatch):
    generator = make(**options)
    for parameter in generator.parameters():
        parameter.add_(torch.randn(parameter.shape, generator=stream(7, "noise")), alpha=0.3)
    seen = noticed(generator, monkeypatch, 4)
    rng = stream(0, "draw")
    fresh = torch.rand if options.get("variant") == "released" else torch.randn
    noise = fresh(4, 5, 12, generator=rng)
    assert torch.cat([seen["noise of edges"], seen["noise of ops"]], dim=-1).equal(
        torch.rand(4, 5, 10, generator=rng)[None]
    )
    for b in range(4):
        features, logits = node_by_node(generator, noise[b])
        if bound := options.get("edge_bound"):
            logits = bound * (logits / bound).tanh()
        assert torch.allclose(seen["edges"][0, b].triu(1), logits.triu(1), atol=1e-4)
        expected = op_logits(generator, features, seen["drawn edges"][0, b])
        if bound := options.get("op_bound"):
            expected = bound * (expected / bound).tanh()
        got = seen["ops"][0, b]
        assert torch.allclose(got[got.isfinite()], expected[got.isfinite()], atol=1e-4)
        allowed = got.isfinite().long().tolist()
        assert allowed == [[1, 0, 0, 0, 0], *[[0, 1, 1, 1, 0]] * 3, [0, 0, 0, 0, 1]]


class TestWhatIsDrawn:
    @pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
    def test_cells_on_paths(self, options):
        archs = drawn(make(**options), 500).archs()
        rules = SPACE.layout.rules(archs)
        assert all(bool(holds.all()) for holds in rules.values()), rules
        assert len(archs.num_nodes.unique()) > 2
        assert bool((SPACE.is_valid(archs)).all())

    def test_at_most_so_many_edges(self):
        layout = NASBench101(max_nodes=7).layout
        generator = make(layout)
        with torch.no_grad():
            generator.edge_bias.fill_(2)
        archs = drawn(generator, 300).archs()
        assert archs.num_edges.max() == 9

    def test_released_probabilities_are_within_bounds(self, monkeypatch):
        generator = make(variant="released")
        with torch.no_grad():
            generator.edge_scorer.weight.mul_(5000)
        p = noticed(generator, monkeypatch, 300)["edges"].sigmoid()
        upper = p[..., SPACE.layout.free]
        assert upper.min() < 0.3
        assert upper.max() > 0.7
        assert upper.min() >= 1 / (1 + math.e) - 1e-6
        assert upper.max() <= math.e / (1 + math.e) + 1e-6

    def test_bounds_hold(self, monkeypatch):
        generator = make(edge_bound=0.5, op_bound=1.5)
        with torch.no_grad():
            for parameter in generator.parameters():
                parameter.mul_(50)
        seen = noticed(generator, monkeypatch, 50)
        ops = seen["ops"][seen["ops"].isfinite()]
        for values, bound in ((seen["edges"], 0.5), (ops, 1.5)):
            assert 0.9 * bound < values.abs().max() <= bound

    @pytest.mark.parametrize("temperature", [0.5, 4.0])
    def test_temperature_divides_logits(self, temperature, monkeypatch):
        plain = noticed(make(), monkeypatch)
        other = noticed(make(), monkeypatch, temperature=temperature)
        assert torch.allclose(other["edges"], plain["edges"] / temperature)
        same = (other["drawn edges"] == plain["drawn edges"]).all(dim=(2, 3))
        assert same.any()
        finite = plain["ops"][same].isfinite()
        assert torch.allclose(
            other["ops"][same][finite], plain["ops"][same][finite] / temperature, atol=1e-6
        )

    def test_tau_changes_no_draw(self):
        first, other = (make(tau=tau) for tau in (0.1, 3.0))
        assert drawn(first, 200).archs().equal(drawn(other, 200).archs()).all()

    def test_entropy_on_request(self):
        generator = make()
        assert drawn(generator).entropy is None
        entropy = drawn(generator, entropy=True).entropy
        assert entropy.shape == (1, 20)
        most = 10 * math.log(2) + 3 * math.log(3)
        assert (entropy > 0.9 * most).all()  # fresh parameters are nearly fair
        assert (entropy <= most + 1e-4).all()

    def test_global_state_is_untouched(self):
        before = torch.get_rng_state()
        drawn(make(), entropy=True)
        assert before.equal(torch.get_rng_state())


def gradients(generator, loss):
    """Gradient of a loss by each part of the generator, as norms."""
    names = [name for name, _ in generator.named_parameters()]
    found = torch.autograd.grad(loss, list(generator.parameters()), allow_unused=True)
    return {
        name: 0.0 if gradient is None else float(gradient.norm())
        for name, gradient in zip(names, found, strict=True)
    }


def livelier(variant):
    """A generator whose parameters are larger than fresh ones."""
    generator = make(variant=variant, tau=1.0)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=stream(0, "noise")), alpha=0.5)
    return generator


def verdict(generator, which, *, edges=True, ops=True):
    """A generator's loss by one critic alone."""
    graphs = drawn(generator, 60)
    if not edges:
        graphs = graphs.with_fixed_edges()
    if not ops:
        graphs = Relaxed(graphs.ops.detach(), graphs.adj, graphs.real)
    pool, widths = ("mean", (8, 8)) if which == "discriminator" else ("attention", (8, 16))
    critic = Critic(5, rng=stream(3, which), widths=widths, pool=pool)
    logit = critic(graphs)
    return (logsigmoid(-logit) if which == "discriminator" else softplus(-logit)).mean()


@pytest.mark.parametrize("which", ["discriminator", "valuer"])
@pytest.mark.parametrize("variant", ["paper", "released"])
class TestGradients:
    """They reach every part of the generator, through each critic alone."""

    def test_everything_learns(self, which, variant):
        generator = livelier(variant)
        found = gradients(generator, verdict(generator, which))
        cancels = {"edge_bias", "edge_scorer.bias"} if variant == "released" else set()
        for name, norm in found.items():  # in its softmax, what all edges have in common cancels
            assert norm < 1e-6 if name in cancels else norm > 1e-5, name
        parts = {name.split(".")[0] for name in found}
        assert parts == {
            "convolutions", "edge_scorer", "edge_bias", "operations", "operation_bias"
        }  # fmt: skip

    def test_edges_learn_through_operations_alone(self, which, variant):
        """With fixed edges, as in the released code, much less arrives."""
        generator = livelier(variant)
        both = gradients(generator, verdict(generator, which))
        released = gradients(generator, verdict(generator, which, edges=False))
        assert 1e-6 < released["edge_scorer.weight"] < 0.5 * both["edge_scorer.weight"]
        assert released["operations.weight"] == pytest.approx(both["operations.weight"], rel=1e-4)

    def test_edges_learn_without_operations(self, which, variant):
        generator = livelier(variant)
        found = gradients(generator, verdict(generator, which, ops=False))
        assert found["edge_scorer.weight"] > 1e-5
        assert found["operations.weight"] == found["operation_bias"] == 0

    def test_nothing_learns_without_either(self, which, variant):
        generator = livelier(variant)
        found = gradients(generator, verdict(generator, which, edges=False, ops=False))
        assert set(found.values()) == {0.0}

    def test_both_ways_add_up(self, which, variant):
        generator = livelier(variant)
        weight = generator.edge_scorer.weight
        both, by_ops, by_edges = (
            torch.autograd.grad(verdict(generator, which, edges=edges, ops=ops), weight)[0]
            for edges, ops in ((True, True), (False, True), (True, False))
        )
        assert torch.allclose(both, by_ops + by_edges, atol=1e-6, rtol=1e-3)


class TestReplicas:
    def draws(self, generator, indices):
        """Hard graphs, entropies and a gradient of some replicas."""
        rngs = [stream(i, "own") for i in indices]
        graphs = generator.draw(8, rngs=rngs, entropy=True)
        total = graphs.ops.square().sum() + graphs.adj.sum()
        slope = torch.autograd.grad(total, generator.edge_scorer.weight)[0]
        return [value.detach() for value in (graphs.adj, graphs.ops, graphs.entropy, slope)]

    def test_each_draws_what_it_would_alone(self):
        taus = (0.1, 0.5, 2.0)
        models = [make(seed=seed, tau=tau) for seed, tau in enumerate(taus)]
        alone = [self.draws(model, [i]) for i, model in enumerate(models)]
        stacked(models)
        together = models[0]
        assert together.replicas == 3
        assert together.tau.tolist() == pytest.approx(taus)
        for single, joint in zip(
            zip(*alone, strict=True), self.draws(together, range(3)), strict=True
        ):
            assert joint.abs().max() > 0.1
            assert torch.allclose(joint, torch.cat(single), rtol=1e-4, atol=1e-5)

    def test_differ(self):
        models = [make(seed=seed) for seed in (0, 1)]
        stacked(models)
        graphs = models[0].draw(50, rngs=[stream(0, "a"), stream(1, "a")])
        assert not graphs.adj[0].equal(graphs.adj[1])


def test_sample_is_a_draw():
    generator = make()
    archs = generator.sample(30, rng=stream(0, "draw"))
    assert archs.equal(drawn(generator, 30).archs()).all()
    other = sample(generator, 30, rng=stream(0, "draw"), temperature=3.0)
    assert other.equal(generator.sample(30, rng=stream(0, "draw"), temperature=3.0)).all()
    assert not archs.adj.requires_grad


def test_edges_may_be_fixed():
    layout = LAYOUTS["fixed edges"]
    archs = make(layout).sample(50, rng=stream(0, "draw"))
    assert (archs.adj == layout.forced).all()
    assert len(dag.refine(archs)) == 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "hidden must be at least 1"),
        ({"layers": -1}, "layers 0"),
        ({"tau": 0.0}, "tau must be above 0, not 0.0"),
        ({"tau": math.nan}, "tau must be above 0, not nan"),
        ({"edge_bound": -1.0}, "edge_bound must be above 0"),
        ({"op_bound": 0.0}, "op_bound must be above 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        make(**options)


def test_bad_temperature():
    with pytest.raises(ValueError, match="temperature must be positive, not 0"):
        drawn(make(), temperature=0.0)


def test_one_node():
    archs = make(Layout.make(1, 3)).sample(20, rng=stream(0, "draw"))
    assert (archs.num_nodes == 1).all()
    assert len(archs.ops.unique()) > 1
