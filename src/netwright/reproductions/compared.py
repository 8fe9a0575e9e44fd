"""Runs that are there, whoever made them, as an experiment whose outcome is known."""

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from netwright.report.methods import methods, name_of, named
from netwright.report.summary import Summary
from netwright.reproductions.experiment import Benchmark, Cell, Experiment, Method
from netwright.reproductions.outcomes import Outcome, outcome_of
from netwright.runs.run import Run


def compared(
    runs: Sequence[Run], *, budgets: Sequence[int] | None = None, baseline: str | None = None
) -> tuple[Experiment, list[Outcome]]:
    """Group runs by what they search for and by method, and sum them up.

    The runs of a method are its seeds, in the order of their seeds. Columns of a table that every
    run of a benchmark reports are reported too.

    Args:
        runs: At least one.
        budgets: Evaluations after which to compare; by default as many as every run has.
        baseline: The method, by label, that the others are compared with.

    Raises:
        ValueError: If two runs of a method have one seed, a run has no evaluation, or there is no
            such baseline.
    """
    summaries = [Summary.of(run) for run in runs]
    for summary in summaries:
        if not summary.evaluated:
            raise ValueError(
                f"{summary.folder} has no evaluation yet: go on with `netwright resume`"
            )
    places: dict[str, list[Summary]] = {}
    for summary in summaries:
        places.setdefault(_place(summary.config), []).append(summary)
    groups = methods([_without_paths(summary) for summary in summaries])
    label_of = {id(run.rows): group.label for group in groups for run in group.runs}
    benchmarks, outcomes = [], []
    for i, mine in enumerate(places.values()):
        benchmark, best = _benchmark(mine, i, budgets)
        benchmarks.append(benchmark)
        for label in dict.fromkeys(label_of[id(s.rows)] for s in mine):
            seeds = [s for s in mine if label_of[id(s.rows)] == label]
            seeds.sort(key=_seed)
            for one, other in pairwise(seeds):
                if _seed(one) == _seed(other):
                    raise ValueError(
                        f"{one.folder} and {other.folder} are the same search: name one of them"
                    )
            cell = Cell(benchmark, Method(method=label, name=label))
            outcomes.append(outcome_of(cell, [s.rows for s in seeds], best))
    labels = dict.fromkeys(outcome.cell.method.label for outcome in outcomes)
    described = Experiment.parse(
        {
            "title": f"Comparison of {len(runs)} runs",
            "benchmarks": benchmarks,
            "methods": [Method(method=label, name=label) for label in labels],
            "seeds": max(len(o.reports[o.cell.benchmark.drawn]) for o in outcomes),
            "first_seed": min(map(_seed, summaries)),
            "baseline": baseline,
        }
    )
    return described, outcomes


def _seed(summary: Summary) -> int:
    return int(summary.config.get("seed", 0))


def _place(config: dict[str, Any]) -> str:
    """Return what runs of one benchmark have in common."""
    evaluator = {k: v for k, v in named(config.get("evaluator")).items() if k != "extras"}
    if evaluator.get("path"):  # wherever it lies
        evaluator["path"] = Path(evaluator["path"]).name
    space = {k: v for k, v in named(config.get("space")).items() if k != "known"}
    return json.dumps([space, evaluator], sort_keys=True, default=str)


def _without_paths(summary: Summary) -> Summary:
    """Leave out of the configuration what says where and how long a run searched, not how."""
    kept = {"method", "batch_size", "design", "seed"}
    config = {name: value for name, value in summary.config.items() if name in kept}
    values = {**vars(summary), "config": config}
    return Summary(**values)


def _benchmark(
    summaries: Sequence[Summary], number: int, budgets: Sequence[int] | None
) -> tuple[Benchmark, dict[str, float]]:
    """Describe the benchmark of runs; return the best value of each report too."""
    config = summaries[0].config
    evaluator, space = named(config.get("evaluator")), name_of(config.get("space"), "a space")
    metric = str(evaluator.get("metric") or f"{evaluator.get('dataset', 'scores')}/valid")
    extras = [
        column
        for column in evaluator.get("extras", ())
        if all(column in row.extras for s in summaries for row in s.scored)
    ]
    report = {f"{column} accuracy": column for column in (metric, *extras)}
    least = min(len(summary.evaluated) for summary in summaries)
    name = f"{space}/{metric}"
    taken = f" ({number + 1})" if number else ""
    benchmark = Benchmark(
        name=name + taken,
        space=str(named(config.get("space")).get("name", "unknown")),
        table=Path(str(evaluator.get("path", "none"))),
        metric=metric,
        report=report,
        budgets=tuple(budgets) if budgets else (least,),
    )
    best = dict.fromkeys(report, math.nan)  # no regret is reported
    return benchmark, best
