from functools import partial

import pytest
import torch

from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.searchers.random_graphs import RandomGraphSearch
from netwright.spaces.base import (
    SearchSpace,
    distinct_members,
    graph_text,
    one_edit,
    parse_graph_text,
    uniform_graphs,
)
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.toy import Toy
from netwright.testing import searchers as contract
from netwright.testing.generators import complete_graphs

SEARCHERS = {
    "topk": partial(RandomGraphSearch, model="ws", sizes="uniform"),
    "best": partial(RandomGraphSearch, estimator="best", settings=3, repeats=2),
}


class Wires(SearchSpace):
    """Any graphs of ``nodes`` nodes, which have one of two operations each."""

    name = "wires"
    op_names = ("a", "b")

    def __init__(self, nodes=12):
        self.layout = Layout.make(nodes, 2)

    def sample(self, n, *, rng):
        return uniform_graphs(self.layout, n, rng=rng)

    def neighbours(self, arch):
        return one_edit(arch, self.layout)

    def to_text(self, archs):
        return graph_text(archs, self.op_names)

    def from_text(self, texts):
        return parse_graph_text(texts, self.op_names, self.layout.max_nodes)


class Bare(Wires):
    """Wires of which none may have an edge: what a random graph rarely is."""

    def rules(self, archs):
        return {**super().rules(archs), "no edge": archs.num_edges == 0}

    def sample(self, n, *, rng):
        archs = super().sample(n, rng=rng)
        archs.adj.zero_()
        return archs


class FewWires(Wires):
    """Graphs that can all be listed."""

    def __init__(self):
        super().__init__(3)

    def enumerate(self):
        return distinct_members(self, complete_graphs(self.layout))


@pytest.mark.parametrize("check", contract.SEARCHER_CHECKS.values(), ids=contract.SEARCHER_CHECKS)
@pytest.mark.parametrize("make", SEARCHERS.values(), ids=SEARCHERS)
def test_contract(monkeypatch, make, check):
    few = FewWires()  # the toy space has no edges to decide
    few.size = len(few.enumerate())
    monkeypatch.setattr(contract, "_SPACE", few)
    monkeypatch.setattr(contract, "_SIZE", few.size)
    check(make)


WIRES = Wires()
PAIRS = 12 * 11 / 2


def density(archs):
    return archs.num_edges / PAIRS


def draw(n=600, **options):
    searcher = RandomGraphSearch(WIRES, rng=stream(0, "start"), **options)
    found = searcher.ask(n, rng=stream(0, "searcher"))
    assert len(found) == n
    assert set(found.origin) == {"explorer"}
    return found.archs


def test_every_er_graph_has_a_probability_of_its_own():
    share = density(draw())
    # uniform in [0.1, 0.5]: mean 0.3, standard deviation 0.115, to which chance adds
    assert float(share.mean()) == pytest.approx(0.3, abs=0.02)
    assert float(share.std()) == pytest.approx((0.4**2 / 12 + 0.3 * 0.7 / PAIRS) ** 0.5, abs=0.01)
    narrow = density(draw(p=(0.2, 0.2)))
    assert float(narrow.mean()) == pytest.approx(0.2, abs=0.01)
    assert float(narrow.std()) == pytest.approx((0.2 * 0.8 / PAIRS) ** 0.5, abs=0.01)


def test_every_ws_graph_has_a_degree_and_a_probability_of_its_own():
    archs = draw(model="ws")
    degrees = archs.num_edges * 2 / 12
    counts = (degrees[:, None] == torch.tensor([2, 4, 6])).sum(dim=0)
    assert counts.sum() == 600
    assert counts.min() > 150
    ring = torch.zeros(12, 12, dtype=torch.bool)
    ring[torch.arange(11), torch.arange(1, 12)] = True
    kept = (archs.adj & ring).sum(dim=(1, 2))[degrees == 2] / 11
    # of the ring 1 - p stays, and some of what was rewired comes back; p is uniform in [.2, .8]
    assert 0.45 < float(kept.mean()) < 0.65
    assert float(kept.std()) > 0.19, "one p for all would make it 0.15"


def test_every_ba_graph_has_a_number_of_edges_of_its_own():
    archs = draw(model="ba")
    counts = (archs.num_edges[:, None] == torch.tensor([m * (12 - m) for m in range(1, 6)])).sum(0)
    assert counts.sum() == 600
    assert counts.min() > 80


def test_operations_are_uniform():
    assert float(draw().ops.float().mean()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("sign", [1, -1], ids=["dense", "sparse"])
@pytest.mark.parametrize(
    ("model", "parameter", "reached"),
    [("er", "best p", (0.25, 0.4)), ("ws", "best k", (0.2, 0.5)), ("ba", "best m", (0.2, 0.45))],
)
def test_best_settles_for_the_parameters_that_score_best(model, parameter, reached, sign):
    searcher = RandomGraphSearch(
        WIRES, model=model, estimator="best", settings=10, repeats=2, rng=stream(0, "start")
    )
    rng, parts = stream(0, "searcher"), []
    for _ in range(8):
        found = searcher.ask(5, rng=rng)
        parts.append(found)
        searcher.tell(found.archs, sign * density(found.archs), rng=rng)
    origins = [set(part.origin) for part in parts]
    assert origins == [{"explorer"}] * 4 + [{"generator"}] * 4
    late = torch.cat([density(part.archs) for part in parts[4:]])
    low, high = reached
    assert float(late.mean()) > high if sign > 0 else float(late.mean()) < low
    stats = searcher.stats()
    assert parameter in stats
    drawn = searcher.state_dict()["settings"][parameter.removeprefix("best ")]
    assert stats[parameter] in drawn.double().tolist()
    assert stats["best mean"] == pytest.approx(sign * float(late.mean()), abs=0.05)


def told(searcher, score=None, rounds=1, n=6):
    """Ask and tell; return the settings' mean scores."""
    rng = stream(0, "searcher")
    for _ in range(rounds):
        archs = searcher.ask(n, rng=rng).archs
        searcher.tell(archs, density(archs) if score is None else score, rng=rng)
    return searcher._means()


def test_every_setting_gets_its_turns():
    searcher = RandomGraphSearch(
        WIRES, estimator="best", settings=4, repeats=3, rng=stream(0, "start")
    )
    told(searcher, rounds=2)
    assert searcher._row.bincount().tolist() == [3, 3, 3, 3]


def test_a_failure_counts_as_the_worst_score_there_is():
    searcher = RandomGraphSearch(
        WIRES, estimator="best", settings=3, repeats=4, rng=stream(0, "start")
    )
    scores = torch.tensor([0.5, 0.9, torch.nan, 0.7, 0.2, torch.nan])  # two of each, in order
    means = told(searcher, scores)
    torch.testing.assert_close(means, torch.tensor([0.7, 0.45, 0.2]).double(), atol=1e-6, rtol=0)


def test_the_best_setting_loses_its_place_when_it_disappoints():
    searcher = RandomGraphSearch(
        WIRES, estimator="best", settings=2, repeats=1, rng=stream(0, "start")
    )
    rng = stream(0, "searcher")
    scores = iter([[0.6, 0.5], [0.0, 0.0], [0.0, 0.0]])
    for row in scores:
        archs = searcher.ask(2, rng=rng).archs
        searcher.tell(archs, torch.tensor(row), rng=rng)
    assert searcher._row.tolist() == [0, 1, 0, 0, 1, 1]


def test_what_others_found_tells_nothing_of_the_settings():
    searcher = RandomGraphSearch(
        WIRES, estimator="best", settings=2, repeats=1, rng=stream(0, "start")
    )
    archs = WIRES.sample(50, rng=stream(0, "others"))
    searcher.tell(archs, density(archs), rng=stream(0, "told"))
    assert set(searcher.ask(4, rng=stream(0, "searcher")).origin) == {"explorer"}
    assert searcher.stats() == {"valid": 1.0, "repeated": 0.0}


def test_settings_that_yield_nothing_do_not_stop_the_search():
    """A ring of four neighbours has ten edges in five nodes, one too many for the space."""
    cells = NASBench101(max_nodes=5)
    searcher = RandomGraphSearch(
        cells, model="ws", estimator="best", k=(4, 4), settings=2, repeats=1, rng=stream(0, "start")
    )
    found = searcher.ask(4, rng=stream(0, "searcher"))
    assert found.origin == ("random",) * 4


def test_bad_options_are_named():
    for space, options, message in (
        (Toy(), {}, "toy has no free edges"),
        (WIRES, {"settings": 0}, "settings and repeats must be at least 1"),
        (WIRES, {"repeats": 0}, "settings and repeats must be at least 1"),
        (WIRES, {"p": (0.5, 0.1)}, "p must be a range within"),
        (WIRES, {"p": (0.5, 1.1)}, "p must be a range within"),
        (WIRES, {"model": "ws", "k": (3, 3)}, "k must be a range from 2 on with an even"),
        (WIRES, {"model": "ws", "k": (0, 4)}, "k must be a range from 2 on"),
        (WIRES, {"model": "ba", "m": (0, 4)}, "m must be a range from 1 on"),
        (WIRES, {"model": "ba", "m": (4, 1)}, "m must be a range from 1 on"),
    ):
        with pytest.raises(ValueError, match=message):
            RandomGraphSearch(space, rng=stream(0, "start"), **options)


def test_a_setting_that_yields_nothing_is_given_up_also_after_a_resume():
    """Dry settings are not drawn from again, which would take a hundred draws a proposal."""
    make = partial(
        RandomGraphSearch, Bare(), estimator="best", settings=3, repeats=1, rng=stream(0, "start")
    )
    searcher, rng = make(), stream(0, "searcher")
    archs = searcher.ask(3, rng=rng).archs
    drawn = searcher.state_dict()["fresh"]["drawn"]
    searcher.tell(archs, torch.ones(len(archs)), rng=rng)
    resumed = make()
    resumed.load_state_dict(searcher.state_dict())
    for again in (searcher, resumed):
        assert again.state_dict()["dry"].all()
        again.ask(3, rng=stream(1, "searcher"))
        # a hundred each for the three, as any random graphs, and not three hundred more
        assert again.state_dict()["fresh"]["drawn"] - drawn < 550
