"""Tables of one's own measurements: architectures evaluated with one or several seeds.

Metrics, of a score called ``dataset/valid@epochs``:

==============================  ============================================================
``dataset/valid@epochs``        the score, mean of the seeds
``dataset/test@epochs``         the extra ``test_accuracy``, likewise
``dataset/valid-seed0@epochs``  the score with seed 0 alone, where there are several; and of the
                                test accuracy
``dataset/train-seconds@epochs``  the cost, median of the seeds (a first evaluation of a process
                                takes longer); of a score without epochs ``dataset/valid-seconds``
``dataset/train-loss@epochs``   any other extra, mean of the seeds
``parameters``                  the extra of that name
==============================  ============================================================

A mean is that of the seeds that did not fail; NaN where all failed.
"""

import re
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from netwright.evaluation import Evaluation
from netwright.graphs.batch import ArchitectureBatch
from netwright.metrics import kendall_tau, spearman
from netwright.tables.format import Column, Rows, Table, Unit

#: Extras with a unit of their own; the others are plain numbers.
_TEST, _PARAMETERS = "test_accuracy", "parameters"
_OF_A_SEED = re.compile(r"(.+)-seed(\d+)(@\d+)?")


def measured_rows(
    archs: ArchitectureBatch,
    results: Sequence[Evaluation],
    *,
    metric: str,
    seeds: Sequence[int],
    source: str,
    licence: str,
    unit: Unit = "number",
) -> Rows:
    """Return the rows of a table.

    Args:
        archs: One architecture per row, each once.
        results: What was measured with each seed, an entry for each architecture.
        metric: Name of the score.
        seeds: Those of ``results``.
        source: Where the measurements come from.
        licence: Theirs.
        unit: Of the score.

    Raises:
        ValueError: If a name is no name of a metric, two columns get the same, or the numbers of
            results, seeds and architectures do not fit.
    """
    if len(results) != len(seeds) or any(len(result) != len(archs) for result in results):
        raise ValueError("one result is needed for each seed, of all architectures")
    name = _Names(metric)
    columns: dict[str, Column] = {}

    def add(name: str, values: Float64[Tensor, " row"], unit: Unit) -> None:
        if name in columns:
            raise ValueError(f"two columns would be called {name}: give the score another --metric")
        columns[name] = Column(values, unit)

    def add_each(quantity: str, values: Float64[Tensor, "seed row"], unit: Unit) -> None:
        add(name(quantity), values.nanmean(dim=0), unit)
        if len(seeds) > 1:
            for seed, single in zip(seeds, values, strict=True):
                add(name(f"{quantity}-seed{seed}"), single, unit)

    add_each(name.quantity, _stacked([result.score for result in results]), unit)
    missing = torch.full((len(archs),), torch.nan)
    for extra in dict.fromkeys(extra for result in results for extra in result.extras):
        values = _stacked([result.extras.get(extra, missing) for result in results])
        if extra == _TEST:
            add_each("test", values, unit)
        elif extra == _PARAMETERS:
            add(extra, values.nanmean(dim=0), "count")
        else:
            add(name(extra.replace("_", "-")), values.nanmean(dim=0), "number")
    cost = _stacked([result.cost for result in results])
    if (cost > 0).any():
        add(name.seconds, cost.quantile(0.5, dim=0), "seconds")
    return Rows(archs, columns, source, licence)


def seed_agreement(table: Table) -> dict[str, dict[str, Any]]:
    """Return how far single seeds rank the architectures alike, by metric, as JSON values.

    Of each pair of seeds of a metric, Kendall's tau and Spearman's rank correlation over the rows
    that both measured; NaN where fewer than two rows, or no two different values, were.
    """
    columns: dict[str, dict[int, str]] = {}
    for name in table.metrics:
        if of_seed := _OF_A_SEED.fullmatch(name):
            before, seed, after = of_seed.groups(default="")
            columns.setdefault(before + after, {})[int(seed)] = name
    found: dict[str, dict[str, Any]] = {}
    for metric, by_seed in columns.items():
        pairs = list(combinations(sorted(by_seed), 2))
        if pairs:
            values = {seed: table.column(name).double() for seed, name in by_seed.items()}
            both = [torch.stack([values[a], values[b]]) for a, b in pairs]
            both = [two[:, ~two.isnan().any(dim=0)] for two in both]
            found[metric] = {
                "pairs": [list(pair) for pair in pairs],
                "kendall_tau": [kendall_tau(a, b) for a, b in both],
                "spearman": [spearman(a, b) for a, b in both],
            }
    return found


class _Names:
    """Takes ``dataset/valid@epochs`` apart and makes names of the same kind."""

    def __init__(self, metric: str) -> None:
        head, at, epochs = metric.partition("@")
        dataset, slash, quantity = head.rpartition("/")
        self._before, self._after = dataset + slash, at + epochs
        self.quantity = quantity
        #: What `TableEvaluator` takes for the cost of ``metric``.
        self.seconds = self("train-seconds") if at else self(f"{quantity}-seconds")

    def __call__(self, quantity: str) -> str:
        """Return the name of another quantity."""
        return f"{self._before}{quantity}{self._after}"


def _stacked(values: Sequence[Tensor]) -> Float64[Tensor, "seed row"]:
    return torch.stack([value.detach().cpu().double() for value in values])
