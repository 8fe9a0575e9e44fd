"""The settings of weighted retraining of a decoder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator

from netwright.config.base import NamedSettings
from netwright.runs.fits import FitRun
from netwright.searchers.weighted_retraining import RetrainingOptions, WeightedRetraining
from netwright.spaces.base import SearchSpace


class AGNetConfig(NamedSettings):
    """A decoder and a predictor, retrained by rank while they search ([AG-Net]).

    The defaults are the paper's for NAS-Bench-201, but for ``within``; see `RetrainingOptions`.
    """

    name: Literal["agnet"] = "agnet"
    model: Path  # the folder of a fit (`netwright fit svge`)
    initial: int = Field(16, ge=1)  # random architectures at the start
    update_every: int = Field(16, ge=1)
    epochs: int = Field(30, ge=1)  # of a training; the paper has 15 for NAS-Bench-101
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    tilt: float = Field(0.01, gt=0)  # the paper's k in weights 1 / (k n + rank)
    prediction: float = Field(0.9, ge=0, le=1)  # share of the predictor in the loss
    pool: int = Field(100, ge=1)  # new candidates that the predictor ranks
    spread: float = Field(3.0, gt=0)  # largest coordinate of a point that is decoded
    within: bool = True  # decode to members of the space only
    device: str = "cpu"

    @model_validator(mode="before")
    @classmethod
    def _has_model(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and not values.get("model"):
            raise ValueError("agnet retrains a fit (`netwright fit svge`): give its --model")
        return values


def make(config: AGNetConfig, space: SearchSpace, *, rng: torch.Generator) -> WeightedRetraining:
    """Build the search.

    Raises:
        ValueError: If the fit is of another space, or no SVGe.
        FileNotFoundError: If there is no such fit.
    """
    from netwright.config.fits import load_generator  # it needs the schema, which needs this

    generator = load_generator(FitRun.open(config.model), space=space, device=config.device)
    options = RetrainingOptions(**config.model_dump(exclude={"name", "model", "device"}))
    return WeightedRetraining(space, generator, options=options, rng=rng)
