"""The settings of GNN2GNN trained while it searches."""

from typing import Literal

import torch
from pydantic import Field

from netwright.config.base import NamedSettings
from netwright.config.methods.parts import ScheduleConfig, insist_there, schedule
from netwright.generators.base import Generator
from netwright.generators.gnn2gnn import GNN2GNN
from netwright.generators.three_way import ThreeWayOptions
from netwright.graphs.layout import Layout
from netwright.searchers.adversarial import (
    AdversarialSearch,
    AdversarialSearchOptions,
    MakeGenerator,
)
from netwright.spaces.base import SearchSpace


class AdversarialSearchConfig(NamedSettings):
    """GNN2GNN, trained while it searches; see `AdversarialSearchOptions` and `ThreeWayOptions`."""

    name: Literal["gnn2gnn"] = "gnn2gnn"
    hidden: int = Field(32, ge=1)
    layers: int = Field(2, ge=0)
    tau: float = Field(0.1, gt=0)
    edge_bound: float = Field(2.0, ge=0)  # largest size of an edge's logit; 0: no bound
    op_bound: float = Field(3.0, ge=0)  # and of an operation's
    initial: int = Field(10, ge=0)  # random architectures at the start
    update_every: int = Field(5, ge=1)
    steps: int = Field(30, ge=1)  # of an update
    batch_size: int = Field(32, ge=1)
    strong: float = Field(0.2, gt=0, lt=1)  # share of what was told that is "strong"
    tilt: float = Field(0.5, ge=0, le=1)  # share of a batch that is drawn from it
    balance: float = Field(0.1, ge=0, le=1)  # the paper's lambda
    warmup: int = Field(0, ge=0)  # steps of new networks in which lambda is 1
    epsilon: ScheduleConfig = ScheduleConfig(name="constant", start=0.0)  # share of random ones
    temperature: float = Field(1.0, gt=0)
    refit: bool = False
    learning_rate: float = Field(3e-3, gt=0)
    gan_loss: Literal["saturating", "non-saturating"] = "non-saturating"
    valuer: Literal["classification", "regression"] = "classification"
    entropy: float = Field(0.02, ge=0)
    device: str = "cpu"


def make(
    config: AdversarialSearchConfig, space: SearchSpace, *, rng: torch.Generator
) -> AdversarialSearch:
    """Build the search.

    Raises:
        ValueError: If its device is not there.
    """
    return AdversarialSearch(space, _gnn2gnn(config), options=_options(config), rng=rng)


_OF_GNN2GNN = ("hidden", "layers", "tau", "edge_bound", "op_bound")
_OF_THREE_WAY = ("learning_rate", "gan_loss", "valuer", "entropy")


def _gnn2gnn(config: AdversarialSearchConfig) -> MakeGenerator:
    """Return what makes GNN2GNN's generator on a device."""
    insist_there(config.device)
    options = config.model_dump(include=set(_OF_GNN2GNN))
    for bound in ("edge_bound", "op_bound"):
        options[bound] = options[bound] or None

    def make(layout: Layout, *, rng: torch.Generator) -> Generator:
        return GNN2GNN(layout, rng=rng, **options).to(config.device)

    return make


def _options(config: AdversarialSearchConfig) -> AdversarialSearchOptions:
    three_way = ThreeWayOptions(**config.model_dump(include=set(_OF_THREE_WAY)))
    apart = {"name", "device", "epsilon", *_OF_GNN2GNN, *_OF_THREE_WAY}
    rest = config.model_dump(exclude=apart)
    return AdversarialSearchOptions(**rest, epsilon=schedule(config.epsilon), three_way=three_way)
