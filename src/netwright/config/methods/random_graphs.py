"""The settings of random graphs as search methods."""

from typing import Literal

import torch
from pydantic import Field

from netwright.config.base import NamedSettings
from netwright.searchers.random_graphs import RandomGraphSearch
from netwright.spaces.base import SearchSpace


class RandomGraphConfig(NamedSettings):
    """ER, WS or BA graphs, "topk" or "best"; the ranges are those of [GraphPNAS] section 4.1."""

    name: Literal["random-graph"] = "random-graph"
    graphs: Literal["er", "ws", "ba"] = "er"
    estimator: Literal["topk", "best"] = "topk"
    p: tuple[float, float] | None = None  # edges: 0.1 to 0.5 (er); rewiring: 0.2 to 0.8 (ws)
    k: tuple[int, int] = (2, 6)  # neighbours on the ring (ws)
    m: tuple[int, int] = (1, 5)  # edges of a new node (ba)
    settings: int = Field(10, ge=1)  # of the parameters, which "best" explores
    repeats: int = Field(5, ge=1)  # evaluations of each: half of a budget of 100
    sizes: Literal["full", "uniform"] = "full"


def make(
    config: RandomGraphConfig, space: SearchSpace, *, rng: torch.Generator
) -> RandomGraphSearch:
    """Build the search.

    Raises:
        ValueError: If a setting does not fit the space, or the space has no edges to decide.
    """
    options = config.model_dump(exclude={"name", "graphs"})
    return RandomGraphSearch(space, model=config.graphs, rng=rng, **options)
