"""The rows of extrapolation: what trainings came to, and how well a ranking foretold it."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.metrics import kendall_tau, spearman
from netwright.reproductions.candidates import SPACE, Ranking, shares
from netwright.reproductions.statistics import interval
from netwright.reproductions.svge import Scale
from netwright.reproductions.trials import Plan, Trial
from netwright.results import Row, rounded
from netwright.rng import stream

TOP = "8 nodes, top of the ranking"
EXPANDED = "8 nodes, top of the expansions"
ANY = "8 nodes, random candidates"
BEST = "7 nodes, best of the table"
PAPERS = "7 nodes, the paper's best"
RANDOM = "7 nodes, random"
RESNET = "ResNet-like cell"
CHOSEN = "8 nodes, best of the top by validation"

_QUOTED: dict[
    str, list[tuple[str, str, float | None, float | None]]
] = {  # validation and test accuracy
    "table4": [
        ("cifar10, published", "NB101-7, oracle", 95.15, 94.09),
        ("cifar10, published", "NB101-8, SVGe", 95.18, 94.92),
        ("cifar10, published", "ENAS-14, D-VAE + BO", 96.12, None),
        ("cifar10, published", "ENAS-14, SVGe", 96.09, None),
    ],
    "table5": [
        ("imagenet16-120, published", "NAS-Bench-201 (optimal)", 46.77, 47.31),
        ("imagenet16-120, published", "ResNet", 44.53, 43.63),
        ("imagenet16-120, published", "SVGe + BO (NB101-7)", 54.70, 56.83),
        ("imagenet16-120, published", "SVGe + Zero-Shot (NB101-8)", 55.13, 55.53),
    ],
}
#: Where comparable, that is at paper scale.
_PUBLISHED = {PAPERS: (95.15, 94.09), CHOSEN: (95.18, 94.92)}


class Done(NamedTuple):
    """What was planned, and what came of it."""

    benchmark: str
    plans: list[Plan]
    trials: list[Trial]

    def of(self, group: str, seed: int | None = None) -> list[tuple[Plan, Trial]]:
        """Return the trainings of a group that succeeded, of all seeds or one."""
        both = zip(self.plans, self.trials, strict=True)
        return [
            (plan, trial)
            for plan, trial in both
            if plan.group == group and seed in (None, plan.seed) and trial.error is None
        ]


def accuracy_rows(done: Done, groups: Sequence[str], scale: Scale) -> list[Row]:
    """Return what the trainings of each group came to."""
    rows = []
    for metric in ("test accuracy", "valid accuracy", "parameters"):
        for group in groups:
            found = [trial for _, trial in done.of(group)]
            if found:
                rows.append(_row(done.benchmark, metric, group, found, scale))
    failed = sum(trial.error is not None for trial in done.trials)
    if failed:
        rows.append(Row.of(done.benchmark, "failed trainings", [float(failed)]))
    return rows


def chosen_rows(done: Done, seeds: Sequence[int], scale: Scale) -> list[Row]:
    """Return the result of the best of the top by validation, which is what the paper reports."""
    best = []
    for seed in seeds:
        found = [trial for _, trial in done.of(TOP, seed)]
        best += [max(found, key=lambda trial: trial.valid)] if found else []
    metrics = ("test accuracy", "valid accuracy") if best else ()
    return [_row(done.benchmark, metric, CHOSEN, best, scale) for metric in metrics]


def _row(benchmark: str, metric: str, group: str, trials: Sequence[Trial], scale: Scale) -> Row:
    values = {
        "test accuracy": [100 * trial.test for trial in trials],
        "valid accuracy": [100 * trial.valid for trial in trials],
        "parameters": [trial.parameters for trial in trials],
    }[metric]
    ends = interval(values) if metric != "parameters" else None
    valid, test = _PUBLISHED.get(group, (None, None)) if scale == "paper" else (None, None)
    return Row.of(
        benchmark,
        metric,
        values,
        method=group,
        low=None if ends is None else rounded(ends[0]),
        high=None if ends is None else rounded(ends[1]),
        paper={"test accuracy": test, "valid accuracy": valid}.get(metric),
    )


def correlation_rows(done: Done, rankings: Sequence[Ranking], seeds: Sequence[int]) -> list[Row]:
    """Return how well the ranking, and the number of parameters, order random candidates."""
    samples = [
        _sample(done.of(ANY, seed), ranking) for ranking, seed in zip(rankings, seeds, strict=True)
    ]
    benchmark = f"{done.benchmark}, {samples[0].shape[1]} random candidates"
    rows = []
    for (metric, method), measure in _CORRELATIONS.items():
        values = [measure(sample) for sample in samples]
        if all(map(math.isfinite, values)):  # else all is equal, or failed: there is no order
            low, high = interval(values) or _bootstrap(measure, samples[0])
            ends = {"low": rounded(low), "high": rounded(high)}
            rows.append(
                Row.of(benchmark, f"{metric} with test accuracy", values, method=method, **ends)
            )
    return rows


def partial_tau(tau: float, tau_x: float, tau_y: float) -> float:
    """Return Kendall's partial rank correlation of x and y, a third quantity held fixed.

    Args:
        tau: Rank correlation of x and y.
        tau_x: Of x and the third.
        tau_y: Of y and the third.

    Returns:
        NaN if the third orders x or y by itself.
    """
    rest = (1 - tau_x**2) * (1 - tau_y**2)
    return (tau - tau_x * tau_y) / math.sqrt(rest) if rest > 0 else math.nan


def _beyond_size(sample: Float[Tensor, "3 cell"]) -> float:
    predicted, parameters, test = sample
    return partial_tau(
        kendall_tau(predicted, test),
        kendall_tau(predicted, parameters),
        kendall_tau(parameters, test),
    )


#: Of predicted accuracy, number of parameters and test accuracy.
_CORRELATIONS: dict[tuple[str, str], Callable[[Tensor], float]] = {
    ("kendall tau", "predicted rank"): lambda sample: kendall_tau(sample[0], sample[2]),
    ("kendall tau", "number of parameters"): lambda sample: kendall_tau(sample[1], sample[2]),
    ("kendall tau", "predicted rank, parameters held fixed"): _beyond_size,
    ("spearman", "predicted rank"): lambda sample: spearman(sample[0], sample[2]),
    ("spearman", "number of parameters"): lambda sample: spearman(sample[1], sample[2]),
}


def _sample(found: Sequence[tuple[Plan, Trial]], ranking: Ranking) -> Float[Tensor, "3 cell"]:
    """Return predicted accuracy, number of parameters and test accuracy of trained candidates."""
    texts = SPACE.to_text(ranking.archs)
    predicted = dict(zip(texts, ranking.predicted.tolist(), strict=True))
    rows = [(predicted[plan.arch], trial.parameters, trial.test) for plan, trial in found]
    return torch.tensor(rows, dtype=torch.double).reshape(-1, 3).T


def _bootstrap(
    measure: Callable[[Tensor], float], sample: Float[Tensor, "3 cell"], draws: int = 2000
) -> tuple[float, float]:
    """Return the 95 % interval of a measure over samples of the cells, by their percentiles."""
    n = sample.shape[1]
    index = torch.randint(n, (draws, n), generator=stream(0, "extrapolation/bootstrap"))
    found = torch.tensor([measure(sample[:, some]) for some in index])
    low, high = found[~found.isnan()].quantile(torch.tensor([0.025, 0.975])).tolist()
    return low, high


def ranking_rows(rankings: Sequence[Ranking]) -> list[Row]:
    """Return how good the predictor is where it was trained, and how many candidates there are."""
    rows = [
        Row.of(
            "nasbench101, held-out cells of at most 7 nodes",
            "kendall tau with emulated validation accuracy",
            [ranking.tau for ranking in rankings],
            method="predicted rank",
        )
    ]
    counts = [shares(ranking.origin) for ranking in rankings]
    for name in dict.fromkeys(name for count in counts for name in count):
        values = [float(count.get(name, 0)) for count in counts]
        rows.append(Row.of("cells of 8 nodes", "distinct candidates", values, method=name))
    return rows


def quoted_rows(item: str) -> list[Row]:
    """Return the published table."""
    return [
        Row(benchmark, metric, value, None, method=method, preset="quoted", paper=value)
        for benchmark, method, *values in _QUOTED[item]
        for metric, value in zip(("valid accuracy", "test accuracy"), values, strict=True)
        if value is not None
    ]
