"""What a fit is, as validated data, and the objects it stands for."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, get_type_hints

import torch
from pydantic import (
    BeforeValidator,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from netwright.config.base import Described, OpenConfig, SpaceConfig, Strict, first_problem, named
from netwright.config.loading import call, load_object
from netwright.config.objects import make_space
from netwright.generators.arch2vec import Arch2Vec
from netwright.generators.base import Generator, HasLatent
from netwright.generators.dgmg import dgmg
from netwright.generators.dvae import DVAE
from netwright.generators.fit import Fit, Recipe, load_parameters
from netwright.generators.graphpnas import GraphPNAS
from netwright.generators.svge import SVGe
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.layout import Layout
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.spaces.base import Enumerable, SearchSpace
from netwright.tables.format import Table

#: Generators that can be fitted to graphs, by name.
GENERATORS: dict[str, Callable[..., Generator]] = {
    "svge": SVGe,
    "dgmg": dgmg,
    "dvae": DVAE,
    "arch2vec": Arch2Vec,
    "graphpnas": GraphPNAS,
}
#: What takes their options.
_CONSTRUCTORS: dict[str, Callable[..., None]] = {
    "svge": SVGe.__init__,
    "dgmg": SVGe.__init__,
    "dvae": DVAE.__init__,
    "arch2vec": Arch2Vec.__init__,
    "graphpnas": GraphPNAS.__init__,
}


class GeneratorConfig(OpenConfig):
    """A generator by name, or ``file.py:NAME``, and the options of its constructor."""


class DataConfig(Strict):
    """The graphs to learn: those of a table, a sample of the space, or all of it."""

    table: Path | None = None
    sample: int | None = Field(None, ge=2)  # distinct architectures drawn from the space
    held_out: float = Field(0.1, gt=0, lt=1)  # share kept for validation
    limit: int | None = Field(None, ge=1)  # no more training graphs than that
    seed: int = 0  # of the sample and the split

    @model_validator(mode="after")
    def _one_source(self) -> "DataConfig":
        if self.table is not None and self.sample is not None:
            raise ValueError("give a table or the size of a sample, not both")
        return self


class RecipeConfig(Strict):
    """How to train; see `netwright.generators.fit.Recipe`.

    ``preset`` gives what is not given: "fast", which needs few graphs, or "paper".
    """

    preset: Literal["fast", "paper"] = "fast"
    epochs: float | None = Field(None, gt=0)  # or:
    graphs: int | None = Field(None, ge=1)
    batch_size: int | None = Field(None, ge=1)
    learning_rate: float | None = Field(None, gt=0)
    schedule: Literal["plateau", "cosine", "constant"] | None = None
    factor: float = Field(0.1, gt=0, lt=1)
    patience: int = Field(10, ge=0)
    warmup: int | None = Field(None, ge=0)  # graphs
    clip: float | None = Field(None, gt=0)
    period: int | None = Field(None, ge=1)  # graphs between two records
    valid_graphs: int = Field(2000, ge=0)
    stop_after: int | None = Field(None, ge=1)  # periods without progress
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    compile: bool = False

    @model_validator(mode="after")
    def _one_length(self) -> "RecipeConfig":
        if self.epochs is not None and self.graphs is not None:
            raise ValueError("give epochs or graphs, not both")
        return self


class Preset(NamedTuple):
    """What a recipe's preset gives."""

    epochs: float
    batch_size: int
    learning_rate: float
    schedule: Literal["plateau", "cosine", "constant"]
    warmup: int = 0
    clip: float | None = None


_FAST = Preset(20, 32, 2e-3, "cosine", warmup=2000, clip=5.0)


class FitConfig(Described):
    """One fit, from the space to the seed.

    ``layout`` is what the generator is told of the space: "free", its sizes and vocabulary and
    how graphs begin and end, as the published models are; or "space", all that is fixed.
    """

    space: Annotated[SpaceConfig, BeforeValidator(named)]
    method: Annotated[GeneratorConfig, BeforeValidator(named)]
    data: DataConfig = DataConfig()
    layout: Literal["free", "space"] = "free"
    recipe: RecipeConfig = RecipeConfig()
    seed: int = 0
    device: str = "cpu"


class Split(NamedTuple):
    """Graphs to learn, and held-out ones."""

    train: ArchitectureBatch
    held_out: ArchitectureBatch


def make_generator(
    config: GeneratorConfig, layout: Layout, *, rng: torch.Generator, device: str = "cpu"
) -> Generator:
    """Build a generator over a layout, its parameters drawn from ``rng``.

    Raises:
        ValueError: If the name is unknown, an option or the device does not fit.
    """
    own = ".py:" in config.name
    if not own and config.name not in GENERATORS:
        known = ", ".join([*GENERATORS, "file.py:NAME"])
        raise ValueError(f"unknown generator {config.name!r}: use one of {known}")
    insist_device(device)
    if not own:
        insist_options(config, _CONSTRUCTORS[config.name])
    made = load_object(config.name) if own else GENERATORS[config.name]
    generator = call(f"generator {config.name}", made, layout, rng=rng, **config.options)
    if not isinstance(generator, Generator):
        raise ValueError(f"{config.name} made {type(generator).__name__}, not a Generator")
    return generator.to(device).eval()


def insist_device(device: str) -> None:
    """Do nothing if there is such a device.

    Raises:
        ValueError: If there is none.
    """
    try:
        kind = torch.device(device).type
    except RuntimeError:
        raise ValueError(f"device: there is no {device!r}, use cpu or cuda") from None
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device: there is no {device} here, use cpu")


def insist_options(config: GeneratorConfig, constructor: Callable[..., None]) -> None:
    """Do nothing if options are such as the constructor of a generator of ours takes.

    Raises:
        ValueError: With the first that is not.
    """
    known = get_type_hints(constructor)
    known = {name: kind for name, kind in known.items() if name not in ("layout", "rng", "return")}
    for name, value in config.options.items():
        if name not in known:
            raise ValueError(
                f"method.{name}: there is no such setting of {config.name}, use "
                f"{', '.join(sorted(known))}"
            )
        try:
            TypeAdapter(known[name]).validate_python(value)
        except ValidationError as error:
            raise ValueError(f"method.{name}: {first_problem(error)}") from None
        if known[name] is int and value < 1:
            raise ValueError(f"method.{name}: a size must be at least 1 (given: {value})")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"method.{name}: give a finite number (given: {value})")


def layout_of(config: FitConfig, space: SearchSpace) -> Layout:
    """Return what the generator is told of the space."""
    return space.layout if config.layout == "space" else space.layout.freed(keep_ends=True)


def read_graphs(config: FitConfig, space: SearchSpace) -> Split:
    """Return the graphs of a fit, in a random order that depends on ``data.seed`` alone.

    Raises:
        ValueError: If the table is of another space, or the space cannot be listed.
        FileNotFoundError: If there is no such table.
    """
    data = config.data
    if data.table is not None:
        table = Table.open(data.table)
        table.require(space)
        archs = table.archs(torch.arange(len(table)))
    elif data.sample is not None:
        archs = _distinct_sample(space, data.sample, rng=stream(data.seed, "fit/sample"))
    elif isinstance(space, Enumerable):
        try:
            archs = space.enumerate()
        except ValueError as error:
            raise ValueError(f"{error}, or give a table or data.sample") from None
    else:
        raise ValueError(f"{space.name} is too large to list: give a table or data.sample")
    order = torch.randperm(len(archs), generator=stream(data.seed, "fit/split"))
    count = round(len(archs) * data.held_out)
    if not 0 < count < len(archs):
        raise ValueError(f"{len(archs)} graphs are too few to hold {data.held_out:.0%} out")
    train = order[count:][: data.limit]
    return Split(archs[train], archs[order[:count]])


def make_recipe(config: FitConfig, graphs: int) -> Recipe:
    """Return the recipe for a number of training graphs."""
    given = config.recipe
    paper = given.preset == "paper"
    preset = _published(config.method.name, config.space.name) if paper else _FAST
    chosen = {
        name: value if (value := getattr(given, name)) is not None else getattr(preset, name)
        for name in ("batch_size", "learning_rate", "schedule", "warmup", "clip")
    }
    total = given.graphs or max(1, round((given.epochs or preset.epochs) * graphs))
    if given.warmup is None:
        chosen["warmup"] = min(preset.warmup, total // 10)
    rest = given.model_dump(exclude={"preset", "epochs", "graphs", *chosen})
    return replace(Recipe(total), **chosen, **rest)


def _published(method: str, space: str) -> Preset:
    """Return what the released code of [Yan2020] has for arch2vec, that of [SVGe] for others."""
    if method == "arch2vec":
        return Preset(10 if space == "nasbench201" else 8, 32, 1e-3, "constant", clip=5.0)
    large = space == "nasbench101" and method != "dvae"
    return Preset(300, 128 if large else 32, 1e-4, "plateau")


def make_fit(config: FitConfig) -> Fit:
    """Build a fit from its beginning.

    Raises:
        ValueError: If a setting does not fit.
        FileNotFoundError: If there is no such table.
    """
    if config.recipe.precision != "float32" and not config.device.startswith("cuda"):
        raise ValueError(
            f"recipe.precision: {config.recipe.precision} needs a GPU: set device to cuda, or use "
            "float32"
        )
    space = make_space(config.space)
    train, held_out = read_graphs(config, space)
    rng = stream(config.seed, "fit/init")
    layout = layout_of(config, space)
    generator = make_generator(config.method, layout, rng=rng, device=config.device)
    return Fit(generator, train, held_out, make_recipe(config, len(train)), seed=config.seed)


def load_generator(
    run: FitRun, *, space: SearchSpace | None = None, device: str = "cpu"
) -> Generator:
    """Return the generator of a fit as it stands.

    Args:
        run: The fit.
        space: Another space of the same operations, larger or smaller, if the generator's
            parameters fit any size; that of the fit if None.
        device: Where to put it.

    Raises:
        ValueError: If nothing was saved yet, the file is damaged, or the generator does not fit
            the space.
    """
    config = FitConfig.parse(run.config)
    mine = make_space(config.space)
    target = mine if space is None else space
    if target.op_names != mine.op_names:
        raise ValueError(
            f"{run.folder} knows the operations {', '.join(mine.op_names)}, "
            f"{target.name} has {', '.join(target.op_names)}"
        )
    state = run.state()
    if state is None:
        raise ValueError(f"{run.folder} holds no parameters yet: go on with its fit")
    layout = layout_of(config, target)
    generator = make_generator(config.method, layout, rng=stream(0, "unused"), device=device)
    larger = layout.max_nodes != mine.layout.max_nodes
    if larger and not (isinstance(generator, HasLatent) and generator.any_size):
        raise ValueError(
            f"a {config.method.name} fitted to {mine.layout.max_nodes} nodes cannot take "
            f"{layout.max_nodes}"
        )
    load_parameters(generator, state["generator"])
    return generator


def _distinct_sample(space: SearchSpace, n: int, *, rng: torch.Generator) -> ArchitectureBatch:
    """Draw ``n`` distinct architectures from a space.

    Raises:
        ValueError: If the space seems to have fewer.
    """
    if isinstance(space, Enumerable) and space.size < 4 * n:  # draws would repeat too often
        archs = space.enumerate()
        return archs[torch.randperm(len(archs), generator=rng)[: _insist(n, len(archs), space)]]
    kept = ArchitectureBatch.empty(space.layout.max_nodes)
    for _ in range(20):
        kept = ArchitectureBatch.cat([kept, space.sample(2 * (n - len(kept)), rng=rng)])
        kept = kept[hashing.first_of_each(space.keys(kept))]
        if len(kept) >= n:
            break
    return kept[: _insist(n, len(kept), space)]


def _insist(wanted: int, found: int, space: SearchSpace) -> int:
    """Return the number wanted.

    Raises:
        ValueError: If fewer were found.
    """
    if found < wanted:
        raise ValueError(
            f"{space.name} hardly has {wanted} architectures: {found} found, so take a smaller "
            "data.sample"
        )
    return wanted
