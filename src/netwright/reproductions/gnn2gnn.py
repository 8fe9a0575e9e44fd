"""[GNN2GNN]: Tables 1 to 5, as fits to be trained and measured, and how quality trades for variety.

Labels are test accuracies, as in the paper and its released code: what a generator learns from is
the column it is judged by, on cells whose labels it has not seen.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from netwright.generators.random_graph import RandomGraph
from netwright.graphs import dag, hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.reproductions.adversaries import (
    GENERATED,
    Adversary,
    generate,
    remembered,
    valuer_tau,
)
from netwright.reproductions.generated import Yardstick, measure
from netwright.reproductions.transfer import nats_lookup, to_nats
from netwright.results import Row
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.spaces.base import SearchSpace, rejection_sample
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nats_pruned import NATSPruned, pruned
from netwright.tables.format import Table
from netwright.tables.splits import Split, split

Scale = Literal["smoke", "laptop", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "laptop", "paper")
Settings = dict[str, Any]

#: The measures of the paper, in the order of its tables.
MEASURES = ("novelty", "top-5", "top-10", "top-50", "acc_90", "mean accuracy")
_NB101 = "nasbench101/cifar10"
_METRIC = "cifar10/test@108"
_NATS = {"cifar10": "cifar10/test@200", "cifar100": "cifar100/test@200"}
#: Acc_n of each benchmark.
_THRESHOLDS = {"cifar10": 0.9, "cifar100": 0.7}

Published = tuple[float, ...]

#: Table 1: mu, tau and lambda, and what was measured.
TABLE1: dict[tuple[int, float, float], Published] = {
    (1, 0.01, 1): (50.13, 10.60, 13.70, 27.20, 45.58, 88.55),
    (1, 0.01, 0.5): (71.23, 34.66, 40.20, 52.98, 75.18, 90.38),
    (1, 0.01, 0.1): (82.32, 46.30, 50.50, 57.00, 80.50, 91.53),
    (1, 0.01, 0.01): (81.63, 45.10, 49.40, 58.10, 80.14, 91.44),
    (1, 0.1, 1): (51.79, 12.10, 15.40, 25.20, 40.23, 88.10),
    (1, 0.1, 0.5): (67.81, 19.01, 22.62, 39.20, 59.23, 89.48),
    (1, 0.1, 0.1): (82.52, 45.19, 50.53, 58.91, 80.60, 91.48),
    (1, 0.1, 0.01): (82.47, 46.50, 52.14, 57.30, 79.32, 91.35),
    (2, 0.01, 1): (51.66, 8.57, 11.40, 26.83, 41.63, 88.53),
    (2, 0.01, 0.5): (73.84, 40.41, 45.28, 54.61, 75.01, 90.89),
    (2, 0.01, 0.1): (82.06, 46.09, 51.03, 57.82, 81.55, 91.54),
    (2, 0.01, 0.01): (82.23, 45.66, 50.20, 57.19, 79.69, 91.42),
    (2, 0.1, 1): (53.57, 10.08, 12.63, 25.21, 42.15, 88.49),
    (2, 0.1, 0.5): (68.76, 25.59, 30.84, 45.54, 69.94, 90.45),
    (2, 0.1, 0.1): (82.60, 45.91, 52.21, 57.37, 81.79, 92.04),
    (2, 0.1, 0.01): (81.51, 45.90, 51.10, 59.50, 79.98, 91.27),
}
#: Table 2: the same with a valuer that predicts the accuracy.
TABLE2: dict[tuple[int, float, float], Published] = {
    (2, 0.1, 0.1): (72.10, 26.59, 32.92, 50.10, 67.11, 89.93),
    (1, 0.1, 0.01): (71.06, 25.90, 34.13, 51.07, 65.79, 90.07),
    (2, 0.1, 0.01): (70.33, 27.04, 33.54, 50.97, 66.43, 90.01),
}
#: Table 3, by generator.
TABLE3: dict[str, Published] = {
    "gnn2gnn": (82.60, 45.91, 52.21, 57.37, 81.79, 92.04),
    "molgan": (65.41, 22.63, 27.29, 45.20, 59.71, 89.39),
    "rnn": (96.34, 1.69, 2.32, 4.81, 53.04, 89.32),
    "random": (51.81, 11.17, 13.74, 28.43, 43.18, 88.54),
}
#: Table 4, by the percentage that is removed.
TABLE4: dict[int, Published] = {
    10: (82.60, 45.91, 52.21, 57.37, 81.79, 92.04),
    20: (83.01, 45.54, 52.32, 58.48, 82.05, 91.98),
    30: (83.67, 46.10, 51.07, 57.04, 80.14, 91.68),
    40: (84.89, 45.80, 51.03, 58.71, 81.03, 91.55),
    50: (85.00, 44.01, 48.81, 56.30, 79.24, 91.33),
    60: (84.58, 44.40, 49.12, 57.72, 80.30, 91.30),
    70: (84.20, 44.66, 49.38, 56.71, 79.52, 91.37),
    80: (84.33, 43.90, 48.27, 55.51, 78.16, 91.27),
    90: (85.71, 42.77, 46.70, 55.72, 78.24, 91.22),
}
#: Table 5, by data set and by what the generator was trained on; it has no Acc_n.
TABLE5: dict[tuple[str, str], Published] = {
    ("cifar10", "nats"): (76.73, 1.65, 3.39, 15.61, math.nan, 68.91),
    ("cifar10", "nasbench101"): (73.67, 2.64, 5.08, 16.55, math.nan, 70.25),
    ("cifar100", "nats"): (71.71, 1.30, 3.28, 13.10, math.nan, 33.03),
    ("cifar100", "nasbench101"): (72.03, 2.64, 4.82, 16.90, math.nan, 35.40),
}
METHODS = {"gnn2gnn": "GNN2GNN", "molgan": "MolGAN-like", "rnn": "recurrent"}


@dataclass(frozen=True)
class Line:
    """A row of a table: a generator, and what its graphs are compared with.

    Attributes:
        benchmark: As in results.
        method: As in results.
        preset: As in results: how it was set up.
        adversary: What is trained; None for random graphs.
        random: Makes random graphs; None for what is trained.
        temperature: Of the draws.
        paper: Published values of `MEASURES`.
        through: What turns its graphs into those of the benchmark's space; None for nothing.
    """

    benchmark: str
    method: str
    preset: str
    adversary: Adversary | None = None
    random: Callable[[torch.Generator], ArchitectureBatch] | None = None
    temperature: float = 1.0
    paper: Published | None = None
    through: Callable[[ArchitectureBatch], ArchitectureBatch] | None = None


class _Maker(NamedTuple):
    """Makes settings of one scale."""

    scale: Scale
    tables: Path

    def adversary(
        self,
        method: str = "gnn2gnn",
        preset: str = "released",
        *,
        space: str = "nasbench101",
        metric: str = _METRIC,
        top: int = 10,
        cells: int = 30_000,
        **recipe: Any,
    ) -> Adversary:
        """Return a fit; further settings are of the recipe, or ``layers`` and ``tau``."""
        words = [space, *([metric] if space != "nasbench101" else []), method, preset]
        words += [f"{name}-{value}" for name, value in recipe.items()]
        words += [f"top-{top}"] if top != 10 else []
        words += [f"cells-{cells}"] if cells != 30_000 else []
        options: Settings = {}
        for name in ("layers", "tau"):
            if name in recipe:
                options[name] = recipe.pop(name)
        data: Settings = {"table": str(_table(space, self.tables)), "metric": metric}
        data["hold_out_top"] = top / 100
        if self.scale == "paper":
            recipe["epochs"] = 20
        else:
            small = self.scale == "smoke"
            recipe["graphs"] = 640 if small else recipe.get("graphs", 96_000)
            data["limit"] = 300 if small else cells
        settings = {
            "preset": preset,
            "space": space,
            "method": {"name": method, **options},
            "data": data,
            "recipe": recipe,
        }
        return Adversary("-".join(words).replace("/", "-").replace("@", "-"), settings)


def lines_of(item: str, scale: Scale, tables: Path) -> list[Line]:
    """Return the rows of an item.

    Raises:
        ValueError: If there is no such item.
        FileNotFoundError: If a table is missing, with the command that makes it.
    """
    if item not in _MADE:
        raise ValueError(f"unknown item {item!r} of gnn2gnn: use {', '.join(ITEMS)}")
    lines = list(_MADE[item](_Maker(scale, tables)))
    if scale == "smoke":
        trained = [line for line in lines if line.adversary is not None]
        lines = [trained[0], *(line for line in lines if line.adversary is None), trained[-1]]
    return lines


def _table1(make: _Maker) -> Iterator[Line]:
    for (layers, tau, balance), paper in TABLE1.items():
        adversary = make.adversary(layers=layers, tau=tau, balance=balance)
        preset = f"released, mu {layers}, tau {tau}, lambda {balance}"
        yield Line(_NB101, METHODS["gnn2gnn"], preset, adversary, paper=paper)


def _table2(make: _Maker) -> Iterator[Line]:
    for (layers, tau, balance), paper in TABLE2.items():
        preset = f"released, mu {layers}, tau {tau}, lambda {balance}"
        settings: Settings = {"layers": layers, "tau": tau, "balance": balance}
        known = TABLE1[layers, tau, balance]
        adversary = make.adversary(**settings)
        yield Line(_NB101, METHODS["gnn2gnn"], f"{preset}, classification", adversary, paper=known)
        adversary = make.adversary(**settings, valuer="regression")
        yield Line(_NB101, METHODS["gnn2gnn"], f"{preset}, regression", adversary, paper=paper)


def _table3(make: _Maker) -> Iterator[Line]:
    for method, name in METHODS.items():
        yield Line(_NB101, name, "released", _main(make, method), paper=TABLE3[method])
    text = make.adversary(preset="paper")
    yield Line(_NB101, METHODS["gnn2gnn"], "paper", text, paper=TABLE3["gnn2gnn"])
    if make.scale != "paper":
        yield Line(_NB101, METHODS["gnn2gnn"], "best", make.adversary(preset="best"))
        longer = make.adversary("gnn2gnn", "best", cells=60_000, graphs=192_000)
        yield Line(_NB101, METHODS["gnn2gnn"], "best, 60,000 cells, 6,000 steps", longer)
    name = "Erdos-Renyi p = .5"
    yield Line(_NB101, name, "uniform operations", random=_random(False), paper=TABLE3["random"])
    yield Line(_NB101, name, "all conv3x3", random=_random(True))
    yield Line(_NB101, name, "all conv3x3, valid only", random=_random(True, valid=True))


def _table4(make: _Maker) -> Iterator[Line]:
    for preset in ("released", "best"):
        for top, paper in TABLE4.items():
            if make.scale == "laptop" and top not in (10, 30, 50, 70, 90):
                continue
            adversary = (
                make.adversary(preset=preset, top=top)
                if top != 10 or preset == "best"
                else _main(make)
            )
            shown = paper if preset == "released" else None
            yield Line(
                _NB101,
                METHODS["gnn2gnn"],
                f"{preset}, best {top} % removed",
                adversary,
                paper=shown,
            )


def _table5(make: _Maker) -> Iterator[Line]:
    for data, metric in _NATS.items():
        benchmark = f"nats_pruned/{data}"
        for preset in ("released", "best"):
            name = METHODS["gnn2gnn"]
            mine = make.adversary(preset=preset, space="nats_pruned", metric=metric)
            shown = TABLE5[data, "nats"] if preset == "released" else None
            yield Line(
                benchmark, METHODS["gnn2gnn"], f"{preset}, trained on NATS", mine, paper=shown
            )
            other = _main(make) if preset == "released" else make.adversary(preset="best")
            shown = TABLE5[data, "nasbench101"] if preset == "released" else None
            yield Line(
                benchmark,
                name,
                f"{preset}, trained on NAS-Bench-101",
                other,
                paper=shown,
                through=to_nats,
            )
        cells = make.adversary(preset="best", space="nasbench201", metric=metric, entropy=0.1)
        preset = "best, entropy 0.1, trained on NATS, fixed edges"
        yield Line(benchmark, METHODS["gnn2gnn"], preset, cells, through=pruned)
        preset += ", temperature 1.5"
        yield Line(benchmark, METHODS["gnn2gnn"], preset, cells, temperature=1.5, through=pruned)
        yield Line(benchmark, "uniform over the space", "", random=_uniform)


def _trade(make: _Maker) -> Iterator[Line]:
    for balance in (0.01, 0.1, 0.5, 0.9):
        # Of the preset's own lambda there are fits already.
        other: Settings = {} if balance == 0.1 else {"balance": balance}
        adversary = make.adversary(preset="best", **other)
        for temperature in (0.5, 1.0, 1.5, 2.0, 3.0):
            preset = f"best, lambda {balance}, temperature {temperature}"
            yield Line(_NB101, METHODS["gnn2gnn"], preset, adversary, temperature=temperature)


def _main(make: _Maker, method: str = "gnn2gnn") -> Adversary:
    """Return the setting of the paper's Tables 3 to 5: one row of Table 1."""
    if method == "gnn2gnn":
        return make.adversary(layers=2, tau=0.1, balance=0.1)
    return make.adversary(method)


def _random(strong: bool, *, valid: bool = False) -> Callable[[torch.Generator], ArchitectureBatch]:
    """Return a maker of refined Erdős-Rényi graphs, as [GNN2GNN] section 4.5 has them."""
    space = NASBench101()
    weights = [float(name.startswith("conv3x3") or not strong) for name in space.op_names]
    weights[0] = 1.0  # the input, at the first node only
    generator = RandomGraph(space.layout, p=0.5, op_weights=weights)

    def draw(rng: torch.Generator) -> ArchitectureBatch:
        if valid:
            return rejection_sample(space, GENERATED, lambda n: generator.sample(n, rng=rng))
        return dag.refine(generator.sample(GENERATED, rng=rng))

    return draw


def _uniform(rng: torch.Generator) -> ArchitectureBatch:
    return NATSPruned().sample(GENERATED, rng=rng)


_MADE: dict[str, Callable[[_Maker], Iterator[Line]]] = {
    "table1": _table1,
    "table2": _table2,
    "table3": _table3,
    "table4": _table4,
    "table5": _table5,
    "trade": _trade,
}
ITEMS = (*_MADE, "overlap", "search")
TITLES = {
    "table1": "GNN2GNN, Table 1: layers, temperature and lambda",
    "table2": "GNN2GNN, Table 2: a valuer that classifies, and one that predicts the accuracy",
    "table3": "GNN2GNN, Table 3: generators trained the same way",
    "table4": "GNN2GNN, Table 4: with the best N % removed from the training set",
    "table5": "GNN2GNN, Table 5: from one benchmark to another",
    "trade": "GNN2GNN: strong architectures against different ones",
}
_NOTE = (
    "1,000 graphs of each seed, recognised up to isomorphism. *novelty*: not among the training "
    "cells (a graph that no table has counts as new). *top-N*: among the best N % of the whole "
    "table, of all 1,000. *acc_n* (above n) and *mean accuracy*: of those in the table. "
    "*distinct*: different cells of the table per 1,000. *validity*: members of the space, its "
    "limit on edges included. Labels are test accuracies, as in the paper: of training cells "
    "only. Training ends after a number of graphs fixed in advance (`budget`), never at the best "
    "measure. *valuer Kendall tau*: how the valuer alone ranks cells held out at random. Preset "
    "*best* was chosen on cells of at most 6 nodes; it heeds the space's limit on edges."
)
NOTES = {
    "table1": "Preset released, and mu as given (the released code always has 2).",
    "table2": "Preset released.",
    "table3": (
        "The best 10 % of the table, and a quarter of the rest, are held out. Preset *paper* is "
        "its text to the letter (saturating loss) with straight-through edges; *released* what its "
        "code does. *all conv3x3* is the trivial generator: nothing is learned."
    ),
    "table4": "The best N % of the table, and a quarter of the rest, are held out.",
    "table5": (
        "NATS-Bench without `none` and dangling nodes (8,764 graphs). Cells made by a generator "
        "that was trained on NAS-Bench-101 are looked up among those whose skip nodes were "
        "replaced by edges (5,256). *Fixed edges*: the generator draws operations, `none` "
        "included, for NAS-Bench-201's own cells, which are then pruned; one cell of each graph "
        "to learn from; the entropy's weight was chosen on CIFAR-100 validation, the temperature "
        "by the number of distinct cells alone. No Acc_n in the paper. ImageNet-16-120: not in the "
        "table at hand."
    ),
    "trade": "Preset best with other lambda, sampled at other temperatures.",
}


def scale_of(name: str) -> Scale:
    """Return the scale of that name.

    Raises:
        ValueError: If there is none.
    """
    for scale in SCALES:
        if scale == name:
            return scale
    raise ValueError(f"unknown scale {name!r}: use {', '.join(SCALES)}")


def note(item: str) -> str:
    """Return what stands above an item's results."""
    return f"{NOTES[item]} {_NOTE}"


def budget_of(line: Line, root: Path, seed: int) -> int | None:
    """Return the graphs that a trained line has seen."""
    if line.adversary is None:
        return None
    state = FitRun.open(line.adversary.folder(root, seed)).state()
    assert state is not None
    seen: int = state["counters"][0]
    return seen


def yardsticks(tables: Path) -> Callable[[Line], Yardstick]:
    """Return what gives the yardstick of a line; each is made once."""
    made: dict[tuple[str, bool], Yardstick] = {}

    def of(line: Line) -> Yardstick:
        key = line.benchmark, line.through is to_nats
        if key not in made:
            made[key] = _yardstick(line, tables)
        return made[key]

    return of


def _yardstick(line: Line, tables: Path) -> Yardstick:
    space, _, data = line.benchmark.partition("/")
    table = Table.open(_table(space, tables))
    metric = _METRIC if space == "nasbench101" else _NATS[data]
    if line.through is not to_nats:
        return Yardstick.of(table, metric, "parameters")
    found = nats_lookup(table, [metric, "parameters"])
    return Yardstick.among(
        space, metric, found.known, found.columns[metric], found.columns["parameters"]
    )


def measured(
    line: Line, seed: int, root: Path, yardstick: Yardstick, tables: Path
) -> dict[str, float]:
    """Measure what a line generates with one seed, or read what was measured before."""
    threshold = _THRESHOLDS[line.benchmark.partition("/")[2]]
    if line.adversary is None:
        assert line.random is not None
        archs = line.random(stream(seed, "generated"))
        space = _SPACES[line.benchmark.partition("/")[0]]()
        known = _split(line, seed, tables).train_keys
        return measure(archs, space, yardstick, known, threshold=threshold).percent()
    run = FitRun.open(line.adversary.folder(root, seed))

    def take() -> dict[str, float]:
        made = generate(run, temperature=line.temperature)
        archs, space, keys = made.archs, made.space, made.split.train_keys
        if line.through is not None:
            keys = hashing.distinct(hashing.keys(line.through(made.split.train)))
            archs, space = line.through(archs), NATSPruned()
        found = measure(archs, space, yardstick, keys, threshold=threshold).percent()
        if line.through is to_nats:  # without skip nodes few are members as they are
            return found | {"validity": math.nan}
        tau = valuer_tau(run) if line.temperature == 1 else math.nan
        return found | {"valuer Kendall tau": tau}

    translated = "" if line.through is None else f", {line.through.__name__}"
    name = f"{line.benchmark}{translated}, temperature {line.temperature}"
    return remembered(run, name, take)


def rows_of(line: Line, found: Sequence[Mapping[str, float]], budget: int | None) -> list[Row]:
    """Return the rows of a line, from the measures of its seeds."""
    rows = []
    for i, name in enumerate(found[0]):
        values = [one[name] for one in found if math.isfinite(one[name])]
        if not values:
            continue
        paper = None if line.paper is None or i >= len(MEASURES) else line.paper[i]
        paper = None if paper is None or math.isnan(paper) else paper
        rows.append(
            Row.of(
                line.benchmark,
                name,
                values,
                method=line.method,
                preset=line.preset or None,
                budget=budget,
                paper=paper,
            )
        )
    return rows


def _split(line: Line, seed: int, tables: Path) -> Split:
    """Return the split that a generator of that seed would be trained on."""
    space, _, data = line.benchmark.partition("/")
    table = Table.open(_table(space, tables))
    metric = _METRIC if space == "nasbench101" else _NATS[data]
    return split(table, metric, limit=30_000, rng=stream(seed, "fit/split"))


_SPACES: dict[str, Callable[[], SearchSpace]] = {
    "nasbench101": NASBench101,
    "nats_pruned": NATSPruned,
}


def _table(space: str, tables: Path) -> Path:
    """Return the table to learn from.

    Of NAS-Bench-201, that has each graph once, so that none is held out and learned.
    """
    return table_of("nats_cells" if space == "nasbench201" else space, tables)


def table_of(name: str, tables: Path) -> Path:
    """Return a table.

    Raises:
        FileNotFoundError: If it is missing, with the command that makes it.
    """
    path = tables / f"{name}.safetensors"
    if path.is_file():
        return path
    make = f"netwright table import FILE --space {name} --out {path}"
    if name in ("nats_cells", "nats_pruned"):
        space = "nasbench201" if name == "nats_cells" else name
        source = tables / "nasbench201.safetensors"
        make = f"netwright table derive {source} --space {space} --out {path}"
    raise FileNotFoundError(
        f"there is no table {path}: make it with `{make}`, or name its folder with --tables or "
        "$NETWRIGHT_TABLES"
    )
