"""From the settings of a search method to the searcher."""

import hashlib
from collections.abc import Callable

import torch

from netwright.config.base import CustomConfig, NamedSettings
from netwright.config.loading import call, load_object
from netwright.config.methods import (
    adversarial,
    agnet,
    bananas,
    bohb,
    controller,
    evolution,
    graphpnas,
    latent,
    local,
    nago,
    predictor,
    random,
    random_graphs,
)
from netwright.runs.fits import FitRun
from netwright.searchers.base import Searcher
from netwright.spaces.base import SearchSpace

#: What makes a searcher, by the class of its settings; their names are in `METHODS`.
MAKERS: dict[type[NamedSettings], Callable[..., Searcher]] = {
    random.RandomConfig: random.make,
    local.LocalConfig: local.make,
    evolution.EvolutionConfig: evolution.make,
    bananas.BananasConfig: bananas.make,
    predictor.PredictorConfig: predictor.make,
    bohb.BohbConfig: bohb.make,
    random_graphs.RandomGraphConfig: random_graphs.make,
    nago.NagoConfig: nago.make,
    controller.ControllerConfig: controller.make,
    graphpnas.GraphPNASConfig: graphpnas.make,
    latent.LatentConfig: latent.make,
    agnet.AGNetConfig: agnet.make,
    adversarial.AdversarialSearchConfig: adversarial.make,
}


def make_searcher(
    config: NamedSettings | CustomConfig, space: SearchSpace, *, rng: torch.Generator
) -> Searcher:
    """Build the search method.

    Args:
        config: Which, and its settings.
        space: Where it searches.
        rng: Initialises what it trains.

    Raises:
        ValueError: If a setting does not fit the space.
    """
    if not isinstance(config, CustomConfig):
        return MAKERS[type(config)](config, space, rng=rng)
    made = call(f"method {config.name}", load_object(config.name), space, rng=rng, **config.options)
    if not isinstance(made, Searcher):
        raise ValueError(f"{config.name} made {type(made).__name__}, not a Searcher")
    return made


def model_of(config: NamedSettings | CustomConfig) -> str | None:
    """Return the checksum of the fitted generator that a method searches with, if it does.

    Raises:
        ValueError: If the fit has no parameters yet.
        FileNotFoundError: If there is no such fit.
    """
    model = getattr(config, "model", None)
    if isinstance(config, CustomConfig) or model is None:
        return None
    saved = FitRun.open(model).checkpoint
    if not saved.exists():
        raise ValueError(f"{model} holds no parameters yet: go on with its fit")
    with saved.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
