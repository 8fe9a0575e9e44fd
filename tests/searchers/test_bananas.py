import math
from dataclasses import replace
from functools import partial

import pytest
import torch

from netwright.config.methods.bananas import BananasConfig, make
from netwright.rng import stream
from netwright.searchers.bananas import Bananas, BananasOptions
from netwright.searchers.together import TrainsTogether, train_together
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy
from netwright.surrogates.ensemble import Ensemble, EnsembleOptions
from netwright.testing import searchers as contract

SPACE, CELLS = NASBench201(), NASBench101()
QUICK = EnsembleOptions(members=2, layers=1, width=4, epochs=3, encoding="adjacency")
LEARNS = replace(QUICK, width=8, epochs=25, learning_rate=0.03, target="standardised")


def bananas(space, *, rng, ensemble=QUICK, **options):
    del rng
    few = {"initial": 3, "candidates": 12, "parents": 3}
    return Bananas(space, options=BananasOptions(ensemble=ensemble, **few | options))


@pytest.mark.parametrize("check", contract.SEARCHER_CHECKS.values(), ids=contract.SEARCHER_CHECKS)
def test_contract(check):
    check(bananas)


@pytest.mark.slow
def test_it_improves():
    contract.check_improves(partial(bananas, ensemble=LEARNS, parents=2))


def cells(*ops):
    return SPACE.cells(torch.tensor(ops))


def told(archs, score, **options):
    searcher = bananas(SPACE, rng=None, **options)
    searcher.tell(archs, torch.tensor(score), rng=stream(0, "tell"))
    return searcher


def test_candidates_are_mutants_of_the_best():
    archs = cells([1] * 6, [2] * 6, [3] * 6, [4] * 6)
    searcher = told(archs, [0.1, 0.3, math.nan, 0.2], candidates=100, parents=1)
    found = searcher._candidates(stream(0, "candidates"))
    assert len(found) > 30
    distance = (found.ops[:, None] != archs.ops).sum(dim=2)
    assert (distance.argmin(dim=1) == 1).float().mean() > 0.95
    assert bool(searcher._fresh.unseen(found).all()), "new, each once"


def test_the_next_best_have_mutants_only_while_there_are_too_few():
    archs = cells([1] * 6, [2] * 6, [3] * 6, [4] * 6)
    score = [0.1, 0.3, math.nan, 0.2]
    for parents, wanted in ((2, {1, 3}), (3, {0, 1, 3}), (4, {0, 1, 2, 3})):
        searcher = told(archs, score, candidates=1000, parents=parents)
        ops = searcher._candidates(stream(0, "candidates")).ops
        near = (ops[:, None] != archs.ops).sum(dim=2) == 1
        assert set(near.any(dim=0).nonzero()[:, 0].tolist()) == wanted
    searcher = told(archs, score, candidates=5, parents=4, rate=1e3)  # all are new, and random
    assert len(searcher._candidates(stream(0, "candidates"))) == 5, "of the best alone"


@pytest.mark.parametrize("acquisition", ["its", "ucb", "mean"])
def test_what_is_chosen(acquisition):
    """Of candidates with a known mean and deviation, the best are taken."""
    searcher = told(cells([1] * 6, [2] * 6, [3] * 6), [0.1, 0.2, 0.3], acquisition=acquisition)
    candidates = SPACE.sample(300, rng=stream(0, "candidates"))
    candidates = candidates[searcher._fresh.unseen(candidates)]
    mean = torch.rand(len(candidates), generator=stream(0, "mean"))
    sd = torch.where(torch.arange(len(mean)) % 2 == 0, 3.0, 0.0)

    searcher._candidates = lambda rng: candidates  # noqa: ARG005 (its signature)
    searcher._ensemble = Ensemble(SPACE.layout)
    searcher._ensemble.mean_and_sd = lambda archs: (mean, sd) if archs is candidates else None
    found = searcher.ask(20, rng=stream(0, "searcher"))
    assert found.origin == ("mutation",) * 20
    value = {"mean": mean, "ucb": mean + 0.5 * sd}.get(acquisition)
    if value is not None:
        expected = candidates[value.argsort(descending=True)[:20]]
        assert bool(found.archs.equal(expected).all())
        return
    # By Thompson sampling those of a large deviation win, but not in the order of their means.
    rows = (found.archs.ops[:, None] == candidates.ops).all(dim=2).long().argmax(dim=1)
    assert bool((sd[rows] > 0).all())
    assert mean[rows].min() < 0.3


def test_the_first_are_random_then_come_mutants_of_an_ensemble_that_learns_all():
    searcher, rng, origins = bananas(CELLS, rng=None, initial=10), stream(0, "searcher"), []
    for n in (6, 6, 8):
        proposals = searcher.ask(n, rng=rng)
        origins += proposals.origin
        searcher.tell(proposals.archs, torch.rand(n, generator=rng), rng=rng)
    assert origins == ["random"] * 10 + ["mutation"] * 10
    assert searcher.stats()["candidates"] >= 12
    assert searcher.training_due == (QUICK, "nasbench101", 20)


def test_random_architectures_take_over_where_mutants_find_nothing_new():
    space, rng = Toy(), stream(0, "searcher")
    searcher = bananas(space, rng=None, rate=1e-9)
    searcher.tell(space.enumerate()[:3], torch.rand(3, generator=rng), rng=rng)
    assert searcher.ask(3, rng=rng).origin == ("random",) * 3
    assert searcher.stats()["fallback"] == 3


def test_searches_that_train_together_go_the_way_of_those_that_train_alone():
    together = [bananas(CELLS, rng=None) for _ in range(3)]
    alone = [bananas(CELLS, rng=None) for _ in range(3)]
    streams = {name: [stream(i, "s") for i in range(3)] for name in ("together", "alone")}
    rest = CELLS.sample(20, rng=stream(0, "rest"))
    assert isinstance(together[0], TrainsTogether)
    for step in range(3):
        train_together([*together, "something else"])
        assert all(searcher.training_due is None for searcher in together)
        for i in range(3):
            asked = [
                searcher.ask(4, rng=rng)
                for searcher, rng in (
                    (together[i], streams["together"][i]),
                    (alone[i], streams["alone"][i]),
                )
            ]
            assert bool(asked[0].archs.equal(asked[1].archs).all())
            if step:
                found, expected = (s.ensemble.mean_and_sd(rest) for s in (together[i], alone[i]))
                torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
            score = 0.9 + 0.01 * (asked[0].archs.ops == 2).sum(dim=1)
            if i == 2:
                score[0] = math.nan  # one of them learns from fewer
            together[i].tell(asked[0].archs, score, rng=streams["together"][i])
            alone[i].tell(asked[0].archs, score, rng=streams["alone"][i])
    assert len({searcher.training_due for searcher in together}) == 2


def test_nothing_is_due_before_it_is_needed():
    searcher, rng = bananas(SPACE, rng=None, initial=4), stream(0, "tell")
    assert searcher.training_due is None
    searcher.tell(cells([1] * 6, [2] * 6), torch.tensor([0.1, 0.2]), rng=rng)
    assert searcher.training_due is None
    searcher.tell(cells([3] * 6, [4] * 6), torch.tensor([math.nan, 0.2]), rng=rng)
    assert searcher.training_due == (QUICK, "nasbench201", 3)
    searcher.ask(1, rng=rng)
    assert searcher.training_due is None


@pytest.mark.parametrize("name", ["initial", "candidates", "parents", "rate"])
def test_settings_are_checked(name):
    with pytest.raises(ValueError, match=name):
        BananasOptions(**{name: 0.0 if name == "rate" else 0})


def test_the_configuration_makes_it():
    config = BananasConfig(initial=7, acquisition="ucb", members=2, encoding="adjacency")
    options = make(config, SPACE, rng=stream(0, "start")).options
    ensemble = EnsembleOptions(members=2, encoding="adjacency")
    assert options == BananasOptions(initial=7, acquisition="ucb", ensemble=ensemble)
    assert make(BananasConfig(), SPACE, rng=stream(0, "start")).options == BananasOptions()
