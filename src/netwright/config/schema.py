"""What a run is, as validated data.

Spaces, methods and evaluators of one's own are named ``file.py:NAME``, methods and evaluators also
``package.module:NAME``; everything else is one of the names here. `netwright.config.objects` makes
objects of them.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, SerializeAsAny, model_validator

from netwright.config.base import CustomConfig, Described, NamedSettings, SpaceConfig, Strict, named
from netwright.config.methods.adversarial import AdversarialSearchConfig
from netwright.config.methods.agnet import AGNetConfig
from netwright.config.methods.bananas import BananasConfig
from netwright.config.methods.bohb import BohbConfig
from netwright.config.methods.controller import ControllerConfig
from netwright.config.methods.evolution import EvolutionConfig
from netwright.config.methods.graphpnas import GraphPNASConfig
from netwright.config.methods.latent import LatentConfig
from netwright.config.methods.local import LocalConfig
from netwright.config.methods.nago import NagoConfig
from netwright.config.methods.predictor import PredictorConfig
from netwright.config.methods.random import RandomConfig
from netwright.config.methods.random_graphs import RandomGraphConfig
from netwright.evaluators.supernet import Statistics
from netwright.evaluators.train import Clock
from netwright.evaluators.training import Precision
from netwright.evaluators.zero_cost import ScoreName
from netwright.search import Mode

#: "digits": for small images; "graphpnas", "graphpnas-final": that paper's, for its tables 1 and 3.
RecipeName = Literal["digits", "graphpnas", "graphpnas-final"]
#: "large" is for enas and randwire.
Preset = Literal["small", "official", "large"]


class TableConfig(Strict):
    """Look scores up in a table."""

    name: Literal["table"] = "table"
    path: Path
    metric: str
    extras: tuple[str, ...] = ()
    rungs: tuple[str, ...] = ()  # columns of fewer epochs, for successive halving
    eta: int = Field(3, ge=2)  # one in so many goes on to the next


class TrainConfig(Strict):
    """Train every candidate from scratch ([GraphPNAS] section 3.1.2, oracle evaluator)."""

    name: Literal["train"] = "train"
    dataset: str = "digits"  # or "folder:PATH", "idx:PATH", "cifar10:PATH", ...
    preset: Preset = "small"
    train_fraction: float = Field(0.1, gt=0, lt=1)  # 0.1: low data; 0.8 with few epochs: early stop
    recipe: RecipeName = "digits"  # which the settings below change, where they are given
    epochs: int | None = Field(None, ge=1)
    batch_size: int | None = Field(None, ge=1)
    learning_rate: float | None = Field(None, gt=0)
    weight_decay: float | None = Field(None, ge=0)
    cutout: int | None = Field(None, ge=0)  # side of the square that is hidden in each image
    resize: int = Field(0, ge=0)  # side of the images that the network sees; 0: as they are
    precision: Precision = "float32"  # or "bfloat16"
    compile: bool = False  # for a GPU
    split_seed: int = 0
    timeout: float | None = Field(None, gt=0)  # seconds for one evaluation
    device: str = "auto"
    test: bool = False  # report the test accuracy too, which no search is shown
    clock: Clock = "wall"  # what the cost is measured in
    rungs: tuple[int, ...] = ()  # fewer epochs first, for successive halving
    eta: int = Field(3, ge=2)  # one in so many goes on to the next


class ZeroCostConfig(Strict):
    """Score every candidate untrained; see `netwright.evaluators.zero_cost`."""

    name: Literal["zero-cost"] = "zero-cost"
    score: ScoreName = "naswot"
    dataset: str = "digits"  # as for training
    preset: Preset = "small"
    batch_size: int = Field(64, ge=2)  # images
    batch_seed: int = 0  # which images
    device: str = "auto"


class SupernetConfig(Strict):
    """Train weights that all architectures share, and score with them ([GraphPNAS] 3.1.2)."""

    name: Literal["supernet"] = "supernet"
    dataset: str = "digits"  # as for training
    channels: int = Field(24, ge=2, multiple_of=2)
    train_fraction: float = Field(0.9, gt=0, lt=1)  # the rest of the training images validates
    epochs: int | None = Field(None, ge=1)  # of the learning rate's wave; None: of this search
    epochs_per_step: int = Field(5, ge=1)  # before each batch of scores
    batch_size: int = Field(128, ge=1)
    learning_rate: float = Field(0.05, gt=0)
    last_learning_rate: float = Field(0.0005, gt=0)
    weight_decay: float = Field(2.5e-4, ge=0)
    statistics: Statistics = "batch"  # or "running": what scores are normalised by
    split_seed: int = 0
    device: str = "auto"


METHODS: dict[str, type[NamedSettings]] = {
    "random": RandomConfig,
    "local": LocalConfig,
    "evolution": EvolutionConfig,
    "bananas": BananasConfig,
    "predictor": PredictorConfig,
    "bohb": BohbConfig,
    "random-graph": RandomGraphConfig,
    "nago": NagoConfig,
    "rnn": ControllerConfig,
    "graphpnas": GraphPNASConfig,
    "latent-bo": LatentConfig,
    "agnet": AGNetConfig,
    "gnn2gnn": AdversarialSearchConfig,
}
EVALUATORS: dict[str, type[BaseModel]] = {
    "table": TableConfig,
    "train": TrainConfig,
    "zero-cost": ZeroCostConfig,
    "supernet": SupernetConfig,
}


def _choose(closed: Mapping[str, type[BaseModel]], kind: str) -> Callable[[Any], Any]:
    """Turn a bare name or a mapping with a name into the configuration that name stands for."""

    def choose(value: Any) -> Any:
        if isinstance(value, BaseModel):
            return value
        fields = dict(named(value))
        name = str(fields.get("name", ""))
        if ":" in name:
            return CustomConfig(**fields)
        if name not in closed:
            known = ", ".join([*closed, "file.py:NAME"])
            raise ValueError(f"unknown {kind} {name!r}: use one of {known}")
        return closed[name](**fields)

    return choose


#: Settings of a method: one of `METHODS`, or of one's own.
MethodConfig = SerializeAsAny[NamedSettings | CustomConfig]
EvaluatorConfig = TableConfig | TrainConfig | ZeroCostConfig | SupernetConfig | CustomConfig


class RayConfig(Strict):
    """Evaluate on a Ray cluster; see `netwright.evaluators.distributed`."""

    address: str = "local"  # start Ray here; or that of a cluster, like "10.0.0.1:6379"
    cpus: float = Field(1.0, gt=0)  # cores of each worker
    gpus: float = Field(0.0, ge=0)  # GPUs of each worker; a fraction shares one
    retries: int = Field(3, ge=0)  # of an evaluation whose worker died


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
    ray: RayConfig | None = None  # else evaluations run in processes of this machine
    initial: InitialConfig | None = None
    # So many random architectures first, the same for every method with this seed and space.
    design: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _rounds(self) -> "RunConfig":
        """Set the epochs of a supernet that are to be those of the search."""
        if isinstance(self.evaluator, SupernetConfig) and self.evaluator.epochs is None:
            epochs = -(-self.budget // self.batch_size) * self.evaluator.epochs_per_step
            settled = self.evaluator.model_copy(update={"epochs": epochs})
            object.__setattr__(self, "evaluator", settled)  # nobody has seen the old one yet
        return self

    @model_validator(mode="after")
    def _brackets(self) -> "RunConfig":
        """Insist on steps of several architectures where they are halved."""
        halved = isinstance(self.evaluator, TableConfig | TrainConfig) and self.evaluator.rungs
        if halved and (self.mode != "batch" or self.batch_size < 2):
            raise ValueError(
                "evaluator.rungs: halving compares the architectures of a step, so it needs the "
                "mode batch and a batch_size of 2 or more, such as 27"
            )
        return self
