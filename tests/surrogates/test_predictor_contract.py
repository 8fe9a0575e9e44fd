"""What holds of every predictor."""

import math
from functools import partial

import pytest
import torch

from netwright import metrics
from netwright.generators.arch2vec import Arch2Vec
from netwright.generators.dvae import DVAE
from netwright.generators.svge import SVGe
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.surrogates.latent import PRESETS, Joint, LatentPredictor
from netwright.surrogates.predictors import EncodingMLP, MeanPredictor, Predictor, TreePredictor
from netwright.surrogates.regression import Training
from netwright.testing.generators import complete_graphs

LAYOUT = Layout.make(4, 4, allowed_ops=[[0], [1, 2, 3], [1, 2, 3], [3]], end_op=3)
OTHER = Layout.make(4, 4, allowed_ops=[[1], [1, 2], [1, 2], [3]], end_op=3)
QUICK = Training(epochs=15, batch_size=16, learning_rate=5e-3, schedule="cosine", warmup=0.1)


def latent(kind, weight):
    generator = kind(LAYOUT, hidden=12, rng=stream(0, "generator")).eval()
    return LatentPredictor(generator, Joint(QUICK, weight))


LEARNERS = {
    "trees": partial(TreePredictor, LAYOUT, trees=50),
    "mlp": partial(EncodingMLP, LAYOUT, hidden=32),
    "svge": partial(latent, partial(SVGe, latent_size=8), 0.0),
    "dvae": partial(latent, partial(DVAE, latent_size=8), 0.0),
    "arch2vec": partial(latent, partial(Arch2Vec, node_latent=4), 0.0),
}
ALL = LEARNERS | {"mean": partial(MeanPredictor, LAYOUT)}
DECODER = pytest.param(
    partial(latent, partial(SVGe, latent_size=8), 0.1),
    id="svge and decoder",
    marks=pytest.mark.slow,
)


def _cases(predictors):
    return [*(pytest.param(make, id=name) for name, make in predictors.items()), DECODER]


each = pytest.mark.parametrize("make", _cases(ALL))


def graphs():
    """Every graph of the layout, shuffled."""
    archs = complete_graphs(LAYOUT)
    return archs[torch.randperm(len(archs), generator=stream(0, "order"))]


def quality(archs):
    """A score around 0.8 that depends on operations and edges, as accuracies do."""
    return 0.8 + 0.02 * (archs.ops == 2).sum(dim=1) - 0.01 * archs.num_edges.float()


def fitted(make, *, n=150, seed=0, score=quality):
    predictor, archs = make(), graphs()
    predictor.fit(archs[:n], score(archs[:n]), rng=stream(seed, "fit"))
    return predictor, archs[n:]


@each
def test_it_is_a_predictor(make):
    assert isinstance(make(), Predictor)


@pytest.mark.parametrize("make", _cases(LEARNERS))
def test_it_predicts_better_than_the_mean(make):
    predictor, rest = fitted(make)
    found, truth = predictor.predict(rest), quality(rest)
    assert metrics.mse(found, truth) < 0.5 * float(truth.var())
    assert metrics.kendall_tau(found, truth) > 0.5  # a sign flipped makes it negative


def test_the_mean_predicts_the_mean():
    predictor, rest = fitted(ALL["mean"])
    found = predictor.predict(rest)
    assert found.unique().tolist() == pytest.approx([float(quality(graphs()[:150]).mean())])
    expected = float(quality(rest).var(correction=0) + (quality(rest).mean() - found[0]) ** 2)
    assert metrics.mse(found, quality(rest)) == pytest.approx(expected, rel=1e-4)


@each
def test_the_rng_decides_everything(make):
    before = torch.get_rng_state()
    one, rest = fitted(make, n=30)
    two, _ = fitted(make, n=30)
    assert torch.equal(one.predict(rest), two.predict(rest))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("make", _cases(LEARNERS))
def test_the_rng_matters(make):
    (one, rest), (two, _) = fitted(make, n=30), fitted(make, n=30, seed=1)
    assert not torch.equal(one.predict(rest), two.predict(rest))


@each
def test_scores_may_have_any_scale(make):
    """Predictions of scores times 100 are 100 times as large."""
    one, rest = fitted(make, n=30)
    two, _ = fitted(make, n=30, score=lambda archs: 100 * quality(archs) - 7)
    torch.testing.assert_close(two.predict(rest), 100 * one.predict(rest) - 7, atol=0.05, rtol=0)


@each
def test_failed_evaluations_are_left_out(make):
    archs = graphs()
    score, failed = quality(archs), torch.arange(30) % 3 == 0
    partly, clean = make(), make()
    partly.fit(archs[:30], score[:30].masked_fill(failed, math.nan), rng=stream(0, "fit"))
    clean.fit(archs[:30][~failed], score[:30][~failed], rng=stream(0, "fit"))
    assert torch.equal(partly.predict(archs[30:]), clean.predict(archs[30:]))


@each
def test_it_learns_anew(make):
    archs, again = graphs(), make()
    again.fit(archs[30:60], 1 - quality(archs[30:60]), rng=stream(1, "fit"))
    again.fit(archs[:30], quality(archs[:30]), rng=stream(0, "fit"))
    fresh, rest = fitted(make, n=30)
    assert torch.equal(again.predict(rest), fresh.predict(rest))


@each
def test_an_architecture_of_another_layout_is_refused(make):
    predictor, other = make(), complete_graphs(OTHER)
    with pytest.raises(ValueError, match="layout"):
        predictor.fit(other, torch.rand(len(other)), rng=stream(0, "fit"))
    predictor, _ = fitted(make, n=20)
    with pytest.raises(ValueError, match="layout"):
        predictor.predict(other)


@each
@pytest.mark.parametrize(
    ("score", "said"),
    [
        (torch.full((20,), math.nan), "no score is known"),
        (torch.full((19,), 0.5), "19 scores for 20 architectures"),
        (torch.full((20,), math.inf), "infinite"),
        (torch.zeros(0), "0 scores"),
    ],
)
def test_scores_that_teach_nothing_are_refused(make, score, said):
    with pytest.raises(ValueError, match=said) as error:
        make().fit(graphs()[:20], score, rng=stream(0, "fit"))
    assert "\n" not in str(error.value)


@each
def test_equal_scores_are_predicted(make):
    predictor, archs = make(), graphs()
    predictor.fit(archs[:40], torch.full((40,), 0.7), rng=stream(0, "fit"))
    assert metrics.rmse(predictor.predict(archs), torch.full((len(archs),), 0.7)) < 0.2


@each
def test_it_has_to_be_fitted_first(make):
    with pytest.raises(ValueError, match="call fit first"):
        make().predict(graphs()[:3])


@each
def test_no_architecture_has_no_score(make):
    predictor, rest = fitted(make, n=20)
    assert predictor.predict(rest[:0]).shape == (0,)


@each
def test_an_architecture_has_one_score_in_whatever_batch(make):
    predictor, rest = fitted(make, n=20)
    whole = predictor.predict(rest[:9])
    alone = torch.cat([predictor.predict(rest[i : i + 1].pad(6)) for i in range(9)])
    torch.testing.assert_close(alone, whole, atol=1e-6, rtol=1e-5)


def test_presets_are_those_that_are_named():
    assert PRESETS.keys() == {"paper", "best"}
    assert PRESETS["paper"].weight == 0.1
    assert PRESETS["paper"].training.learning_rate == 1e-3
