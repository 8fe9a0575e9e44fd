"""The rows of [GraphPNAS] tables 1, 2, 6 and 9 and of Figs. 3 and 6, from what jobs came to."""

import math
import statistics
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.graphs import dag
from netwright.reproductions.statistics import interval
from netwright.reproductions.trials import Trial, share_right
from netwright.reproductions.wiring_search import Done
from netwright.results import Difference, Row, rounded
from netwright.runs.ledger import Row as Evaluated
from netwright.runs.samples import DENSE
from netwright.spaces.base import SearchSpace

#: Of the evaluations of a search, the last ones that show what a generator has learned: the paper's
#: 15 of 40 steps.
LATE = 3 / 8

_TABLE1 = {  # GPU days; validation accuracy in low data and in the end, each with its sd
    "ER-TopK": (15.2, 23.12, 0.34, 61.76, 0.04),
    "WS-TopK": (15.6, 22.39, 0.91, 62.24, 0.34),
    "ER-BEST": (15.2, 20.07, 1.62, 62.10, 0.25),
    "WS-BEST": (15.6, 18.68, 1.41, 62.16, 0.92),
    "RNN": (17.2, 18.46, 0.99, 61.73, 0.77),
    "GraphPNAS": (16.7, 20.32, 1.12, 62.57, 0.40),
}
_TABLE2 = {  # million parameters, top-1 and top-5 accuracy, each with its sd
    "ResNet-18": (11.68, 59.71, 0.09, 80.32, 0.10),
    "ResNet-50": (25.56, 63.42, 0.30, 82.61, 0.15),
    "ResNeXt-50": (27.56, 63.62, 0.07, 82.73, 0.08),
    "FC": (3.49, 60.82, 0.24, 82.29, 0.09),
    "ER-Top1": (3.23, 61.82, 0.09, 82.30, 0.18),
    "RS-Top1": (3.22, 62.55, 0.15, 82.64, 0.21),
    "RNN": (3.32, 62.29, 0.39, 82.16, 0.24),
    "GraphPNAS": (3.27, 63.23, 0.18, 83.06, 0.05),
    "WS-Top1, large": (19.38, 63.84, 0.13, 82.61, 0.16),
    "RNN, large": (19.78, 63.69, 0.28, 82.74, 0.21),
    "GraphPNAS, large": (19.18, 64.45, 0.26, 83.23, 0.26),
}
_TABLE6 = {
    "RANG-D": (94.1, 0.16),
    "RANG-BOHB": (94.0, 0.26),
    "RANG-MOBO": (94.3, 0.13),
    "GraphPNAS": (94.6, 0.18),
}
_TABLE9 = {  # final accuracy, average and longest path
    "early stopping": (61.86, 2.595, 6.125),
    "low data": (62.57, 3.046, 8.75),
}

Groups = dict[str, list[Done]]
_Measures = list[tuple[str, Callable[[Done], float]]]


def samples_rows(groups: Groups) -> list[Row]:
    """Return what the sampled networks of each method came to (tables 1 and 6).

    A value of a row is that of one seed; the mean and the standard deviation are over seeds.
    """
    measures: _Measures = [
        ("test accuracy, mean of the samples", lambda d: 100 * _mean(d.more, "test")),
        ("test accuracy, sd of the samples", lambda d: 100 * _sd(d.more, "test")),
        ("test accuracy, best of the samples", lambda d: 100 * _best(d.more)),
        ("test accuracy, ensemble of the samples", lambda d: 100 * _ensemble(d)),
        ("valid accuracy in low data, mean of the samples", lambda d: 100 * _mean(d.few, "valid")),
        ("valid accuracy in low data, sd of the samples", lambda d: 100 * _sd(d.few, "valid")),
        ("valid accuracy in low data, best of the search", lambda d: 100 * _found(d)),
        ("parameters", lambda d: _mean(d.more, "parameters")),
        ("search cost (minutes of training)", lambda d: _cost(d) / 60),
    ]
    return _measured(groups, measures)


def against(groups: Groups, baseline: str, metric: str = "test accuracy") -> list[Difference]:
    """Return how much better the samples of each method do than those of one, seed by seed."""
    if baseline not in groups:
        return []
    subtracted = {done.job.seed: 100 * _mean(done.more, "test") for done in groups[baseline]}
    differences = []
    for label, found in groups.items():
        values = [
            100 * _mean(done.more, "test") - subtracted[done.job.seed]
            for done in found
            if label != baseline and done.job.seed in subtracted
        ]
        if values and all(map(math.isfinite, values)):
            low, high = interval(values) or (None, None)
            budget = found[0].job.ground.evaluations
            what = f"{metric}, mean of the samples"
            mean = rounded(statistics.fmean(values))
            differences.append(
                Difference(
                    _name(found), what, budget, label, baseline, mean,
                    None if low is None else rounded(low),
                    None if high is None else rounded(high), len(values),
                )
            )  # fmt: skip
    return differences


def best_rows(groups: Groups) -> list[Row]:
    """Return what the best network of each method came to (table 2), and larger ones of its cell.

    A value of a row is that of one seed, a mean over trainings.
    """
    rows = []
    for label, found in groups.items():
        name, benchmark = label.replace("TopK", "Top1"), _name(found)
        for metric, values in (
            ("test accuracy", [100 * _mean(done.best, "test") for done in found]),
            ("test accuracy, sd of trainings", [100 * _sd(done.best, "test") for done in found]),
            ("test accuracy, top 5", [100 * _top5(done) for done in found]),
            ("parameters", [_mean(done.best, "parameters") for done in found]),
        ):
            rows += summary(benchmark, metric, name, values)
        large = [done.large for done in found]
        tested, sizes = (
            [_mean(trials, what) for trials in large] for what in ("test", "parameters")
        )
        rows += summary(benchmark, "test accuracy", f"{name}, large", [100 * t for t in tested])
        rows += summary(benchmark, "parameters", f"{name}, large", sizes)
    order = ["test accuracy", "test accuracy, sd of trainings", "test accuracy, top 5"]
    return sorted(rows, key=lambda row: [*order, "parameters"].index(row.metric))


def regime_rows(groups: Groups) -> list[Row]:
    """Return what searches by different evaluators came to (table 9)."""
    measures: _Measures = [
        ("test accuracy, mean of the samples", lambda d: 100 * _mean(d.more, "test")),
        ("average path", lambda d: _paths(d, dag.mean_path)),
        ("longest path", lambda d: _paths(d, dag.longest_path)),
        ("edges", lambda d: float(d.job.ground.space.parse(d.archs).num_edges.double().mean())),
        ("search cost (minutes of training)", lambda d: _cost(d) / 60),
    ]
    return _measured(groups, measures)


class Point(NamedTuple):
    """A graph that a generator proposed late in a search.

    Attributes:
        method: Whose.
        path: Average path length of the undirected graph.
        clustering: Its clustering coefficient.
        score: Validation accuracy in percent.
        density: Share of the pairs of nodes that are joined.
    """

    method: str
    path: float
    clustering: float
    score: float
    density: float


def late_points(label: str, found: Sequence[Done]) -> list[Point]:
    """Return what a generator, not the explorer, proposed in the last part of each search."""
    points = []
    for done in found:
        space = done.job.ground.space
        first = (1 - LATE) * max((row.index for row in done.rows), default=0)
        rows = [
            row
            for row in done.rows
            if row.origin == "generator" and row.status == "evaluated" and row.index >= first
        ]
        points += _points(label, space, rows)
    return points


def _points(label: str, space: SearchSpace, rows: Sequence[Evaluated]) -> list[Point]:
    scored = [(row.arch, row.score) for row in rows if row.score is not None]
    if not scored:
        return []
    archs = space.parse([arch for arch, _ in scored])
    full, _ = space.with_ends(archs)
    density = space.layout.density(archs)
    places = (dag.average_path_length(full), dag.clustering_coefficient(full), density)
    return [
        Point(label, path, clustering, 100 * score, dense)
        for (_, score), path, clustering, dense in zip(
            scored, *(place.tolist() for place in places), strict=True
        )
    ]


def topology_rows(benchmark: str, points: Sequence[Point]) -> list[Row]:
    """Return where the graphs of each method lie (Figs. 3 and 6)."""
    rows = []
    for label in dict.fromkeys(point.method for point in points):
        mine = [point for point in points if point.method == label]
        for metric, values in (
            ("valid accuracy in low data", [point.score for point in mine]),
            ("average path length", [point.path for point in mine]),
            ("clustering coefficient", [point.clustering for point in mine]),
            ("density", [100 * point.density for point in mine]),
            (
                f"dense graphs, more than {DENSE:.0%} of the pairs",
                [100.0 * (point.density > DENSE) for point in mine],
            ),
        ):
            rows += summary(benchmark, metric, label, values)
    return sorted(rows, key=lambda row: row.metric)


def quoted_rows(item: str) -> list[Row]:
    """Return the published table."""
    images = "cifar10" if item == "table6" else "tiny-imagenet"
    benchmark = f"randwire-32/{images}, published"

    def row(
        metric: str, label: str, mean: float, sd: float | None = None, n: int | None = None
    ) -> Row:
        return Row(
            benchmark, metric, mean, n, sd, method=label, preset="quoted", paper=mean, paper_sd=sd
        )

    rows = []
    if item == "table1":
        for label, (days, few, few_sd, final, sd) in _TABLE1.items():
            rows.append(row("final valid accuracy, of the samples", label, final, sd, 4))
            rows.append(row("valid accuracy in low data, of the samples", label, few, few_sd, 4))
            rows.append(row("search cost (GPU days)", label, days))
    elif item == "table2":
        for label, (size, top1, sd1, top5, sd5) in _TABLE2.items():
            rows.append(row("final valid accuracy", label, top1, sd1, 3))
            rows.append(row("final valid accuracy, top 5", label, top5, sd5, 3))
            rows.append(row("parameters", label, size * 1e6))
    elif item == "table6":
        rows += [row("test accuracy, of the samples", m, *both, 8) for m, both in _TABLE6.items()]
    elif item == "table9":
        for label, (final, average, longest) in _TABLE9.items():
            rows.append(row("final valid accuracy, of the samples", label, final))
            rows.append(row("average path", label, average, None, 8))
            rows.append(row("longest path", label, longest, None, 8))
    return sorted(rows, key=lambda r: r.metric != rows[0].metric)


def _measured(groups: Groups, measures: _Measures) -> list[Row]:
    """Return a row for each measure and method, a value for each seed."""
    rows = []
    for metric, measure in measures:
        for label, found in groups.items():
            rows += summary(_name(found), metric, label, [measure(done) for done in found])
    return rows


def summary(benchmark: str, metric: str, label: str, values: Sequence[float]) -> list[Row]:
    """Return the row of the values that are finite; none if there are none."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return []
    low, high = interval(known) or (None, None)
    bare = metric == "parameters" or ", sd" in metric  # no interval: Student's t is of means
    return [
        Row.of(
            benchmark,
            metric,
            known,
            method=label,
            low=None if low is None or bare else rounded(low),
            high=None if high is None or bare else rounded(high),
        )
    ]


def _name(found: Sequence[Done]) -> str:
    return found[0].job.ground.name


def _values(trials: Sequence[Trial], name: str) -> list[float]:
    values = [float(getattr(trial, name)) for trial in trials if trial.error is None]
    return [value for value in values if math.isfinite(value)]


def _mean(trials: Sequence[Trial], name: str) -> float:
    values = _values(trials, name)
    return statistics.fmean(values) if values else math.nan


def _sd(trials: Sequence[Trial], name: str) -> float:
    values = _values(trials, name)
    return statistics.stdev(values) if len(values) > 1 else math.nan


def _best(trials: Sequence[Trial]) -> float:
    """Return the test accuracy of the network that is best in validation."""
    known = [trial for trial in trials if trial.error is None]
    return max(known, key=lambda trial: trial.valid).test if known else math.nan


def _top5(done: Done) -> float:
    """Return the mean over trainings of the best network."""
    first = len(done.plans) - len(done.best)
    places = [first + i for i, trial in enumerate(done.best) if trial.error is None]
    setting = done.job.ground.final
    values = [share_right(done.said(i), setting, among=5) for i in places]
    return statistics.fmean(values) if values else math.nan


def _ensemble(done: Done) -> float:
    """Return the test accuracy of the mean of the networks' probabilities."""
    says = [done.said(i) for i, trial in enumerate(done.more) if trial.error is None]
    if not says:
        return math.nan
    return share_right(ensemble(says), done.job.ground.final)


def ensemble(says: Sequence[Float[Tensor, "image class"]]) -> Float[Tensor, "image class"]:
    """Return the log of the mean of probabilities, given their logs."""
    return torch.stack(list(says)).logsumexp(dim=0) - math.log(len(says))


def _found(done: Done) -> float:
    scores = [row.score for row in done.rows if row.score is not None]
    return max(scores) if scores else math.nan


def _cost(done: Done) -> float:
    cost = sum(row.cost for row in done.rows if row.status == "evaluated")
    return cost if done.rows else math.nan


def _paths(done: Done, measure: Callable[..., Tensor]) -> float:
    space = done.job.ground.space
    full, _ = space.with_ends(space.parse(done.archs))
    return float(measure(full).double().mean())
