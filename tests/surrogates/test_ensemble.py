import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from netwright import metrics
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.surrogates.ensemble import Ensemble, EnsembleOptions, Lesson, _Stack, fit_together
from netwright.surrogates.predictors import Predictor
from netwright.testing.generators import complete_graphs

SPACE = NASBench101()
OTHER = Layout.make(4, 4, allowed_ops=[[1], [1, 2], [1, 2], [3]], end_op=3)
QUICK = EnsembleOptions(members=3, layers=2, width=8, epochs=5)
TARGETS = ("percent", "standardised")
each_target = pytest.mark.parametrize("target", TARGETS)


def graphs(n, seed=0):
    return SPACE.sample(n, rng=stream(seed, "archs"))


def quality(archs):
    """An accuracy around 0.9 that depends on operations and edges."""
    return 0.88 + 0.02 * (archs.ops == 2).sum(dim=1) - 0.002 * archs.num_edges.float()


def fitted(options=QUICK, *, n=40, seed=0, score=quality):
    ensemble, archs = Ensemble(SPACE.layout, options), graphs(n)
    ensemble.fit(archs, score(archs), rng=stream(seed, "fit"))
    return ensemble


def test_it_is_a_predictor():
    assert isinstance(Ensemble(SPACE.layout), Predictor)


@each_target
def test_the_released_ensemble_predicts_better_than_the_mean(target):
    ensemble = fitted(replace(EnsembleOptions(), members=3, epochs=60, target=target), n=100)
    rest = graphs(300, seed=1)
    found, truth = ensemble.predict(rest), quality(rest)
    assert metrics.mse(found, truth) < 0.6 * float(truth.var())
    assert metrics.kendall_tau(found, truth) > 0.5  # a sign flipped makes it negative


def test_gradients_are_those_of_the_mean_absolute_error():
    replicas, sizes, rows = 3, [7, 5, 5, 1], 11
    model, rng = _Stack(replicas, sizes), stream(0, "stack")
    model.row.normal_(generator=rng)
    x = torch.randn(replicas, rows, 7, generator=rng)
    y = torch.randn(replicas, 1, rows, generator=rng)
    model.differentiate(x, y)
    row = model.row.clone().requires_grad_()
    other = _Stack(replicas, sizes)
    other.row = row
    parts = row.split([view.numel() for pair in other.layers for view in pair])
    shapes = [view.shape for pair in other.layers for view in pair]
    views = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
    h = x.mT
    for i in range(3):
        h = views[2 * i] @ h + views[2 * i + 1]
        h = h.relu() if i < 2 else h
    (h - y).abs().mean(dim=2).sum().backward()
    assert row.grad.abs().mean() > 0.1
    torch.testing.assert_close(model.gradient, row.grad, atol=1e-5, rtol=1e-5)
    before = model.gradient.clone()
    model.differentiate(x[:, :4], y[..., :4])  # other numbers of rows do not disturb each other
    model.differentiate(x, y)
    assert torch.equal(model.gradient, before)


def test_training_is_adam_on_shuffled_batches():
    """The same steps with autograd and torch's optimiser end with the same parameters."""
    options = replace(QUICK, members=1, epochs=4, batch_size=16)
    archs = graphs(40)
    ensemble = fitted(options)
    x, y = ensemble.encode(archs), 100 * (1 - quality(archs))
    rng, shapes = stream(0, "fit"), [(8, 40), (8, 8), (1, 8)]
    parameters = []
    for shape in shapes:
        limit = math.sqrt(6 / sum(shape))
        weight = torch.empty(1, *shape).uniform_(-limit, limit, generator=rng)[0]
        parameters += [weight.requires_grad_(), torch.zeros(shape[0]).requires_grad_()]
    adam = torch.optim.Adam(parameters, lr=0.01, betas=(0.9, 0.99), eps=1e-7)
    for order in torch.rand(4, 40, generator=rng).argsort(dim=1):
        for rows in order.split(16):
            h = x[rows]
            for i in range(3):
                h = h @ parameters[2 * i].T + parameters[2 * i + 1]
                h = h.relu() if i < 2 else h
            adam.zero_grad()
            (h[:, 0] - y[rows]).abs().mean().backward()
            adam.step()
    weights = [view[0] if i % 2 == 0 else view[0, :, 0] for i, view in enumerate(flat(ensemble))]
    for found, expected in zip(weights, parameters, strict=True):
        torch.testing.assert_close(found, expected.detach(), atol=1e-4, rtol=1e-4)


def flat(ensemble):
    return [view for pair in ensemble._layers for view in pair]


def test_ensembles_fitted_together_are_those_fitted_alone():
    jobs = [(20, QUICK), (33, QUICK), (20, QUICK), (20, replace(QUICK, epochs=6)), (33, QUICK)]
    together = [Ensemble(SPACE.layout, options) for _, options in jobs]
    alone = [Ensemble(SPACE.layout, options) for _, options in jobs]
    lessons = []
    for i, (n, _) in enumerate(jobs):
        archs = graphs(n, seed=i)
        alone[i].fit(archs, quality(archs), rng=stream(i, "fit"))
        lessons.append(Lesson(together[i], archs, quality(archs), stream(i, "fit")))
    fit_together(lessons)
    rest = graphs(50, seed=9)
    for one, other in zip(alone, together, strict=True):
        for found, expected in zip(one.mean_and_sd(rest), other.mean_and_sd(rest), strict=True):
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    predictions = torch.stack([ensemble.predict(rest) for ensemble in together])
    assert len(predictions.unique(dim=0)) == len(jobs), "each of its own"


@each_target
def test_mean_and_deviation_are_over_the_members(target):
    ensemble, rest = fitted(replace(QUICK, target=target)), graphs(20, seed=1)
    mean, sd = ensemble.mean_and_sd(rest)
    members = []
    for i in range(3):
        one = Ensemble(SPACE.layout, replace(QUICK, members=1, target=target))
        one._layers = [(w[i : i + 1], b[i : i + 1]) for w, b in ensemble._layers]
        one._scale = ensemble._scale
        members.append(one.predict(rest))
    members = torch.stack(members)
    torch.testing.assert_close(mean, members.mean(dim=0))
    torch.testing.assert_close(sd, members.std(dim=0, correction=0))
    assert sd.min() > 0, "members differ"
    assert torch.equal(ensemble.predict(rest), mean)


@pytest.mark.parametrize(
    ("space", "options", "bits"),
    [
        (NASBench101(), {}, 1 + 3 + 9 + 27),
        (NASBench201(), {}, 400),
        (NASBench201(), {"paths": 31}, 31),
        (NASBench201(), {"encoding": "adjacency"}, 28 + 8 * 7),
        (ENAS(), {}, 40),
    ],
    ids=["nasbench101", "nasbench201", "31", "adjacency", "enas"],
)
def test_encodings(space, options, bits):
    ensemble = Ensemble(space.layout, EnsembleOptions(**options))
    found = ensemble.encode(space.sample(9, rng=stream(0, "archs")))
    assert found.shape == (9, bits)
    assert set(found.unique().tolist()) == {0.0, 1.0}


def test_nothing_is_lost_of_nasbench201():
    space = NASBench201()
    some = Ensemble(space.layout).encode(space.enumerate()[::25])
    assert len(some.unique(dim=0)) == len(some)


@each_target
def test_equal_scores_are_predicted(target):
    options = replace(QUICK, target=target, epochs=200)
    found = fitted(options, score=lambda archs: torch.full((len(archs),), 0.7)).predict(graphs(40))
    torch.testing.assert_close(found, torch.full((40,), 0.7), atol=0.05, rtol=0)


def test_standardised_scores_may_have_any_scale():
    options, rest = replace(QUICK, target="standardised"), graphs(20, seed=1)
    one = fitted(options).predict(rest)
    two = fitted(options, score=lambda archs: 100 * quality(archs) - 7).predict(rest)
    torch.testing.assert_close(two, 100 * one - 7, atol=0.05, rtol=0)


@each_target
def test_failed_evaluations_are_left_out(target):
    archs, rest = graphs(40), graphs(20, seed=1)
    failed = torch.arange(40) % 3 == 0
    partly, clean = (Ensemble(SPACE.layout, replace(QUICK, target=target)) for _ in range(2))
    score = quality(archs)
    partly.fit(archs, score.masked_fill(failed, math.nan), rng=stream(0, "fit"))
    clean.fit(archs[~failed], score[~failed], rng=stream(0, "fit"))
    assert torch.equal(partly.predict(rest), clean.predict(rest))


def test_the_rng_decides_everything():
    before, rest = torch.get_rng_state(), graphs(20, seed=1)
    one, two, other = (fitted(seed=seed).predict(rest) for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_architecture_has_one_score_in_whatever_batch():
    ensemble, rest = fitted(), graphs(5, seed=1)
    alone = torch.cat([ensemble.predict(rest[i : i + 1].pad(9)) for i in range(5)])
    torch.testing.assert_close(alone, ensemble.predict(rest), atol=1e-6, rtol=1e-5)
    assert ensemble.predict(rest[:0]).shape == (0,)


def test_it_has_to_be_fitted_first():
    with pytest.raises(ValueError, match="call fit first"):
        Ensemble(SPACE.layout).predict(graphs(3))


def test_what_it_cannot_learn_is_refused():
    ensemble, archs, rng = Ensemble(SPACE.layout, QUICK), graphs(3), stream(0, "fit")
    for score, said in (
        (torch.full((3,), math.nan), "no score is known"),
        (torch.full((3,), math.inf), "infinite"),
        (torch.zeros(2), "2 scores for 3"),
    ):
        with pytest.raises(ValueError, match=said):
            ensemble.fit(archs, score, rng=rng)
    other = complete_graphs(OTHER)
    with pytest.raises(ValueError, match="layout"):
        ensemble.fit(other, torch.rand(len(other)), rng=rng)
    with pytest.raises(ValueError, match="layout"):
        fitted().predict(other)


def test_training_that_diverges_says_so():
    with pytest.raises(FloatingPointError, match="lower its learning_rate"):
        fitted(replace(QUICK, learning_rate=1e38))


@pytest.mark.parametrize(
    "options",
    [{name: 0} for name in ("members", "layers", "width", "epochs", "batch_size", "paths")]
    + [{"learning_rate": 0.0}],
    ids=lambda options: next(iter(options)),
)
def test_settings_are_checked(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        partial(EnsembleOptions, **options)()
