"""The settings of Bayesian optimisation over the parameters of random graphs."""

from typing import Literal

import torch
from pydantic import Field

from netwright.config.base import NamedSettings
from netwright.searchers.graph_parameters import ParameterOptions, ParameterSearch
from netwright.spaces.base import SearchSpace


class NagoConfig(NamedSettings):
    """Search as NAGO does; the ranges are those of [GraphPNAS] section 4.1."""

    name: Literal["nago"] = "nago"
    graphs: Literal["er", "ws"] = "ws"
    p: tuple[float, float] = (0.2, 0.8)  # edges (er); rewiring (ws)
    k: tuple[int, int] = (2, 6)  # neighbours on the ring (ws)
    initial: int = Field(20, ge=2)  # evaluations before there is a model
    candidates: int = Field(2000, ge=1)  # points among which the acquisition chooses


def make(config: NagoConfig, space: SearchSpace, *, rng: torch.Generator) -> ParameterSearch:
    """Build the search.

    Raises:
        ValueError: If a setting does not fit the space.
    """
    del rng
    options = ParameterOptions(**config.model_dump(exclude={"name", "graphs"}))
    return ParameterSearch(space, model=config.graphs, options=options)
