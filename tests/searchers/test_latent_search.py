"""Bayesian optimisation in latent spaces that are known exactly, and in a real one."""

from pathlib import Path

import pytest
import scipy.stats
import torch
from codebook import Words, codebook, landscape
from hypothesis import given
from hypothesis import strategies as st

import netwright.surrogates.acquisition
import netwright.surrogates.gp
from netwright.config.methods.latent import SVGE, LatentConfig
from netwright.config.methods.random import RandomConfig
from netwright.config.searchers import model_of
from netwright.files import load_state, save_state
from netwright.generators.fit import Fit, Recipe
from netwright.generators.latent import encode_means
from netwright.generators.svge import SVGe
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.searchers.latent import LatentOptions, LatentSearch, normal_scores
from netwright.searchers.random import RandomSearch
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy
from netwright.surrogates.options import GPOptions

SPACE = Words()
SCORE = landscape(SPACE)
SETTINGS = {
    "near": {"pool": 200},
    "box": {"candidates": "box", "pool": 400, "draws": 20},
    "space": {"candidates": "space", "pool": 1000},
}
QUICK = GPOptions(iterations=10)


def make(*, space=SPACE, model=None, **options):
    generator = codebook(space) if model is None else model
    return LatentSearch(space, generator, options=LatentOptions(**options))


def searched(searcher, budget, *, n=5, seed=0, score=SCORE):
    """Run a search; return the scores, in order, and where proposals came from."""
    rng, found, origins = stream(seed, "searcher"), [], []
    while len(found) < budget:
        asked = searcher.ask(min(n, budget - len(found)), rng=rng)
        told = score(asked.archs)
        searcher.tell(asked.archs, told, rng=rng)
        found += told.tolist()
        origins += asked.origin
    return found, origins


def told_some(n=12, *, seed=0, score=SCORE, **options):
    """A searcher that knows the scores of ``n`` random architectures."""
    searcher = make(**({"initial": 0, "gp": QUICK} | options))
    archs = SPACE.sample(n, rng=stream(seed, "known"))
    searcher.tell(archs, score(archs), rng=stream(seed, "tell"))
    return searcher


@pytest.fixture
def fits(monkeypatch):
    """Points and targets that processes were fitted to, in order."""
    seen, fit = [], netwright.surrogates.gp.fit_gp

    def spy(x, score, options, *, rng):
        seen.append((x.clone(), score.clone()))
        return fit(x, score, options, rng=rng)

    monkeypatch.setattr(netwright.surrogates.gp, "fit_gp", spy)
    return seen


@pytest.fixture
def choices(monkeypatch):
    """What batches were chosen with, in order."""
    seen, choose = [], netwright.surrogates.acquisition.choose_batch

    def spy(gp, candidates, count, **options):
        seen.append({"candidates": candidates, "count": count} | options)
        return choose(gp, candidates, count, **options)

    monkeypatch.setattr(netwright.surrogates.acquisition, "choose_batch", spy)
    return seen


# Known answers


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_optimum_is_found_where_random_search_does_not_come_near(setting):
    for seed in range(2):
        found, _ = searched(make(**SETTINGS[setting]), 60, seed=seed)
        assert max(found) >= 0.95


@pytest.mark.slow
def test_random_search_and_random_points_of_the_box_do_not_find_it():
    random, box = [], []
    for seed in range(20):
        random.append(max(searched(RandomSearch(SPACE), 60, seed=seed)[0]))
    for seed in range(5):
        searcher = make(**SETTINGS["box"] | {"acquisition": "random", "draws": 10})
        box.append(max(searched(searcher, 60, seed=seed)[0]))
    assert sum(random) / 20 < 0.85
    assert sum(box) / 5 < 0.85


@pytest.mark.slow
def test_lbfgs_from_the_best_candidates_finds_the_optimum_too():
    options = SETTINGS["box"] | {"pool": 200, "iterations": 20, "warp": "none"}
    reached = [max(searched(make(**options), 60, seed=seed)[0]) for seed in range(2)]
    assert sum(reached) / 2 >= 0.9  # random points of the box stay below 0.85


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["near", "box"])
def test_workers_that_are_never_idle_find_it_as_well(setting):
    searcher, rng, waiting, best = make(**SETTINGS[setting]), stream(0, "searcher"), [], 0.0
    for _ in range(60):
        asked = searcher.ask(1, rng=rng)
        assert len(asked) == 1
        waiting.append(asked.archs)
        if len(waiting) == 4:
            done = waiting.pop(int(torch.randint(4, (), generator=rng)))
            searcher.tell(done, SCORE(done), rng=rng)
            best = max(best, float(SCORE(done)))
    assert best >= 0.95


# The first proposals


@pytest.mark.parametrize("n", [1, 4, 5, 12])
def test_exactly_the_initial_number_is_random(n):
    searcher = make(initial=10, pool=60, gp=QUICK)
    _, origins = searched(searcher, 24, n=n)
    random = 12 if n == 12 else 10  # a single step has nothing to learn from
    assert origins == ["random"] * random + ["latent"] * (24 - random)


def test_proposals_that_are_not_told_yet_count_as_initial():
    searcher, rng = make(initial=6, pool=60, gp=QUICK), stream(0, "searcher")
    first = [searcher.ask(1, rng=rng) for _ in range(4)]
    for asked in first[:2]:
        searcher.tell(asked.archs, SCORE(asked.archs), rng=rng)
    assert searcher.ask(5, rng=rng).origin == ("random",) * 2 + ("latent",) * 3


@pytest.mark.parametrize(("known", "random"), [(4, 6), (10, 0), (25, 0)])
def test_labels_told_at_the_start_replace_the_random_phase(known, random):
    searcher = told_some(known, initial=10, pool=60)
    asked = searcher.ask(8, rng=stream(1, "searcher"))
    assert asked.origin == ("random",) * random + ("latent",) * (8 - random)


# What is learned where


def test_architectures_are_learned_at_their_encodings():
    searcher = make(initial=10, pool=60, gp=QUICK)
    searched(searcher, 25)
    foreign = SPACE.sample(3, rng=stream(5, "foreign"))
    searcher.tell(foreign, SCORE(foreign), rng=stream(0, "tell"))
    state, model = searcher.state_dict(), codebook(SPACE)
    rows = torch.cdist(state["points"], model.codes.detach()).argmin(dim=1)
    assert len(rows) == 28
    torch.testing.assert_close(state["points"], model.codes.detach()[rows])
    torch.testing.assert_close(state["scores"], SCORE(model.archs[rows]))
    torch.testing.assert_close(state["points"][-3:], encode_means(model, foreign))


def test_in_the_box_scores_are_learned_at_the_points_that_were_decoded():
    model = codebook(SPACE, temperature=1e-3)  # decodes to what is nearest
    searcher = make(model=model, initial=10, candidates="box", pool=100, draws=3, gp=QUICK)
    found, _ = searched(searcher, 40)
    state = searcher.state_dict()
    points, scores = state["points"], state["scores"]
    gap, rows = torch.cdist(points, model.codes.detach()).min(dim=1)
    torch.testing.assert_close(scores, SCORE(SPACE.enumerate()[rows]))
    assert len(scores) >= len(found) == 40
    assert bool((gap[:10] < 0.01).all()), "random ones are learned at their encodings"
    assert float(gap[10:].median()) > 0.1, "others where they were found"
    assert state["asked"]["keys"].shape == (0, 2)


def test_what_is_decoded_again_costs_nothing_and_is_learned_at_the_new_point():
    space = Words(nodes=2, ops=3)
    score = landscape(space)
    model = codebook(space, temperature=1e-3)
    searcher = make(space=space, model=model, initial=4, candidates="box", pool=30, draws=3,
                    gp=QUICK)  # fmt: skip
    found, origins = searched(searcher, 9, n=2, score=score)
    state = searcher.state_dict()
    assert len(set(zip(*state["told"]["keys"].T.tolist(), strict=True))) == len(found) == 9
    assert len(state["scores"]) > 9
    rows = torch.cdist(state["points"], model.codes.detach()).argmin(dim=1)
    torch.testing.assert_close(state["scores"], score(space.enumerate()[rows]))
    assert searcher.stats()["repeated"] > 0
    assert "latent" in origins
    assert len(searcher.ask(2, rng=stream(0, "more"))) == 0


def test_the_most_frequent_valid_graph_is_taken():
    def spoilt(latent):
        return torch.full((len(latent),), 0.7)

    model = codebook(SPACE, temperature=0.15, spoilt=spoilt)
    searcher = told_some(20, model=model, candidates="box", pool=50, draws=1000)
    asked = searcher.ask(8, rng=stream(0, "searcher"))
    state = searcher.state_dict()["asked"]
    assert state["keys"].tolist() == SPACE.keys(asked.archs).tolist()
    gap = torch.cdist(state["points"], model.codes.detach()).square()
    taken = gap[torch.arange(8), model.rows(asked.archs)]
    # as near as the nearest, but for chance: of 300 valid draws no more than half a share off
    assert bool((taken < gap.amin(dim=1) + 0.15 * 0.7).all())
    assert searcher.stats()["invalid"] == 0


def half(latent):
    """All draws where the first coordinate is positive."""
    return (latent[:, 0] > 0).float()


@pytest.mark.parametrize("warp", ["rank", "none"])
def test_a_point_without_a_valid_graph_counts_as_the_worst_and_is_not_proposed(fits, warp):
    model = codebook(SPACE, spoilt=half)
    searcher = make(
        model=model, initial=12, candidates="box", pool=200, draws=20, gp=QUICK, warp=warp
    )
    rng = stream(0, "searcher")
    for _ in range(8):
        asked = searcher.ask(4, rng=rng)
        assert bool(SPACE.is_valid(asked.archs).all())
        searcher.tell(asked.archs, SCORE(asked.archs), rng=rng)
    state = searcher.state_dict()
    lost = state["scores"].isnan()
    assert int(lost.sum()) > 0
    assert bool((state["points"][lost][:, 0] > 0).all())
    assert len(state["told"]["scores"]) == 32, "they cost nothing"
    x, target = fits[-1]
    worst = torch.isin(x[:, 0], state["points"][lost][:, 0])
    assert int(worst.sum()) > 0
    assert bool((target[worst] == target.min()).all())
    assert float(target.max()) > float(target.min())


@pytest.mark.parametrize("candidates", ["near", "box"])
def test_failed_evaluations_count_as_the_worst_known_score(fits, candidates):
    def failing(archs):
        return SCORE(archs).masked_fill(archs.ops[:, 0] < 3, torch.nan)

    searcher = make(initial=10, candidates=candidates, pool=100, draws=5, warp="none", gp=QUICK)
    found, _ = searched(searcher, 30, score=failing)
    scores = torch.tensor(found)
    assert 0 < int(scores.isnan().sum()) < 30
    known = scores[:25][~scores[:25].isnan()]
    _, target = fits[-1]
    assert bool(target.isfinite().all())
    assert float(target.min()) == pytest.approx(float(known.min()))
    failed = int(scores[:25].isnan().sum())
    assert int((target == target.min()).sum()) >= failed + 1


def test_nothing_but_failures_is_no_failure():
    def failing(archs):
        return torch.full((len(archs),), torch.nan)

    found, _ = searched(make(initial=4, pool=50, gp=QUICK), 12, score=failing)
    assert len(found) == 12


# The warp


def test_ranks_are_learned_so_that_units_and_outliers_do_not_matter(fits):
    proposals = {}
    for warp in ("rank", "none"):
        for name, score in (("plain", SCORE), ("bent", lambda archs: (9 * SCORE(archs)).exp())):
            searcher = told_some(20, score=score, warp=warp, pool=60)
            asked = searcher.ask(4, rng=stream(0, "searcher"))
            proposals[warp, name] = SPACE.to_text(asked.archs)
            target = searcher.state_dict()["scores"].double()
            wanted = normal_scores(target) if warp == "rank" else target
            torch.testing.assert_close(fits[-1][1], wanted)
    assert proposals["rank", "plain"] == proposals["rank", "bent"]
    assert proposals["none", "plain"] != proposals["none", "bent"]


@given(st.lists(st.sampled_from([-7.5, 0.0, 0.1, 0.25, 3.0, 1e6]), min_size=1, max_size=30))
def test_normal_scores_are_quantiles_of_ranks_and_equal_scores_share_their_mean(values):
    score = torch.tensor(values, dtype=torch.double)
    found = normal_scores(score)
    ranks = scipy.stats.rankdata(values)  # of equal values: their mean
    wanted = scipy.stats.norm.ppf((ranks - 0.5) / len(values))
    torch.testing.assert_close(found, torch.from_numpy(wanted), atol=1e-6, rtol=1e-6)
    gap, other = score[:, None] - score, found[:, None] - found
    assert torch.equal(gap.sign(), other.sign())
    torch.testing.assert_close(normal_scores(-score), -found, atol=1e-6, rtol=1e-6)


def test_normal_scores_keep_the_type_of_scores():
    assert normal_scores(torch.tensor([3.0, 1.0])).dtype == torch.float32
    assert normal_scores(torch.zeros(3)).tolist() == [0, 0, 0]


# Candidates


@pytest.mark.parametrize("candidates", ["near", "box", "space"])
def test_candidates_depend_on_the_stream(candidates, choices):
    texts = []
    for seed in (0, 0, 1):
        searcher = told_some(pool=40, candidates=candidates, draws=5)
        texts.append(SPACE.to_text(searcher.ask(5, rng=stream(seed, "searcher")).archs))
    assert texts[0] == texts[1] != texts[2]
    first, again, other = (c["candidates"] for c in choices if c["count"] == 5)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def decoded_at(**options):
    """Points that one `ask` of an informed searcher decodes, and the points it knows, by score."""
    model, seen = codebook(SPACE), []
    decode = model.decode
    model.decode = lambda latent, *, rng: seen.append(latent) or decode(latent, rng=rng)
    searcher = told_some(40, model=model, pool=2000, **options)
    searcher.ask(1, rng=stream(0, "searcher"))
    state = searcher.state_dict()
    order = state["scores"].argsort(descending=True, stable=True)
    return torch.cat(seen), state["points"][: len(order)][order]


def test_candidates_are_near_the_best_by_the_share_that_was_said():
    latent, known = decoded_at(explore=0.0, elites=1, spread=2.0)
    off = (latent - known[0]) / known.std(dim=0)
    assert latent.shape == (2000, 4)
    torch.testing.assert_close(off.mean(dim=0), torch.zeros(4), atol=0.08, rtol=0)
    size = off.square().mean(dim=1).sqrt()
    # log-uniform between 0.2 and 2, times the root of a mean of four squared normal numbers
    assert 0.4 < float(size.median()) < 0.75
    assert float(size.quantile(0.01)) < 0.15 < 0.3 < float(size.quantile(0.25))
    assert float(size.quantile(0.98)) > 2
    near, _ = decoded_at(explore=0.0, elites=1, spread=0.02)
    assert float(((near - known[0]) / known.std(dim=0)).abs().max()) < 0.1


def test_as_many_of_the_best_are_starting_points():
    latent, known = decoded_at(explore=0.0, elites=7, spread=1e-3)
    nearest = torch.cdist(latent, known).argmin(dim=1)
    counts = torch.bincount(nearest, minlength=40)
    assert counts[7:].tolist() == [0] * 33
    assert int(counts[:7].min()) > 2000 / 7 - 80


def test_the_rest_of_the_candidates_are_everywhere():
    latent, known = decoded_at(explore=1.0)
    torch.testing.assert_close(latent.mean(dim=0), known.mean(dim=0), atol=0.1, rtol=0)
    torch.testing.assert_close(latent.std(dim=0), known.std(dim=0), atol=0, rtol=0.06)
    mixed, known = decoded_at(explore=0.3, elites=1, spread=1e-3)
    assert int((torch.cdist(mixed, known[:1])[:, 0] < 0.01).sum()) == pytest.approx(1400, abs=5)


def test_the_box_is_that_of_the_points_known(choices):
    searcher = told_some(candidates="box", pool=3000, draws=2, iterations=3)
    points = searcher.state_dict()["points"]
    searcher.ask(2, rng=stream(0, "searcher"))
    low, high = points.amin(dim=0), points.amax(dim=0)
    found = choices[0]["candidates"]
    assert bool(((found >= low) & (found <= high)).all())
    share = (found - low) / (high - low)
    torch.testing.assert_close(share.mean(dim=0), torch.full((4,), 0.5), atol=0.03, rtol=0)
    torch.testing.assert_close(share.std(dim=0), torch.full((4,), 12**-0.5), atol=0.02, rtol=0)
    assert torch.equal(torch.stack(choices[0]["bounds"]), torch.stack([low, high]))
    assert choices[0]["iterations"] == 3


@pytest.mark.parametrize("candidates", ["near", "box"])
def test_points_that_are_being_evaluated_are_known_to_the_next_choice(choices, candidates):
    searcher = told_some(candidates=candidates, pool=100, draws=5)
    rng = stream(0, "searcher")
    first = searcher.ask(3, rng=rng)
    waiting = searcher.state_dict()["asked"]["points"]
    before = len(choices)
    searcher.ask(1, rng=rng)
    assert len(choices[0]["pending"]) == 0
    torch.testing.assert_close(choices[before]["pending"], waiting)
    some = first.archs[:2]
    searcher.tell(some, SCORE(some), rng=rng)
    before = len(choices)
    left = searcher.state_dict()["asked"]["points"]
    searcher.ask(1, rng=rng)
    torch.testing.assert_close(choices[before]["pending"], left)
    assert len(left) == 2


def test_the_incumbent_is_the_best_posterior_mean_at_a_known_point(choices, fits):
    searcher = told_some(20, pool=40, warp="none")
    searcher.ask(1, rng=stream(0, "searcher"))
    x, y = fits[0]
    gp = netwright.surrogates.gp.fit_gp(x, y, QUICK, rng=stream(7, "fit"))
    assert choices[0]["best"] == pytest.approx(float(gp.predict(x)[0].max()))


# State


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_search_restored_from_disk_in_the_middle_of_a_batch_goes_on_bit_for_bit(
    setting, tmp_path
):
    options = SETTINGS[setting] | {"initial": 8, "pool": 100, "gp": QUICK}
    spoilt = (lambda latent: torch.full((len(latent),), 0.3)) if setting == "box" else None

    def one():
        return make(model=codebook(SPACE, spoilt=spoilt), **options)

    def rest(searcher, rng, waiting):
        texts = []
        searcher.tell(waiting, SCORE(waiting), rng=rng)
        for _ in range(3):
            asked = searcher.ask(4, rng=rng)
            texts += SPACE.to_text(asked.archs)
            searcher.tell(asked.archs, SCORE(asked.archs), rng=rng)
        return texts

    searcher, rng = one(), stream(0, "searcher")
    for _ in range(3):
        asked = searcher.ask(4, rng=rng)
        searcher.tell(asked.archs, SCORE(asked.archs), rng=rng)
    asked = searcher.ask(5, rng=rng)
    searcher.tell(asked.archs[:2], SCORE(asked.archs[:2]), rng=rng)
    save_state(tmp_path / "state", searcher.state_dict())
    place = rng.get_state()
    wanted = rest(searcher, rng, asked.archs[2:])
    again = one()
    again.load_state_dict(load_state(tmp_path / "state"))
    rng.set_state(place)
    assert rest(again, rng, asked.archs[2:]) == wanted
    for name in ("points", "scores"):
        torch.testing.assert_close(
            again.state_dict()[name], searcher.state_dict()[name], rtol=0, atol=0, equal_nan=True
        )


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"initial": -1}, "initial must be at least 0, not -1"),
        ({"pool": 0}, "pool must be at least 1, not 0"),
        ({"draws": 0}, "draws must be at least 1, not 0"),
        ({"elites": 0}, "elites must be at least 1, not 0"),
        ({"iterations": -1}, "iterations must be at least 0, not -1"),
        ({"spread": 0.0}, "spread must be positive and finite, not 0.0"),
        ({"spread": float("nan")}, "spread must be positive and finite, not nan"),
        ({"spread": float("inf")}, "spread must be positive and finite, not inf"),
        ({"explore": 1.5}, "explore must be a share, not 1.5"),
        ({"explore": float("nan")}, "explore must be a share, not nan"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        LatentOptions(**options)


def test_a_generator_of_another_space_is_refused_in_one_line():
    with pytest.raises(ValueError, match="knows graphs of 4 nodes and 6 operations, toy has 3 and"):
        LatentSearch(Toy(), codebook(SPACE))


def test_an_architecture_of_another_space_is_refused():
    other = Words(ops=9).from_text(["8-8-8-8"])
    with pytest.raises(ValueError, match="not in words"):
        told_some().tell(other, torch.tensor([1.0]), rng=stream(0, "tell"))


# A real generator


CELLS = NASBench201()


@pytest.fixture(scope="module")
def svge():
    """Fitted for some seconds, without being told what is fixed in the space."""
    layout = CELLS.layout.freed(keep_ends=True)
    archs = CELLS.sample(300, rng=stream(0, "fit"))
    generator = SVGe(
        layout, rng=stream(0, "init"), hidden=16, latent_size=8, rounds=1, backward="none"
    )
    recipe = Recipe(1500, batch_size=25, learning_rate=3e-3)
    for _ in Fit(generator, archs[30:], archs[:30], recipe, seed=0).run():
        pass
    return generator.eval()


def convolutions(archs):
    """The share of operations that are convolutions."""
    conv = torch.tensor(["conv" in name for name in CELLS.op_names])
    return conv[archs.ops].sum(dim=1) / 6


@pytest.mark.slow
@pytest.mark.parametrize("candidates", ["near", "box"])
def test_a_whole_search_with_a_real_generator(svge, candidates):
    options = LatentOptions(candidates=candidates, pool=100, draws=20, gp=QUICK)
    searcher = LatentSearch(CELLS, svge, options=options)
    found, origins = searched(searcher, 30, score=convolutions)
    assert origins[:10] == ["random"] * 10
    assert origins[10:].count("latent") >= 15
    assert len(searcher.state_dict()["told"]["keys"].unique(dim=0)) == 30
    mean = sum(found[:10]) / 10, sum(found[15:]) / 15
    assert mean[1] > mean[0], "it learns"


def test_a_generator_that_can_decodes_to_members_of_the_space_only(svge):
    share = {}
    for within in (True, False):
        options = LatentOptions(pool=200, within=within, gp=QUICK)
        searcher = LatentSearch(CELLS, svge, options=options)
        searched(searcher, 15, score=convolutions)
        share[within] = searcher.stats()["invalid"]
    assert share[True] == 0 < share[False]


# Configuration


def test_the_papers_setting_is_a_preset_that_can_be_overridden():
    plain = LatentConfig(model=Path("fit"))
    paper = LatentConfig(model=Path("fit"), preset="paper")
    changed = {name: getattr(paper, name) for name in SVGE}
    assert changed == SVGE
    assert {name: getattr(plain, name) for name in SVGE} != SVGE
    assert (paper.initial, paper.inducing, paper.candidates, paper.draws) == (1000, 500, "box", 500)
    mixed = LatentConfig(model=Path("fit"), preset="paper", initial=20, kernel="matern")
    assert (mixed.initial, mixed.kernel, mixed.pool) == (20, "matern", paper.pool)
    untouched = set(LatentConfig.model_fields) - set(SVGE) - {"preset"}
    assert {name: getattr(paper, name) for name in untouched} == {
        name: getattr(plain, name) for name in untouched
    }


def test_the_configurations_defaults_are_the_searchers():
    config, options = LatentConfig(model=Path("fit")), LatentOptions()
    for name in set(LatentConfig.model_fields) & set(LatentOptions.__dataclass_fields__):
        assert getattr(config, name) == getattr(options, name), name
    for name in ("kernel", "ard", "inducing", "subset"):
        assert getattr(config, name) == getattr(options.gp, name), name


def test_the_model_of_a_method_is_known_by_its_parameters(tmp_path):
    assert model_of(RandomConfig()) is None
    run = FitRun.create(tmp_path / "fit", {})
    config = LatentConfig(model=run.folder)
    with pytest.raises(ValueError, match="holds no parameters yet: go on with its fit"):
        model_of(config)
    run.checkpoint.write_bytes(b"some")
    first = model_of(config)
    assert model_of(config) == first
    run.checkpoint.write_bytes(b"other")
    assert model_of(config) != first
    with pytest.raises((ValueError, OSError), match="nowhere"):
        model_of(LatentConfig(model=tmp_path / "nowhere"))
