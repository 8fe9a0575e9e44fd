"""Weights that architectures share, and a search in which they learn."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from small import stripes
from torch import nn

from netwright.config.objects import make_evaluator
from netwright.config.schema import RunConfig
from netwright.evaluation import TrainableEvaluator
from netwright.evaluators.supernet import SupernetEvaluator, SupernetRecipe
from netwright.evaluators.training import TrainingFailed
from netwright.graphs.batch import ArchitectureBatch
from netwright.networks.enas_supernet import ENASSupernet
from netwright.rng import stream
from netwright.spaces.enas import ENAS
from netwright.spaces.toy import Toy

SPACE = ENAS(3)
RECIPE = SupernetRecipe(
    epochs=6, epochs_per_step=2, batch_size=6, crop_padding=0, valid_batch_size=5
)


def supernet(recipe=RECIPE, **options):
    fields = {"data": stripes(), "train_fraction": 0.5, "device": "cpu"} | options
    make = partial(ENASSupernet, 3, channels=4)
    return SupernetEvaluator(make, recipe=recipe, **fields)


def archs(n, name="archs"):
    return SPACE.sample(n, rng=stream(0, name))


def trained(evaluator, rounds=1):
    for i in range(rounds):
        evaluator.train(archs(evaluator.train_size, f"lessons{i}"), rng=stream(0, f"training/{i}"))
    return evaluator


def test_sizes():
    evaluator = supernet()
    assert isinstance(evaluator, TrainableEvaluator)
    assert (evaluator.chunk, evaluator.train_size) == (1, 4)  # 12 images in batches of 6, twice


def test_it_learns():
    recipe = replace(RECIPE, epochs_per_step=20, epochs=80)
    evaluator = supernet(recipe, data=stripes(200), train_fraction=0.5)
    before = evaluator(archs(8), rngs=[stream(0, "x")] * 8).score.mean()
    trained(evaluator, 4)
    after = evaluator(archs(8), rngs=[stream(0, "x")] * 8).score.mean()
    assert after > 0.9 > 0.75 > before


def test_the_order_of_the_images_does_not_matter():
    """Folders of images hold a class after another; statistics of one class would mislead."""
    data = stripes(200)
    order = data.train_labels.argsort(stable=True)
    ordered = replace(
        data, train_images=data.train_images[order], train_labels=data.train_labels[order]
    )
    recipe = replace(RECIPE, epochs_per_step=40, epochs=40, valid_batch_size=25)
    evaluator = trained(supernet(recipe, data=ordered))
    assert evaluator(archs(8), rngs=[stream(0, "x")] * 8).score.mean() > 0.85


def test_the_score_is_the_share_of_right_answers():
    for statistics in ("running", "batch"):
        evaluator = trained(supernet(replace(RECIPE, statistics=statistics, valid_batch_size=99)))
        arch = archs(1)
        score = float(evaluator(arch, rngs=[stream(0, "x")]).score)
        net, data = evaluator.supernet, stripes()
        rest = evaluator._valid
        assert len(rest) == 12
        net.train(statistics == "batch")
        with torch.no_grad():
            logits = net(data.normalise(data.train_images[rest]), arch)
        right = (logits.argmax(dim=1) == data.train_labels[rest]).float().mean()
        assert score == pytest.approx(float(right))


def test_validation_images_are_never_trained_on():
    evaluator = supernet()
    assert not set(evaluator._train.tolist()) & set(evaluator._valid.tolist())
    data = stripes()
    held_out = data.train_images.clone()
    held_out[evaluator._valid] = 0
    other = supernet(data=replace(data, train_images=held_out))
    for one in (evaluator, other):  # the same images would give the same weights
        one._data = replace(one._data)
        for name in ("mean", "std"):
            object.__setattr__(one._data, name, getattr(data, name))
        trained(one)
    for a, b in zip(evaluator.supernet.parameters(), other.supernet.parameters(), strict=True):
        assert torch.equal(a, b)


def test_scoring_changes_nothing():
    evaluator = trained(supernet())
    before = {name: value.clone() for name, value in evaluator.supernet.state_dict().items()}
    first = evaluator(archs(5), rngs=[stream(0, "x")] * 5).score
    assert torch.equal(evaluator(archs(5), rngs=[stream(1, "x")] * 5).score, first)
    after = evaluator.supernet.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_batch_statistics_are_those_of_equal_parts(monkeypatch):
    evaluator = trained(supernet(replace(RECIPE, valid_batch_size=11)))
    shown = []
    forward = evaluator.supernet.forward
    monkeypatch.setattr(
        evaluator.supernet, "forward", lambda x, arch: shown.append(len(x)) or forward(x, arch)
    )
    evaluator(archs(1), rngs=[stream(0, "x")])
    assert shown == [6, 6]  # not 11 and a single image


def test_the_learning_rate_falls_over_all_epochs_and_stays():
    recipe = SupernetRecipe(learning_rate=0.4, last_learning_rate=0.1)
    rates = [recipe.rate(step, 10) for step in range(13)]
    assert rates[0] == 0.4
    assert rates[5] == pytest.approx(0.25)
    assert rates[10:] == [pytest.approx(0.1)] * 3
    assert sorted(rates, reverse=True) == rates
    evaluator = trained(supernet(), 2)
    rate = evaluator._optimiser.param_groups[0]["lr"]
    assert rate == pytest.approx(RECIPE.rate(7, 12))  # the eighth of 6 x 2 batches


def test_each_batch_of_an_epoch_is_new_and_each_has_its_architecture(monkeypatch):
    evaluator = supernet()
    seen, paths = [], []
    forward = evaluator.supernet.forward

    def watch(x, arch):
        seen.append(x)
        paths.append(SPACE.to_text(arch)[0])
        return forward(x, arch)

    monkeypatch.setattr(evaluator.supernet, "forward", watch)
    lessons = archs(4, "lessons")
    evaluator.train(lessons, rng=stream(0, "training"))
    assert paths == SPACE.to_text(lessons)
    data = stripes()
    every = data.normalise(data.train_images[evaluator._train])
    for epoch in (seen[:2], seen[2:]):
        got = torch.cat(epoch).flatten(1)
        assert torch.equal(got.sort(dim=0).values, every.flatten(1).sort(dim=0).values)
    assert not torch.equal(seen[0], seen[2])


def test_one_step_by_hand():
    """Nesterov's SGD with weight decay and clipping, on the path only."""
    recipe = replace(RECIPE, epochs_per_step=1, batch_size=12, gradient_clip=0.01)
    evaluator, arch = supernet(recipe), archs(1, "lesson")
    net, data = supernet(recipe).supernet, stripes()
    with torch.random.fork_rng():
        order = torch.randperm(12, generator=stream(0, "training"))
    images = data.train_images[evaluator._train[order]]
    labels = data.train_labels[evaluator._train[order]]
    net.train()
    nn.functional.cross_entropy(net(data.normalise(images), arch), labels).backward()
    grads = [p.grad for p in net.parameters() if p.grad is not None]
    norm = math.sqrt(sum(float(g.square().sum()) for g in grads))
    assert norm > 0.01
    evaluator.train(arch, rng=stream(0, "training"))
    for new, old in zip(evaluator.supernet.parameters(), net.parameters(), strict=True):
        expected = old
        if old.grad is not None:
            step = old.grad * 0.01 / (norm + 1e-6) + recipe.weight_decay * old
            expected = old - 0.05 * 1.9 * step  # Nesterov: 1 + momentum at the first step
        assert torch.allclose(new, expected, atol=1e-7)


def test_a_state_brings_everything_back():
    evaluator = trained(supernet())
    other = supernet(split_seed=0)
    other.load_state_dict(evaluator.state_dict())
    results = []
    for one in (evaluator, other):
        one.train(archs(4, "more"), rng=stream(1, "training"))
        results.append(one(archs(5), rngs=[stream(0, "x")] * 5))
    assert torch.equal(results[0].score, results[1].score)
    for a, b in zip(evaluator.supernet.parameters(), other.supernet.parameters(), strict=True):
        assert torch.equal(a, b)
    assert evaluator.state_dict()["steps"] == 8


def test_the_state_is_a_copy():
    evaluator = trained(supernet())
    state = evaluator.state_dict()
    before = state["weights"]["classifier.bias"].clone()
    momentum = state["momentum"]["classifier.bias"].clone()
    trained(evaluator)
    assert torch.equal(state["weights"]["classifier.bias"], before)
    assert torch.equal(state["momentum"]["classifier.bias"], momentum)


def test_what_was_trained_with_is_told():
    evaluator = supernet()
    lessons = archs(evaluator.train_size, "lessons")
    evaluator.train(lessons, rng=stream(0, "training"))
    new = archs(20)
    both = ArchitectureBatch.cat([lessons[:2], new])
    result = evaluator(both, rngs=[stream(0, "x")] * 22)
    known = set(SPACE.to_text(lessons))
    expected = [float(text in known) for text in SPACE.to_text(both)]
    assert result.extras["trained_lately"].tolist() == expected
    assert expected[:2] == [1, 1]
    assert 0 in expected


def test_training_is_in_the_cost_of_the_first_score():
    evaluator = supernet(replace(RECIPE, epochs_per_step=30))
    result = trained(evaluator)(archs(3), rngs=[stream(0, "x")] * 3)
    assert result.cost[0] > 5 * result.cost[1]


def test_divergence():
    evaluator = supernet(replace(RECIPE, learning_rate=1e30, gradient_clip=0.0))
    with pytest.raises(TrainingFailed, match="lower learning_rate"):
        trained(evaluator, 3)
    with torch.no_grad():
        evaluator.supernet.classifier.weight.fill_(torch.nan)
    result = evaluator(archs(1), rngs=[stream(0, "x")])
    assert result.error == ("the shared weights' outputs are no numbers",)
    assert result.score.isnan().all()


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"learning_rate": 0.0001}, "must fall, and stay above 0, not go from 0.0001 to 0.0005"),
        ({"momentum": -1.0}, "momentum must be at least 0"),
    ],
)
def test_bad_recipes(changes, match):
    with pytest.raises(ValueError, match=match):
        replace(RECIPE, **changes)


class TestConfig:
    def config(self, **changes):
        fields = {"space": {"name": "enas", "layers": 3}, "method": "random", "budget": 7}
        return RunConfig(**(fields | {"batch_size": 3, "evaluator": "supernet"} | changes))

    def test_epochs_are_those_of_the_search(self):
        assert self.config().evaluator.epochs == 15
        given = self.config(evaluator={"name": "supernet", "epochs": 4})
        assert given.evaluator.epochs == 4

    def test_made_from_settings(self):
        settings = {"name": "supernet", "channels": 4, "learning_rate": 0.02, "epochs_per_step": 1}
        config = self.config(evaluator=settings | {"batch_size": 500, "statistics": "running"})
        made = make_evaluator(config.evaluator, SPACE)
        assert made.recipe.learning_rate == 0.02
        assert made.recipe.statistics == "running"
        assert made.recipe.crop_padding == 1
        assert made.train_size == 3
        assert made.supernet.stem[0].out_channels == 4

    def test_other_spaces_share_no_weights(self):
        with pytest.raises(ValueError, match="architectures of toy share no weights"):
            make_evaluator(self.config().evaluator, Toy())
