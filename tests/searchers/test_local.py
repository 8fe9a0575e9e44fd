import math

import pytest
import torch

from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.searchers.local import LocalSearch
from netwright.spaces.base import SearchSpace
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.toy import Toy


class Line(SearchSpace):
    """Two-node graphs labelled 0, 1, 2, ...; neighbours are the labels below and above."""

    name = "line"

    def __init__(self, size):
        self.size = size
        self.op_names = tuple(map(str, range(size)))
        ops = [list(range(size)), [0]]
        self.layout = Layout.make(2, size, allowed_ops=ops, edges=[(0, 1)])

    def at(self, places):
        place = torch.as_tensor(places, dtype=torch.long)
        ops = torch.stack([place, torch.zeros_like(place)], dim=1)
        adj = self.layout.forced.repeat(len(place), 1, 1)
        return ArchitectureBatch(ops, adj, torch.full((len(place),), 2))

    def sample(self, n, *, rng):
        return self.at(torch.randint(self.size, (n,), generator=rng))

    def neighbours(self, arch):
        here = int(arch.ops[0, 0])
        return self.at([p for p in (here - 1, here + 1) if 0 <= p < self.size])

    def enumerate(self):
        return self.at(range(self.size))

    def to_text(self, archs):
        return [str(p) for p in archs.ops[:, 0].tolist()]

    def from_text(self, texts):
        return self.at([int(text) for text in texts])


def heights(places):
    """One peak at 70: uphill is towards it from everywhere."""
    return -(places - 70).abs().float()


def searched(searcher, score, budget, *, n=1, seed=0, known=None):
    """Run a search on a line; return where it looked and why, in order."""
    rng, found = stream(seed, "searcher"), []
    if known is not None:
        searcher.tell(known, score(known.ops[:, 0]), rng=rng)
    while len(found) < budget:
        asked = searcher.ask(min(n, budget - len(found)), rng=rng)
        if not len(asked):
            break
        found += zip(asked.archs.ops[:, 0].tolist(), asked.origin, strict=True)
        searcher.tell(asked.archs, score(asked.archs.ops[:, 0]), rng=rng)
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("neighbourhood", ["first", "full"])
def test_climbs_from_the_best_start_to_the_peak_step_by_step(neighbourhood, seed):
    space = Line(100)
    searcher = LocalSearch(space, initial=3, neighbourhood=neighbourhood)
    found = searched(searcher, heights, 60, seed=seed)
    assert [origin for _, origin in found[:3]] == ["random"] * 3
    starts = [place for place, _ in found[:3]]
    here = max(starts, key=lambda place: -abs(place - 70))
    climb = [place for place, origin in found if origin == "neighbour"]
    towards = 1 if here < 70 else -1
    reached = [p for p in climb if abs(p - 70) < abs(here - 70)]
    assert reached[: abs(here - 70)] == list(range(here + towards, 70 + towards, towards))
    assert searcher.stats()["local optima"] >= 1


def test_the_first_improvement_saves_evaluations_that_the_full_neighbourhood_spends():
    spent = {}
    for neighbourhood in ("first", "full"):
        space = Line(1000)
        searcher = LocalSearch(space, initial=1, neighbourhood=neighbourhood)
        start = space.at([40])
        found = searched(searcher, heights, 40, known=start)
        spent[neighbourhood] = [p for p, _ in found].index(70) + 1
    assert spent["full"] == 31, "one wrong neighbour of the start; then the way back is known"
    assert spent["first"] in (30, 31), "the wrong neighbour of the start only if it came first"


def test_full_takes_the_best_neighbour_and_first_the_first():
    def score(places):
        return torch.where(places == 49, 2.0, torch.where(places == 51, 1.0, 0.0))

    went = {"first": set(), "full": set()}
    for neighbourhood, places in went.items():
        for seed in range(12):
            space = Line(1000)
            searcher = LocalSearch(space, initial=1, neighbourhood=neighbourhood)
            found = searched(searcher, score, 4, seed=seed, known=space.at([50]))
            # at 50 both 49 and 51 are better; what comes next shows where the search went
            asked = [place for place, _ in found]
            went_left = 48 in asked and (52 not in asked or asked.index(48) < asked.index(52))
            places.add("left" if went_left else "right")
    assert went == {"first": {"left", "right"}, "full": {"left"}}


def test_in_a_batch_the_first_improvement_told_decides():
    space = Line(1000)
    searcher, rng = LocalSearch(space, initial=1), stream(0, "searcher")
    searcher.tell(space.at([50]), torch.tensor([0.0]), rng=rng)
    searcher.tell(space.at([51, 49]), torch.tensor([1.0, 2.0]), rng=rng)
    assert searcher.ask(1, rng=rng).archs.ops[0, 0] == 52
    assert searcher.stats()["moves"] == 1


def test_steps_over_known_neighbours_cost_nothing():
    space = Line(1000)
    searcher = LocalSearch(space, initial=1)
    known = space.at(range(40, 70))
    found = searched(searcher, heights, 2, known=known)
    assert found[0][0] in (39, 70), "the two ends of what is known"
    assert 70 in [place for place, _ in found]


def test_starts_again_from_new_architectures_at_a_local_optimum():
    space = Line(1000)

    def waves(places):
        return torch.cos(2 * math.pi * places / 10)

    searcher = LocalSearch(space, initial=4)
    found = searched(searcher, waves, 60)
    assert searcher.stats()["local optima"] >= 3
    origins = "".join(origin[0] for _, origin in found)
    runs = [len(part) for part in origins.split("n") if part]
    assert runs[0] == 4
    # a full set of starting points each time, or several where a climb cost nothing
    assert all(length % 4 == 0 for length in runs[:-1])
    assert len({place for place, _ in found}) == 60


def test_what_was_told_but_not_proposed_is_a_starting_point():
    space = Line(100)
    searcher = LocalSearch(space, initial=3)
    found = searched(searcher, heights, 2, known=space.at([10, 60, 20]))
    assert {origin for _, origin in found} == {"neighbour"}
    assert found[0][0] in (59, 61)


def test_random_starts_are_drawn_at_once_and_never_proposed_when_known():
    space, rng = Line(12), stream(0, "searcher")
    searcher = LocalSearch(space, initial=12)
    first = searcher.ask(1, rng=rng).archs.ops[:, 0].tolist()
    others = [p for p in range(12) if p not in first][:8]  # waiting to be proposed, told before
    searcher.tell(space.at(others), torch.zeros(len(others)), rng=rng)
    asked = [searcher.ask(1, rng=rng).archs.ops[:, 0].tolist() for _ in range(4)]
    assert sorted(p for places in asked for p in places) == sorted({*range(12)} - {*first, *others})
    assert len(searcher.ask(1, rng=rng)) == 0


def test_a_failed_start_is_left_by_the_first_success():
    space = Line(100)
    searcher, rng = LocalSearch(space, initial=1), stream(0, "searcher")
    searcher.tell(space.at([50]), torch.tensor([math.nan]), rng=rng)
    asked = searcher.ask(2, rng=rng)
    assert sorted(asked.archs.ops[:, 0].tolist()) == [49, 51]
    searcher.tell(asked.archs, torch.tensor([math.nan, -5.0]), rng=rng)
    assert searcher.stats()["moves"] == 1


def test_does_not_wait_for_what_is_still_being_evaluated():
    space = Line(1000)
    searcher, rng = LocalSearch(space, initial=2), stream(0, "searcher")
    searcher.tell(space.at([50, 40]), torch.tensor([1.0, 0.0]), rng=rng)
    asked = searcher.ask(4, rng=rng)
    assert asked.origin == ("neighbour", "neighbour", "random", "random")
    searcher.tell(asked.archs, torch.tensor([0.0, 0.0, 3.0, 2.0]), rng=rng)
    best = int(asked.archs.ops[2, 0])  # no better neighbour: the random ones are the next starts
    assert set(searcher.ask(1, rng=rng).archs.ops[:, 0].tolist()) <= {best - 1, best + 1}


def test_finds_the_best_cell_of_a_smooth_landscape_on_nasbench101():
    space = NASBench101(max_nodes=5)

    def score(archs):
        return (archs.ops == 2).sum(dim=1) + archs.num_edges / 10

    rng, best = stream(0, "searcher"), []
    searcher = LocalSearch(space)
    for _ in range(80):
        asked = searcher.ask(1, rng=rng)
        assert bool(space.is_valid(asked.archs).all())
        best.append(float(score(asked.archs)))
        searcher.tell(asked.archs, score(asked.archs), rng=rng)
    assert max(best) == pytest.approx(3.9), "three convolutions and nine edges"


def test_a_climb_needs_a_start():
    with pytest.raises(ValueError, match="initial must be at least 1"):
        LocalSearch(Toy(), initial=0)
