"""What an experiment is, as validated data: methods x benchmarks x seeds."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    field_validator,
    model_validator,
)

from netwright.config.base import Described, read_toml
from netwright.config.schema import RunConfig
from netwright.tables.embedded import EMBEDDED, embedded_path

Kind = Literal["accuracy", "error", "regret", "optimum"]
_KINDS: dict[str, Kind] = {
    "accuracy": "accuracy",
    "error": "error",
    "regret": "regret",
    "optimum": "optimum",
}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Benchmark(_Strict):
    """A space, a table, what is searched for in it and what is reported.

    The search maximises ``metric`` and sees nothing else. Reported is always the architecture
    with the best ``metric`` so far; the last word of a report's name says what of its column:

    * ``accuracy``: in percent.
    * ``error``: 100 - accuracy.
    * ``regret``: how far the accuracy is below the best of the table.
    * ``optimum``: the share of seeds, in percent, that have reached the best of the table.
    """

    name: str = Field(min_length=1)  # like nasbench201/cifar100
    space: str | dict[str, Any]
    table: Path
    metric: str
    report: dict[str, str] = Field(min_length=1)  # like {"test error" = "cifar10/test@108"}
    budgets: tuple[int, ...] = Field(min_length=1)
    curve: str | None = None  # which report is drawn; the first by default
    # Columns of the same quantity after fewer epochs, for methods that stop early.
    rungs: tuple[str, ...] = ()

    @field_validator("report")
    @classmethod
    def _kinds(cls, report: dict[str, str]) -> dict[str, str]:
        for name in report:
            if name.split(" ")[-1] not in _KINDS:
                raise ValueError(f"{name!r} must end with one of the words {', '.join(_KINDS)}")
        return report

    @field_validator("budgets")
    @classmethod
    def _ascending(cls, budgets: tuple[int, ...]) -> tuple[int, ...]:
        if min(budgets) < 1:
            raise ValueError(f"a budget must be at least 1, not {min(budgets)}")
        return tuple(sorted(set(budgets)))

    @model_validator(mode="after")
    def _known_curve(self) -> "Benchmark":
        if self.curve is not None and self.curve not in self.report:
            raise ValueError(f"curve: {self.curve!r} is not in report: {', '.join(self.report)}")
        return self

    @property
    def drawn(self) -> str:
        """The report that the curves show."""
        return self.curve or next(iter(self.report))

    @staticmethod
    def kind(report: str) -> Kind:
        """What a report's name says is reported of its column."""
        return _KINDS[report.split(" ")[-1]]


class Method(_Strict):
    """A search method with its settings.

    ``method`` is what it is in a run's configuration: a name or a table of settings. In the
    ``model`` of a method with a fitted generator, ``{space}`` stands for the benchmark's space.
    """

    method: str | dict[str, Any]
    name: str = ""  # what rows call it; that of the method by default
    preset: str | None = None  # its settings, by name
    batch_size: int = Field(10, ge=1)  # proposals per step
    benchmarks: tuple[str, ...] = ()  # those it runs on; all by default
    # Not more seeds than these, where one takes long; by benchmark, if they differ.
    seeds: PositiveInt | dict[str, PositiveInt] | None = None
    budget: int | None = Field(None, ge=1)  # nor more evaluations
    initial: float | None = Field(None, gt=0, le=1)  # share of the table known from the start
    # Successive halving on the benchmark's rungs: one in so many goes on; a budget then counts full
    # trainings, and that many proposals are made to use up the largest.
    eta: int | None = Field(None, ge=2)
    proposals: int | None = Field(None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and not values.get("name"):
            method = values.get("method")
            name = method.get("name", "") if isinstance(method, Mapping) else method
            return {**values, "name": str(name or "")}
        return values

    @model_validator(mode="after")
    def _halving(self) -> "Method":
        if (self.eta is None) != (self.proposals is None):
            raise ValueError(f"{self.label}: eta and proposals belong together")
        return self

    @property
    def label(self) -> str:
        """Name and preset."""
        return f"{self.name}, {self.preset}" if self.preset else self.name


class Published(_Strict):
    """A published value: shown beside the rows it belongs to, else as a row marked "quoted"."""

    benchmark: str
    method: str
    metric: str
    budget: int | None = None
    mean: float
    sd: float | None = None
    n: int | None = None


class Cell(NamedTuple):
    """A method on a benchmark."""

    benchmark: Benchmark
    method: Method

    @property
    def budgets(self) -> tuple[int, ...]:
        """The benchmark's, as far as the method goes."""
        most = self.method.budget
        return tuple(b for b in self.benchmark.budgets if most is None or b <= most)

    @property
    def proposals(self) -> int:
        """Architectures that a run proposes: the largest budget, unless most are stopped early."""
        return self.method.proposals or self.budgets[-1]


class Experiment(Described):
    """Every method on every benchmark with every seed."""

    title: str = "Experiment"
    note: str = ""
    benchmarks: tuple[Benchmark, ...] = Field(min_length=1)
    methods: tuple[Method, ...] = Field(min_length=1)
    seeds: int = Field(10, ge=1)
    first_seed: int = Field(0, ge=0)
    baseline: str | None = None  # the method, by label, that the others are compared with
    design: int = Field(0, ge=0)  # random architectures that all methods of a seed begin with
    published: tuple[Published, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> "Experiment":
        for kind, names in (
            ("benchmarks", [benchmark.name for benchmark in self.benchmarks]),
            ("methods", [method.label for method in self.methods]),
        ):
            slugs = [slug(name) for name in names]
            if twice := {name for name in names if slugs.count(slug(name)) > 1}:
                raise ValueError(f"{kind}: {min(twice)!r} is there twice: give each its own name")
        known = {benchmark.name for benchmark in self.benchmarks}
        if unknown := {name for method in self.methods for name in method.benchmarks} - known:
            raise ValueError(f"methods.benchmarks: there is no benchmark {min(unknown)!r}")
        for benchmark, method in self.cells:
            if method.eta is not None and not benchmark.rungs:
                raise ValueError(f"{method.label} stops early, and {benchmark.name} has no rungs")
        labels = [method.label for method in self.methods]
        if self.baseline is not None and self.baseline not in labels:
            known_labels = "; ".join(labels)
            raise ValueError(f"baseline: no method {self.baseline!r} among {known_labels}")
        return self

    @classmethod
    def load(cls, path: Path, overrides: Mapping[str, Any] | None = None) -> "Experiment":
        """Read a TOML file, by default titled by its name; ``overrides`` win over what it says.

        Raises:
            ValueError: If the file is no TOML, or a setting is wrong.
            FileNotFoundError: If there is no such file.
        """
        return cls.parse({"title": Path(path).stem, **read_toml(path), **(overrides or {})})

    @property
    def seed_list(self) -> range:
        """The seeds."""
        return range(self.first_seed, self.first_seed + self.seeds)

    def seeds_of(self, cell: Cell) -> range:
        """The seeds of a method: the first ones, if it is to have fewer than others."""
        most = cell.method.seeds
        if isinstance(most, dict):
            most = most.get(cell.benchmark.name)
        return self.seed_list[:most]

    @property
    def cells(self) -> list[Cell]:
        """All pairs of a benchmark and a method that runs on it."""
        pairs = [
            Cell(benchmark, method)
            for benchmark in self.benchmarks
            for method in self.methods
            if not method.benchmarks or benchmark.name in method.benchmarks
        ]
        return [cell for cell in pairs if cell.budgets]


def run_config(cell: Cell, seed: int, tables: Path, *, design: int = 0) -> RunConfig:
    """Return the configuration of one search, ``design`` of whose architectures are given.

    Raises:
        ValueError: If a setting of the method or the space is wrong.
        FileNotFoundError: If the table is not there, with the command that makes it.
    """
    benchmark, method = cell
    columns = dict.fromkeys(benchmark.report.values())
    values = {
        "space": _space(benchmark, tables),
        "method": _method(method, benchmark),
        "evaluator": {
            "name": "table",
            "path": find_table(benchmark, tables),
            "metric": benchmark.metric,
            "extras": [column for column in columns if column != benchmark.metric],
            **({"rungs": benchmark.rungs, "eta": method.eta} if method.eta else {}),
        },
        "budget": cell.proposals,
        "batch_size": method.batch_size,
        "seed": seed,
        "design": design,
    }
    if method.initial is not None:
        known = {"table": find_table(benchmark, tables), "metric": benchmark.metric}
        values["initial"] = known | {"share": method.initial}
    try:
        return RunConfig.parse(values)
    except ValueError as error:
        raise ValueError(f"{method.label} on {benchmark.name}: {error}") from None


def _space(benchmark: Benchmark, tables: Path) -> str | dict[str, Any]:
    """Return the space, its table found like that of scores."""
    space = benchmark.space
    if isinstance(space, str) or "known" not in space:
        return space
    return {**space, "known": str(tables / space["known"])}


def _method(method: Method, benchmark: Benchmark) -> str | dict[str, Any]:
    """Return the method, ``{space}`` in the path of a fitted generator filled in."""
    settings = method.method
    if isinstance(settings, str) or "model" not in settings:
        return settings
    space = benchmark.space
    name = space if isinstance(space, str) else space["name"]
    return {**settings, "model": str(settings["model"]).replace("{space}", name)}


def find_table(benchmark: Benchmark, tables: Path) -> Path:
    """Return where the table of a benchmark is: in the folder, or in the package by its name.

    Raises:
        FileNotFoundError: If it is nowhere, with the command that makes it.
    """
    path = tables / benchmark.table  # an absolute one stays what it is
    if not path.is_file() and str(benchmark.table) in EMBEDDED:
        return embedded_path(str(benchmark.table))
    if not path.is_file():
        name = benchmark.space if isinstance(benchmark.space, str) else benchmark.space.get("name")
        raise FileNotFoundError(
            f"there is no table {path}: make it with `netwright table import FILE --space {name} "
            f"--out {path}`, or name its folder with --tables or $NETWRIGHT_TABLES"
        )
    return path


def default_tables() -> Path:
    """The folder of tables: ``$NETWRIGHT_TABLES``, or ``tables``."""
    return Path(os.environ.get("NETWRIGHT_TABLES", "tables"))


def slug(name: str) -> str:
    """Turn a name into one that a folder can have everywhere."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "unnamed"


def run_folder(folder: Path, cell: Cell, seed: int) -> Path:
    """Return the run folder of one search: ``EXPERIMENT/BENCHMARK/METHOD/seed-N``."""
    return folder / slug(cell.benchmark.name) / slug(cell.method.label) / f"seed-{seed}"
