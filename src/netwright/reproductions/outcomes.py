"""What came of an experiment, read from the ledgers of its runs.

The incumbent after B evaluations is the architecture with the best search metric among the first
B; what is reported of it was never shown to the search. Where a method stops most trainings early,
B counts full trainings' worth of epochs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netwright.evaluators.halving import spent
from netwright.reproductions.experiment import (
    Cell,
    Experiment,
    Kind,
    Published,
    find_table,
    run_folder,
)
from netwright.reproductions.statistics import holm, interval, mean_ranks, wilcoxon_p
from netwright.results import Curve, Difference, Row, rounded
from netwright.runs.ledger import Row as LedgerRow
from netwright.runs.run import Run
from netwright.tables.format import Table

_Values = NDArray[np.float64]
_GRID = 200  # points of a curve against hours
_HOURS = "simulated hours"


@dataclass(frozen=True)
class Outcome:
    """What a method reached on a benchmark.

    Attributes:
        cell: The two.
        reports: By report, its values: a row per seed, a column per number of evaluations.
        hours: Of training that these evaluations took, or would take; None where the table does
            not tell.
    """

    cell: Cell
    reports: dict[str, _Values]
    hours: _Values | None = None

    def at(self, report: str, budget: int) -> list[float]:
        """Values after ``budget`` evaluations (or all there could be), seed by seed."""
        return _column(self.reports[report], budget)

    def hours_at(self, budget: int) -> list[float] | None:
        """Hours of training until then, seed by seed."""
        return None if self.hours is None else _column(self.hours, budget)


def _column(values: _Values, budget: int) -> list[float]:
    return [float(value) for value in values[:, min(budget, values.shape[1]) - 1]]


def read_outcomes(experiment: Experiment, folder: Path, *, tables: Path) -> list[Outcome]:
    """Read the ledgers of a finished experiment.

    Raises:
        ValueError: If a run is missing or a ledger damaged.
    """
    found = []
    for cell in experiment.cells:
        table = Table.open(find_table(cell.benchmark, tables))
        best = {name: _best(table, column) for name, column in cell.benchmark.report.items()}
        runs = [Run.open(run_folder(folder, cell, seed)) for seed in experiment.seeds_of(cell)]
        found.append(outcome_of(cell, [run.ledger.rows() for run in runs], best))
    return found


def outcome_of(
    cell: Cell, ledgers: Sequence[Sequence[LedgerRow]], best: dict[str, float]
) -> Outcome:
    """Sum up runs of a method on a benchmark.

    Args:
        cell: Which.
        ledgers: The rows of each run.
        best: By report, the largest value that its column has.

    Raises:
        ValueError: If there is no evaluation.
    """
    benchmark = cell.benchmark
    traces: dict[str, list[list[float]]] = {name: [] for name in benchmark.report}
    hours: list[list[float]] = []
    for rows in ledgers:
        paid = [row for row in rows if row.status == "evaluated"]
        paid.sort(key=lambda row: row.index)
        last = _last_of(paid, cell)
        held = incumbents([row.score for row in paid])
        for name, column in benchmark.report.items():
            convert = _conversion(benchmark.kind(name), best[name])
            raw = [
                paid[i].score if column == benchmark.metric else paid[i].extras.get(column)
                for i in held
            ]
            values = [convert(math.nan if value is None else value) for value in raw]
            traces[name].append([values[k] if k >= 0 else math.nan for k in last])
        until = np.cumsum([row.cost / 3600 for row in paid], dtype=float)
        hours.append([float(until[k]) if k >= 0 else 0.0 for k in last])
    longest = max(len(values) for values in next(iter(traces.values())))
    if not longest:
        raise ValueError(f"{cell.method.label} on {benchmark.name} has no evaluation")
    reports = {name: np.array([_filled(v, longest) for v in t]) for name, t in traces.items()}
    known = all(row.cost > 0 for rows in ledgers for row in rows if row.status == "evaluated")
    trained = np.array([_filled(values, longest) for values in hours]) if known else None
    return Outcome(cell, reports, trained)


def _last_of(paid: Sequence[LedgerRow], cell: Cell) -> list[int]:
    """Return, for every budget up to the largest, the last row that it covers; -1 for none."""
    most = cell.budgets[-1]
    if cell.method.eta is None:
        return list(range(min(len(paid), most)))
    epochs = int(cell.benchmark.metric.rpartition("@")[2])
    done = np.array(spent([row.extras for row in paid], epochs=epochs))
    # who goes on is known once all of a step have been trained a little
    whole = [i for i, row in enumerate(paid) if [r.step for r in paid[i + 1 : i + 2]] != [row.step]]
    covered = np.searchsorted(done[whole], np.arange(1, most + 1) + 1e-9, side="right")
    return [-1 if n == 0 else whole[n - 1] for n in covered.tolist()]


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


def rows_of(outcomes: Sequence[Outcome], published: Sequence[Published]) -> list[Row]:
    """Return a row per benchmark, report, budget and method, published values beside them.

    Published values that belong to no row come as rows of preset "quoted", after their
    benchmark's. Where a table tells how long trainings take, there are rows of these hours too.
    """
    rows = []
    benchmarks = {outcome.cell.benchmark.name: outcome.cell.benchmark for outcome in outcomes}
    for name, benchmark in benchmarks.items():
        mine = [outcome for outcome in outcomes if outcome.cell.benchmark.name == name]
        said = {(p.method, p.metric, p.budget): p for p in published if p.benchmark == name}
        used = set[tuple[str, str, int | None]]()
        for report in benchmark.report:
            for budget in benchmark.budgets:
                there = [outcome for outcome in mine if _has(outcome, report, budget)]
                larger = benchmark.kind(report) in ("accuracy", "optimum")
                values = [outcome.at(report, budget) for outcome in there]
                ranks = mean_ranks(values, larger_is_better=larger) if len(there) > 1 else [None]
                for outcome, rank in zip(there, ranks, strict=False):
                    key = (outcome.cell.method.name, report, budget)
                    used.add(key)
                    rows.append(_row(outcome, report, budget, said.get(key), rank))
        rows += [
            _summary(outcome, _HOURS, hours, budget)
            for budget in benchmark.budgets
            for outcome in mine
            if budget in outcome.cell.budgets
            if (hours := outcome.hours_at(budget)) is not None
        ]
        rows += [_quoted(p) for key, p in said.items() if key not in used]
    return rows


def _has(outcome: Outcome, report: str, budget: int) -> bool:
    """Tell whether every seed has a success by then, within what the method may spend."""
    within = budget in outcome.cell.budgets
    return within and bool(np.isfinite(outcome.at(report, budget)).all())


def _row(
    outcome: Outcome, report: str, budget: int, published: Published | None, rank: float | None
) -> Row:
    row = _summary(outcome, report, outcome.at(report, budget), budget)
    return replace(
        row,
        rank=None if rank is None else rounded(rank),
        paper=None if published is None else published.mean,
        paper_sd=None if published is None else published.sd,
        column=outcome.cell.benchmark.report[report],
    )


def _summary(outcome: Outcome, metric: str, values: Sequence[float], budget: int) -> Row:
    benchmark, method = outcome.cell
    ends = interval(values)
    return Row.of(
        benchmark.name,
        metric,
        values,
        method=method.name,
        preset=method.preset,
        budget=budget,
        low=None if ends is None else rounded(ends[0]),
        high=None if ends is None else rounded(ends[1]),
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
    """Compare every method with the baseline on the same seeds, benchmark by benchmark.

    P-values are corrected for the methods compared at a budget by a report.
    """
    found = []
    for base in (outcome for outcome in outcomes if outcome.cell.method.label == baseline):
        benchmark = base.cell.benchmark
        others = [o for o in outcomes if o.cell.benchmark == benchmark and o is not base]
        for report in benchmark.report:
            for budget in base.cell.budgets:
                there = [o for o in (base, *others) if _has(o, report, budget)]
                if base not in there:
                    continue
                apart = [_apart(o, base, report, budget) for o in there if o is not base]
                tests = [wilcoxon_p(values) for values in apart]
                labels = [o.cell.method.label for o in there if o is not base]
                for label, values, p, corrected in zip(
                    labels, apart, tests, holm(tests), strict=True
                ):
                    ends = interval(values)
                    found.append(
                        Difference(
                            benchmark.name,
                            report,
                            budget,
                            label,
                            baseline,
                            rounded(float(np.mean(values))),
                            None if ends is None else rounded(ends[0]),
                            None if ends is None else rounded(ends[1]),
                            len(values),
                            None if p is None else rounded(p),
                            None if corrected is None else rounded(corrected),
                        )
                    )
    return found


def _apart(outcome: Outcome, base: Outcome, report: str, budget: int) -> list[float]:
    # A method with fewer seeds has the first ones.
    pairs = zip(outcome.at(report, budget), base.at(report, budget), strict=False)
    return [mine - other for mine, other in pairs]


def curves_of(outcomes: Sequence[Outcome]) -> list[Curve]:
    """Return the mean of the drawn report after each evaluation, with its interval.

    Where all methods on a benchmark tell how long trainings take, there is another curve of each
    against hours. A curve starts where every seed has had a success.
    """
    curves = []
    for outcome in outcomes:
        values = outcome.reports[outcome.cell.benchmark.drawn]
        whole = np.isfinite(values).all(axis=0)
        if whole.any():
            first = int(whole.argmax())
            curves.append(_curve(outcome, values[:, first:], first + 1))
    timed = {outcome.cell.benchmark.name for outcome in outcomes}
    timed -= {o.cell.benchmark.name for o in outcomes if o.hours is None}
    for outcome in outcomes:
        if outcome.cell.benchmark.name in timed:
            curves += _against_hours(outcome)
    return curves


def _against_hours(outcome: Outcome) -> list[Curve]:
    """Draw a method's values against hours, from where all seeds have one to where one ends."""
    values, hours = outcome.reports[outcome.cell.benchmark.drawn], outcome.hours
    assert hours is not None
    begun = np.isfinite(values)
    if not begun.any(axis=1).all():
        return []
    start = max(float(h[k]) for h, k in zip(hours, begun.argmax(axis=1), strict=True))
    end = float(hours[:, -1].min())
    if end <= start:
        return []
    at = np.linspace(start, end, _GRID)
    rows = [
        v[np.searchsorted(h, at * (1 + 1e-12), side="right") - 1]
        for h, v in zip(hours, values, strict=True)
    ]
    return [_curve(outcome, np.stack(rows), 0, hours=[rounded(x) for x in at.tolist()])]


def _curve(
    outcome: Outcome, values: _Values, first: int, hours: Sequence[float] | None = None
) -> Curve:
    benchmark, method = outcome.cell
    ends = [interval(column) or (column[0], column[0]) for column in values.T.tolist()]
    sd = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
    return Curve(
        benchmark.name,
        benchmark.drawn,
        method.name,
        first,
        [rounded(x) for x in values.mean(axis=0).tolist()],
        [rounded(low) for low, _ in ends],
        [rounded(high) for _, high in ends],
        [rounded(x) for x in sd.tolist()],
        method.preset,
        hours,
    )
