"""The published measures, of a generator whose answers are known."""

import math

import pytest
import torch

from netwright.config.fits import FitConfig, make_fit
from netwright.generators.base import Generator
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.reproductions import protocol as module
from netwright.reproductions import svge
from netwright.reproductions.protocol import Known, Measured, Protocol, measure
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201

SPACE = NASBench101(max_nodes=4)
CELLS = SPACE.enumerate()  # 91 cells
TRAIN, HELD_OUT = CELLS[:60], CELLS[60:]
SMALL = Protocol(2, 50, 3)


class Listed(Generator):
    """Encodes the cell number ``i`` as ``(i, 1)``; decodes ``(x, ...)`` to cell ``round(x)``.

    Points beyond the list decode to a graph that is not valid: an input that leads nowhere.
    """

    latent_size, any_size = 2, False

    def __init__(self):
        super().__init__()
        self.layout = SPACE.layout
        self.texts = {text: i for i, text in enumerate(SPACE.to_text(CELLS))}
        broken = ArchitectureBatch(
            torch.tensor([[0, 4, 0, 0]]),
            torch.zeros(1, 4, 4, dtype=torch.bool),
            torch.tensor([2]),
        )
        self.cells = ArchitectureBatch.cat([CELLS, broken])
        self.points = []

    def sample(self, n, *, rng):
        return SPACE.sample(n, rng=rng)

    def loss(self, archs, *, rng):
        raise NotImplementedError

    def encode(self, archs):
        index = torch.tensor([float(self.texts[text]) for text in SPACE.to_text(archs)])
        return torch.stack([index, torch.ones(len(archs))], dim=1), torch.zeros(len(archs), 2)

    def decode(self, latent, *, rng, mode=False):
        del rng, mode
        self.points.append(latent)
        index = latent[:, 0].round().long()
        inside = (index >= 0) & (index < len(CELLS))
        return self.cells[torch.where(inside, index, len(CELLS))]


class Nowhere(Listed):
    """Encodes every graph as the origin."""

    def encode(self, archs):
        return torch.zeros(len(archs), 2), torch.zeros(len(archs), 2)


def known(mean=0.0, sd=0.0):
    """The training cells, as if their encodings had this mean and deviation."""
    found = Known.of(Listed(), TRAIN, Protocol())
    moments = torch.tensor([mean, 1.0]), torch.tensor([sd, 0.0])
    return Known(*moments, found.labelled, found.isomorphic)


def measures(decode, *, of=None, held_out=HELD_OUT, protocol=SMALL):
    generator = Listed()
    return measure(generator, decode, SPACE, of or known(), held_out, protocol, seed=0)


def exact(z, rng):
    return Listed().decode(z, rng=rng)


def test_an_exact_generator():
    found = measures(exact)
    assert (found.accuracy, found.accuracy_isomorphic) == (1, 1)
    # Every point of the prior is (0, 1), the first training cell.
    assert (found.validity, found.membership) == (1, 1)
    assert found.uniqueness == found.uniqueness_isomorphic == 1 / 150
    assert (found.novelty, found.novelty_isomorphic) == (0, 0)


def test_every_other_graph_comes_back():
    calls = []

    def every_other(z, rng):
        calls.append(len(z))
        shifted = z.clone()
        shifted[1::2, 0] = 0.0  # a training cell
        return exact(shifted, rng)

    assert measures(every_other).accuracy == 0.5
    assert calls[0] == 2 * len(HELD_OUT)
    assert measures(every_other, protocol=Protocol(4, 5, 1, held_out=3)).accuracy == 0.5


def test_graphs_of_a_prior_that_are_new():
    """Points decode to one held-out cell, then to one that is held out or in training by turns."""
    assert measures(exact, of=known(mean=75.0)).novelty == 1

    def by_turns(z, rng):
        shifted = z.clone()
        shifted[::3, 0] = 75.0
        return exact(shifted, rng)

    found = measures(by_turns, protocol=Protocol(2, 50, 3))  # one in three
    assert found.novelty == found.novelty_isomorphic == pytest.approx(1 / 3)
    assert found.uniqueness == pytest.approx(2 / 150)


def test_graphs_that_are_not_valid_count_for_validity_alone():
    def partly(z, rng):
        shifted = z.clone()
        shifted[::3, 0] = 1000.0
        return exact(shifted, rng)

    found = measures(partly)
    assert (found.validity, found.membership) == pytest.approx((2 / 3, 2 / 3))
    assert found.uniqueness == 1 / 100
    nothing = measures(exact, of=known(mean=1000.0))
    assert (nothing.validity, nothing.membership) == (0, 0)
    assert math.isnan(nothing.uniqueness)
    assert math.isnan(nothing.novelty)


def test_isomorphic_graphs_are_the_same_only_where_it_says_so():
    """A cell with two branches, stored in its other order."""
    texts = [
        "input,conv1x1-bn-relu,conv3x3-bn-relu,output:0110000100010000",
        "input,conv3x3-bn-relu,conv1x1-bn-relu,output:0110000100010000",
    ]
    one, other = (SPACE.from_text([text]) for text in texts)

    def swapped(z, rng):
        del rng
        return other[torch.zeros(len(z), dtype=torch.long)]

    keys = hashing.labelled_keys(one), hashing.keys(one)
    of = Known(torch.zeros(2), torch.zeros(2), *keys)
    found = measure(Nowhere(), swapped, SPACE, of, one, Protocol(2, 5, 2), seed=0)
    assert (found.accuracy, found.accuracy_isomorphic) == (0, 1)
    assert (found.novelty, found.novelty_isomorphic) == (1, 0)


def test_published_validity_is_wider_than_membership():
    """A chain of eight nodes has an input, an output and nothing loose, but not the wiring."""
    space = NASBench201()
    cells = space.sample(6, rng=stream(0, "cells"))
    wiring = torch.zeros(8, 8, dtype=torch.bool)
    wiring[torch.arange(7), torch.arange(1, 8)] = True
    chains = ArchitectureBatch(cells.ops, wiring.repeat(6, 1, 1), cells.num_nodes)

    def decode(z, rng):
        del rng
        return ArchitectureBatch.cat([cells, chains])[torch.arange(len(z)) % 12]

    keys = hashing.labelled_keys(cells[:1]), hashing.keys(cells[:1])
    of = Known(torch.zeros(2), torch.zeros(2), *keys)
    found = measure(Nowhere(), decode, space, of, cells, Protocol(1, 12, 1), seed=0)
    assert (found.validity, found.membership) == (1, 0.5)


def test_the_prior_has_the_moments_of_the_encodings():
    found = Known.of(Listed(), TRAIN, Protocol())
    index = torch.arange(60.0)
    assert torch.allclose(found.mean, torch.tensor([index.mean(), 1.0]))
    assert torch.allclose(found.sd, torch.tensor([index.std(), 0.0]))
    some = Known.of(Listed(), TRAIN, Protocol(encoded=10))
    assert torch.allclose(some.mean, torch.tensor([4.5, 1.0]))
    assert len(some.labelled) == len(found.labelled) == 60  # novelty knows all of them
    points = []

    def decode(z, rng):
        points.append(z)
        return exact(z, rng)

    measures(decode, of=found, protocol=Protocol(1, 20_000, 1))
    drawn = torch.cat(points[1:])
    assert drawn.shape == (20_000, 2)
    assert drawn[:, 0].mean() == pytest.approx(29.5, abs=0.5)
    assert drawn[:, 0].std() == pytest.approx(float(index.std()), rel=0.03)
    assert bool((drawn[:, 1] == 1).all())


def test_draws_of_a_point_stand_side_by_side_whatever_the_chunks(monkeypatch):
    found = []
    for at_once in (1000, 7, 1):
        monkeypatch.setattr(module, "_AT_ONCE", at_once)
        points = []

        def decode(z, rng, points=points):
            points.append(z)
            return exact(z, rng)

        measures(decode, protocol=Protocol(3, 11, 2), of=known(30.0, 10.0))
        found.append(torch.cat(points))
    assert all(torch.equal(found[0], other) for other in found[1:])
    again = found[0][: 3 * len(HELD_OUT)]
    assert torch.equal(again, Listed().encode(HELD_OUT)[0].repeat_interleave(3, dim=0))
    prior = found[0][3 * len(HELD_OUT) :]
    assert prior.shape == (22, 2)
    assert torch.equal(prior[::2], prior[1::2])
    assert len(prior.unique(dim=0)) == 11


def test_a_seed_decides_what_is_drawn():
    def noisy(z, rng):
        return exact(z + torch.randn(z.shape, generator=rng), rng)

    of = known(30.0, 10.0)
    args = (Listed(), noisy, SPACE, of, HELD_OUT, Protocol(2, 50, 2))
    assert measure(*args, seed=1) == measure(*args, seed=1)
    assert measure(*args, seed=1) != measure(*args, seed=2)


def test_percentages_by_names_for_people():
    found = Measured(0.5, 1.0, 0.25, 0.0, 1.0, 0.75, 0.125, 0.0).percent()
    assert found["accuracy"] == 50
    assert found["uniqueness isomorphic"] == 12.5
    assert list(found)[:4] == list(svge.MEASURES)


# The protocol of a row


def row(folder, method, options):
    config = FitConfig.parse(
        {
            "space": {"name": "nasbench101", "max_nodes": 4},
            "method": {"name": method, **options},
            "recipe": {"graphs": 64},
        }
    )
    run = FitRun.create(folder, config.resolved())
    list(run.execute(make_fit(config)))
    return run


@pytest.fixture
def counted(monkeypatch):
    """A small protocol at laptop scale; what each way of decoding was asked for."""
    monkeypatch.setitem(svge._PROTOCOLS, "laptop", Protocol(3, 10, 2, held_out=5, encoded=20))
    asked = {}
    ways = svge.ways

    def noted(generator, space):
        def watch(name, decode):
            def note(z, rng):
                asked.setdefault(name, []).append(z)
                return decode(z, rng)

            return note

        return {name: watch(name, decode) for name, decode in ways(generator, space).items()}

    monkeypatch.setattr(svge, "ways", noted)
    return asked


def test_arch2vec_decodes_one_graph_at_each_of_as_many_points(counted, tmp_path):
    run = row(tmp_path / "fit", "arch2vec", {"hidden": 8, "node_latent": 2, "layers": 2})
    found = svge.measured(run, "laptop", seed=0)
    assert [one.decoding for one in found] == [""]
    again, prior = counted[""]
    assert (len(again), len(prior)) == (5, 20)
    assert len(prior.unique(dim=0)) == 20


def test_svge_is_measured_in_each_way_of_decoding_and_once(counted, tmp_path):
    run = row(tmp_path / "fit", "svge", {"hidden": 8, "latent_size": 3, "rounds": 1})
    assert not svge.is_measured(run.folder, "laptop")
    found = svge.measured(run, "laptop", seed=0)
    assert svge.is_measured(run.folder, "laptop")
    assert [one.decoding for one in found] == ["forward", "union", "valid only"]
    assert {one.graphs for one in found} == {64}
    for again, prior in counted.values():
        assert (len(again), len(prior)) == (15, 20)
        assert len(prior.unique(dim=0)) == 10
    assert torch.equal(counted["forward"][1], counted["union"][1])  # the same points
    assert found[2].measured.membership == 1  # by construction
    counted.clear()
    assert svge.measured(run, "laptop", seed=0) == found  # read, not measured again
    assert not counted


def test_rows_hold_percentages_seeds_together_and_the_published_values():
    cell = svge.Cell("nasbench101", "svge")
    worst = Measured(0.5, 0.0, math.nan, math.nan, 0.0, 0.5, math.nan, math.nan)
    best = Measured(1.0, 1.0, 0.5, 0.5, 1.0, 1.0, 0.5, 0.5)
    found = [svge.Measures(cell, way, one, 10) for way in ("union", "valid only")
             for one in (worst, best)]  # fmt: skip
    rows = {(row.preset, row.metric): row for row in svge.rows_of(found)}
    accuracy = rows["union", "accuracy"]
    assert (accuracy.mean, accuracy.n, accuracy.paper, accuracy.budget) == (75, 2, 99.57, 10)
    assert rows["union", "uniqueness"].n == 1  # nothing valid in the other seed
    assert rows["union", "membership"].paper is None
    assert rows["valid only", "validity"].paper is None
    nothing = svge.rows_of([svge.Measures(cell, "union", worst, 10)])
    assert "uniqueness" not in {row.metric for row in nothing}


def test_the_seed_of_the_stream_is_that_of_the_measures():
    """Validity of points that decode by their sign is that of the stream that drew them."""

    def by_sign(z, rng):
        return exact(torch.where(z > 0, 0.0, 1000.0), rng)

    protocol = Protocol(1, 40, 1)
    found = measures(by_sign, of=known(0.0, 1.0), protocol=protocol)
    noise = torch.randn(40, 2, generator=stream(0, "prior"))
    assert found.validity == float((noise[:, 0] > 0).double().mean())
