"""The settings of local search."""

from typing import Literal

import torch
from pydantic import Field

from netwright.config.base import NamedSettings
from netwright.searchers.local import LocalSearch
from netwright.spaces.base import SearchSpace


class LocalConfig(NamedSettings):
    """Local search; the defaults are those of naszilla ([White2020])."""

    name: Literal["local"] = "local"
    initial: int = Field(10, ge=1)  # random architectures at the start and at every restart
    neighbourhood: Literal["first", "full"] = "first"


def make(config: LocalConfig, space: SearchSpace, *, rng: torch.Generator) -> LocalSearch:
    """Build the search."""
    del rng
    return LocalSearch(space, initial=config.initial, neighbourhood=config.neighbourhood)
