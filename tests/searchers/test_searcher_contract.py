"""Every searcher honours the contract: add yours to SEARCHERS."""

from functools import partial

import pytest
import torch
from independent import Independent, Invalid, Stuck

from netwright.generators.graphpnas import GraphPNAS
from netwright.searchers.policy_gradient import FitOptions
from netwright.searchers.random import RandomSearch
from netwright.searchers.reinforce import Reinforce, ReinforceOptions
from netwright.searchers.schedules import Constant, Linear
from netwright.testing import searchers as contract


def random(space, *, rng):
    del rng
    return RandomSearch(space)


def random_generator(space, *, rng):
    del rng  # its operations lean to one side, so that it runs dry and the space takes over
    start = torch.Generator().manual_seed(0)
    return RandomSearch(space, generator=Independent(space.layout, rng=start, spread=3.0))


SHORT = Linear(1.0, 0.0, over=9)


def reinforce(space, *, rng, policy=Independent, epsilon=SHORT, **options):
    search = {name: options.pop(name) for name in ("capacity", "refit") if name in options}
    defaults = {"epochs": 5, "batch_size": 3, "learning_rate": 0.1}
    options = ReinforceOptions(
        update_every=3, epsilon=epsilon, fit=FitOptions(**(defaults | options)), **search
    )
    return Reinforce(space, policy, options=options, rng=rng)


SEARCHERS = {
    "random": random,
    "random from a generator": random_generator,
    "reinforce that always explores": partial(reinforce, epsilon=Constant(1.0)),
    "reinforce with a stuck generator": partial(reinforce, policy=Stuck, epsilon=Constant(0.0)),
    "reinforce with invalid graphs": partial(reinforce, policy=Invalid, epsilon=Constant(0.0)),
}
LEARNERS = {
    "reinforce": reinforce,
    "reinforce, rank": partial(reinforce, reward="rank", capacity=4, epochs=15),
    "reinforce, refit": partial(reinforce, refit=True, epochs=20),
    "reinforce, positive term": partial(reinforce, beta=0.0),
    "reinforce, negative term": partial(reinforce, beta=100.0, probability="per_decision"),
    "reinforce, GraphPNAS": partial(
        reinforce, policy=partial(GraphPNAS, hidden=8, rounds=1, mixtures=1), learning_rate=0.02
    ),
}


@pytest.mark.parametrize("check", contract.SEARCHER_CHECKS.values(), ids=contract.SEARCHER_CHECKS)
@pytest.mark.parametrize("make", (SEARCHERS | LEARNERS).values(), ids=SEARCHERS | LEARNERS)
def test_contract(make, check):
    check(make)


@pytest.mark.parametrize("make", LEARNERS.values(), ids=LEARNERS)
def test_learners_improve(make):
    contract.check_improves(make)
