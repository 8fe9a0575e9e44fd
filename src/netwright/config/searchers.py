"""From the configuration of a search method to the searcher."""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch

from netwright.config.fits import load_generator
from netwright.config.objects import call, load_object
from netwright.config.schema import (
    AdversarialSearchConfig,
    CustomConfig,
    ExplorerConfig,
    GraphPNASConfig,
    LatentConfig,
    LocalConfig,
    MethodConfig,
    RandomConfig,
    ScheduleConfig,
)
from netwright.generators.base import Generator, HasLatent
from netwright.generators.gnn2gnn import GNN2GNN
from netwright.generators.graphpnas import GraphPNAS
from netwright.generators.random_graph import RandomGraph
from netwright.generators.three_way import ThreeWayOptions
from netwright.graphs.layout import Layout
from netwright.runs.fits import FitRun
from netwright.searchers.adversarial import (
    AdversarialSearch,
    AdversarialSearchOptions,
    MakeGenerator,
)
from netwright.searchers.base import Searcher
from netwright.searchers.latent import LatentOptions, LatentSearch
from netwright.searchers.local import LocalSearch
from netwright.searchers.policy_gradient import FitOptions, Policy
from netwright.searchers.random import RandomSearch
from netwright.searchers.reinforce import MakePolicy, Reinforce, ReinforceOptions
from netwright.searchers.schedules import Constant, Exponential, Linear, Schedule, Steps
from netwright.spaces.base import SearchSpace
from netwright.surrogates.options import GPOptions


def make_searcher(config: MethodConfig, space: SearchSpace, *, rng: torch.Generator) -> Searcher:
    """Build the search method.

    Args:
        config: Which, and its settings.
        space: Where it searches.
        rng: Initialises what it trains.

    Raises:
        ValueError: If a setting does not fit the space.
    """
    match config:
        case RandomConfig():
            if not config.without:
                return RandomSearch(space)
            weights = _op_weights(config.without, space, "method.without")
            return RandomSearch(space, generator=RandomGraph(space.layout, op_weights=weights))
        case LocalConfig():
            return LocalSearch(space, initial=config.initial, neighbourhood=config.neighbourhood)
        case GraphPNASConfig():
            policy = _graphpnas_on(
                config.device,
                hidden=config.hidden,
                rounds=config.rounds,
                mixtures=config.mixtures,
                variant=config.variant,
                gate=config.gate,
                feedback=config.feedback,
            )
            fit = FitOptions(
                epochs=config.epochs,
                batch_size=config.batch_size,
                learning_rate=config.learning_rate,
                clip=config.clip or None,
                reward=config.reward,
                beta=config.beta,
                likelihood=config.likelihood,
                probability=config.probability,
            )
            options = ReinforceOptions(
                capacity=config.capacity,
                share=None if config.share is None else _schedule(config.share),
                update_every=config.update_every,
                epsilon=_schedule(config.epsilon),
                coin=config.coin,
                temperature=config.temperature,
                train_on=config.train_on,
                refit=config.refit,
                fit=fit,
            )
            explorer = _explorer(config.explorer, space)
            return Reinforce(space, policy, explorer=explorer, options=options, rng=rng)
        case LatentConfig():
            return LatentSearch(space, _fitted(config, space), options=_latent_options(config))
        case AdversarialSearchConfig():
            learns = _adversarial_options(config)
            return AdversarialSearch(space, _gnn2gnn(config), options=learns, rng=rng)
        case CustomConfig():
            made = load_object(config.name)
            made = call(f"method {config.name}", made, space, rng=rng, **config.options)
            if not isinstance(made, Searcher):
                raise ValueError(f"{config.name} made {type(made).__name__}, not a Searcher")
            return made


def _graphpnas_on(device: str, **options: Any) -> MakePolicy:
    """Return what makes a generator on a device; its first parameters are the same on all."""
    _insist_there(device)

    def make(layout: Layout, *, rng: torch.Generator) -> Policy:
        return GraphPNAS(layout, rng=rng, **options).to(device)

    return make


def _insist_there(device: str) -> None:
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"method.device: there is no {device} here, use cpu")


_OF_GNN2GNN = ("hidden", "layers", "tau", "edge_bound", "op_bound")
_OF_THREE_WAY = ("learning_rate", "gan_loss", "valuer", "entropy")


def _gnn2gnn(config: AdversarialSearchConfig) -> MakeGenerator:
    """Return what makes GNN2GNN's generator on a device."""
    _insist_there(config.device)
    options = config.model_dump(include=set(_OF_GNN2GNN))
    for bound in ("edge_bound", "op_bound"):
        options[bound] = options[bound] or None

    def make(layout: Layout, *, rng: torch.Generator) -> Generator:
        return GNN2GNN(layout, rng=rng, **options).to(config.device)

    return make


def _adversarial_options(config: AdversarialSearchConfig) -> AdversarialSearchOptions:
    three_way = ThreeWayOptions(**config.model_dump(include=set(_OF_THREE_WAY)))
    apart = {"name", "device", "epsilon", *_OF_GNN2GNN, *_OF_THREE_WAY}
    rest = config.model_dump(exclude=apart)
    return AdversarialSearchOptions(**rest, epsilon=_schedule(config.epsilon), three_way=three_way)


def _schedule(config: ScheduleConfig) -> Schedule:
    match config.name:
        case "linear":
            return Linear(config.start, config.end, over=config.over)
        case "step":
            return Steps(config.start, config.factor, every=config.over)
        case "exponential":
            return Exponential(config.start, half_life=config.over)
        case "constant":
            return Constant(config.start)


def _op_weights(without: Sequence[str], space: SearchSpace, setting: str) -> list[float]:
    """Equal weights for all operations but those that are never to be drawn."""
    unknown = set(without) - set(space.op_names)
    if unknown:
        known = ", ".join(space.op_names)
        raise ValueError(f"{setting}: no operation {unknown.pop()!r} among {known}")
    return [float(name not in without) for name in space.op_names]


def _explorer(config: ExplorerConfig, space: SearchSpace) -> RandomGraph:
    return RandomGraph(
        space.layout,
        model=config.model,
        p=config.p,
        k=config.k,
        m=config.m,
        sizes=config.sizes,
        op_weights=_op_weights(config.without, space, "explorer.without"),
    )


def model_of(config: MethodConfig) -> str | None:
    """Return the checksum of the fitted generator that a method searches with, if it does.

    Raises:
        ValueError: If the fit has no parameters yet.
        FileNotFoundError: If there is no such fit.
    """
    if not isinstance(config, LatentConfig):
        return None
    saved = FitRun.open(config.model).checkpoint
    if not saved.exists():
        raise ValueError(f"{config.model} holds no parameters yet: go on with its fit")
    with saved.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]


def _fitted(config: LatentConfig, space: SearchSpace) -> HasLatent:
    generator = load_generator(FitRun.open(config.model), space=space, device=config.device)
    if not isinstance(generator, HasLatent):
        raise ValueError(
            f"method.model: {config.model} is the fit of a {type(generator).__name__}, which has "
            "no latent space"
        )
    return generator


def _latent_options(config: LatentConfig) -> LatentOptions:
    of_gp = ("kernel", "ard", "inducing", "subset")
    apart = {"name", "preset", "model", "device", *of_gp}
    gp = GPOptions(**config.model_dump(include=set(of_gp)))
    return LatentOptions(**config.model_dump(exclude=apart), gp=gp)
