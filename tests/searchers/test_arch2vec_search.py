"""The search of arch2vec: the same candidates for every batch, learned by DNGO."""

from pathlib import Path

import pytest
import torch
from codebook import Words, codebook, landscape

from netwright.config.methods.latent import ARCH2VEC, LatentConfig
from netwright.generators.arch2vec import Arch2Vec
from netwright.generators.latent import encode_means
from netwright.rng import stream
from netwright.searchers.latent import LatentOptions, LatentSearch
from netwright.spaces.nasbench201 import NASBench201
from netwright.surrogates.dngo import DNGOOptions
from netwright.testing import searchers as contract

SPACE = Words(nodes=3, ops=5)
SCORE = landscape(SPACE)
QUICK = DNGOOptions(hidden=16, layers=2, epochs=40)
FAST = {"surrogate": "dngo", "candidates": "fixed", "warp": "none", "pool": 1000}


def make(*, space=SPACE, model=None, **options):
    made = LatentOptions(**FAST | {"dngo": QUICK, "initial": 8} | options)
    return LatentSearch(space, codebook(space) if model is None else model, options=made)


def searched(searcher, budget, *, n=5, seed=0, score=SCORE):
    """Run a search; return what was proposed, and where it came from."""
    rng, found, origins = stream(seed, "searcher"), [], []
    while len(found) < budget:
        asked = searcher.ask(min(n, budget - len(found)), rng=rng)
        searcher.tell(asked.archs, score(asked.archs), rng=rng)
        found += searcher.space.to_text(asked.archs)
        origins += asked.origin
    return found, origins


def reached(texts, space=SPACE, score=SCORE):
    return float(score(space.from_text(texts)).max())


@pytest.mark.parametrize("check", contract.SEARCHER_CHECKS.values(), ids=contract.SEARCHER_CHECKS)
def test_contract(check):
    def of(space, *, rng):
        del rng
        return make(space=space, initial=3, dngo=DNGOOptions(hidden=4, layers=1, epochs=3))

    check(of)


@pytest.mark.parametrize("surrogate", ["dngo", "gp"])
def test_the_best_of_all_is_found(surrogate):
    found, origins = searched(make(surrogate=surrogate), 28)
    assert reached(found) > 0.99, "random search evaluates 28 of 125"
    assert origins == ["random"] * 8 + ["latent"] * 20


def test_a_batch_is_the_best_by_expected_improvement():
    searcher = make(initial=8, reference=2.0)
    searched(searcher, 8)
    models, fit = [], searcher._surrogate
    searcher._surrogate = lambda rng: models.append(fit(rng)) or models[0]
    asked = searcher.ask(4, rng=stream(0, "ask"))
    (dngo, best) = models[0]
    assert best == 2.0
    archs = SPACE.enumerate()
    told = set(searcher._score_of)
    mask = torch.tensor([tuple(key) not in told for key in SPACE.keys(archs).tolist()])
    new = archs[mask]
    mean, sd = dngo.predict(encode_means(searcher.generator, new))
    u = (mean - best) / sd
    normal = torch.distributions.Normal(torch.zeros_like(u), 1.0)
    improvement = sd * (normal.log_prob(u).exp() + u * normal.cdf(u))
    wanted = new[improvement.argsort(descending=True)[:4]]
    assert SPACE.to_text(asked.archs) == SPACE.to_text(wanted)


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "not listed"])
def test_a_large_space_is_sampled_once_for_all_searches(listed):
    space = Words(nodes=3, ops=5)
    model = codebook(space)
    if not listed:
        del space.size
    proposed = []
    for seed in (0, 1):
        searcher = make(space=space, model=model, pool=30, initial=4)
        found, origins = searched(searcher, 40, seed=seed)
        proposed.append({t for t, o in zip(found, origins, strict=True) if o == "latent"})
        assert origins[-1] == "random", "those that are left when no candidate is"
    assert len(proposed[0] | proposed[1]) == 30


def test_the_mean_of_the_nodes_is_what_is_learned():
    space = NASBench201()
    model = Arch2Vec(space.layout, hidden=8, node_latent=3, layers=2, rng=stream(0, "init")).eval()
    searcher = make(space=space, model=model, node_mean=True, pool=200)
    found, _ = searched(searcher, 15, score=lambda archs: (archs.ops == 4).float().mean(dim=1))
    archs = space.from_text(found)
    wanted = encode_means(model, archs).view(15, 8, 3).mean(dim=1)
    torch.testing.assert_close(searcher.state_dict()["points"], wanted)


def test_what_does_not_go_together_is_an_error():
    with pytest.raises(ValueError, match="Codebook has no latent vectors of nodes"):
        make(node_mean=True)
    with pytest.raises(ValueError, match="cannot be decoded: candidates = 'fixed'"):
        LatentOptions(node_mean=True)
    with pytest.raises(ValueError, match="a reference is a score, and ranks are learned"):
        LatentOptions(reference=0.95)
    with pytest.raises(ValueError, match="L-BFGS climbs Gaussian processes only"):
        LatentOptions(surrogate="dngo", iterations=3)


def test_the_preset_can_be_overridden():
    preset = LatentConfig(model=Path("fit"), preset="arch2vec")
    assert {name: getattr(preset, name) for name in ARCH2VEC} == ARCH2VEC
    assert (preset.initial, preset.surrogate, preset.candidates) == (16, "dngo", "fixed")
    mixed = LatentConfig(model=Path("fit"), preset="arch2vec", surrogate="gp", reference=0.95)
    assert (mixed.surrogate, mixed.reference, mixed.pool) == ("gp", 0.95, 20_000)
