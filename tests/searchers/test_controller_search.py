"""The recurrent controller and random graphs as methods of a search."""

from functools import partial

import pytest
import torch
from pydantic import ValidationError

from netwright.config.methods import controller, graphpnas, random_graphs
from netwright.config.methods.controller import ControllerConfig
from netwright.config.methods.random_graphs import RandomGraphConfig
from netwright.generators.rnn import Recurrent
from netwright.reproductions.graphpnas_methods import PRESETS
from netwright.rng import stream
from netwright.searchers.policy_gradient import FitOptions
from netwright.searchers.reinforce import Reinforce, ReinforceOptions
from netwright.searchers.schedules import Linear
from netwright.searchers.together import train_together
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.toy import Toy
from netwright.testing import searchers as contract

CELLS = NASBench101(max_nodes=5)


def search(space, *, rng, **fit):
    options = ReinforceOptions(
        update_every=3,
        epsilon=Linear(1.0, 0.0, over=9),
        fit=FitOptions(**({"epochs": 2, "batch_size": 9, "learning_rate": 0.03} | fit)),
    )
    make = partial(Recurrent, hidden=8, softmax_temperature=None)
    return Reinforce(space, make, options=options, rng=rng)


@pytest.mark.parametrize("check", contract.SEARCHER_CHECKS.values(), ids=contract.SEARCHER_CHECKS)
def test_contract(check):
    check(search)


@pytest.mark.slow
def test_improves():
    contract.check_improves(partial(search, epochs=4, learning_rate=0.1))


def made(config, space=CELLS):
    return controller.make(config, space, rng=stream(0, "start"))


def test_the_paper_preset_is_graphpnas_with_another_generator():
    searcher = made(ControllerConfig())
    other = graphpnas.make(graphpnas.GraphPNASConfig(), CELLS, rng=stream(0, "start"))
    assert searcher.options == other.options
    policy = searcher.policy
    assert isinstance(policy, Recurrent)
    assert (policy.hidden, len(policy.lstm)) == (100, 1)
    assert (policy.tanh_constant, policy.softmax_temperature) == (2.5, 5.0)


def test_the_best_preset_is_the_loop_of_graphpnas_at_its_best():
    settings, _ = PRESETS["nasbench201"]["best"]
    other = graphpnas.GraphPNASConfig(**settings)
    config = ControllerConfig(preset="best")
    assert made(config).options == graphpnas.make(other, CELLS, rng=stream(0, "start")).options
    assert made(ControllerConfig(preset="best", capacity=7)).options.capacity == 7
    assert config.explorer == other.explorer


def test_settings_reach_the_controller():
    config = ControllerConfig(hidden=6, layers=2, tanh_constant=0, softmax_temperature=2)
    policy = made(config).policy
    assert (policy.hidden, len(policy.lstm)) == (6, 2)
    assert (policy.tanh_constant, policy.softmax_temperature) == (None, 2.0)
    with pytest.raises(ValidationError, match="softmax_temperature"):
        ControllerConfig(softmax_temperature=0)


def test_seeds_train_together_as_they_train_alone():
    config = ControllerConfig(preset="best", hidden=6, epochs=4, epsilon={"over": 5})

    def searched(together):
        searchers = [controller.make(config, CELLS, rng=stream(seed, "start")) for seed in range(3)]
        for i, searcher in enumerate(searchers):
            archs = CELLS.sample(12, rng=stream(i, "archs"))
            score = torch.rand(12, generator=stream(i, "score"))
            searcher.tell(archs, score, rng=stream(i, "told"))
        if together:
            assert len({searcher.training_due for searcher in searchers}) == 1
            train_together(searchers)
        return [torch.cat([p.flatten() for p in s.policy.parameters()]) for s in searchers]

    for one, other in zip(searched(True), searched(False), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_settings_reach_the_random_graphs():
    config = RandomGraphConfig(graphs="ws", estimator="best", settings=3, k=(2, 2), p=(0.5, 0.5))
    searcher = random_graphs.make(config, CELLS, rng=stream(0, "start"))
    assert searcher.graphs.model == "ws"
    settings = searcher.state_dict()["settings"]
    assert settings["p"].tolist() == [0.5] * 3
    assert settings["k"].tolist() == [2] * 3
    defaults = random_graphs.make(RandomGraphConfig(), CELLS, rng=stream(0, "start"))
    assert (defaults.graphs.model, defaults.estimator) == ("er", "topk")
    with pytest.raises(ValueError, match="toy has no free edges"):
        random_graphs.make(RandomGraphConfig(), Toy(), rng=stream(0, "start"))
