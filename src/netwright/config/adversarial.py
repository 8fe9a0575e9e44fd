"""What an adversarial fit is (GNN2GNN and its peers), as validated data, and what it stands for."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field, model_validator

from netwright.config.base import Described, SpaceConfig, Strict, merge, named
from netwright.config.fits import FitConfig, GeneratorConfig, insist_device, insist_options
from netwright.config.loading import call
from netwright.config.objects import make_space
from netwright.generators.adversarial import AdversarialFit, AdversarialRecipe, Trainee
from netwright.generators.base import Generator
from netwright.generators.critics import Critic
from netwright.generators.gnn2gnn import GNN2GNN
from netwright.generators.labelled import Labelled, insist_apart
from netwright.generators.molgan import MolGAN
from netwright.generators.relaxed import replica
from netwright.generators.rnn_gan import RNNGAN
from netwright.generators.three_way import ThreeWayOptions, make_valuer
from netwright.graphs import hashing
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.spaces.base import SearchSpace
from netwright.tables import splits
from netwright.tables.format import Table

#: Generators that are trained adversarially, by name.
ADVERSARIES: dict[str, Callable[..., Generator]] = {
    "gnn2gnn": GNN2GNN,
    "molgan": MolGAN,
    "rnn": RNNGAN,
}
_CONSTRUCTORS: dict[str, Callable[..., None]] = {
    "gnn2gnn": GNN2GNN.__init__,
    "molgan": MolGAN.__init__,
    "rnn": RNNGAN.__init__,
}

#: What presets give. "paper" is the text of [GNN2GNN] with Adam, as in its released code; "best"
#: was chosen on the cells of NAS-Bench-101 of at most 6 nodes.
PRESETS: dict[str, dict[str, Any]] = {
    "paper": {"edge_limit": False},
    "released": {
        "edge_limit": False,
        "recipe": {"gan_loss": "non-saturating", "edge_gradient": False},
    },
    "best": {
        "edge_limit": True,
        "recipe": {
            "gan_loss": "non-saturating",
            "strong": 0.02,
            "entropy": 0.005,
            "graphs": 96_000,
        },
    },
}
#: Options of the generators themselves that presets give.
_METHODS: dict[tuple[str, str], dict[str, Any]] = {
    ("released", "gnn2gnn"): {"variant": "released"},
    ("best", "gnn2gnn"): {"edge_bound": 2.0, "op_bound": 3.0},
    ("best", "molgan"): {"edge_bound": 2.0, "op_bound": 3.0},
}
_EPOCHS = 20  # [GNN2GNN] section 4.2


class LabelsConfig(Strict):
    """The labels to learn from: those of a table, less the best and some at random."""

    table: Path
    metric: str
    hold_out_top: float = Field(0.10, ge=0, lt=1)  # share of all: the best ones
    hold_out_random: float = Field(0.25, ge=0, lt=1)  # share of the others
    limit: int | None = Field(None, ge=1)  # no more training cells than that
    seed: int = 0  # of what is held out at random


class AdversarialRecipeConfig(Strict):
    """How to train; see `AdversarialRecipe` and `ThreeWayOptions`."""

    epochs: float | None = Field(None, gt=0)  # or:
    graphs: int | None = Field(None, ge=1)
    batch_size: int = Field(32, ge=1)
    balance: float = Field(0.1, ge=0, le=1)  # the paper's lambda
    warmup: float = Field(0.5, ge=0, le=1)  # share of the fit in which lambda is 1
    strong: float = Field(0.5, gt=0, lt=1)  # share of the training cells that are "strong"
    schedule: Literal["constant", "cosine"] = "constant"
    period: int | None = Field(None, ge=1)  # graphs between two records
    learning_rate: float = Field(1e-3, gt=0)
    generator_rate: float | None = Field(None, gt=0)
    optimiser: Literal["adam", "sgd"] = "adam"
    weight_decay: float = Field(5e-4, ge=0)
    gan_loss: Literal["saturating", "non-saturating"] = "saturating"
    valuer: Literal["classification", "regression"] = "classification"
    edge_gradient: bool = True
    discriminator_widths: tuple[int, ...] = (32, 32)
    valuer_widths: tuple[int, ...] = (32, 64)
    discriminator_pool: Literal["mean", "sum", "attention"] = "mean"
    valuer_pool: Literal["mean", "sum", "attention"] = "attention"
    both_ways: bool = False
    dropout: float = Field(0.2, ge=0, lt=1)
    entropy: float = Field(0.0, ge=0)

    @model_validator(mode="after")
    def _one_length(self) -> "AdversarialRecipeConfig":
        if self.epochs is not None and self.graphs is not None:
            raise ValueError("give epochs or graphs, not both")
        return self


class AdversarialConfig(Described):
    """One adversarial fit, from the space to the seed.

    ``preset`` changes the defaults to one of `PRESETS`. ``edge_limit`` says whether the generator
    heeds the space's largest number of edges; the published one does not.
    """

    preset: Literal["best", "paper", "released"] = "best"
    space: Annotated[SpaceConfig, BeforeValidator(named)]
    method: Annotated[GeneratorConfig, BeforeValidator(named)]
    data: LabelsConfig
    edge_limit: bool = True
    recipe: AdversarialRecipeConfig = AdversarialRecipeConfig()
    seed: int = 0
    device: str = "cpu"

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        """Let the preset give what is not given."""
        if not isinstance(values, Mapping):
            return values
        preset = values.get("preset", "best")
        given = dict(PRESETS.get(preset, {}))
        recipe = values.get("recipe")
        if isinstance(recipe, Mapping) and "epochs" in recipe and "recipe" in given:
            usual = given["recipe"]
            given["recipe"] = {name: usual[name] for name in usual if name != "graphs"}
        method = named(values.get("method"))
        if isinstance(method, Mapping):
            more = _METHODS.get((preset, str(method.get("name"))), {})
            values = {**values, "method": {**more, **method}}
        return merge(given, values)


def parse_fit(values: Mapping[str, Any]) -> FitConfig | AdversarialConfig:
    """Validate the description of a fit of either kind; the method's name tells which.

    Raises:
        ValueError: In one line, naming the first setting that is wrong.
    """
    method = named(values.get("method"))
    adversarial = isinstance(method, Mapping) and method.get("name") in ADVERSARIES
    return (AdversarialConfig if adversarial else FitConfig).parse(values)


def make_adversary(
    config: GeneratorConfig, layout: Layout, *, rng: torch.Generator, device: str = "cpu"
) -> Generator:
    """Build a generator for adversarial training, its parameters drawn from ``rng``.

    Raises:
        ValueError: If the name is unknown, an option or the device does not fit.
    """
    if config.name not in ADVERSARIES:
        raise ValueError(f"unknown generator {config.name!r}: use one of {', '.join(ADVERSARIES)}")
    insist_device(device)
    insist_options(config, _CONSTRUCTORS[config.name])
    made = ADVERSARIES[config.name]
    generator: Generator = call(f"generator {config.name}", made, layout, rng=rng, **config.options)
    return generator.to(device)


def adversary_layout(config: AdversarialConfig, space: SearchSpace) -> Layout:
    """Return what the generator is told of the space."""
    return space.layout if config.edge_limit else replace(space.layout, max_edges=None)


def read_split(config: AdversarialConfig, space: SearchSpace) -> splits.Split:
    """Return what is learned from and what is held out.

    Raises:
        ValueError: If the table is of another space, or nothing would be left.
        FileNotFoundError: If there is no such table.
    """
    data = config.data
    table = Table.open(data.table)
    table.require(space)
    return splits.split(
        table,
        data.metric,
        hold_out_top=data.hold_out_top,
        hold_out_random=data.hold_out_random,
        limit=data.limit,
        rng=stream(data.seed, "fit/split"),
    )


def labelled(split: splits.Split) -> Labelled:
    """Return what training code is handed: training rows with their scores, nothing else.

    Raises:
        ValueError: If one of them is held out, or there is a score that is not finite.
    """
    data = Labelled(split.train, split.scores)
    insist_apart(hashing.keys(data.archs), split.held_out_keys)
    return data


def make_adversarial_recipe(config: AdversarialConfig, cells: int) -> AdversarialRecipe:
    """Return the recipe for a number of training cells."""
    given = config.recipe
    graphs = given.graphs or math.ceil((given.epochs or _EPOCHS) * cells)
    mine = ("balance", "warmup", "strong", "schedule", "batch_size")
    theirs = given.model_dump(exclude={"epochs", "graphs", "period", *mine})
    return AdversarialRecipe(
        graphs,
        period=given.period or max(given.batch_size, graphs // 50),
        three_way=ThreeWayOptions(**theirs),
        **{name: getattr(given, name) for name in mine},
    )


def make_adversarial_fit(
    configs: Sequence[AdversarialConfig], data: Sequence[Labelled] | None = None
) -> AdversarialFit:
    """Build a fit from its beginning, of several replicas side by side.

    Args:
        configs: They may differ in seed, data, lambda (``recipe.balance``) and tau only.
        data: What each learns from, if it is at hand.

    Raises:
        ValueError: If a setting does not fit, or they cannot be trained together.
        FileNotFoundError: If there is no such table.
    """
    trainees = []
    for i, config in enumerate(configs):
        if alike(config) != alike(configs[0]):
            raise ValueError(
                "fits that train together may differ in seed, data, recipe.balance and method.tau "
                "only"
            )
        space = make_space(config.space)
        cells = labelled(read_split(config, space)) if data is None else data[i]
        rng = stream(config.seed, "fit/init")
        layout = adversary_layout(config, space)
        generator = make_adversary(config.method, layout, rng=rng, device=config.device)
        # A table of small graphs stores them without room for more nodes.
        cells = replace(cells, archs=cells.archs.pad(layout.max_nodes))
        trainees.append(Trainee(generator, cells, config.seed, config.recipe.balance))
    recipe, *others = [make_adversarial_recipe(configs[0], len(t.data)) for t in trainees]
    if any(other != recipe for other in others):
        raise ValueError(
            "fits that train together must see equally many graphs: give recipe.graphs, not epochs"
        )
    return AdversarialFit(trainees, recipe)


def load_adversary(
    config: AdversarialConfig, state: Mapping[str, Any], index: int = 0
) -> Generator:
    """Return the generator of one replica of a fit as it stands.

    Raises:
        RuntimeError: If the state is that of another generator.
    """
    layout = adversary_layout(config, make_space(config.space))
    generator = make_adversary(config.method, layout, rng=stream(0, "unused"))
    generator.load_state_dict(replica(state["generator"], index))
    return generator.to(config.device).eval()


def load_valuer(config: AdversarialConfig, state: Mapping[str, Any], index: int = 0) -> Critic:
    """Return the valuer of one replica of a fit as it stands.

    Raises:
        RuntimeError: If the state is that of another valuer.
    """
    options = make_adversarial_recipe(config, 1).three_way
    num_ops = make_space(config.space).layout.num_ops
    valuer = make_valuer(num_ops, options, rng=stream(0, "unused"))
    valuer.load_state_dict(replica(state["valuer"], index))
    return valuer.to(config.device).eval()


def alike(config: AdversarialConfig) -> dict[str, Any]:
    """Return the settings that fits trained together must share."""
    same = config.resolved()
    for name in ("seed", "data", "preset"):
        same.pop(name, None)
    same["recipe"].pop("balance")
    same["method"].pop("tau", None)
    return same
