"""The training evaluator: what a score costs, and what it is worth.

    python benchmarks/training.py

Trains 30 NAS-Bench-101 cells on a tenth of the digits (the low-data regime, one thread), each with
two seeds: how well do the two rankings agree? Then the overhead of a process of its own. Writes
docs/results/training-evaluator.json and .md.
"""

import time
from functools import partial

import torch
from common import publish, show, timed
from scipy.stats import spearmanr

from netwright.evaluation import Evaluation
from netwright.evaluators.isolated import Isolated
from netwright.evaluators.train import DIGITS_RECIPE, TrainEvaluator
from netwright.images.digits import digits
from netwright.networks.nasbench101 import nasbench101_network
from netwright.results import Row
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101

CELLS = 30
SEEDS = (0, 1)
CALLS = 50


class Nothing:
    """Scores at no cost: what is left is the overhead."""

    chunk = 1

    def __call__(self, archs, *, rngs):
        del rngs
        return Evaluation(torch.zeros(len(archs)), torch.zeros(len(archs)))


def measure():
    """Yield the rows of the results."""
    archs = NASBench101().sample(CELLS, rng=stream(0, "cells"))
    build = partial(nasbench101_network, preset="small")
    evaluator = TrainEvaluator(build, digits(), DIGITS_RECIPE, device="cpu")
    evaluator(archs[:1], rngs=[stream(0, "warm-up")])
    runs, seconds = [], []
    for seed in SEEDS:
        rngs = [stream(seed, f"evaluation/{i}") for i in range(CELLS)]
        scores = []
        for i, rng in enumerate(rngs):
            # CPU time of this process: others on the machine do not count.
            found, taken = timed(time.process_time, evaluator, archs[i : i + 1], rngs=[rng])
            scores.append(found.score)
            seconds.append(taken)
        runs.append(torch.cat(scores))
    a, b = runs
    low = partial(
        Row.of,
        "nasbench101/digits",
        method="low data",
        preset="small",
        budget=DIGITS_RECIPE.epochs,
    )
    yield low("CPU seconds per evaluation", seconds)
    yield low("valid accuracy", (100 * (a + b) / 2).tolist())
    within = ((a - b) ** 2 / 2).mean().sqrt()
    yield low("valid accuracy, sd between seeds", [100 * float(within)])
    yield low("rank correlation of two seeds", [float(spearmanr(a, b).statistic)])
    own = partial(Row.of, "nasbench101/digits", method="own process", preset="small")
    with Isolated(Nothing(), threads=1) as isolated:
        times = [
            timed(time.perf_counter, isolated, archs[:1], rngs=[stream(0, "nothing")])[1]
            for _ in range(CALLS + 1)
        ]
    yield own("seconds of the first call", times[:1])
    yield own("milliseconds of a later call", [1000 * t for t in times[1:]])


if __name__ == "__main__":
    torch.set_num_threads(1)
    publish(
        "training-evaluator",
        show(measure()),
        title="The training evaluator: what a score costs, and what it is worth",
        seeds=SEEDS,
        note=f"{CELLS} random NAS-Bench-101 cells in the small skeleton, each trained with two "
        "seeds on a tenth of the digits' training images and validated on the rest. Budget: "
        "epochs; accuracies in percent.",
    )
