"""A surrogate benchmark: a full table predicted from a part of it, as in [NAS-Bench-301].

An ensemble of boosted trees (`netwright.surrogates.boosted`) is fitted on the measured rows, or on
some of them, and predicts every architecture. A prediction is one function of the architecture, so
rows that were measured get their prediction, too, unless their measurements are asked for. Columns
of the new table, for a metric ``cifar10/test@108``:

===========================  ===================================================================
``cifar10/test@108``         the mean of a measurement
``cifar10/test-sd@108``      its standard deviation: noise and error of the prediction together
``cifar10/test-low@108``     its 2.5 % quantile; ``-high`` has that of 97.5 %
``cifar10/test-spread@108``  standard deviation between the members of the ensemble
``cifar10/test-run1@108``    a measurement as it may come out, drawn; ``-run2`` and so on
===========================  ===================================================================

The table's header says that it is a surrogate, of what, and how good: Kendall's tau, R^2, root mean
squared error, and how many measurements lie between low and high (95 % should). "unseen" is on the
fitted rows, each predicted by the members that did not see it (its coverage is right by
construction: the intervals are made of these residuals); "held out" on measured rows that were not
fitted, by the whole ensemble.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from netwright import metrics
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.spaces.base import Enumerable, SearchSpace
from netwright.surrogates.boosted import FEWEST, BoostedEnsemble, Prediction
from netwright.surrogates.invariants import invariants
from netwright.tables.format import Column, Rows, Table
from netwright.tables.reading import Progress, no_progress

_CHUNK = 1 << 14


@dataclass(frozen=True)
class Agreement:
    """How predictions agree with measurements; NaN where it cannot be told.

    Attributes:
        rows: How many there are.
        tau: Kendall's rank correlation.
        r2: Share of the variance that is explained.
        rmse: Root mean squared error, in the unit of the metric.
        coverage: Share of the measurements between low and high.
    """

    rows: int
    tau: float
    r2: float
    rmse: float
    coverage: float

    @classmethod
    def of(
        cls,
        predicted: Float[Tensor, " row"],
        measured: Float[Tensor, " row"],
        low: Float[Tensor, " row"],
        high: Float[Tensor, " row"],
    ) -> "Agreement":
        """Compare predictions and intervals with measurements."""
        if not len(measured):
            return cls(0, *[math.nan] * 4)
        variance = float(measured.var(correction=0))
        return cls(
            len(measured),
            metrics.kendall_tau(predicted, measured),
            1 - metrics.mse(predicted, measured) / variance if variance > 0 else math.nan,
            metrics.rmse(predicted, measured),
            float(((low <= measured) & (measured <= high)).double().mean()),
        )


def surrogate(
    table: Table,
    space: SearchSpace,
    names: Sequence[str],
    *,
    rows: int | None = None,
    of: Table | None = None,
    runs: int = 0,
    keep_measured: bool = False,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Rows:
    """Predict metrics of all architectures of a space from those that were measured.

    Args:
        table: Has the measurements.
        space: Its space; all of its architectures are predicted.
        names: Of the metrics, each predicted by itself.
        rows: Fit on so many measured rows, drawn at random; on all of them if None.
        of: Predict the architectures of this table in place of all.
        runs: How many measurements to draw of each architecture.
        keep_measured: Whether rows that were fitted keep their measurement.
        seed: Of the draw, of the fit and of the runs.
        progress: Told the number of rows predicted so far.

    Raises:
        ValueError: If the tables are of other spaces, the space cannot be listed, there are too
            few measurements or fewer than ``rows``, or two columns would have one name.
    """
    if not names or len(set(names)) != len(names):
        raise ValueError("name the metrics to predict, each once")
    if runs < 0:
        raise ValueError(f"--runs is a number of measurements to draw, not {runs}")
    for given in (table, of):
        if given is not None:
            given.require(space)
    fits = {name: _measured(table, name, rows, seed) for name in names}
    archs = _targets(space, of)
    keys = space.keys(archs)
    ensembles = {}
    for name, (fitted, _) in fits.items():
        ensembles[name] = BoostedEnsemble()
        x = invariants(table.archs(fitted), space.layout)
        ensembles[name].fit(x, table.column(name)[fitted], rng=stream(seed, f"{name}/fit"))
    found = _predict(ensembles, archs, space, progress)
    columns, facts = dict[str, Column](), dict[str, Any]()
    for name, ensemble in ensembles.items():
        made = _columns(table, name, ensemble, found[name], runs, seed)
        if twice := made.keys() & columns.keys():
            raise ValueError(f"two columns would be called {min(twice)}: predict one metric less")
        fitted, others = fits[name]
        facts[name] = _facts(table, name, ensemble, fitted, others, keys, found[name])
        if keep_measured:
            at = table.lookup(keys)
            kept = torch.isin(at, fitted)
            made[name].values[kept] = table.column(name)[at[kept]].double()
        columns |= made
    return Rows(
        archs,
        columns,
        f"surrogate of {table.source}",
        table.licence,
        {
            "of": table.source,
            "checksum": table.checksum,
            "predictor": "boosted trees on graph invariants",
            "seed": seed,
            "keeps_measured": keep_measured,
            "metrics": facts,
        },
    )


def _measured(
    table: Table, name: str, rows: int | None, seed: int
) -> tuple[Int[Tensor, " fitted"], Int[Tensor, " other"]]:
    """The rows to fit on, and the other measured ones."""
    known = table.column(name).isfinite().nonzero()[:, 0]
    if rows is not None and rows < FEWEST:
        raise ValueError(f"{rows} rows are too few to fit on: give --rows {FEWEST} or more")
    if len(known) < (rows or FEWEST):
        least = f"the {rows} of --rows" if rows else f"the {FEWEST} that a fit needs"
        raise ValueError(f"{table.path} has {len(known)} measurements of {name}, not {least}")
    order = torch.randperm(len(known), generator=stream(seed, "rows"))
    count = len(known) if rows is None else rows
    return known[order[:count]].sort().values, known[order[count:]].sort().values


def _targets(space: SearchSpace, of: Table | None) -> ArchitectureBatch:
    """The architectures to predict."""
    if of is not None:
        return of.archs(torch.arange(len(of)))
    if not isinstance(space, Enumerable):
        raise ValueError(f"{space.name} cannot be listed: give --of a table of what to predict")
    return space.enumerate()


def _predict(
    ensembles: dict[str, BoostedEnsemble],
    archs: ArchitectureBatch,
    space: SearchSpace,
    progress: Progress,
) -> dict[str, Prediction]:
    """Predict piece by piece, so that the features of all never lie in memory at once."""
    parts: dict[str, list[Prediction]] = {name: [] for name in ensembles}
    for start in range(0, len(archs), _CHUNK):
        x = invariants(archs[start : start + _CHUNK], space.layout)
        for name, ensemble in ensembles.items():
            parts[name].append(ensemble.predict(x))
        done = start + len(x)
        progress(done, done / len(archs))
    return {name: Prediction.cat(part) for name, part in parts.items()}


def _columns(
    table: Table, name: str, ensemble: BoostedEnsemble, found: Prediction, runs: int, seed: int
) -> dict[str, Column]:
    """The columns of one metric, by name."""
    head, at, epochs = name.partition("@")
    values = {
        "": found.mean,
        "-sd": found.sd,
        "-low": found.low,
        "-high": found.high,
        "-spread": found.spread,
    }
    for run in range(1, runs + 1):
        values[f"-run{run}"] = ensemble.draw(found, rng=stream(seed, f"{name}/run{run}"))
    unit = table.units[name]
    return {f"{head}{kind}{at}{epochs}": Column(value, unit) for kind, value in values.items()}


def _facts(
    table: Table,
    name: str,
    ensemble: BoostedEnsemble,
    fitted: Int[Tensor, " fitted"],
    others: Int[Tensor, " other"],
    keys: Int[Tensor, "row 2"],
    found: Prediction,
) -> dict[str, Any]:
    """What the header says of one metric."""
    measured = table.column(name).double()
    unseen = ensemble.unseen
    row = table.lookup(keys)
    held = torch.isin(row, others).nonzero()[:, 0]
    out = Agreement.of(found.mean[held], measured[row[held]], found.low[held], found.high[held])
    inside = Agreement.of(unseen.mean, measured[fitted], unseen.low, unseen.high)
    return {
        "fitted_rows": len(fitted),
        "noise_sd": float(found.sd.square().mean().sqrt()),
        "noise_sd_median": float(found.sd.median()),
        "unseen": _plain(inside),
        "held_out": _plain(out) if len(held) else None,
    }


def _plain(agreement: Agreement) -> dict[str, Any]:
    """JSON has no NaN."""
    return {k: None if v != v else v for k, v in asdict(agreement).items()}
