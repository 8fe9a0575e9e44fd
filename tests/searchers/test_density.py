"""BOHB's model: densities over decisions, against brute force; what is proposed and why."""

import itertools
import math
from functools import partial

import pytest
import torch

from netwright.config.methods.bohb import BohbConfig
from netwright.config.methods.bohb import make as from_config
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.searchers.density import Decisions, Density, DensityOptions, DensitySearch
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy
from netwright.testing import searchers as contract

SPACE = Toy()
EVERYTHING = SPACE.enumerate()
ALL = torch.cartesian_prod(*[torch.arange(3)] * 3)
SIZES = torch.tensor([3, 3, 3])


def density(space, *, rng, **options):
    del rng
    return DensitySearch(space, options=DensityOptions(**options))


@pytest.mark.parametrize("check", contract.SEARCHER_CHECKS.values(), ids=contract.SEARCHER_CHECKS)
@pytest.mark.parametrize(
    "make",
    [partial(density, candidates=16), partial(density, random=0.0, candidates=8, min_points=1)],
    ids=["random at times", "never random, early"],
)
def test_contract(make, check):
    check(make)


@pytest.mark.slow
def test_improves():
    contract.check_improves(partial(density, candidates=16, random=0.0))


@pytest.mark.parametrize(
    ("space", "sizes"),
    [
        (SPACE, [3] * 3),
        (NASBench201(), [5] * 6),
        (NASBench101(), [4] * 5 + [2] * 21),
        (ENAS(4), [6] * 4 + [2] * 6),
    ],
    ids=["toy", "nasbench201", "nasbench101", "enas"],
)
def test_decisions_and_back(space, sizes):
    decisions = Decisions(space.layout)
    assert decisions.sizes.tolist() == sizes
    archs = space.simplify(space.sample(200, rng=stream(0, "archs")))
    categories = decisions.encode(archs)
    assert categories.shape == (200, len(sizes))
    assert (categories >= 0).all()
    assert (categories < decisions.sizes).all()
    assert decisions.decode(categories).equal(archs).all()
    distinct = len(categories.unique(dim=0))
    assert distinct == len({str(text) for text in space.to_text(archs)})


def test_decisions_by_hand():
    """Three of the pairs are free; operation 3 ends a graph, and all after it stands for that."""
    layout = Layout.make(4, 4, allowed_ops=[[0], [1, 3], [1, 2, 3], [3]], end_op=3)
    decisions = Decisions(layout)
    assert decisions.sizes.tolist() == [2, 3, 2, 2, 2, 2, 2, 2]
    #                                  nodes 1, 2; pairs 01 02 03 12 13 23
    archs = decisions.decode(
        torch.tensor([[0, 1, 1, 0, 0, 1, 0, 1], [0, 2, 0, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1, 1, 1]])
    )
    assert archs.num_nodes.tolist() == [4, 3, 2]
    assert archs.ops.tolist() == [[0, 1, 2, 3], [0, 1, 3, 0], [0, 3, 0, 0]]
    edges = [[tuple(edge) for edge in adj.nonzero().tolist()] for adj in archs.adj]
    assert edges == [[(0, 1), (1, 2), (2, 3)], [(0, 2), (1, 2)], [(0, 1)]]
    assert decisions.encode(archs).tolist() == [
        [0, 1, 1, 0, 0, 1, 0, 1], [0, 2, 0, 1, 0, 1, 0, 0], [1, 2, 1, 0, 0, 0, 0, 0]
    ]  # fmt: skip


def brute(points, bandwidth, sizes, x):
    """The density at one vector, kernel by kernel."""
    total = 0.0
    for point in points:
        kernel = 1.0
        for own, here, h, k in zip(point, x, bandwidth, sizes, strict=True):
            kernel *= 1 - h if own == here else h / (k - 1)
        total += kernel
    return total / len(points)


@pytest.fixture
def some():
    points = torch.randint(3, (7, 3), generator=stream(0, "points"))
    return Density(points, SIZES, torch.tensor([0.1, 0.35, 0.6], dtype=torch.float64))


def test_density_against_brute_force(some):
    found = some.log_prob(ALL).exp()
    expected = [
        brute(some.points.tolist(), some.bandwidth.tolist(), [3] * 3, x) for x in ALL.tolist()
    ]
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), rtol=1e-12)


def test_densities_sum_to_one(some):
    """Each kernel does: that of a point, and that of several in dimensions of unequal size."""
    sizes = torch.tensor([2, 5, 3])
    everything = torch.tensor(list(itertools.product(range(2), range(5), range(3))))
    one = Density(everything[17:18], sizes, some.bandwidth)
    several = Density(everything[::4], sizes, torch.tensor([0.5, 0.8, 0.01], dtype=torch.float64))
    for part, vectors in ((some, ALL), (one, everything), (several, everything)):
        assert float(part.log_prob(vectors).exp().sum()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("factor", [1.0, 1.5, 3.0])
def test_draws_follow_the_kernels(some, factor):
    """20,000 draws of 27 vectors: the standard deviation of a share is at most 0.0028."""
    wide = (factor * some.bandwidth).clamp(max=2 / 3)
    drawn = some.sample(20_000, rng=stream(0, "draws"), factor=factor)
    share = (drawn @ torch.tensor([9, 3, 1])).bincount(minlength=27) / 20_000
    expected = Density(some.points, SIZES, wide).log_prob(ALL).exp()
    assert float((share - expected).abs().max()) < 0.009


def test_bandwidths_by_the_normal_reference_rule():
    """For two categories that is statsmodels' 1.06 s n^(-1 / (4 + d)), s the standard deviation."""
    points = torch.tensor([[0, 0, 0], [0, 1, 0], [1, 2, 0], [1, 2, 0], [1, 2, 0]])
    fitted = Density.fit(points, torch.tensor([2, 4, 3]), least=0.01)
    scale = 1.06 * 5 ** (-1 / 7)
    standard = float(points[:, 0].double().std(correction=0))
    three = math.sqrt((1 - (0.2**2 + 0.2**2 + 0.6**2)) / 2)
    expected = torch.tensor([scale * standard, scale * three, 0.01], dtype=torch.float64)
    assert torch.allclose(fitted.bandwidth, expected, rtol=1e-12)


def test_bandwidths_do_not_depend_on_the_numbering():
    points = torch.randint(5, (30, 2), generator=stream(0, "points"))
    sizes, renamed = torch.tensor([5, 5]), torch.tensor([3, 0, 4, 1, 2])[points]
    a, b = (Density.fit(p, sizes, least=1e-3).bandwidth for p in (points, renamed))
    assert torch.allclose(a, b)


def test_bandwidths_are_at_most_uniform():
    """A point in each of three categories: by the rule, 1.06 sqrt(1 / 3) 3^(-1 / 5) = 0.49."""
    points, sizes = torch.tensor([[0], [1], [2]]), torch.tensor([3])
    assert float(Density.fit(points, sizes, least=1e-3).bandwidth) == pytest.approx(
        0.4913, abs=1e-4
    )
    assert float(Density.fit(points, sizes, least=0.9).bandwidth) == pytest.approx(2 / 3)


def tell(searcher, rows, scores):
    archs = EVERYTHING[torch.tensor(rows)]
    searcher.tell(archs, torch.tensor(scores), rng=stream(0, "told"))


def test_who_is_good_and_who_is_bad():
    """A tenth of twenty are good; NaN is worse than any score, of equals the older is better."""
    scores = [float(i % 10) for i in range(12)] + [torch.nan] * 8
    searcher = DensitySearch(SPACE, options=DensityOptions(good=0.1, min_points=1))
    tell(searcher, list(range(20)), scores)
    good, bad = searcher.model()
    assert good.points.tolist() == ALL[[9, 8]].tolist()
    worse = [7, 6, 5, 4, 3, 2, 1, 11, 0, 10, *range(12, 20)]
    assert sorted(bad.points.tolist()) == sorted(ALL[worse].tolist())
    tell(searcher, [12], [99.0])  # it is scored after all: the newest counts
    assert len(searcher.model()[0].points) == 2
    assert searcher.model()[0].points.tolist() == ALL[[12, 9]].tolist()


def test_there_are_at_least_so_many_good_ones_and_only_scored_ones():
    searcher = DensitySearch(SPACE, options=DensityOptions(good=0.5, min_points=3))
    tell(searcher, [0, 1, 2, 3, 4], [1.0, 2.0, torch.nan, torch.nan, torch.nan])
    assert searcher.model() is None, "two scores are too few"
    tell(searcher, [5], [3.0])
    good, bad = searcher.model()
    assert good.points.tolist() == ALL[[5, 1, 0]].tolist()
    assert len(bad.points) == 3
    tell(searcher, [6, 7], [torch.nan, torch.nan])
    assert len(searcher.model()[0].points) == 3, "half of eight, but three have a score"


def test_no_model_before_enough_is_known():
    """One more than there are dimensions on either side: BOHB's rule."""
    searcher = DensitySearch(SPACE)
    for told in range(10):
        assert (searcher.model() is None) == (told < 8)
        assert searcher.stats()["good"] == (4.0 if told >= 8 else 0.0)
        tell(searcher, [told], [float(told)])


@pytest.mark.parametrize("seed", [22, 25, 29])  # where the two differ
def test_the_best_new_candidates_are_proposed(seed):
    """With so many candidates that all 27 are among them; what is merely likely is not enough."""
    options = DensityOptions(random=0.0, candidates=4000, min_bandwidth=0.2)
    searcher, told = DensitySearch(SPACE, options=options), list(range(0, 27, 2))
    tell(searcher, told, torch.rand(14, generator=stream(seed, "scores")).tolist())
    densities = []
    for part in searcher.model():
        known = part.points.tolist(), part.bandwidth.tolist(), [3] * 3
        densities.append([brute(*known, ALL[i].tolist()) for i in range(1, 27, 2)])
    ratio = [good / bad for good, bad in zip(*densities, strict=True)]
    best = sorted(range(13), key=ratio.__getitem__, reverse=True)[:2]
    assert densities[0][best[0]] < 0.999 * max(densities[0])
    found = searcher.ask(2, rng=stream(seed, "ask"))
    assert found.origin == ("model", "model")
    place = [int(ops @ torch.tensor([9, 3, 1])) // 2 for ops in found.archs.ops]
    assert [ratio[i] for i in place] == pytest.approx([ratio[i] for i in best])


def test_a_share_is_random():
    """Of 60 proposals 20, with a standard deviation of 3.7."""
    space = NASBench201()
    searcher, rng = DensitySearch(space), stream(0, "search")
    archs = space.sample(50, rng=rng)
    searcher.tell(archs, torch.rand(50, generator=rng), rng=rng)
    origins = searcher.ask(60, rng=rng).origin
    assert set(origins) == {"model", "random"}
    assert 8 < origins.count("random") < 32
    assert searcher.stats()["by the model"] == origins.count("model") / 60


def test_proposals_on_nasbench101_are_cells():
    space = NASBench101()
    searcher, rng = DensitySearch(space, options=DensityOptions(random=0.0)), stream(0, "search")
    archs = searcher.ask(60, rng=rng).archs
    searcher.tell(archs, archs.num_edges / 9.0, rng=rng)
    found = searcher.ask(5, rng=rng)
    assert found.origin == ("model",) * 5
    assert space.is_valid(found.archs).all()
    good, bad = searcher.model()  # candidates are compared as what they are when pruned
    ranked = searcher.decisions.encode(searcher._candidates(good, bad, rng)(1).archs)
    assert len(ranked) == 64
    assert ((good.log_prob(ranked) - bad.log_prob(ranked)).diff() <= 1e-9).all()


def test_settings():
    assert BohbConfig().model_dump(exclude={"name"}) == vars(DensityOptions())
    made = from_config(BohbConfig(good=0.3, min_points=2), SPACE, rng=stream(0, "start"))
    assert made.options == DensityOptions(good=0.3, min_points=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"good": 0.0}, "good must be a share"),
        ({"random": 1.1}, "random must be a share"),
        ({"candidates": 0}, "candidates must be at least 1"),
        ({"min_points": 0}, "min_points must be at least 1"),
        ({"min_bandwidth": 0.0}, "min_bandwidth must lie"),
        ({"bandwidth_factor": math.inf}, "bandwidth_factor must be positive"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        DensityOptions(**options)
