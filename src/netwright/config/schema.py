"""What a run is, as validated data.

Spaces, methods and evaluators of one's own are named ``file.py:NAME``; everything else is one of
the names here. `netwright.config.objects` makes objects of them.
"""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from netwright.search import Mode


class Strict(BaseModel):
    """A part of a description: no setting but those it names, no number that is not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


D = TypeVar("D", bound="Described")


class Described(BaseModel):
    """Something as a whole, a search or a fit, as it stands in a TOML file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls: type[D], values: Mapping[str, Any]) -> D:
        """Validate ``values``.

        Raises:
            ValueError: In one line, naming the first setting that is wrong.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ValueError(first_problem(error)) from None

    @classmethod
    def load(cls: type[D], path: Path, overrides: Mapping[str, Any] | None = None) -> D:
        """Read a TOML file; ``overrides`` win over what it says.

        Raises:
            ValueError: If the file is no TOML, or a setting is wrong.
            FileNotFoundError: If there is no such file.
        """
        return cls.parse(merge(read_toml(path), overrides or {}))

    def resolved(self) -> dict[str, Any]:
        """Return every setting, defaults included, as plain values; unset ones are left out."""
        return self.model_dump(mode="json", exclude_none=True)


class OpenConfig(BaseModel):
    """Further options go to the constructor that ``name`` stands for."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        """What there is besides the name."""
        return dict(self.model_extra or {})


class SpaceConfig(OpenConfig):
    """A search space by name, or ``file.py:NAME``, and the options of its constructor."""

    known: Path | None = None  # only the architectures that this table has


class CustomConfig(OpenConfig):
    """A method or an evaluator of one's own, ``file.py:NAME``."""


class RandomConfig(Strict):
    """Random search: samples of the space, without repeats."""

    name: Literal["random"] = "random"
    without: tuple[str, ...] = ()  # operations it never draws, by name


class LocalConfig(Strict):
    """Local search; the defaults are those of naszilla ([White2020])."""

    name: Literal["local"] = "local"
    initial: int = Field(10, ge=1)  # random architectures at the start and at every restart
    neighbourhood: Literal["first", "full"] = "first"


class ScheduleConfig(Strict):
    """A number that changes with the evaluations told.

    "linear" from ``start`` to ``end`` over ``over`` evaluations; "step" is ``start``, times
    ``factor`` every ``over``; "exponential" is ``start``, halved every ``over``; "constant" is
    ``start``.
    """

    name: Literal["linear", "step", "exponential", "constant"] = "linear"
    start: float = Field(1.0, ge=0, le=1)
    end: float = Field(0.0, ge=0, le=1)
    over: int = Field(30, ge=1)
    factor: float = Field(0.0, ge=0, le=1)


class ExplorerConfig(Strict):
    """The random graphs that the explorer draws ([GraphPNAS] section 3.2)."""

    model: Literal["er", "ws", "ba"] = "er"
    p: float = Field(0.25, ge=0, le=1)  # edge (er) or rewiring (ws) probability
    k: int = Field(4, ge=2)  # neighbours on the ring (ws)
    m: int = Field(2, ge=1)  # edges of a new node (ba)
    sizes: Literal["full", "uniform"] = "full"
    without: tuple[str, ...] = ()  # operations it never draws, by name


#: What the paper's released code does otherwise; the numbers are those for NAS-Bench-101.
RELEASED: dict[str, Any] = {
    "variant": "released",
    "hidden": 24,
    "explorer": {"sizes": "uniform"},
    "epsilon": {"name": "step", "start": 1.0, "factor": 0.0, "over": 30},
    "coin": "step",
    "capacity": 15,
    "clip": 0.0,
    "reward": "rank",
    "likelihood": "normalised",
    "refit": True,
}


class GraphPNASConfig(Strict):
    """GraphPNAS; the defaults are the paper's for NAS-Bench-101.

    ``preset = "released"`` changes the defaults to `RELEASED`.
    """

    name: Literal["graphpnas"] = "graphpnas"
    preset: Literal["paper", "released"] = "paper"
    variant: Literal["paper", "released"] = "paper"
    hidden: int = Field(128, ge=1)
    rounds: int = Field(7, ge=1)
    mixtures: int = Field(10, ge=1)
    gate: Literal["scalar", "vector"] | None = None  # that of the variant
    feedback: bool | None = None  # the network sees operations drawn before; as in the variant
    explorer: ExplorerConfig = ExplorerConfig()
    epsilon: ScheduleConfig = ScheduleConfig()  # the explorer's share
    coin: Literal["proposal", "step"] = "proposal"
    temperature: float = Field(1.0, gt=0)
    capacity: int = Field(30, ge=1)
    share: ScheduleConfig | None = None  # instead of capacity: the best share of all
    update_every: int = Field(10, ge=1)
    epochs: int = Field(70, ge=1)
    batch_size: int = Field(2, ge=1)
    learning_rate: float = Field(1e-3, gt=0)
    clip: float = Field(1.0, ge=0)  # 0: no limit
    beta: float = Field(0.05, ge=0)
    reward: Literal["standardised", "rank"] = "standardised"
    likelihood: Literal["graph", "normalised"] = "graph"
    probability: Literal["graph", "per_decision"] = "graph"
    train_on: Literal["pruned", "raw"] = "pruned"
    refit: bool = False
    device: str = "cpu"  # of the generator

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, values: Any) -> Any:
        """Let the preset give what is not given."""
        if isinstance(values, Mapping) and values.get("preset") == "released":
            return merge(RELEASED, values)
        return values


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


class LatentConfig(Strict):
    """Bayesian optimisation in the latent space of a fitted generator; for few evaluations.

    ``preset = "paper"`` changes the defaults to `SVGE`, made for batches of 50 and 1,500
    evaluations. See `netwright.searchers.latent.LatentOptions`.
    """

    name: Literal["latent-bo"] = "latent-bo"
    model: Path  # the folder of a fit (`netwright fit`)
    preset: Literal["best", "paper"] = "best"
    initial: int = Field(10, ge=0)  # random architectures at the start
    acquisition: Literal["log-ei", "random"] = "log-ei"
    candidates: Literal["near", "box", "space"] = "near"
    pool: int = Field(500, ge=1)  # candidates from which a batch is chosen
    draws: int = Field(500, ge=1)  # decodings of a chosen point of the box
    iterations: int = Field(0, ge=0)  # of L-BFGS from a chosen point of the box
    warp: Literal["rank", "none"] = "rank"  # of scores, before they are learned
    elites: int = Field(10, ge=1)  # candidates are near so many of the best
    spread: float = Field(1.5, gt=0, allow_inf_nan=False)  # of candidates around them
    explore: float = Field(0.2, ge=0, le=1)  # share of candidates that are not near them
    within: bool = True  # decode to members of the space only
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
        if isinstance(values, Mapping) and values.get("preset") == "paper":
            return merge(SVGE, values)
        return values


class AdversarialSearchConfig(Strict):
    """GNN2GNN, trained while it searches; see `AdversarialSearchOptions` and `ThreeWayOptions`."""

    name: Literal["gnn2gnn"] = "gnn2gnn"
    hidden: int = Field(32, ge=1)
    layers: int = Field(2, ge=0)
    tau: float = Field(0.1, gt=0)
    edge_bound: float = Field(2.0, ge=0)  # largest size of an edge's logit; 0: no bound
    op_bound: float = Field(3.0, ge=0)  # and of an operation's
    initial: int = Field(10, ge=0)  # random architectures at the start
    update_every: int = Field(5, ge=1)
    steps: int = Field(30, ge=1)  # of an update
    batch_size: int = Field(32, ge=1)
    strong: float = Field(0.2, gt=0, lt=1)  # share of what was told that is "strong"
    tilt: float = Field(0.5, ge=0, le=1)  # share of a batch that is drawn from it
    balance: float = Field(0.1, ge=0, le=1)  # the paper's lambda
    warmup: int = Field(0, ge=0)  # steps of new networks in which lambda is 1
    epsilon: ScheduleConfig = ScheduleConfig(name="constant", start=0.0)  # share of random ones
    temperature: float = Field(1.0, gt=0)
    refit: bool = False
    learning_rate: float = Field(3e-3, gt=0)
    gan_loss: Literal["saturating", "non-saturating"] = "non-saturating"
    valuer: Literal["classification", "regression"] = "classification"
    entropy: float = Field(0.02, ge=0)
    device: str = "cpu"


class TableConfig(Strict):
    """Look scores up in a table."""

    name: Literal["table"] = "table"
    path: Path
    metric: str
    extras: tuple[str, ...] = ()


class TrainConfig(Strict):
    """Train every candidate from scratch ([GraphPNAS] section 3.1.2, oracle evaluator)."""

    name: Literal["train"] = "train"
    dataset: str = "digits"  # or "folder:PATH", "idx:PATH", "cifar10:PATH", "cifar100:PATH"
    preset: Literal["small", "official"] = "small"
    train_fraction: float = Field(0.1, gt=0, lt=1)  # 0.1: low data; 0.8 with few epochs: early stop
    epochs: int | None = Field(None, ge=1)
    batch_size: int | None = Field(None, ge=1)
    learning_rate: float | None = Field(None, gt=0)
    weight_decay: float | None = Field(None, ge=0)
    split_seed: int = 0
    timeout: float | None = Field(None, gt=0)  # seconds for one evaluation
    device: str = "auto"


METHODS: dict[str, type[BaseModel]] = {
    "random": RandomConfig,
    "local": LocalConfig,
    "graphpnas": GraphPNASConfig,
    "latent-bo": LatentConfig,
    "gnn2gnn": AdversarialSearchConfig,
}
EVALUATORS: dict[str, type[BaseModel]] = {"table": TableConfig, "train": TrainConfig}


def named(value: Any) -> Any:
    """Let a bare name stand for a table with that name."""
    return {"name": value} if isinstance(value, str) else value


def _choose(closed: Mapping[str, type[BaseModel]], kind: str) -> Callable[[Any], Any]:
    """Turn a bare name or a mapping with a name into the configuration that name stands for."""

    def choose(value: Any) -> Any:
        if isinstance(value, BaseModel):
            return value
        fields = dict(named(value))
        name = str(fields.get("name", ""))
        if ".py:" in name:
            return CustomConfig(**fields)
        if name not in closed:
            known = ", ".join([*closed, "file.py:NAME"])
            raise ValueError(f"unknown {kind} {name!r}: use one of {known}")
        return closed[name](**fields)

    return choose


MethodConfig = (
    RandomConfig
    | LocalConfig
    | GraphPNASConfig
    | LatentConfig
    | AdversarialSearchConfig
    | CustomConfig
)
EvaluatorConfig = TableConfig | TrainConfig | CustomConfig


class InitialConfig(Strict):
    """Scores known before a search: those of a table's rows, or of a random share of them."""

    table: Path
    metric: str
    share: float = Field(1.0, gt=0, le=1)  # drawn with the seed of the run


class RunConfig(Described):
    """One search, from the space to the seed."""

    space: Annotated[SpaceConfig, BeforeValidator(named)]
    method: Annotated[MethodConfig, BeforeValidator(_choose(METHODS, "method"))]
    evaluator: Annotated[EvaluatorConfig, BeforeValidator(_choose(EVALUATORS, "evaluator"))]
    budget: int = Field(100, ge=1)
    batch_size: int = Field(10, ge=1)
    seed: int = 0
    workers: int = Field(1, ge=1)
    mode: Mode = "batch"
    initial: InitialConfig | None = None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ValueError: If the file is no TOML.
        FileNotFoundError: If there is no such file.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from None


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Lay ``top`` over ``base``, table by table; another ``name`` replaces the whole table."""
    result = dict(base)
    for key, value in top.items():
        old = result.get(key)
        old = named(old) if isinstance(value, Mapping) else old
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            renamed = "name" in value and value["name"] != old.get("name")
            result[key] = dict(value) if renamed else merge(old, value)
        else:
            result[key] = value
    return result


def first_problem(error: ValidationError) -> str:
    """Say in one line what is wrong first."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"] if not str(part).endswith("Config"))
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "there is no such setting"
    given = (
        "" if problem["type"] in ("missing", "value_error") else f" (given: {problem['input']!r})"
    )
    return f"{place}: {message}{given}" if place else f"{message}{given}"
