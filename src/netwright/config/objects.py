"""The closed tables from names to constructors: the only place where names become objects.

Searchers are made in `netwright.config.searchers`, generators in `netwright.config.fits`.
"""

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from netwright.config.base import CustomConfig, SpaceConfig
from netwright.config.loading import call, load_object
from netwright.config.schema import (
    EvaluatorConfig,
    InitialConfig,
    RayConfig,
    SupernetConfig,
    TableConfig,
    TrainConfig,
    ZeroCostConfig,
)
from netwright.evaluation import Evaluator
from netwright.evaluators.distributed import Distributed
from netwright.evaluators.halving import Halving, epochs_of
from netwright.evaluators.isolated import Isolated
from netwright.evaluators.supernet import SupernetEvaluator, SupernetRecipe
from netwright.evaluators.table import TableEvaluator
from netwright.evaluators.train import (
    DIGITS_RECIPE,
    ENAS_FINAL_RECIPE,
    PAPER_RECIPE,
    Build,
    TrainEvaluator,
)
from netwright.evaluators.training import Recipe
from netwright.evaluators.zero_cost import ZeroCostEvaluator
from netwright.graphs.batch import ArchitectureBatch
from netwright.images.archive import unpacked
from netwright.images.cifar import cifar10, cifar100
from netwright.images.data import ImageData
from netwright.images.digits import digits
from netwright.images.folder import folder
from netwright.images.huggingface import huggingface
from netwright.images.idx import idx
from netwright.images.imagenet16 import imagenet16
from netwright.images.tiny_imagenet import tiny_imagenet
from netwright.networks.enas import enas_network
from netwright.networks.enas_supernet import ENASSupernet
from netwright.networks.nasbench101 import nasbench101_network
from netwright.networks.nasbench201 import nasbench201_network
from netwright.networks.randwire import randwire_network
from netwright.networks.toy import toy_network
from netwright.rng import stream
from netwright.searchers.base import Fresh
from netwright.spaces.base import SearchSpace
from netwright.spaces.enas import ENAS
from netwright.spaces.listed import Listed
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.nasbenchgraph import NASBenchGraph
from netwright.spaces.nats_pruned import NATSPruned
from netwright.spaces.randwire import RandWire
from netwright.spaces.toy import Toy
from netwright.tables.format import Table

SPACES: dict[str, Callable[..., SearchSpace]] = {
    "toy": Toy,
    "nasbench101": NASBench101,
    "nasbench201": NASBench201,
    "nats_pruned": NATSPruned,
    "enas": ENAS,
    "nasbenchgraph": NASBenchGraph,
    "randwire": RandWire,
}
NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "toy": toy_network,
    "nasbench101": nasbench101_network,
    "nasbench201": nasbench201_network,
    "enas": enas_network,
    "randwire": randwire_network,
}
#: Recipes of training.
RECIPES: dict[str, Recipe] = {
    "digits": DIGITS_RECIPE,
    "graphpnas": PAPER_RECIPE,
    "graphpnas-final": ENAS_FINAL_RECIPE,
}
#: Readers of images in a folder or an archive, as in ``cifar10:PATH``.
DATA_SETS: dict[str, Callable[[str], ImageData]] = {
    "folder": folder,
    "idx": idx,
    "cifar10": cifar10,
    "cifar100": cifar100,
    "imagenet16": imagenet16,
    "tiny-imagenet": tiny_imagenet,
    "huggingface": huggingface,
}


def make_space(config: SpaceConfig) -> SearchSpace:
    """Build the search space.

    Raises:
        ValueError: If the name is unknown or an option does not fit.
        FileNotFoundError: If there is no such table.
    """
    own = ".py:" in config.name
    if not own and config.name not in SPACES:
        known = ", ".join([*SPACES, "file.py:NAME"])
        raise ValueError(f"unknown space {config.name!r}: use one of {known}")
    made = load_object(config.name) if own else SPACES[config.name]
    if callable(made):
        made = call(f"space {config.name}", made, **config.options)
    if not isinstance(made, SearchSpace):
        raise ValueError(f"{config.name} is {type(made).__name__}, not a SearchSpace")
    if config.known is None:
        return made
    table = Table.open(config.known)
    table.require(made)
    return Listed(made, table.archs(torch.arange(len(table))))


def space_of(table: Table) -> dict[str, Any]:
    """Return the settings of the space that a table is of.

    Raises:
        ValueError: If the name of the space and its sizes do not tell, as with a space of one's
            own.
    """
    make = SPACES.get(table.space_name)
    if make is None:
        raise ValueError(
            f"{table.path} is a table of the space {table.space_name}: name its file with --space"
        )
    sizes = inspect.signature(make).parameters.keys() & table.parameters.keys()
    options = {name: table.parameters[name] for name in sorted(sizes)}
    table.require(make(**options))
    return {"name": table.space_name, **options}


def make_evaluator(
    config: EvaluatorConfig,
    space: SearchSpace,
    *,
    workers: int = 1,
    ray: RayConfig | None = None,
) -> Evaluator:
    """Build the evaluator; one that trains runs in processes of its own where that is of use.

    Raises:
        ImportError: If Ray is wanted and missing.
        ValueError: If a setting does not fit, or the space has no network.
        FileNotFoundError: If there is no such table or folder.
    """
    match config:
        case TableConfig():
            _refuse(ray, "looking up takes no time")
            table = Table.open(config.path)
            full = TableEvaluator(table, space, config.metric, config.extras)
            if not config.rungs:
                return full
            names = (*config.rungs, config.metric)
            return Halving(
                [*(TableEvaluator(table, space, name) for name in config.rungs), full],
                [epochs_of(name) for name in names],
                names=names,
                eta=config.eta,
            )
        case TrainConfig():
            return _trained(config, space, workers, ray)
        case ZeroCostConfig():
            untrained = ZeroCostEvaluator(
                make_build(space, config.preset),
                make_data(config.dataset),
                config.score,
                batch_size=config.batch_size,
                batch_seed=config.batch_seed,
                device=config.device,
            )
            return _spread(untrained, workers, ray)
        case SupernetConfig():
            _refuse(ray, "shared weights are trained in one process")
            return _shared(config, space)
        case CustomConfig():
            made = load_object(config.name)
            if isinstance(made, type) or not isinstance(made, Evaluator):
                made = call(f"evaluator {config.name}", made, space, **config.options)
            if not isinstance(made, Evaluator):
                raise ValueError(f"{config.name} made {type(made).__name__}, not an Evaluator")
            return _spread(made, workers, ray)


def _shared(config: SupernetConfig, space: SearchSpace) -> SupernetEvaluator:
    if not isinstance(space, ENAS):
        raise ValueError(
            f"architectures of {space.name} share no weights: the evaluator supernet is for enas"
        )
    data = make_data(config.dataset)
    small = max(data.train_images.shape[-2:]) <= 16
    recipe = SupernetRecipe(
        epochs=config.epochs or SupernetRecipe.epochs,
        epochs_per_step=config.epochs_per_step,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        last_learning_rate=config.last_learning_rate,
        weight_decay=config.weight_decay,
        statistics=config.statistics,
        crop_padding=1 if small else 4,
    )
    return SupernetEvaluator(
        partial(ENASSupernet, space.layout.max_nodes - 2, channels=config.channels),
        data,
        recipe,
        train_fraction=config.train_fraction,
        split_seed=config.split_seed,
        device=config.device,
    )


def _refuse(ray: RayConfig | None, reason: str) -> None:
    if ray is not None:
        raise ValueError(f"no use for Ray here ({reason}): leave ray out")


def _spread(
    evaluator: Evaluator, workers: int, ray: RayConfig | None, timeout: float | None = None
) -> Evaluator:
    """Let an evaluator run in processes of its own, here or on a cluster, where that is of use."""
    if ray is not None:
        return Distributed(
            evaluator,
            workers=workers,
            address=ray.address,
            cpus=ray.cpus,
            gpus=ray.gpus,
            timeout=timeout,
            retries=ray.retries,
        )
    if workers == 1 and timeout is None:
        return evaluator
    return Isolated(evaluator, timeout=timeout, workers=workers)


def _trained(
    config: TrainConfig, space: SearchSpace, workers: int, ray: RayConfig | None
) -> Evaluator:
    if config.rungs:
        _refuse(ray, "halving runs on this machine")
    data = training_data(config)
    recipe = make_recipe(config, data)

    def trained(epochs: int) -> Evaluator:
        evaluator = TrainEvaluator(
            make_build(space, config.preset),
            data,
            replace(recipe, epochs=epochs),
            train_fraction=config.train_fraction,
            split_seed=config.split_seed,
            device=config.device,
            test=config.test and epochs == recipe.epochs,
            clock=config.clock,
        )
        return _spread(evaluator, workers, ray, config.timeout)

    lengths = [*config.rungs, recipe.epochs]
    rungs = [trained(epochs) for epochs in lengths]
    if len(rungs) == 1:
        return rungs[0]
    names = [f"valid@{epochs}" for epochs in lengths]
    return Halving(rungs, lengths, names=names, eta=config.eta, workers=workers)


def make_initial(
    config: InitialConfig | None, space: SearchSpace, *, seed: int
) -> tuple[ArchitectureBatch, Tensor] | None:
    """Return the architectures whose scores are known before a search, with their scores.

    Raises:
        ValueError: If the table is of another space, has no such metric, or no score of it.
        FileNotFoundError: If there is no such table.
    """
    if config is None:
        return None
    table = Table.open(config.table)
    table.require(space)
    score = table.column(config.metric).float()
    known = score.isfinite().nonzero()[:, 0]
    if not len(known):
        raise ValueError(f"initial: {config.table} has no score in {config.metric}")
    order = torch.randperm(len(known), generator=stream(seed, "initial"))
    row = known[order[: max(1, round(config.share * len(known)))]]
    return table.archs(row), score[row]


def make_design(n: int, space: SearchSpace, *, seed: int) -> ArchitectureBatch | None:
    """Draw the architectures that a search is to begin with; None if there are to be none."""
    if not n:
        return None
    return Fresh(space).random(n, rng=stream(seed, "design")).archs


def make_data(name: str) -> ImageData:
    """Read a data set: "digits", or images in a folder, like "folder:PATH" or "cifar10:PATH".

    PATH may be an archive; it is unpacked beside itself the first time.

    Raises:
        ValueError: If the name is unknown or the images cannot be read.
        FileNotFoundError: If there is no such folder, or a file is missing in it.
    """
    kind, _, path = name.partition(":")
    if kind in DATA_SETS and path:
        return DATA_SETS[kind](str(unpacked(path)))
    if name == "digits":
        return digits()
    *others, last = ["digits", *(f"{kind}:PATH" for kind in DATA_SETS)]
    raise ValueError(f"unknown data set {name!r}: use {', '.join(others)} or {last}")


def training_data(config: TrainConfig) -> ImageData:
    """Read the images that networks are trained on, and have them shown at their size."""
    data = make_data(config.dataset)
    return replace(data, resize=config.resize) if config.resize else data


def make_recipe(config: TrainConfig, data: ImageData) -> Recipe:
    """Return the training recipe of that name, adapted by settings; small images shift by less."""
    names = ("epochs", "batch_size", "learning_rate", "weight_decay", "cutout")
    given = {name: getattr(config, name) for name in names if getattr(config, name) is not None}
    small = max(data.train_images.shape[-2:]) <= 16
    return replace(
        RECIPES[config.recipe],
        **given,
        crop_padding=1 if small else 4,
        precision=config.precision,
        compile=config.compile,
    )


def make_build(space: SearchSpace, preset: str = "small") -> Build:
    """Return what turns an architecture of the space into a network.

    A space of one's own brings a method ``network(arch, *, in_channels, num_classes)``.

    Raises:
        ValueError: If the space has no network.
    """
    if space.name in NETWORKS:
        return partial(NETWORKS[space.name], preset=preset)
    build = getattr(space, "network", None)
    if build is None:
        raise ValueError(
            f"architectures of {space.name} cannot be trained: give the space a method "
            "network(arch, *, in_channels, num_classes) that returns a torch module"
        )
    assert isinstance(build, Build)
    return build
