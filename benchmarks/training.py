"""The training evaluator: what a score costs, and what it is worth.

    python benchmarks/training.py

Trains 30 NAS-Bench-101 cells on a tenth of the digits (the low-data regime, one thread), each with
two seeds: how well do the two rankings agree? Then the overhead of a process of its own. Writes
docs/results/training-evaluator.json and .md.
"""

import datetime
import json
import platform
import statistics
import time
from functools import partial
from pathlib import Path

import torch
from scipy.stats import spearmanr

import netwright
from netwright.evaluation import Evaluation
from netwright.evaluators.isolated import Isolated
from netwright.evaluators.train import DIGITS_RECIPE, TrainEvaluator
from netwright.images.digits import digits
from netwright.networks.nasbench101 import nasbench101_network
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101

ROOT = Path(__file__).resolve().parent.parent
CELLS = 30
SEEDS = (0, 1)
CALLS = 50


class Nothing:
    """Scores at no cost: what is left is the overhead."""

    chunk = 1

    def __call__(self, archs, *, rngs):
        del rngs
        return Evaluation(torch.zeros(len(archs)), torch.zeros(len(archs)))


def row(method, metric, values, *, budget=None):
    mean = round(statistics.fmean(values), 4)
    sd = round(statistics.stdev(values), 4) if len(values) > 1 else None
    print(f"{method:12} {metric:50} {mean:>10} +- {sd}", flush=True)
    labels = {"benchmark": "nasbench101/digits", "method": method, "preset": "small"}
    return {**labels, "metric": metric, "budget": budget, "mean": mean, "sd": sd} | {
        "n": len(values),
        "paper": None,
    }


def measure():
    """Yield the rows of the results."""
    torch.set_num_threads(1)
    archs = NASBench101().sample(CELLS, rng=stream(0, "cells"))
    build = partial(nasbench101_network, preset="small")
    evaluator = TrainEvaluator(build, digits(), DIGITS_RECIPE, device="cpu")
    evaluator(archs[:1], rngs=[stream(0, "warm-up")])
    runs, seconds = [], []
    for seed in SEEDS:
        rngs = [stream(seed, f"evaluation/{i}") for i in range(CELLS)]
        scores = []
        for i, rng in enumerate(rngs):
            start = time.process_time()  # of this process: others on the machine do not count
            scores.append(evaluator(archs[i : i + 1], rngs=[rng]).score)
            seconds.append(time.process_time() - start)
        runs.append(torch.cat(scores))
    a, b = runs
    budget = DIGITS_RECIPE.epochs
    yield row("low data", "CPU seconds per evaluation", seconds, budget=budget)
    yield row("low data", "valid accuracy", (100 * (a + b) / 2).tolist(), budget=budget)
    within = ((a - b) ** 2 / 2).mean().sqrt()
    yield row("low data", "valid accuracy, sd between seeds", [100 * float(within)], budget=budget)
    agreement = float(spearmanr(a, b).statistic)
    yield row("low data", "rank correlation of two seeds", [agreement], budget=budget)
    with Isolated(Nothing(), threads=1) as isolated:
        times = []
        for _ in range(CALLS + 1):
            start = time.perf_counter()
            isolated(archs[:1], rngs=[stream(0, "nothing")])
            times.append(time.perf_counter() - start)
    yield row("own process", "seconds of the first call", times[:1])
    yield row("own process", "milliseconds of a later call", [1000 * t for t in times[1:]])


def write(rows):
    """Write docs/results/training-evaluator.json, and .md from it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    versions = {"netwright": netwright.__version__, "python": platform.python_version()}
    versions["torch"] = torch.__version__
    result = {
        "command": "python benchmarks/training.py",
        "date": datetime.date.today().isoformat(),
        "versions": versions,
        "machine": f"{names[0] if names else platform.processor()}, 1 thread",
        "seeds": list(SEEDS),
        "rows": rows,
    }
    target = ROOT / "docs" / "results" / "training-evaluator"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    columns = ["method", "metric", "budget", "mean", "sd", "n"]
    text = [
        "# The training evaluator: what a score costs, and what it is worth",
        "",
        f"`{result['command']}`, {result['date']}, {result['machine']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
        "",
        f"{CELLS} random NAS-Bench-101 cells in the small skeleton, each trained with two seeds on "
        "a tenth of the digits' training images and validated on the rest. Budget: epochs; "
        "accuracies in percent.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + " --- |" * len(columns),
    ]
    for entry in rows:
        cells = ("-" if entry[name] is None else str(entry[name]) for name in columns)
        text.append("| " + " | ".join(cells) + " |")
    target.with_suffix(".md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    write(list(measure()))
