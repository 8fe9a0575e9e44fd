"""Adversarial fits: their order, their records, going on after an interruption, what they learn."""

import copy
import dataclasses
import math

import pytest
import torch

from netwright.generators.adversarial import AdversarialFit, AdversarialRecipe, Trainee
from netwright.generators.gnn2gnn import GNN2GNN
from netwright.generators.labelled import Labelled
from netwright.generators.relaxed import replica
from netwright.generators.three_way import ThreeWayOptions
from netwright.graphs import hashing
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101

SPACE = NASBench101(max_nodes=5)
CELLS = SPACE.enumerate()
CONV3 = 2
SCORES = (CELLS.ops == CONV3).sum(dim=1) / 3
TINY = ThreeWayOptions(discriminator_widths=(6, 6), valuer_widths=(6, 8), learning_rate=0.01)
RECIPE = AdversarialRecipe(120, batch_size=8, period=24, three_way=TINY)


def labelled(n, seed=0):
    rows = torch.randperm(len(CELLS), generator=stream(seed, "rows"))[:n]
    return Labelled(CELLS[rows], SCORES[rows])


def trainee(seed=0, n=50, *, tau=0.5, hidden=8, **options):
    generator = GNN2GNN(SPACE.layout, rng=stream(seed, "g"), hidden=hidden, tau=tau)
    return Trainee(generator, labelled(n, seed), seed, **options)


def three():
    """Replicas with data of different sizes, temperatures and balances."""
    return [trainee(0, 50), trainee(1, 33, tau=1.0, balance=0.7), trainee(2, 90, balance=0.0)]


def begin(trainees=None, recipe=RECIPE, **changes):
    return AdversarialFit(trainees or [trainee()], dataclasses.replace(recipe, **changes))


def finish(fit):
    return [record for record in fit.run() if record is not None]


def go(fit, steps):
    """Take so many steps and walk away."""
    events = fit.run()
    for _ in range(steps):
        next(events)


def same(first, second):
    """Insist that two trees are equal, bit for bit, but for the seconds."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first.keys() - {"seconds"}:
            same(first[key], second[key])
    elif isinstance(first, list):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            same(a, b)
    elif isinstance(first, torch.Tensor):
        assert first.equal(second)
    else:
        assert first == second


def noticed(fit):
    """Run a fit; note what each step is given and what it comes to."""
    calls, step = [], fit.model.step

    def noting(real, target, balance, goal, *, rngs, rate=1.0):
        seeds = [rng.initial_seed() for rng in rngs]
        losses = step(real, target, balance, goal, rngs=rngs, rate=rate)
        calls.append((real.archs(), target, balance.tolist(), goal.tolist(), rate, losses, seeds))
        return losses

    fit.model.step = noting
    records = finish(fit)
    return calls, records


class TestInterruption:
    @pytest.mark.parametrize("optimiser", ["adam", "sgd"])
    def test_at_every_record(self, optimiser):
        options = {"three_way": dataclasses.replace(TINY, optimiser=optimiser)}
        whole = begin(three(), **options, schedule="cosine")
        states = []
        for record in whole.run():
            if record is not None:
                states.append(copy.deepcopy(whole.state_dict()))
        assert len(states) == 5
        for state in states:
            fit = begin(three(), **options, schedule="cosine")
            fit.load_state_dict(copy.deepcopy(state))
            finish(fit)
            same(fit.state_dict(), whole.state_dict())

    @pytest.mark.parametrize("steps", [1, 4, 8])
    def test_within_a_period(self, steps):
        whole, first, second = begin(three()), begin(three()), begin(three())
        finish(whole)
        go(first, steps)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        finish(second)
        same(second.state_dict(), whole.state_dict())

    def test_a_loaded_state_stays_as_it_is(self):
        first, second = begin(), begin()
        go(first, 3)
        state = copy.deepcopy(first.state_dict())
        kept = copy.deepcopy(state)
        second.load_state_dict(state)
        finish(second)
        same(state, kept)

    def test_finished(self):
        fit, other = begin(), begin()
        assert not fit.finished
        assert not other.finished_in(fit.state_dict())
        finish(fit)
        assert fit.finished
        assert other.finished_in(fit.state_dict())
        assert finish(fit) == []

    def test_other_data(self):
        fit = begin()
        with pytest.raises(ValueError, match=r"^that fit had \[50\] training cells, now there are"):
            begin([trainee(n=51)]).load_state_dict(fit.state_dict())


class TestRepeatable:
    def test_twice(self):
        first, second = begin(three()), begin(three())
        finish(first)
        finish(second)
        same(first.state_dict(), second.state_dict())

    def test_seed_decides(self):
        """Of critics, order and noise: the generator and the data are the same here."""
        fits = [begin([dataclasses.replace(trainee(), seed=seed)]) for seed in (0, 1)]
        critics = [fit.model.discriminator.head.weight.clone() for fit in fits]
        assert not critics[0].equal(critics[1])
        first, second = (noticed(fit)[0] for fit in fits)
        assert not first[0][0].equal(second[0][0]).all()
        assert len({seed for calls in (first, second) for call in calls for seed in call[-1]}) == 30

    def test_global_state_is_untouched(self):
        before = torch.get_rng_state()
        finish(begin(three()))
        assert before.equal(torch.get_rng_state())


class TestSchedule:
    @pytest.mark.parametrize("warmup", [0.0, 0.5, 0.8, 1.0])
    def test_discriminator_alone_at_first(self, warmup):
        calls, records = noticed(begin(three(), warmup=warmup))
        assert len(calls) == 15
        for i, call in enumerate(calls):
            warm = 8 * i < warmup * 120
            expected = [1.0, 1.0, 1.0] if warm else [0.1, 0.7, 0.0]
            assert call[2] == pytest.approx(expected)
        for record in records:
            warm = record.graphs - 8 < warmup * 120
            assert record.balance == pytest.approx(1.0 if warm else 0.1)

    def test_learning_rates(self):
        rates = [call[4] for call in noticed(begin(schedule="cosine"))[0]]
        assert rates == pytest.approx([(1 + math.cos(math.pi * i / 15)) / 2 for i in range(15)])
        calls, records = noticed(begin())
        assert {call[4] for call in calls} == {1.0}
        assert {record.learning_rate for record in records} == {0.01}

    def test_recorded_rate_is_the_generators(self):
        options = dataclasses.replace(TINY, generator_rate=0.002)
        records = finish(begin(schedule="cosine", three_way=options))
        waves = [(1 + math.cos(math.pi * i / 15)) / 2 for i in (2, 5, 8, 11, 14)]
        assert [r.learning_rate for r in records] == pytest.approx([0.002 * w for w in waves])


class TestData:
    def test_epochs(self):
        """Every cell once, but for the remainder, in a new order each time."""
        one = trainee(n=50)
        calls, _ = noticed(begin([one], graphs=8 * 6 * 3))
        texts = [SPACE.to_text(call[0]) for call in calls]
        everything, epochs = set(SPACE.to_text(one.data.archs)), []
        for epoch in range(3):
            seen = [text for batch in texts[6 * epoch : 6 * epoch + 6] for text in batch]
            assert len(seen) == len(set(seen)) == 48
            assert set(seen) <= everything
            epochs.append(seen)
        assert epochs[0] != epochs[1] != epochs[2]
        assert set().union(*epochs) == everything

    def test_each_replica_has_its_own(self):
        trainees = three()
        calls, _ = noticed(begin(trainees))
        for i, one in enumerate(trainees):
            mine = set(SPACE.to_text(one.data.archs))
            seen = {text for call in calls for text in SPACE.to_text(call[0][8 * i : 8 * i + 8])}
            assert seen <= mine
            assert len(seen) >= min(len(mine) - 7, 100)

    @pytest.mark.parametrize("strong", [0.5, 0.2])
    def test_targets_of_classification(self, strong):
        """The best share of the training cells, whatever they are worth elsewhere."""
        one = trainee(n=50)
        scores = torch.randperm(50, generator=stream(0, "scores")).float()  # no two are equal
        one = dataclasses.replace(one, data=Labelled(one.data.archs, scores))
        texts = SPACE.to_text(one.data.archs)
        threshold = scores.sort(descending=True).values[round(strong * 50) - 1]
        label = {t: float(s >= threshold) for t, s in zip(texts, scores, strict=True)}
        assert sum(label.values()) == strong * 50
        for call in noticed(begin([one], strong=strong))[0]:
            assert call[1][0].tolist() == [label[text] for text in SPACE.to_text(call[0])]

    def test_targets_of_regression(self):
        """Accuracies; the generator is to reach the best one of the training cells."""
        options = dataclasses.replace(TINY, valuer="regression")
        trainees = three()
        for call in noticed(begin(trainees, three_way=options))[0]:
            archs, targets, goals = call[0], call[1], call[3]
            assert targets.flatten().equal((archs.ops == CONV3).sum(dim=1) / 3)
            assert goals == [float(one.data.scores.max()) for one in trainees]


class TestRecords:
    def test_are_means_of_periods(self):
        fit = begin(three())
        calls, records = noticed(fit)
        assert [record.graphs for record in records] == [24, 48, 72, 96, 120]
        assert fit.history == records
        for i, history in enumerate(fit.histories):
            for k, record in enumerate(history):
                part = [call[5] for call in calls[3 * k : 3 * k + 3]]
                for name in ("generator", "discriminator", "valuer", "told_apart"):
                    mean = sum(float(getattr(losses, name)[i]) for losses in part) / 3
                    assert getattr(record, name) == pytest.approx(mean, rel=1e-5)
        seconds = [record.seconds for record in records]
        assert seconds == sorted(seconds)
        assert seconds[0] > 0

    def test_at_the_end_whatever_the_period(self):
        assert [r.graphs for r in finish(begin(graphs=100, period=50))] == [56, 104]
        assert [r.graphs for r in finish(begin(graphs=20, period=1000))] == [24]
        assert [r.graphs for r in finish(begin(graphs=16, period=1))] == [8, 16]

    def test_every_step_is_told(self):
        events = list(begin().run())
        assert [event is not None for event in events] == [False, False, True] * 5


def test_replicas_come_to_what_each_would_alone():
    together = begin(three())
    finish(together)
    networks = ("generator", "discriminator", "valuer")
    for i, one in enumerate(three()):
        alone = begin([one])
        finish(alone)
        for name in networks:
            joint = replica(getattr(together.model, name).state_dict(), i)
            for key, value in getattr(alone.model, name).state_dict().items():
                assert torch.allclose(joint[key], value, atol=1e-4), (i, name, key)
        for a, b in zip(together.histories[i], alone.history, strict=True):
            assert a.generator == pytest.approx(b.generator, abs=1e-4)
            assert a.balance == b.balance


def test_a_replica_goes_on_alone():
    together = begin(three())
    go(together, 7)
    middle = [copy.deepcopy(together.state_of(i)) for i in range(3)]
    finish(together)
    for i, one in enumerate(three()):
        alone = begin([one])
        alone.load_state_dict(copy.deepcopy(middle[i]))
        same(alone.state_dict(), middle[i])
        finish(alone)
        expected = together.state_of(i)
        for name in ("generator", "discriminator", "valuer"):
            for key, value in getattr(alone.model, name).state_dict().items():
                assert torch.allclose(expected[name][key], value, atol=1e-4), (i, name, key)
        assert alone.history[-1].valuer == pytest.approx(together.histories[i][-1].valuer, abs=1e-4)


class TestBadInput:
    """One clear line each."""

    def test_fewer_cells_than_a_batch(self):
        with pytest.raises(ValueError, match=r"^7 training cells are fewer than a batch of 8: "):
            begin([trainee(), trainee(1, 7)])

    @pytest.mark.parametrize("valuer", ["classification", "regression"])
    def test_a_loss_that_is_not_finite(self, valuer):
        options = dataclasses.replace(TINY, valuer=valuer)
        fit = begin([trainee(0), trainee(4)], three_way=options)
        go(fit, 2)
        with torch.no_grad():
            fit.model.valuer.head.weight[1] = torch.nan
        message = r"^a loss is not finite after 24 graphs \(seed 4\): try a smaller learning rate$"
        with pytest.raises(RuntimeError, match=message):
            go(fit, 1)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"graphs": 0}, "graphs must be at least 1, not 0"),
            ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
            ({"period": -1}, "period must be at least 1, not -1"),
            ({"balance": 1.5}, "balance must be within 0 and 1, not 1.5"),
            ({"warmup": -0.1}, "warmup must be within 0 and 1, not -0.1"),
            ({"balance": math.nan}, "balance must be within 0 and 1, not nan"),
            ({"strong": 0.0}, "strong must be between 0 and 1, not 0.0"),
            ({"strong": 1.0}, "strong must be between 0 and 1, not 1.0"),
        ],
        ids=lambda value: " ".join(map(str, *value.items())) if isinstance(value, dict) else "",
    )
    def test_recipes(self, change, message):
        with pytest.raises(ValueError, match=message):
            dataclasses.replace(RECIPE, **change)


@pytest.mark.slow
def test_generates_what_is_better_than_all_it_saw():
    """Scores are 3x3 convolutions, the best tenth of the space is held out, two seeds."""
    best = (SCORES + 1e-3 * CELLS.num_edges).argsort(descending=True, stable=True)
    held_out, train = best[:253], best[253:]
    data = Labelled(CELLS[train], SCORES[train])
    recipe = AdversarialRecipe(
        10_000, three_way=ThreeWayOptions(learning_rate=5e-3, entropy=0.05)
    )  # fmt: skip
    trainees = [
        Trainee(
            GNN2GNN(SPACE.layout, rng=stream(seed, "g"), hidden=16), data, seed, balance=balance
        )
        for balance in (0.1, 1.0)
        for seed in (0, 1)
    ]
    fit = AdversarialFit(trainees, recipe)
    finish(fit)
    rngs = [stream(seed, "draw") for seed in range(4)]
    archs = fit.model.generator.draw(300, rngs=rngs).archs()
    scores = ((archs.ops == CONV3).sum(dim=1) / 3).view(4, 300).mean(dim=1)
    known = hashing.distinct(hashing.keys(CELLS[held_out]))
    found = (hashing.find(known, hashing.keys(archs)) >= 0).view(4, 300).float().mean(dim=1)
    by_chance = SPACE.sample(1000, rng=stream(0, "random"))
    usual = max(
        float(data.scores.mean()), float((by_chance.ops == CONV3).sum(dim=1).float().mean() / 3)
    )
    assert usual < 0.3
    assert (scores[:2] > usual + 0.25).all()
    assert (found[:2] > 0.25).all()
    assert (scores[2:] < usual).all()  # the valuer is not heeded
    assert (found[2:] < 0.1).all()
