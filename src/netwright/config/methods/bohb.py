"""The settings of BOHB's model; give the evaluator ``rungs`` for its successive halving."""

from typing import Literal

import torch
from pydantic import Field

from netwright.config.base import NamedSettings
from netwright.searchers.density import DensityOptions, DensitySearch
from netwright.spaces.base import SearchSpace


class BohbConfig(NamedSettings):
    """BOHB; the defaults are those of its authors' code ([Falkner2018])."""

    name: Literal["bohb"] = "bohb"
    good: float = Field(0.15, gt=0, lt=1)  # share of what was told that is "good"
    random: float = Field(1 / 3, ge=0, le=1)  # share of random proposals
    candidates: int = Field(64, ge=1)  # draws of which the best is proposed
    bandwidth_factor: float = Field(1.0, gt=0)  # of draws; theirs, 3, is for numbers alone
    min_bandwidth: float = Field(1e-3, gt=0, le=0.5)
    min_points: int | None = Field(None, ge=1)  # none: one more than there are dimensions


def make(config: BohbConfig, space: SearchSpace, *, rng: torch.Generator) -> DensitySearch:
    """Build the search."""
    del rng
    options = DensityOptions(**config.model_dump(exclude={"name"}))
    return DensitySearch(space, options=options)
