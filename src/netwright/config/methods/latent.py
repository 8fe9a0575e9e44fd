"""The settings of Bayesian optimisation in a latent space."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator

from netwright.config.base import NamedSettings, merge
from netwright.generators.base import HasLatent
from netwright.runs.fits import FitRun
from netwright.searchers.latent import LatentOptions, LatentSearch
from netwright.spaces.base import SearchSpace
from netwright.surrogates.options import GPOptions

#: Bayesian optimisation as in [SVGe] section IV-D and its released code.
SVGE: dict[str, Any] = {
    "initial": 1000,
    "candidates": "box",
    "pool": 10_000,
    "warp": "none",
    "within": False,
    "kernel": "rbf",
    "inducing": 500,
}

#: The search of [Yan2020] in the latent space of an arch2vec fit, for batches of 5.
ARCH2VEC: dict[str, Any] = {
    "initial": 16,
    "surrogate": "dngo",
    "candidates": "fixed",
    "pool": 20_000,
    "warp": "none",
    "node_mean": True,
}
_PRESETS = {"paper": SVGE, "arch2vec": ARCH2VEC}


class LatentConfig(NamedSettings):
    """Bayesian optimisation in the latent space of a fitted generator; for few evaluations.

    ``preset = "paper"`` changes the defaults to `SVGE`, made for batches of 50 and 1,500
    evaluations; "arch2vec" to `ARCH2VEC`. See `netwright.searchers.latent.LatentOptions`.
    """

    name: Literal["latent-bo"] = "latent-bo"
    model: Path  # the folder of a fit (`netwright fit`)
    preset: Literal["best", "paper", "arch2vec"] = "best"
    initial: int = Field(10, ge=0)  # random architectures at the start
    acquisition: Literal["log-ei", "random"] = "log-ei"
    surrogate: Literal["gp", "dngo"] = "gp"
    candidates: Literal["near", "box", "space", "fixed"] = "near"
    pool: int = Field(500, ge=1)  # candidates from which a batch is chosen
    draws: int = Field(500, ge=1)  # decodings of a chosen point of the box
    iterations: int = Field(0, ge=0)  # of L-BFGS from a chosen point of the box
    warp: Literal["rank", "none"] = "rank"  # of scores, before they are learned
    elites: int = Field(10, ge=1)  # candidates are near so many of the best
    spread: float = Field(1.5, gt=0, allow_inf_nan=False)  # of candidates around them
    explore: float = Field(0.2, ge=0, le=1)  # share of candidates that are not near them
    within: bool = True  # decode to members of the space only
    node_mean: bool = False  # of an arch2vec fit: learn from the mean of a cell's nodes
    reference: float | None = None  # the score to improve on; released arch2vec: 0.95
    kernel: Literal["matern", "rbf"] = "matern"
    ard: bool = False  # a lengthscale for each latent dimension
    inducing: int | None = Field(None, ge=1)  # inducing points; none: an exact process
    subset: int = Field(500, ge=2)  # points that the kernel's parameters are fitted to
    device: str = "cpu"  # of the generator

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        """Let the preset give what is not given."""
        if isinstance(values, Mapping) and not values.get("model"):
            raise ValueError("latent-bo searches in a fit (`netwright fit`): give its --model")
        if isinstance(values, Mapping) and values.get("preset") in _PRESETS:
            return merge(_PRESETS[str(values["preset"])], values)
        return values


def make(config: LatentConfig, space: SearchSpace, *, rng: torch.Generator) -> LatentSearch:
    """Build the search.

    Raises:
        ValueError: If the fit is of another space or has no latent space.
        FileNotFoundError: If there is no such fit.
    """
    del rng
    return LatentSearch(space, _fitted(config, space), options=_options(config))


def _fitted(config: LatentConfig, space: SearchSpace) -> HasLatent:
    from netwright.config.fits import load_generator  # it needs the schema, which needs this

    generator = load_generator(FitRun.open(config.model), space=space, device=config.device)
    if not isinstance(generator, HasLatent):
        raise ValueError(
            f"method.model: {config.model} is the fit of a {type(generator).__name__}, which has "
            "no latent space"
        )
    return generator


def _options(config: LatentConfig) -> LatentOptions:
    of_gp = ("kernel", "ard", "inducing", "subset")
    apart = {"name", "preset", "model", "device", *of_gp}
    gp = GPOptions(**config.model_dump(include=set(of_gp)))
    return LatentOptions(**config.model_dump(exclude=apart), gp=gp)
