"""The settings of BANANAS."""

from typing import Literal

import torch
from pydantic import Field

from netwright.config.base import NamedSettings
from netwright.searchers.bananas import Bananas, BananasOptions
from netwright.spaces.base import SearchSpace
from netwright.surrogates.ensemble import EnsembleOptions

_OF_ENSEMBLE = {"members", "layers", "width", "epochs", "batch_size", "learning_rate", "encoding"}
_OF_ENSEMBLE |= {"paths", "target"}


class BananasConfig(NamedSettings):
    """BANANAS, for 10 proposals at a time; the defaults are those of naszilla ([White2019]).

    See `netwright.searchers.bananas.BananasOptions` and
    `netwright.surrogates.ensemble.EnsembleOptions`.
    """

    name: Literal["bananas"] = "bananas"
    initial: int = Field(10, ge=1)  # random architectures at the start
    candidates: int = Field(100, ge=1)  # mutants from which proposals are chosen
    parents: int = Field(5, ge=1)  # they are of the best so many, at most
    rate: float = Field(1.0, gt=0)  # edges, and operations, that a mutation changes on average
    acquisition: Literal["its", "ucb", "mean"] = "its"
    members: int = Field(5, ge=1)  # perceptrons in the ensemble
    layers: int = Field(10, ge=1)
    width: int = Field(20, ge=1)
    epochs: int = Field(150, ge=1)
    batch_size: int = Field(32, ge=1)  # of training
    learning_rate: float = Field(0.01, gt=0)
    encoding: Literal["path", "adjacency"] = "path"
    paths: int | None = Field(None, ge=1)  # bits; none: 40, or all where edges are fixed
    target: Literal["percent", "standardised"] = "percent"


def make(config: BananasConfig, space: SearchSpace, *, rng: torch.Generator) -> Bananas:
    """Build the search."""
    del rng
    ensemble = EnsembleOptions(**config.model_dump(include=_OF_ENSEMBLE))
    rest = config.model_dump(exclude={"name", *_OF_ENSEMBLE})
    return Bananas(space, options=BananasOptions(**rest, ensemble=ensemble))
