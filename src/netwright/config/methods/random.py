"""The settings of random search."""

from typing import Literal

import torch

from netwright.config.base import NamedSettings
from netwright.config.methods.parts import op_weights
from netwright.generators.random_graph import RandomGraph
from netwright.searchers.random import RandomSearch
from netwright.spaces.base import SearchSpace


class RandomConfig(NamedSettings):
    """Random search: samples of the space, without repeats."""

    name: Literal["random"] = "random"
    without: tuple[str, ...] = ()  # operations it never draws, by name


def make(config: RandomConfig, space: SearchSpace, *, rng: torch.Generator) -> RandomSearch:
    """Build the search.

    Raises:
        ValueError: If an operation is unknown.
    """
    del rng
    if not config.without:
        return RandomSearch(space)
    weights = op_weights(config.without, space, "method.without")
    return RandomSearch(space, generator=RandomGraph(space.layout, op_weights=weights))
