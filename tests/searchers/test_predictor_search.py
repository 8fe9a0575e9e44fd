import math
from functools import partial

import pytest
import torch

from netwright.config.methods.predictor import PredictorConfig, make
from netwright.rng import stream
from netwright.searchers.predictor import PredictorSearch
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy
from netwright.surrogates.graph_network import GraphNetworkPredictor
from netwright.surrogates.predictors import EncodingMLP, TreePredictor
from netwright.surrogates.regression import Training
from netwright.testing import searchers as contract

SPACE, LARGE = NASBench201(), ENAS()
SMALL = partial(GraphNetworkPredictor, hidden=4, layers=1, training=Training(epochs=2))


class Linear:
    """Least squares on the operations: a predictor that takes no time."""

    def __init__(self, layout):
        self.num_ops = layout.num_ops

    def fit(self, archs, score, *, rng):
        known = ~score.isnan()
        noise = 1e-3 * torch.randn(len(score), generator=rng)[known]
        x, y = self.encode(archs)[known], (score[known] + noise)[:, None]
        ridge = x.T @ x + 0.01 * torch.eye(x.shape[1])
        self.weight = torch.linalg.solve(ridge, x.T @ y)[:, 0]

    def predict(self, archs):
        return self.encode(archs) @ self.weight

    def encode(self, archs):
        one_hot = torch.nn.functional.one_hot(archs.ops, self.num_ops)
        return torch.nn.functional.pad(one_hot.flatten(1), (0, 1), value=1).float()


class Recites:
    """Predicts a function of the operations; takes down what it is given to learn."""

    def __init__(self, layout, lessons):
        self.lessons = lessons
        assert layout.max_nodes

    def fit(self, archs, score, *, rng):
        self.lessons.append((len(archs), score.tolist()))
        self.rng = int(torch.randint(2**31, (), generator=rng))

    def predict(self, archs):
        return goodness(archs)


def goodness(archs):
    """Different for all cells of NAS-Bench-201, so that the ranking is known."""
    ops = archs.ops[:, 1:7].double()
    return (ops @ 7.0 ** torch.arange(ops.shape[1]).double()).float()


def search(space, *, rng, predictor=Linear, **options):
    del rng
    return PredictorSearch(space, predictor, **{"initial": 6, "pool": 40} | options)


@pytest.mark.parametrize("check", contract.SEARCHER_CHECKS.values(), ids=contract.SEARCHER_CHECKS)
@pytest.mark.parametrize("update_every", [None, 4], ids=["once", "refit"])
def test_contract(check, update_every):
    check(partial(search, update_every=update_every))


def test_a_graph_network_may_predict():
    contract.SEARCHER_CHECKS["state"](partial(search, predictor=SMALL))


def test_it_improves():
    contract.check_improves(partial(search, initial=9))


def searched(space, steps, score=goodness, **options):
    """Run a search; return origins, architectures and what the predictor was given to learn."""
    lessons, rng, found = [], stream(0, "searcher"), []
    searcher = search(space, rng=None, predictor=partial(Recites, lessons=lessons), **options)
    for n in steps:
        found.append(searcher.ask(n, rng=rng))
        searcher.tell(found[-1].archs, score(found[-1].archs), rng=rng)
    return searcher, found, lessons


def test_the_best_predictions_of_the_whole_space_follow_the_random_ones():
    searcher, found, lessons = searched(SPACE, [4, 2, 3, 5])
    assert [set(proposals.origin) for proposals in found] == [{"random"}] * 2 + [{"prediction"}] * 2
    assert [size for size, _ in lessons] == [6], "once"
    everything = goodness(SPACE.enumerate()).sort(descending=True).values
    seen = goodness(found[0].archs).tolist() + goodness(found[1].archs).tolist()
    expected = [value for value in everything.tolist() if value not in seen][:8]
    assert goodness(found[2].archs).tolist() + goodness(found[3].archs).tolist() == expected
    assert searcher.stats() == {"learns": 6.0, "fallback": 0.0}


def test_it_learns_again_after_so_many_evaluations():
    _, _, lessons = searched(SPACE, [4, 4, 2, 3, 1, 1, 4, 1], update_every=4)
    # told before each `ask`: 4, 8: learns; 10: learns, since 6 + 4 are reached; 13, 14: learns
    assert [size for size, _ in lessons] == [8, 10, 14, 19]


def test_a_space_that_cannot_be_listed_is_sampled():
    searcher, found, _ = searched(LARGE, [6, 10], score=lambda archs: goodness(archs), pool=200)
    assert set(found[1].origin) == {"prediction"}
    rank = goodness(searcher._ranked)
    assert 150 < len(rank) <= 200
    assert bool((rank.diff() <= 0).all()), "the best first"
    assert torch.equal(goodness(found[1].archs), rank[:10])


def test_random_architectures_take_over_from_a_pool_that_is_known():
    searcher, found, _ = searched(LARGE, [6, 10], pool=4)
    assert found[1].origin == ("prediction",) * 4 + ("random",) * 6
    assert searcher.stats()["fallback"] == 6


def test_what_was_told_but_not_proposed_is_learnt_and_not_proposed():
    archs = SPACE.cells(torch.tensor([[5] * 6, *[[op] * 6 for op in (1, 2, 3)]]))
    searcher, rng = search(SPACE, rng=None, predictor=partial(Recites, lessons=[]), initial=4), None
    searcher.tell(archs, torch.rand(4), rng=stream(0, "tell"))
    found = searcher.ask(1, rng=rng or stream(0, "searcher"))
    assert found.archs.ops[0].tolist() == [0, 4, 5, 5, 5, 5, 5, 6], "the second best"


def test_it_waits_for_a_first_score():
    space, nan = Toy(), partial(torch.full, fill_value=math.nan)
    searcher, found, lessons = searched(space, [3, 3, 3], lambda archs: nan((len(archs),)))
    assert not lessons
    assert {origin for proposals in found for origin in proposals.origin} == {"random"}
    archs = searcher.ask(1, rng=stream(1, "searcher")).archs
    searcher.tell(archs, torch.tensor([0.5]), rng=stream(1, "tell"))
    assert searcher.ask(1, rng=stream(1, "searcher")).origin == ("prediction",)
    assert [size for size, _ in lessons] == [10]


@pytest.mark.parametrize("name", ["initial", "pool", "update_every"])
def test_settings_are_checked(name):
    with pytest.raises(ValueError, match=name):
        PredictorSearch(SPACE, Linear, **{name: 0})


@pytest.mark.parametrize(
    ("name", "made"),
    [("graph-network", GraphNetworkPredictor), ("forest", TreePredictor), ("mlp", EncodingMLP)],
)
def test_the_configuration_makes_it(name, made):
    config = PredictorConfig(predictor=name, initial=7, pool=20, update_every=5)
    searcher = make(config, SPACE, rng=stream(0, "start"))
    assert isinstance(searcher.make_predictor(SPACE.layout), made)
    assert (searcher.initial, searcher.pool, searcher.update_every) == (7, 20, 5)
    default = make(PredictorConfig(), SPACE, rng=stream(0, "start"))
    assert isinstance(default.make_predictor(SPACE.layout), GraphNetworkPredictor)
    assert (default.initial, default.pool, default.update_every) == (100, 10_000, None)
