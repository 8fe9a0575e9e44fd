"""The settings of predictor search."""

from typing import Literal

import torch
from pydantic import Field

from netwright.config.base import NamedSettings
from netwright.searchers.predictor import MakePredictor, PredictorSearch
from netwright.spaces.base import SearchSpace
from netwright.surrogates.graph_network import GraphNetworkPredictor
from netwright.surrogates.predictors import EncodingMLP, TreePredictor

_PREDICTORS: dict[str, MakePredictor] = {
    "graph-network": GraphNetworkPredictor,
    "forest": TreePredictor,
    "mlp": EncodingMLP,
}


class PredictorConfig(NamedSettings):
    """Predictor search; with a graph network as in [Wen2019], which trains on about 100 to 200."""

    name: Literal["predictor"] = "predictor"
    predictor: Literal["graph-network", "forest", "mlp"] = "graph-network"
    initial: int = Field(100, ge=1)  # random architectures that it learns from
    pool: int = Field(10_000, ge=1)  # architectures ranked where the space cannot be listed
    update_every: int | None = Field(None, ge=1)  # evaluations; none: it learns once


def make(config: PredictorConfig, space: SearchSpace, *, rng: torch.Generator) -> PredictorSearch:
    """Build the search."""
    del rng
    options = config.model_dump(exclude={"name", "predictor"})
    return PredictorSearch(space, _PREDICTORS[config.predictor], **options)
