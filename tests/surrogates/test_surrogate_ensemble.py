"""Boosted trees on graph invariants: what they see, how well they rank, how sure they are."""

import pytest
import torch

from netwright import metrics
from netwright.graphs import dag
from netwright.rng import stream
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench101 import NASBench101
from netwright.surrogates.boosted import BoostedEnsemble, Prediction
from netwright.surrogates.invariants import invariants

SPACE = NASBench101(5, 7)


@pytest.fixture(scope="module")
def cells():
    archs = SPACE.enumerate()
    return archs[torch.randperm(len(archs), generator=stream(0, "order"))]


def smooth(archs):
    """A score that falls off steeply at the lower end, as accuracies do."""
    good = (archs.ops == 2).sum(dim=1) - 0.5 * (archs.ops == 3).sum(dim=1)
    depth = good + 0.4 * dag.longest_path(archs) + 0.1 * archs.num_edges
    return 0.95 - 0.1 * torch.exp(-0.6 * depth.double())


NOISE = 0.002


@pytest.fixture(scope="module")
def noisy(cells):
    return smooth(cells) + NOISE * torch.randn(
        len(cells), dtype=torch.double, generator=stream(0, "noise")
    )


@pytest.fixture(scope="module")
def fitted(cells, noisy):
    ensemble = BoostedEnsemble(trees=30, learning_rate=0.2)
    ensemble.fit(invariants(cells[:1200], SPACE.layout), noisy[:1200], rng=stream(0, "fit"))
    return ensemble, ensemble.predict(invariants(cells[1200:], SPACE.layout))


@pytest.mark.parametrize("space", [NASBench101(), ENAS(3)], ids=["nasbench101", "enas"])
def test_invariants_do_not_depend_on_the_order_of_nodes(space):
    archs = space.sample(200, rng=stream(0, "archs"))
    moved = dag.reorder(archs, dag.random_order(archs, rng=stream(1, "order")))
    torch.testing.assert_close(
        invariants(moved, space.layout), invariants(archs, space.layout), atol=1e-5, rtol=1e-5
    )


def test_invariants_tell_cells_apart(cells):
    x = invariants(cells, SPACE.layout)
    assert len(x.unique(dim=0)) > 0.99 * len(cells)


def test_invariants_of_a_cell_by_hand():
    #   input -> conv1 -> conv3 -> output, input -> pool -> output, input -> output
    bits = ["01011", "00100", "00001", "00001", "00000"]
    text = f"input,conv1x1-bn-relu,conv3x3-bn-relu,maxpool3x3,output:{''.join(bits)}"
    x = invariants(SPACE.parse([text]), SPACE.layout)[0]
    assert x[:5].tolist() == [5, 6, 3, 2, 3]  # nodes, edges, paths, mean and longest length
    assert x[5:10].tolist() == [1, 1, 1, 1, 1]  # one node of each operation
    assert x[10:15].tolist() == [0, 1, 1, 1, 3]  # in-degrees
    assert x[15:20].tolist() == [0, 1, 1, 1, 3]  # the largest
    assert x[20:25].tolist() == [3, 1, 1, 1, 0]  # out-degrees
    assert x[25:30].tolist() == [3, 1, 1, 1, 0]  # the largest
    assert x[30:35].tolist() == [0, 1, 1, 1, 0]  # their products
    edges = torch.zeros(5, 5)
    for pair in ((0, 1), (0, 3), (0, 4), (1, 2), (2, 4), (3, 4)):
        edges[pair] = 1
    assert torch.equal(x[35:60].view(5, 5), edges)
    assert torch.equal(x[60:85].view(5, 5), edges @ edges)
    joined = edges.clone()
    joined[0, 2] = joined[1, 4] = 1
    assert torch.equal(x[85:110].view(5, 5), joined)
    assert x[110:115].tolist() == [0, 0.5, 0.5, 0.5, 0]  # shares: conv3 and pool feed the output
    assert x[115:120].tolist() == [0, 0.25, 0.25, 0.25, 0]
    assert x[120:125].tolist() == [0, 0.5, 0.5, 0.5, 0]
    # on the paths: fewest, most and mean number of each operation, and of all nodes
    assert x[125:131].tolist() == [1, 0, 0, 0, 1, 2]
    assert x[131:137].tolist() == [1, 1, 1, 1, 1, 4]
    assert x[137:143].tolist() == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3, 1, 3])
    paths = x[143:].nonzero()[:, 0].tolist()
    assert paths == [0, 3, 1 + 3 + 1]  # none; pool; conv1 conv3
    assert len(x) == 143 + 40


def test_paths_are_counted():
    twice = "input,conv3x3-bn-relu,conv3x3-bn-relu,output:0110000100010000"
    x = invariants(SPACE.parse([twice]), SPACE.layout)[0]
    assert x[143 + 2] == 2


def test_it_ranks_what_it_did_not_see(fitted, cells):
    truth = smooth(cells[1200:])
    assert metrics.kendall_tau(fitted[1].mean, truth) > 0.9
    assert 1 - metrics.mse(fitted[1].mean, truth) / float(truth.var()) > 0.9


def test_the_mean_rises_with_z(fitted):
    order = fitted[1].z.argsort()
    assert bool((fitted[1].mean[order].diff() >= 0).all())
    assert metrics.kendall_tau(fitted[1].mean, fitted[1].z) > 0.999


def test_noise_is_recovered(fitted):
    sd = float(fitted[1].sd.square().mean().sqrt())
    assert 0.95 * NOISE < sd < 1.35 * NOISE  # some of it is error of the prediction


def test_intervals_hold_what_they_say(fitted, noisy):
    _, found = fitted
    measured = noisy[1200:]
    assert bool((found.low < found.mean).all())
    assert bool((found.mean < found.high).all())
    inside = (found.low <= measured) & (measured <= found.high)
    assert 0.925 < float(inside.double().mean()) < 0.975
    for part in found.z.argsort().chunk(4):  # for the worst cells and the best ones alike
        assert 0.89 < float(inside[part].double().mean()) < 0.99


def test_intervals_are_wide_only_where_noise_is(cells):
    bad = smooth(cells) < 0.9
    noise = torch.where(bad, 0.01, 0.0005) * torch.randn(
        len(cells), dtype=torch.double, generator=stream(2, "noise")
    )
    ensemble = BoostedEnsemble(trees=30, learning_rate=0.2)
    score = smooth(cells) + noise
    ensemble.fit(invariants(cells[:1200], SPACE.layout), score[:1200], rng=stream(0, "fit"))
    found, bad = ensemble.predict(invariants(cells[1200:], SPACE.layout)), bad[1200:]
    assert float(found.sd[bad].mean()) > 4 * float(found.sd[~bad].mean())


def test_skewed_noise_stays_skewed(cells):
    noise = torch.rand(len(cells), dtype=torch.double, generator=stream(3, "noise")).log()
    score = smooth(cells) + 5 * NOISE * (noise + 1)  # mean 0; mostly above, sometimes far below
    ensemble = BoostedEnsemble(trees=30, learning_rate=0.2)
    ensemble.fit(invariants(cells[:1200], SPACE.layout), score[:1200], rng=stream(0, "fit"))
    found = ensemble.predict(invariants(cells[1200:], SPACE.layout))
    assert float((score[1200:] < found.low).double().mean()) < 0.06
    assert float((score[1200:] > found.high).double().mean()) < 0.06
    below, above = (found.mean - found.low).mean(), (found.high - found.mean).mean()
    assert float(below) > 1.5 * float(above)
    assert abs(float((found.mean - smooth(cells[1200:])).mean())) < 0.5 * NOISE


def test_draws_are_measurements(fitted):
    ensemble, found = fitted
    draws = torch.stack([ensemble.draw(found, rng=stream(i, "draw")) for i in range(50)])
    error = draws.mean(dim=0) - found.mean
    assert float(error.abs().mean()) < 0.3 * NOISE
    assert float(draws.std(dim=0).mean()) == pytest.approx(float(found.sd.mean()), rel=0.1)
    assert torch.equal(draws[0], ensemble.draw(found, rng=stream(0, "draw")))


def test_unseen_rows_are_predicted_by_those_that_did_not_see_them(fitted, cells, noisy):
    ensemble, _ = fitted
    again = ensemble.predict(invariants(cells[:1200], SPACE.layout))
    seen, unseen = (metrics.mse(some, noisy[:1200]) for some in (again.mean, ensemble.unseen.mean))
    assert unseen > 1.3 * seen  # trees remember
    new = metrics.mse(fitted[1].mean, noisy[1200:])  # by all members: a little better than one
    assert new < unseen < 1.7 * new


def test_it_is_deterministic(cells, noisy):
    x = invariants(cells[:300], SPACE.layout)

    def predicted(seed):
        ensemble = BoostedEnsemble(trees=10)
        ensemble.fit(x, noisy[:300], rng=stream(seed, "fit"))
        return ensemble.predict(x).mean

    state = torch.get_rng_state()
    assert torch.equal(predicted(0), predicted(0))
    assert not torch.equal(predicted(0), predicted(1))
    assert torch.equal(state, torch.get_rng_state())


def test_equal_scores_are_predicted_as_they_are(cells):
    x = invariants(cells[:50], SPACE.layout)
    ensemble = BoostedEnsemble(trees=5)
    ensemble.fit(x, torch.full((50,), 0.9), rng=stream(0, "fit"))
    found = ensemble.predict(x)
    assert found.mean.tolist() == pytest.approx([0.9] * 50)
    assert found.sd.tolist() == pytest.approx([0] * 50, abs=1e-9)


def test_predictions_are_concatenated(fitted):
    _, found = fitted
    halves = [
        Prediction(*(getattr(found, name)[part] for name in found.__dataclass_fields__))
        for part in (slice(0, 100), slice(100, None))
    ]
    for name in found.__dataclass_fields__:
        assert torch.equal(getattr(Prediction.cat(halves), name), getattr(found, name))


def test_what_cannot_be_fitted(cells, noisy):
    x = invariants(cells[:30], SPACE.layout)
    with pytest.raises(ValueError, match="learnt nothing"):
        BoostedEnsemble().predict(x)
    with pytest.raises(ValueError, match="19 scores are too few"):
        BoostedEnsemble().fit(x[:19], noisy[:19], rng=stream(0, "fit"))
    with pytest.raises(ValueError, match="not finite"):
        BoostedEnsemble().fit(x, noisy[:30] * torch.nan, rng=stream(0, "fit"))
    with pytest.raises(ValueError, match="2 folds"):
        BoostedEnsemble(folds=1)
