"""Every searcher honours the contract: add yours to SEARCHERS."""

from functools import partial

import pytest
import torch
from codebook import codebook
from independent import Independent, Invalid, Stuck

from netwright.generators.gnn2gnn import GNN2GNN
from netwright.generators.graphpnas import GraphPNAS
from netwright.generators.three_way import ThreeWayOptions
from netwright.rng import stream
from netwright.searchers.adversarial import AdversarialSearch, AdversarialSearchOptions
from netwright.searchers.base import Proposals
from netwright.searchers.latent import LatentOptions, LatentSearch
from netwright.searchers.local import LocalSearch
from netwright.searchers.policy_gradient import FitOptions
from netwright.searchers.random import RandomSearch
from netwright.searchers.reinforce import Reinforce, ReinforceOptions
from netwright.searchers.schedules import Constant, Linear
from netwright.surrogates.options import GPOptions
from netwright.testing import searchers as contract


def random(space, *, rng):
    del rng
    return RandomSearch(space)


def random_generator(space, *, rng):
    del rng  # its operations lean to one side, so that it runs dry and the space takes over
    start = torch.Generator().manual_seed(0)
    return RandomSearch(space, generator=Independent(space.layout, rng=start, spread=3.0))


def local(space, *, rng, initial=4, neighbourhood="first"):
    del rng
    return LocalSearch(space, initial=initial, neighbourhood=neighbourhood)


SHORT = Linear(1.0, 0.0, over=9)


def reinforce(space, *, rng, policy=Independent, epsilon=SHORT, **options):
    search = {name: options.pop(name) for name in ("capacity", "refit") if name in options}
    defaults = {"epochs": 5, "batch_size": 9, "learning_rate": 0.1}
    options = ReinforceOptions(
        update_every=3, epsilon=epsilon, fit=FitOptions(**(defaults | options)), **search
    )
    return Reinforce(space, policy, options=options, rng=rng)


def latent(space, *, rng, **options):
    del rng
    few = {"initial": 3, "pool": 40, "draws": 5, "gp": GPOptions(iterations=10)}
    model = codebook(space, temperature=0.2)
    return LatentSearch(space, model, options=LatentOptions(**few | options))


def adversarial(space, *, rng, three_way=None, **options):
    fast = ThreeWayOptions(learning_rate=0.02, gan_loss="non-saturating", **three_way or {})
    few = {"initial": 3, "update_every": 3, "steps": 4, "batch_size": 8}
    options = AdversarialSearchOptions(three_way=fast, **few | options)
    return AdversarialSearch(space, partial(GNN2GNN, hidden=8), options=options, rng=rng)


SMALL = partial(GraphPNAS, hidden=8, rounds=1, mixtures=1)
SEARCHERS = {
    "random": random,
    "random from a generator": random_generator,
    "local": local,
    "local, full neighbourhood": partial(local, initial=2, neighbourhood="full"),
    "adversarial": adversarial,
    "adversarial, refit, random at times": partial(
        adversarial, refit=True, epsilon=Linear(1.0, 0.0, over=9), warmup=2
    ),
    "latent": latent,
    "latent, box": partial(latent, candidates="box"),
    "latent, random points of the box": partial(latent, candidates="box", acquisition="random"),
    "reinforce": reinforce,
    "reinforce, rank, refit": partial(reinforce, reward="rank", refit=True, capacity=4),
    "reinforce, GraphPNAS": partial(reinforce, policy=SMALL),
    "reinforce that always explores": partial(reinforce, epsilon=Constant(1.0)),
    "reinforce with a stuck generator": partial(reinforce, policy=Stuck, epsilon=Constant(0.0)),
    "reinforce with invalid graphs": partial(reinforce, policy=Invalid, epsilon=Constant(0.0)),
}
LEARNS = {"initial": 9, "steps": 20, "strong": 0.34}
LEARNERS = {
    "local": local,
    "local, full neighbourhood": partial(local, neighbourhood="full"),
    "adversarial, by its valuer": partial(adversarial, **LEARNS, balance=0.0),
    "adversarial, by its discriminator": partial(adversarial, **LEARNS, balance=1.0, tilt=1.0),
    # it finds the best at once, which leaves the worse for the evaluations that are looked at
    "latent": partial(latent, initial=9),
    "standardised": reinforce,
    "rank": partial(reinforce, reward="rank", capacity=3, epochs=10),
    "refit": partial(reinforce, refit=True, epochs=20),
    "positive term": partial(reinforce, beta=0.0),
    "negative term": partial(reinforce, beta=100.0, probability="per_decision"),
}


SLOW = {
    "latent, box",
    *("latent", "rank", "refit", "adversarial, by its valuer", "adversarial, by its discriminator"),
}


def _cases(searchers):
    slow = SLOW & searchers.keys() - ({"latent"} if searchers is SEARCHERS else set())
    return [
        pytest.param(make, id=name, marks=[pytest.mark.slow] if name in slow else [])
        for name, make in searchers.items()
    ]


@pytest.mark.parametrize("check", contract.SEARCHER_CHECKS.values(), ids=contract.SEARCHER_CHECKS)
@pytest.mark.parametrize("make", _cases(SEARCHERS))
def test_contract(make, check):
    check(make)


@pytest.mark.parametrize("make", _cases(LEARNERS))
def test_learners_improve(make):
    contract.check_improves(make)


@pytest.mark.slow
def test_graphpnas_improves():
    contract.check_improves(partial(reinforce, policy=SMALL, learning_rate=0.03))


def test_random_search_does_not_improve():
    with pytest.raises(AssertionError, match="chance"):
        contract.check_improves(random)


def test_a_searcher_with_the_wrong_sign_is_found_out():
    class Backwards(Reinforce):
        def tell(self, archs, score, *, rng):
            super().tell(archs, -score, rng=rng)

    def backwards(space, *, rng):
        options = reinforce(space, rng=rng).options
        return Backwards(space, Independent, options=options, rng=rng)

    with pytest.raises(AssertionError, match="chance"):
        contract.check_improves(backwards)


class Repeats(RandomSearch):
    def ask(self, n, *, rng):
        return Proposals.of(self.space.sample(n, rng=rng), "random")


class GlobalChance(RandomSearch):
    def ask(self, n, *, rng):
        del rng
        own = torch.Generator().manual_seed(int(torch.randint(9**9, ())))
        return super().ask(n, rng=own)


class OneSeed(RandomSearch):
    def ask(self, n, *, rng):
        del rng
        return super().ask(n, rng=stream(0, "always"))


class Forgets(RandomSearch):
    def load_state_dict(self, state):
        pass


class Deaf(RandomSearch):
    def tell(self, archs, score, *, rng):
        pass


class Short(RandomSearch):
    def ask(self, n, *, rng):
        return super().ask(n, rng=rng)[: max(1, n - 1)]


class Nan(RandomSearch):
    def stats(self):
        return {"mean": torch.nan}


class Fragile(RandomSearch):
    def tell(self, archs, score, *, rng):
        assert score.isfinite().all()
        super().tell(archs, score, rng=rng)


@pytest.mark.parametrize(
    ("faulty", "check"),
    [
        (Repeats, "valid and new"),
        (Repeats, "new before told"),
        (GlobalChance, "seed decides everything"),
        (OneSeed, "seed decides everything"),
        (Forgets, "state"),
        (Deaf, "foreign results"),
        (Short, "valid and new"),
        (Short, "exhaustion"),
        (Nan, "stats"),
        (Fragile, "failures"),
    ],
)
def test_contract_finds_faults(faulty, check):
    with pytest.raises(AssertionError):
        contract.SEARCHER_CHECKS[check](lambda space, rng: faulty(space))  # noqa: ARG005 (its signature)
