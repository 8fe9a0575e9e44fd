"""GNN2GNN in an online search: what it learns from, and when."""

from functools import partial

import pytest
import torch
from independent import Independent

from netwright.config.methods.adversarial import AdversarialSearchConfig
from netwright.config.searchers import make_searcher
from netwright.generators.gnn2gnn import GNN2GNN
from netwright.generators.relaxed import Relaxed
from netwright.generators.three_way import Losses, ThreeWay, ThreeWayOptions
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.searchers.adversarial import AdversarialSearch, AdversarialSearchOptions
from netwright.searchers.latent import normal_scores
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.toy import Toy
from netwright.testing.searchers import quality

TOY = Toy()
EVERYTHING = TOY.enumerate()
SMALL = partial(GNN2GNN, hidden=8)
FAST = ThreeWayOptions(learning_rate=0.02, gan_loss="non-saturating")


def searcher(make=SMALL, space=TOY, three_way=FAST, seed=0, **options):
    few = {"initial": 6, "update_every": 3, "steps": 2, "batch_size": 8}
    options = AdversarialSearchOptions(three_way=three_way, **few | options)
    return AdversarialSearch(space, make, options=options, rng=stream(seed, "init"))


def advance(search, steps, *, n=3, rng=None, score=quality):
    """Ask and tell; return the origins."""
    rng, origins = rng or stream(0, "search"), []
    for _ in range(steps):
        proposals = search.ask(n, rng=rng)
        search.tell(proposals.archs, score(proposals.archs), rng=rng)
        origins += proposals.origin
    return origins


def updates(search):
    return search.state_dict()["counters"][1]


class Chosen(torch.nn.Module):
    """Chains of one operation, chosen by temperature: a generator that has collapsed."""

    replicas = 1

    def __init__(self, layout, *, rng, op_at=None):
        super().__init__()
        self.layout, self.op_at, self.asked = layout, op_at or (lambda _: 0), []
        self.weight = torch.nn.Parameter(torch.rand(1, generator=rng))

    def draw(self, n, *, rngs, temperature=1.0, entropy=False):
        del rngs
        self.asked.append(temperature)
        chains = EVERYTHING[torch.full((n,), 13 * self.op_at(temperature))]
        graphs = Relaxed.of([chains], 3)
        nats = torch.zeros(1, n) if entropy else None
        return Relaxed(
            graphs.ops * (self.weight / self.weight.detach()), graphs.adj, graphs.real, nats
        )


@pytest.fixture
def steps(monkeypatch):
    """Steps of training, taken down instead of being done."""
    seen = []

    def step(_, real, target, balance, goal, *, rngs):
        seen.append((real.archs(), target[0], float(balance), float(goal), len(rngs)))
        return Losses(*torch.ones(4, 1))

    monkeypatch.setattr(ThreeWay, "step", step)
    return seen


# What it learns


@pytest.mark.parametrize(
    ("options", "low", "high"),
    [
        ({"balance": 0.0}, 0.75, 1.0),
        ({"balance": 0.0, "worse": True}, 0.0, 0.25),
        ({"balance": 1.0, "tilt": 0.0}, 0.3, 0.7),
        ({"balance": 1.0, "tilt": 1.0}, 0.7, 1.0),
        ({"balance": 0.0, "three_way": {"valuer": "regression"}}, 0.75, 1.0),
    ],
    ids=["valuer", "valuer, the other way", "all that was told", "the best told", "regression"],
)
def test_the_generator_is_led_by_valuer_or_discriminator(options, low, high):
    options = dict(options)
    sign = -1 if options.pop("worse", False) else 1
    three_way = ThreeWayOptions(
        learning_rate=0.02, gan_loss="non-saturating", **options.pop("three_way", {})
    )
    search = searcher(three_way=three_way, steps=120, batch_size=16, **options)
    before = quality(search.model.generator.sample(500, rng=stream(0, "before"))).mean()
    assert 0.3 < before < 0.7
    search.tell(EVERYTHING, sign * quality(EVERYTHING), rng=stream(1, "told"))
    after = quality(search.model.generator.sample(500, rng=stream(0, "after"))).mean()
    assert low <= after <= high


@pytest.mark.slow
def test_cells_with_free_edges_are_learned():
    def convolutions(archs):
        return (archs.ops == 2).sum(dim=1).float()

    space, found, rng = NASBench101(max_nodes=5), [], stream(0, "cells")
    search = make_searcher(AdversarialSearchConfig(), space, rng=stream(0, "init"))
    for _ in range(8):
        proposals = search.ask(5, rng=rng)
        assert space.is_valid(proposals.archs).all()
        found.append(convolutions(proposals.archs))
        search.tell(proposals.archs, found[-1], rng=rng)
    random = convolutions(space.sample(500, rng=rng)).mean()
    assert torch.stack(found[-3:]).mean() > random + 1.5  # of 3; those that have 3 run out


# When


def test_proposals_are_random_until_enough_was_told():
    search = searcher()
    assert advance(search, 2) == ["random"] * 6
    assert updates(search) == 1
    assert "generator" in advance(search, 1, rng=stream(1, "search"))


def test_no_update_without_a_score():
    search = searcher()
    fail = lambda archs: torch.full((len(archs),), torch.nan)  # noqa: E731 (a score)
    assert advance(search, 5, score=fail) == ["random"] * 15
    assert updates(search) == 0
    assert set(search.stats()) == {"epsilon", "fallback"}


@pytest.mark.parametrize("size", [1, 2, 3, 12])
def test_updates_count_evaluations_not_calls(steps, size):
    search = searcher(initial=4)
    for rows in torch.arange(12).split(size):
        search.tell(EVERYTHING[rows], quality(EVERYTHING[rows]), rng=stream(0, "told"))
    expected = {1: 4, 2: 4, 3: 3, 12: 1}[size]  # after 4, 6, 9 and 12; after 6, 9 and 12; after 12
    assert updates(search) == expected
    assert len(steps) == 2 * expected


def test_a_share_of_proposals_is_random():
    search = searcher(epsilon=lambda told: 0.5 if told < 27 else 1.0)
    advance(search, 2)
    origins = advance(search, 1, n=18, rng=stream(1, "search"))
    assert {"generator", "random"} == set(origins)
    assert search.stats()["epsilon"] == 0.5


# From what


def test_batches_are_of_what_was_told_and_lean_to_the_best(steps):
    told = EVERYTHING[torch.randperm(27, generator=stream(0, "order"))[:20]]
    score = torch.arange(20.0)[torch.randperm(20, generator=stream(1, "order"))]
    scores = dict(zip(TOY.to_text(told), score.tolist(), strict=True))
    for tilt in (0.0, 0.5, 1.0):
        steps.clear()
        search = searcher(steps=30, tilt=tilt, strong=0.25)
        search.tell(told, score, rng=stream(2, "told"))
        found = [[scores[text] for text in TOY.to_text(archs)] for archs, *_ in steps]
        targets = [target.tolist() for _, target, *_ in steps]
        assert targets == [[float(s >= 15) for s in row] for row in found]  # the best 5 of 20
        share = sum(map(sum, targets)) / (30 * 8)
        assert abs(share - (tilt + (1 - tilt) * 0.25)) < 0.09
        assert min(map(sum, targets)) >= 8 * tilt
        assert {s for row in found for s in row} == set(range(15 if tilt == 1 else 0, 20))
        assert {goal for *_, goal, _ in steps} == {1.0}


def test_a_regression_learns_ranks_and_wants_the_highest(steps):
    search = searcher(three_way=ThreeWayOptions(valuer="regression"), steps=10)
    told = EVERYTHING[torch.arange(0, 27, 3)]
    score = torch.arange(9.0) ** 3
    search.tell(told, score, rng=stream(0, "told"))
    normal = dict(zip(TOY.to_text(told), normal_scores(score).tolist(), strict=True))
    for archs, target, _, goal, _ in steps:
        assert target.tolist() == pytest.approx([normal[text] for text in TOY.to_text(archs)])
        assert goal == pytest.approx(max(normal.values()))


@pytest.mark.parametrize("refit", [False, True], ids=["going on", "refit"])
def test_new_networks_heed_the_discriminator_only_at_first(steps, refit):
    made = []

    def make(layout, *, rng):
        made.append(SMALL(layout, rng=rng))
        return made[-1]

    search = searcher(make, steps=3, warmup=2, balance=0.25, refit=refit)
    advance(search, 4)
    assert updates(search) == 3
    balance = [round(balance, 6) for _, _, balance, *_ in steps]
    warm, cold = [1.0, 1.0, 0.25], [0.25] * 3
    assert balance == (warm * 3 if refit else warm + cold * 2)
    assert len(made) == (4 if refit else 1)
    assert search.model.generator is made[-1]


# What it proposes


def test_a_collapsed_generator_is_heated_and_then_replaced(steps):
    search = searcher(Chosen, temperature=1.5)
    search.tell(EVERYTHING[:9], quality(EVERYTHING[:9]), rng=stream(0, "told"))
    assert steps
    origins = search.ask(4, rng=stream(0, "ask")).origin
    assert origins == ("random",) * 4
    assert sorted(set(search.model.generator.asked)) == [1.5, 3.0, 6.0, 12.0]
    stats = search.stats()
    assert stats["fallback"] == 4
    assert stats["valid"] == 1
    assert stats["repeats"] > 0


def test_heat_may_be_enough(steps):
    hot = partial(Chosen, op_at=lambda temperature: 2 if temperature >= 4 else 0)
    search = searcher(hot)
    search.tell(EVERYTHING[:9], quality(EVERYTHING[:9]), rng=stream(0, "told"))
    proposals = search.ask(1, rng=stream(0, "ask"))
    assert proposals.origin == ("generator",)
    assert TOY.to_text(proposals.archs) == TOY.to_text(EVERYTHING[26:])
    assert search.stats()["fallback"] == 0
    assert steps


def test_stats_are_means_of_the_last_update(steps):
    search = searcher()
    advance(search, 3)
    stats = search.stats()
    names = {"generator loss", "discriminator loss", "valuer loss", "told apart"}
    assert {name: stats[name] for name in names} == dict.fromkeys(names, 1.0)
    assert 0 < stats["entropy"] <= 3 * torch.tensor(3.0).log() + 1e-5
    assert steps


# What goes wrong


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("initial", -1), ("update_every", 0), ("steps", 0), ("batch_size", 0), ("warmup", -1),
        ("strong", 0.0), ("strong", 1.0), ("tilt", 1.1), ("balance", -0.1), ("temperature", 0.0),
    ],
)  # fmt: skip
def test_an_option_that_makes_no_sense_is_named(name, value):
    with pytest.raises(ValueError, match=name):
        AdversarialSearchOptions(**{name: value})


def test_a_generator_without_gradients_is_refused():
    with pytest.raises(TypeError, match="Independent has no draws with gradients"):
        searcher(Independent)


def test_training_that_diverges_is_no_result(monkeypatch):
    nan = Losses(*torch.full((4, 1), torch.nan))
    monkeypatch.setattr(ThreeWay, "step", lambda *_, **__: nan)
    with pytest.raises(FloatingPointError, match="after 6 evaluations: try a smaller"):
        advance(searcher(), 2)


def test_nothing_told_changes_nothing():
    search = searcher()
    search.tell(ArchitectureBatch.empty(3), torch.zeros(0), rng=stream(0, "told"))
    assert updates(search) == 0


# Configuration


def test_the_configurations_defaults_are_the_searchers():
    config, options = AdversarialSearchConfig(), AdversarialSearchOptions()
    apart = {"name", "device", "hidden", "layers", "tau", "edge_bound", "op_bound", "epsilon"}
    three_way = {"learning_rate", "gan_loss", "valuer", "entropy"}
    for name in set(AdversarialSearchConfig.model_fields) - apart:
        held = options.three_way if name in three_way else options
        assert getattr(config, name) == getattr(held, name), name
    made = make_searcher(config, TOY, rng=stream(0, "init"))
    assert isinstance(made, AdversarialSearch)
    assert made.options.epsilon(0) == options.epsilon(0) == made.options.epsilon(99)
    assert made.options.three_way == options.three_way
    assert (made.model.generator.edge_bound, made.model.generator.op_bound) == (2.0, 3.0)
    free = make_searcher(
        AdversarialSearchConfig(edge_bound=0, op_bound=0), TOY, rng=stream(0, "init")
    )
    assert free.model.generator.edge_bound is free.model.generator.op_bound is None


def test_settings_reach_the_generator_and_the_losses():
    config = AdversarialSearchConfig(
        hidden=6, layers=3, tau=0.5, edge_bound=2.0, op_bound=3.0, balance=0.4, steps=7,
        valuer="regression", entropy=0.1, gan_loss="saturating", learning_rate=0.1,
        epsilon={"start": 0.5, "end": 0.0, "over": 10},
    )  # fmt: skip
    made = make_searcher(config, TOY, rng=stream(0, "init"))
    generator, options = made.model.generator, made.options
    assert (generator.hidden, len(generator.convolutions)) == (6, 3)
    assert (float(generator.tau), generator.edge_bound, generator.op_bound) == (0.5, 2.0, 3.0)
    assert (options.balance, options.steps, options.epsilon(5)) == (0.4, 7, 0.25)
    assert options.three_way == ThreeWayOptions(
        learning_rate=0.1, gan_loss="saturating", valuer="regression", entropy=0.1
    )


def test_a_device_that_is_not_there_is_named():
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="no cuda here, use cpu"):
        make_searcher(AdversarialSearchConfig(device="cuda"), TOY, rng=stream(0, "init"))
