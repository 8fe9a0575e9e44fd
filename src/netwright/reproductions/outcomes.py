"""What came of an experiment, read from the ledgers of its runs.

The incumbent after B evaluations is the architecture with the best search metric among the first
B; what is reported of it was never shown to the search.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from netwright.reproductions.experiment import (
    Benchmark,
    Cell,
    Experiment,
    Kind,
    Published,
    find_table,
    run_folder,
)
from netwright.results import Curve, Difference, Row, rounded
from netwright.runs.run import Run
from netwright.tables.format import Table

_Values = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """What a method reached on a benchmark.

    Attributes:
        cell: The two.
        reports: By report, its values: a row per seed, a column per number of evaluations.
    """

    cell: Cell
    reports: dict[str, _Values]

    def at(self, report: str, budget: int) -> list[float]:
        """Values after ``budget`` evaluations (or all there could be), seed by seed."""
        values = self.reports[report]
        return [float(value) for value in values[:, min(budget, values.shape[1]) - 1]]


def read_outcomes(experiment: Experiment, folder: Path, *, tables: Path) -> list[Outcome]:
    """Read the ledgers of a finished experiment.

    Raises:
        ValueError: If a run is missing or a ledger damaged.
    """
    return [_read(experiment, cell, folder, tables) for cell in experiment.cells]


def _read(experiment: Experiment, cell: Cell, folder: Path, tables: Path) -> Outcome:
    benchmark = cell.benchmark
    table = Table.open(find_table(benchmark, tables))
    convert = {
        name: _conversion(benchmark.kind(name), _best(table, column))
        for name, column in benchmark.report.items()
    }
    traces: dict[str, list[list[float]]] = {name: [] for name in benchmark.report}
    for seed in experiment.seeds_of(cell):
        rows = Run.open(run_folder(folder, cell, seed)).ledger.rows()
        rows = sorted(
            (row for row in rows if row.status == "evaluated" and row.index < cell.budgets[-1]),
            key=lambda row: row.index,
        )
        held = [rows[i] for i in incumbents([row.score for row in rows])]
        for name, column in benchmark.report.items():
            raw = [
                row.score if column == benchmark.metric else row.extras.get(column) for row in held
            ]
            nan = math.nan
            traces[name].append([convert[name](nan if x is None else x) for x in raw])
    longest = max(len(values) for values in next(iter(traces.values())))
    if not longest:
        raise ValueError(f"{cell.method.label} on {benchmark.name} has no evaluation")
    return Outcome(
        cell, {name: np.array([_filled(v, longest) for v in t]) for name, t in traces.items()}
    )


def incumbents(scores: Sequence[float | None]) -> list[int]:
    """Return, for every evaluation, which one is the best so far; of equals the first.

    None and NaN are failures; before the first success the answer is the first evaluation.
    """
    best, value, held = 0, -math.inf, []
    for i, score in enumerate(scores):
        if score is not None and score > value:
            best, value = i, score
        held.append(best)
    return held


def _filled(values: list[float], length: int) -> list[float]:
    """Go on with the last value: a search that ended early had exhausted its space."""
    return values + [values[-1]] * (length - len(values))


def _best(table: Table, column: str) -> float:
    return float(table.column(column).nan_to_num(-math.inf).max())


def _conversion(kind: Kind, best: float) -> Callable[[float], float]:
    """Return what turns a fraction of a table into what is reported, in percent."""
    match kind:
        case "accuracy":
            return lambda value: 100 * value
        case "error":
            return lambda value: 100 * (1 - value)
        case "regret":
            return lambda value: 100 * (best - value)
        case "optimum":  # the ledger has the shortest decimals of 32-bit values
            return lambda value: 100.0 if np.float32(value) >= np.float32(best) else 0.0


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % confidence interval of a mean, by Student's t; None for a single value."""
    if len(values) < 2:
        return None
    mean, sd = float(np.mean(values)), float(np.std(values, ddof=1))
    half = float(stdtrit(len(values) - 1, 0.975)) * sd / math.sqrt(len(values))
    return mean - half, mean + half


def rows_of(outcomes: Sequence[Outcome], published: Sequence[Published]) -> list[Row]:
    """Return a row per benchmark, report, budget and method, published values beside them.

    Published values that belong to no row come as rows of preset "quoted", after their benchmark's.
    """
    rows = []
    benchmarks = {outcome.cell.benchmark.name: outcome.cell.benchmark for outcome in outcomes}
    for name, benchmark in benchmarks.items():
        mine = [outcome for outcome in outcomes if outcome.cell.benchmark.name == name]
        said = {(p.method, p.metric, p.budget): p for p in published if p.benchmark == name}
        used = set[tuple[str, str, int | None]]()
        for report in benchmark.report:
            for budget in benchmark.budgets:
                for outcome in mine:
                    if budget not in outcome.cell.budgets:
                        continue
                    key = (outcome.cell.method.name, report, budget)
                    used.add(key)
                    rows.append(_row(outcome, report, budget, said.get(key)))
        rows += [_quoted(p) for key, p in said.items() if key not in used]
    return rows


def _row(outcome: Outcome, report: str, budget: int, published: Published | None) -> Row:
    benchmark, method = outcome.cell
    values = outcome.at(report, budget)
    ends = interval(values)
    return Row.of(
        benchmark.name,
        report,
        values,
        method=method.name,
        preset=method.preset,
        budget=budget,
        low=None if ends is None else rounded(ends[0]),
        high=None if ends is None else rounded(ends[1]),
        paper=None if published is None else published.mean,
        paper_sd=None if published is None else published.sd,
        column=benchmark.report[report],
    )


def _quoted(said: Published) -> Row:
    return Row(
        said.benchmark,
        said.metric,
        said.mean,
        said.n,
        said.sd,
        method=said.method,
        preset="quoted",
        budget=said.budget,
        paper=said.mean,
        paper_sd=said.sd,
    )


def differences_of(outcomes: Sequence[Outcome], baseline: str) -> list[Difference]:
    """Compare every method with the baseline on the same seeds, benchmark by benchmark."""
    found = []
    for outcome in outcomes:
        benchmark, method = outcome.cell
        base = next(
            (o for o in outcomes if o.cell.method.label == baseline and _on(o, benchmark)), None
        )
        if base is None or method.label == baseline:
            continue
        for report in benchmark.report:
            for budget in (b for b in outcome.cell.budgets if b in base.cell.budgets):
                # A method with fewer seeds has the first ones.
                pairs = zip(outcome.at(report, budget), base.at(report, budget), strict=False)
                apart = [mine - other for mine, other in pairs]
                ends = interval(apart)
                found.append(
                    Difference(
                        benchmark.name,
                        report,
                        budget,
                        method.label,
                        baseline,
                        rounded(float(np.mean(apart))),
                        None if ends is None else rounded(ends[0]),
                        None if ends is None else rounded(ends[1]),
                        len(apart),
                    )
                )
    return found


def _on(outcome: Outcome, benchmark: Benchmark) -> bool:
    return outcome.cell.benchmark.name == benchmark.name


def curves_of(outcomes: Sequence[Outcome]) -> list[Curve]:
    """Return the mean of the drawn report after each evaluation, with its interval.

    A curve starts where every seed has had a success.
    """
    curves = []
    for outcome in outcomes:
        benchmark, method = outcome.cell
        values = outcome.reports[benchmark.drawn]
        whole = np.isfinite(values).all(axis=0)
        if not whole.any():
            continue
        first = int(whole.argmax())
        values = values[:, first:]
        ends = [interval(column) or (column[0], column[0]) for column in values.T.tolist()]
        sd = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
        curves.append(
            Curve(
                benchmark.name,
                benchmark.drawn,
                method.label,
                first + 1,
                [rounded(x) for x in values.mean(axis=0).tolist()],
                [rounded(low) for low, _ in ends],
                [rounded(high) for _, high in ends],
                [rounded(x) for x in sd.tolist()],
            )
        )
    return curves
