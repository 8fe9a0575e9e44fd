"""A step of three-way training: each loss term alone, by hand, and what each network learns."""

import copy
import dataclasses
import math
from itertools import product

import pytest
import torch
from torch import nn

from netwright.generators.gnn2gnn import GNN2GNN
from netwright.generators.relaxed import Relaxed, replica
from netwright.generators.three_way import ThreeWay, ThreeWayOptions
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101

SPACE = NASBench101(max_nodes=5)
CELLS = SPACE.enumerate()
CONV1, CONV3 = 1, 2
SMALL = {"discriminator_widths": (6, 6), "valuer_widths": (6, 8)}


def make(seed=0, *, tau=0.5, **options):
    generator = GNN2GNN(SPACE.layout, rng=stream(seed, "generator"), hidden=8, tau=tau)
    options = SMALL | options
    return ThreeWay(generator, ThreeWayOptions(**options), rng=stream(seed, "critics"))


def some(n, seed=0, among=CELLS):
    return among[torch.randperm(len(among), generator=stream(seed, "cells"))[:n]]


def count(archs, op):
    return (archs.ops == op).sum(dim=1)


def take(model, archs, target, *, balance=1.0, goal=0.9, step=0, rate=1.0):
    """A step of a model of one replica."""
    return model.step(
        Relaxed.of([archs], 5),
        target[None],
        torch.tensor([balance]),
        torch.tensor([goal]),
        rngs=[stream(step, "step")],
        rate=rate,
    )


def networks(model):
    return {"g": model.generator, "d": model.discriminator, "v": model.valuer}


def values(network):
    return [parameter.detach().clone() for parameter in network.parameters()]


def moved(network, before):
    return [
        float((p.detach() - q).norm()) for p, q in zip(network.parameters(), before, strict=True)
    ]


def log_sigmoid(x):
    return torch.sigmoid(x).log()


def of_critics(model, real, fake, target, valuer):
    """What discriminator and valuer descend, from their outputs."""
    d, v = model.discriminator, model.valuer
    of_d = -(log_sigmoid(d(real)) + log_sigmoid(-d(fake))).mean(dim=1)
    if valuer == "regression":
        return of_d, ((v(real) - target) ** 2).mean(dim=1)
    p = torch.sigmoid(v(real))
    return of_d, -(target * p.log() + (1 - target) * (1 - p).log()).mean(dim=1)


def of_generator(model, fake, balance, goal, options):
    """Equations 1 and 2, and the entropy."""
    p = torch.sigmoid(model.discriminator(fake))
    doubt = (1 - p).log() if options["gan_loss"] == "saturating" else -p.log()
    v = model.valuer(fake)
    regression = options["valuer"] == "regression"
    reward = (v - goal) ** 2 if regression else -torch.sigmoid(v).log()
    loss = (balance * doubt + (1 - balance) * reward).mean(dim=1)
    return loss - options["entropy"] * fake.entropy.mean(dim=1)


def descended(network, loss, *, rate, decay):
    """Parameters after a first step of SGD."""
    parameters = list(network.parameters())
    slopes = torch.autograd.grad(loss.sum(), parameters, allow_unused=True)
    return [
        (p - rate * ((0 if s is None else s) + decay * p)).detach()
        for p, s in zip(parameters, slopes, strict=True)
    ]


def agree(network, expected):
    return all(
        torch.allclose(p, q, atol=1e-6, rtol=1e-4)
        for p, q in zip(network.parameters(), expected, strict=True)
    )


WAYS = list(
    product(
        ["saturating", "non-saturating"],
        ["classification", "regression"],
        [0.0, 0.3, 1.0],
        [0.0, 0.2],
    )
)


@pytest.mark.parametrize(("gan_loss", "valuer", "balance", "entropy"), WAYS)
class TestByHand:
    def both(self, gan_loss, valuer, balance, entropy, *, edge_gradient=True):
        """A step, and beside it one written with the formulas."""
        options = {"gan_loss": gan_loss, "valuer": valuer, "entropy": entropy}
        model = make(
            optimiser="sgd", learning_rate=0.5, generator_rate=2.0, weight_decay=0.01, dropout=0.0,
            edge_gradient=edge_gradient, **options,
        )  # fmt: skip
        archs = some(16)
        real = Relaxed.of([archs], 5)
        target = torch.rand(1, 16, generator=stream(0, "target"))
        if valuer == "classification":
            target = target.round()
        hand = copy.deepcopy(model)
        fake = hand.generator.draw(16, rngs=[stream(0, "step")], entropy=True)
        of_d, of_v = of_critics(hand, real, fake.detach(), target, valuer)
        right = ((hand.discriminator(real) > 0).float().mean() / 2) + (
            (hand.discriminator(fake) < 0).float().mean() / 2
        )
        after_d = descended(hand.discriminator, of_d, rate=0.5, decay=0.01)
        after_v = descended(hand.valuer, of_v, rate=0.5, decay=0.01)
        for network, after in ((hand.discriminator, after_d), (hand.valuer, after_v)):
            for parameter, value in zip(network.parameters(), after, strict=True):
                parameter.data = value
        shown = fake if edge_gradient else fake.with_fixed_edges()
        of_g = of_generator(hand, shown, balance, 0.9, options)
        after_g = descended(hand.generator, of_g, rate=2.0, decay=0.01)
        losses = take(model, archs, target[0], balance=balance)
        return model, losses, (of_g, of_d, of_v, right), (after_g, after_d, after_v)

    def test_losses(self, gan_loss, valuer, balance, entropy):
        _, losses, expected, _ = self.both(gan_loss, valuer, balance, entropy)
        for found, value in zip(losses, expected, strict=True):
            assert float(found) == pytest.approx(float(value.detach()), abs=1e-5)
            assert not found.requires_grad
        assert float(losses.discriminator) > 1  # 2 log 2 where it tells nothing
        assert abs(float(losses.generator)) > 0.01

    @pytest.mark.parametrize("edge_gradient", [True, False], ids=["edges", "no edges"])
    def test_parameters(self, gan_loss, valuer, balance, entropy, edge_gradient):
        model, _, _, after = self.both(
            gan_loss, valuer, balance, entropy, edge_gradient=edge_gradient
        )
        for network, expected in zip(networks(model).values(), after, strict=True):
            assert agree(network, expected)


def test_edges_matter_to_the_edge_scorer():
    steps = {}
    for edge_gradient in (True, False):
        model = make(
            edge_gradient=edge_gradient, optimiser="sgd", learning_rate=1.0, weight_decay=0.0
        )
        before = values(model.generator.edge_scorer)
        take(model, some(32), torch.ones(32))
        steps[edge_gradient] = sum(moved(model.generator.edge_scorer, before))
    assert steps[True] > 10 * steps[False] > 0


@pytest.mark.parametrize("balance", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
class TestApart:
    """Critics do not change in the generator's step, nor the generator in theirs."""

    def test_whose_step_it_is(self, optimiser, balance):
        model = make(optimiser=optimiser)
        seen = []
        critics, mine = model._optimisers
        for name, step in (("critics", critics), ("generator", mine)):

            def noting(*_, name=name, original=step.step):
                before = {k: values(n) for k, n in networks(model).items()}
                original()
                change = {k: sum(moved(n, before[k])) for k, n in networks(model).items()}
                seen.append((name, {k for k, v in change.items() if v > 0}))

            step.step = noting
        before = {k: values(n) for k, n in networks(model).items()}
        take(model, some(16), torch.ones(16), balance=balance)
        assert seen == [("critics", {"d", "v"}), ("generator", {"g"})]
        for name, network in networks(model).items():
            assert min(moved(network, before[name])) > 0

    def test_generated_graphs_are_not_in_the_critics_loss(self, optimiser, balance):
        """The valuer's step is the same whatever is generated; it sees graphs of the data only."""
        first, other = make(optimiser=optimiser), make(optimiser=optimiser)
        with torch.no_grad():
            for parameter in other.generator.parameters():
                parameter.add_(1)
        for model in (first, other):
            take(model, some(16), torch.ones(16), balance=balance)
        same = zip(first.valuer.parameters(), other.valuer.parameters(), strict=True)
        assert all(p.equal(q) for p, q in same)
        differ = zip(
            first.discriminator.parameters(), other.discriminator.parameters(), strict=True
        )
        assert any(not p.equal(q) for p, q in differ)


def test_what_critics_are_shown(monkeypatch):
    """In their own step the data, with dropout; to judge generated graphs, those without it.

    So the valuer learns from no generated graph.
    """
    model, archs = make(), some(16)
    calls = {"d": [], "v": []}
    for name in calls:
        critic = networks(model)[name]

        def noting(graphs, *, rngs=None, name=name, original=critic.forward):
            calls[name].append((graphs, rngs is not None))
            return original(graphs, rngs=rngs)

        monkeypatch.setattr(critic, "forward", noting)
    take(model, archs, torch.ones(16), balance=0.5)
    assert [dropout for _, dropout in calls["v"]] == [True, False]
    assert all(dropout for _, dropout in calls["d"][:-1])
    assert not calls["d"][-1][1]
    assert calls["v"][0][0].archs().equal(archs).all()
    for name in calls:
        assert not any(graphs.adj.requires_grad for graphs, _ in calls[name][:-1])
        assert calls[name][-1][0].adj.requires_grad
    calls["v"].clear()
    take(model, archs, torch.ones(16), balance=1.0)  # the valuer learns, and is not asked
    assert [dropout for _, dropout in calls["v"]] == [True]


class TestRates:
    def test_of_generator_and_critics(self):
        options = {"optimiser": "sgd", "weight_decay": 0.0, "dropout": 0.0}
        steps = {}
        for name, rates, rate in (
            ("plain", {"learning_rate": 0.1}, 1.0),
            ("own", {"learning_rate": 0.1, "generator_rate": 0.3}, 1.0),
            ("still", {"learning_rate": 0.1, "generator_rate": 0.0}, 1.0),
            ("half", {"learning_rate": 0.1}, 0.5),
        ):
            model = make(**options, **rates)
            before = {k: values(n) for k, n in networks(model).items()}
            take(model, some(16), torch.ones(16), rate=rate)
            steps[name] = {k: sum(moved(n, before[k])) for k, n in networks(model).items()}
        plain = steps["plain"]
        assert steps["own"]["d"] == pytest.approx(plain["d"], rel=1e-4)
        assert steps["own"]["g"] == pytest.approx(3 * plain["g"], rel=1e-2)
        assert steps["still"]["g"] == 0
        assert steps["still"]["v"] == pytest.approx(plain["v"], rel=1e-4)
        assert steps["half"]["d"] == pytest.approx(plain["d"] / 2, rel=1e-2)
        assert steps["half"]["v"] == pytest.approx(plain["v"] / 2, rel=1e-2)

    def test_are_set_anew_at_each_step(self):
        model = make(optimiser="sgd")
        for rate in (0.5, 0.5, 0.25):
            take(model, some(8), torch.ones(8), rate=rate)
            assert [o.param_groups[0]["lr"] for o in model._optimisers] == [1e-3 * rate] * 2
        assert model.rates == (1e-3, 1e-3)

    def test_momentum(self):
        """The second step of SGD goes on with 0.9 of the first."""
        model = make(optimiser="sgd", learning_rate=1e-4, weight_decay=0.0, dropout=0.0)
        weights, archs = [values(model.valuer)[0]], some(64)
        for _ in range(2):
            take(model, archs, torch.ones(64))
            weights.append(values(model.valuer)[0])
        first, second = weights[1] - weights[0], weights[2] - weights[1]
        assert float(second.norm() / first.norm()) == pytest.approx(1.9, abs=0.01)


class TestLearning:
    def test_discriminator_tells_two_sets_apart(self):
        """Cells of 1x1 convolutions against generated ones, from a generator that stays."""
        uniform = CELLS[(count(CELLS, CONV1) == 3) & (CELLS.num_nodes == 5)]
        model = make(learning_rate=0.01, generator_rate=1e-9)
        losses = [take(model, some(24, i, uniform), torch.ones(24), step=i) for i in range(200)]
        assert abs(float(losses[0].discriminator) - 2 * math.log(2)) < 0.2
        assert sum(float(x.told_apart) for x in losses[-20:]) / 20 > 0.9
        assert sum(float(x.discriminator) for x in losses[-20:]) / 20 < 0.6
        real = model.discriminator(Relaxed.of([uniform], 5))
        fake = model.discriminator(model.generator.draw(200, rngs=[stream(9, "draw")]).detach())
        assert real.mean() > 1
        assert fake.mean() < -1

    @pytest.mark.parametrize("valuer", ["classification", "regression"])
    def test_valuer_learns_a_label_and_the_generator_follows(self, valuer):
        """Strong is what has many 3x3 convolutions; the discriminator is not heeded."""
        model = make(learning_rate=0.01, generator_rate=0.0, valuer=valuer, edge_gradient=False)

        def label(archs):
            share = count(archs, CONV3) / 3
            return share if valuer == "regression" else (share > 0.4).float()

        for i in range(200):
            archs = some(24, i)
            take(model, archs, label(archs), step=i)
        with torch.no_grad():
            told = model.valuer(Relaxed.of([CELLS], 5))[0]
        assert torch.stack([told, label(CELLS)]).corrcoef()[0, 1] > 0.6
        before = model.generator.sample(500, rng=stream(0, "sample"))
        rates = {"learning_rate": 0.0, "generator_rate": 0.01}
        model.options = dataclasses.replace(model.options, **rates)
        for i in range(60):
            take(model, archs, label(archs), balance=0.0, goal=1.0, step=200 + i)
        after = model.generator.sample(500, rng=stream(0, "sample"))
        means = [float(count(archs, CONV3).float().mean()) for archs in (before, after)]
        assert 0.3 < means[0] < 1
        assert means[1] > 2

    def test_generator_moves_towards_the_data(self):
        """With balance 1, cells of 1x1 convolutions only make it generate those."""
        uniform = CELLS[count(CELLS, CONV1) == CELLS.num_nodes - 2]
        for gan_loss in ("saturating", "non-saturating"):
            model = make(learning_rate=0.01, gan_loss=gan_loss)
            before = model.generator.sample(300, rng=stream(0, "sample"))
            for i in range(150):
                take(model, some(12, i, uniform), torch.ones(12), step=i)
            after = model.generator.sample(300, rng=stream(0, "sample"))
            share = [
                float(count(x, CONV1).sum() / (x.num_nodes - 2).sum()) for x in (before, after)
            ]
            assert share[1] > share[0] + 0.3

    def test_entropy_keeps_choices_open(self):
        """Alone, it drives the generator to fair choices."""
        model = make(learning_rate=0.02, entropy=1.0)
        with torch.no_grad():
            model.generator.edge_bias.fill_(3)
        for i in range(150):
            take(model, some(16, i), torch.ones(16), step=i)
        graphs = model.generator.draw(100, rngs=[stream(0, "draw")], entropy=True)
        assert graphs.entropy.mean() > 0.95 * (10 * math.log(2) + 3 * math.log(3))


def step_all(model, parts, targets, balance, step, rate=1.0):
    return model.step(
        Relaxed.of(parts, 5),
        torch.stack(targets),
        torch.tensor(balance),
        torch.tensor([0.9] * len(parts)),
        rngs=[stream(i, f"step/{step}") for i in range(len(parts))],
        rate=rate,
    )


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize(
    "options",
    [{}, {"valuer": "regression", "entropy": 0.1, "edge_gradient": False, "both_ways": True}],
    ids=["plain", "other"],
)
def test_replicas_train_as_each_would_alone(optimiser, options):
    taus, balance = [0.1, 0.5, 2.0], [1.0, 0.3, 0.0]
    kept = {"optimiser": optimiser, "dropout": 0.3} | options

    def models():
        return [make(seed, tau=tau, **kept) for seed, tau in enumerate(taus)]

    def batch(i, step):
        archs = some(16, 100 * i + step)
        return archs, torch.rand(16, generator=stream(i, f"target/{step}"))

    together, alone = ThreeWay.together(models()), models()
    for step in range(6):
        batches = [batch(i, step) for i in range(3)]
        joint = step_all(together, *map(list, zip(*batches, strict=True)), balance, step)
        for i, model in enumerate(alone):
            archs, target = batches[i]
            single = model.step(
                Relaxed.of([archs], 5),
                target[None],
                torch.tensor([balance[i]]),
                torch.tensor([0.9]),
                rngs=[stream(i, f"step/{step}")],
            )
            for found, expected in zip(joint, single, strict=True):
                assert float(found[i]) == pytest.approx(float(expected), abs=1e-5)
    for i, model in enumerate(alone):
        for name, network in networks(model).items():
            part = replica(networks(together)[name].state_dict(), i)
            for key, value in network.state_dict().items():
                assert torch.allclose(part[key], value, atol=1e-5), (i, name, key)
    first = networks(together)["g"].state_dict()["edge_scorer.weight"]
    assert not torch.allclose(first[0], first[1], atol=1e-2)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
class TestState:
    def test_round_trip(self, optimiser):
        model = make(optimiser=optimiser)
        for i in range(3):
            take(model, some(8, i), torch.ones(8), step=i)
        state = copy.deepcopy(model.state_dict())
        other = make(5, optimiser=optimiser)
        take(other, some(8, 9), torch.zeros(8), step=9)
        other.load_state_dict(state)
        same(other.state_dict(), state)
        for i in range(3, 6):
            losses = [
                take(m, some(8, i), torch.ones(8), balance=0.5, step=i) for m in (model, other)
            ]
            assert all(a.equal(b) for a, b in zip(*losses, strict=True))
        same(other.state_dict(), model.state_dict())

    def test_what_was_loaded_is_not_shared(self, optimiser):
        model = make(optimiser=optimiser)
        take(model, some(8), torch.ones(8))
        state = copy.deepcopy(model.state_dict())
        kept = copy.deepcopy(state)
        model.load_state_dict(state)
        take(model, some(8), torch.ones(8))
        same(state, kept)

    def test_without_momentum_it_would_not_do(self, optimiser):
        """What the optimisers know matters, so a state that forgot it would be noticed."""
        models = [make(optimiser=optimiser, learning_rate=0.01) for _ in range(2)]
        for i in range(3):
            for model in models:
                take(model, some(8, i), torch.ones(8), step=i)
        state = copy.deepcopy(models[0].state_dict())
        fresh = make(5, optimiser=optimiser, learning_rate=0.01)
        fresh.load_state_dict(state | {"critics": {}, "of_generator": {}})
        for model in (models[1], fresh):
            take(model, some(8, 4), torch.ones(8), step=4)
        with pytest.raises(AssertionError):
            same(fresh.state_dict()["valuer"], models[1].state_dict()["valuer"])


def same(first, second):
    """Insist that two trees are equal, bit for bit."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            same(first[key], second[key])
    elif isinstance(first, torch.Tensor):
        assert first.equal(second)
    else:
        assert first == second


def test_global_state_is_untouched():
    before = torch.get_rng_state()
    take(make(), some(8), torch.ones(8), balance=0.5)
    assert before.equal(torch.get_rng_state())


def test_same_streams_same_step():
    first, second = make(), make()
    for i in range(3):
        losses = [take(m, some(8, i), torch.ones(8), balance=0.5, step=i) for m in (first, second)]
        assert all(a.equal(b) for a, b in zip(*losses, strict=True))
    same(first.state_dict(), second.state_dict())
    one, other = (take(make(), some(8), torch.ones(8), step=i) for i in (0, 7))
    assert not one.valuer.equal(other.valuer)  # dropout
    assert not one.generator.equal(other.generator)


def test_a_generator_without_gradients_is_refused():
    with pytest.raises(TypeError, match=r"^Linear has no draws with gradients: use gnn2gnn"):
        ThreeWay(nn.Linear(2, 2), ThreeWayOptions(), rng=stream(0, "critics"))
