import math

import pytest
import torch

from netwright.config.methods.evolution import EvolutionConfig, make
from netwright.rng import stream
from netwright.searchers.evolution import Evolution
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy
from netwright.testing import searchers as contract

SPACE, CELLS = NASBench201(), NASBench101()


def evolution(space, *, rng, **options):
    del rng
    return Evolution(space, **{"population": 9, "tournament": 9, "initial": 3} | options)


@pytest.mark.parametrize("check", contract.SEARCHER_CHECKS.values(), ids=contract.SEARCHER_CHECKS)
def test_contract(check):
    check(evolution)


@pytest.mark.slow
def test_it_improves():
    contract.check_improves(evolution)


def cells(*ops):
    return SPACE.cells(torch.tensor(ops))


def parents(searcher, candidates, n=60):
    """How many operations the closest candidate differs in, and which it is, per proposal."""
    ops = searcher.ask(n, rng=stream(0, "searcher")).archs.ops
    distance = (ops[:, None] != candidates.ops).sum(dim=2)
    return distance.argmin(dim=1).tolist()


def test_the_best_of_the_tournament_is_mutated():
    searcher = Evolution(SPACE, initial=1, tournament=50)
    archs = cells([1] * 6, [2] * 6, [3] * 6, [4] * 6)
    searcher.tell(archs, torch.tensor([0.1, 0.3, math.nan, 0.2]), rng=stream(0, "tell"))
    found = parents(searcher, archs)
    assert found.count(1) > 55, "all, but for some that many mutations take far away"


def test_all_of_a_population_have_children_without_selection():
    searcher = Evolution(SPACE, initial=1, tournament=1)
    archs = cells([1] * 6, [2] * 6, [3] * 6)
    searcher.tell(archs, torch.tensor([0.1, 0.3, math.nan]), rng=stream(0, "tell"))
    found = parents(searcher, archs)
    assert min(found.count(i) for i in range(3)) > 9


def test_the_oldest_leave_the_population_however_good():
    searcher, rng = Evolution(SPACE, initial=1, population=2, tournament=50), stream(0, "tell")
    archs = cells([1] * 6, [2] * 6, [3] * 6)
    for i, score in enumerate([0.9, 0.2, 0.1]):
        searcher.tell(archs[i : i + 1], torch.tensor([score]), rng=rng)
    assert parents(searcher, archs).count(1) > 55
    assert searcher.stats()["population max"] == pytest.approx(0.2)


def test_the_first_are_random_then_come_mutations():
    searcher, rng, origins = Evolution(CELLS), stream(0, "searcher"), []
    for n in (6, 6, 8):
        proposals = searcher.ask(n, rng=rng)
        origins += proposals.origin
        searcher.tell(proposals.archs, torch.rand(n, generator=rng), rng=rng)
    assert origins == ["random"] * 10 + ["mutation"] * 10
    assert searcher.stats()["fallback"] == 0


def test_random_architectures_take_over_where_mutations_find_nothing_new():
    space, rng = Toy(), stream(0, "searcher")
    searcher = Evolution(space, initial=1, tournament=99, rate=1e-9)
    searcher.tell(space.enumerate()[:1], torch.tensor([1.0]), rng=rng)
    assert searcher.ask(3, rng=rng).origin == ("random",) * 3
    assert searcher.stats()["fallback"] == 3


def test_it_finds_good_cells_of_nasbench101():
    rng, searcher, best = stream(0, "searcher"), Evolution(CELLS), []
    for _ in range(15):
        archs = searcher.ask(10, rng=rng).archs
        score = (archs.ops == 2).sum(dim=1) + archs.num_edges / 10
        searcher.tell(archs, score, rng=rng)
        best.append(float(score.max()))
    assert max(best) > best[0] + 1


@pytest.mark.parametrize("name", ["population", "tournament", "initial", "rate"])
def test_settings_are_checked(name):
    with pytest.raises(ValueError, match=name):
        Evolution(SPACE, **{name: 0.0 if name == "rate" else 0})


def test_the_configuration_makes_it():
    searcher = make(EvolutionConfig(population=7, rate=2.0), SPACE, rng=stream(0, "start"))
    found = searcher.population, searcher.tournament, searcher.initial, searcher.rate
    assert found == (7, 10, 10, 2.0)
    default, plain = make(EvolutionConfig(), SPACE, rng=stream(0, "start")), Evolution(SPACE)
    for name in ("population", "tournament", "initial", "rate"):
        assert getattr(default, name) == getattr(plain, name)
