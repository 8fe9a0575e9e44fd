"""The settings of regularised evolution."""

from typing import Literal

import torch
from pydantic import Field

from netwright.config.base import NamedSettings
from netwright.searchers.evolution import Evolution
from netwright.spaces.base import SearchSpace


class EvolutionConfig(NamedSettings):
    """Regularised evolution; the defaults are those of naszilla ([White2020]).

    [Real2019]: ``population`` and ``initial`` 100, ``tournament`` 25.
    """

    name: Literal["evolution"] = "evolution"
    population: int = Field(30, ge=1)  # the youngest so many may have children
    tournament: int = Field(10, ge=1)  # draws of which the best has a child
    initial: int = Field(10, ge=1)  # random architectures at the start
    rate: float = Field(1.0, gt=0)  # edges, and operations, that a mutation changes on average


def make(config: EvolutionConfig, space: SearchSpace, *, rng: torch.Generator) -> Evolution:
    """Build the search."""
    del rng
    return Evolution(space, **config.model_dump(exclude={"name"}))
