"""Zero-cost scores: how they rank networks, and what they cost.

    python benchmarks/zero_cost.py TABLES    # the folder of nasbench101 and nasbench201.safetensors

500 architectures of each benchmark, drawn at random, are scored as small networks on scikit-learn's
digits (no CIFAR-10 image is needed) and compared with their accuracy on CIFAR-10 after full
training: Kendall's tau, Spearman's rho, and processor milliseconds an architecture, on one thread.
TABLES is by default $NETWRIGHT_TABLES. Writes docs/results/zero-cost.json and .md; takes about ten
minutes.
"""

import os
import sys
import time
from functools import partial
from pathlib import Path
from typing import get_args

import torch
from common import publish, show

from netwright.evaluators.zero_cost import ScoreName, ZeroCostEvaluator
from netwright.images.digits import digits
from netwright.metrics import kendall_tau, spearman
from netwright.networks.nasbench101 import nasbench101_network
from netwright.networks.nasbench201 import nasbench201_network
from netwright.results import Row
from netwright.rng import stream
from netwright.tables.format import Table

DRAWN, SEED = 500, 0
SPACES = {
    "nasbench201": (nasbench201_network, "cifar10/test@200"),
    "nasbench101": (nasbench101_network, "cifar10/test@108"),
}


def drawn(table, metric):
    """Architectures and what they reach in truth."""
    column = table.column(metric)
    rows = torch.randperm(len(table), generator=stream(SEED, "architectures"))
    rows = rows[~column[rows].isnan()][:DRAWN].sort().values
    return table.archs(rows), column[rows].double()


def measure(folder):
    """Yield the rows of the results."""
    for name, (network, metric) in SPACES.items():
        archs, truth = drawn(Table.open(folder / f"{name}.safetensors"), metric)
        for score in get_args(ScoreName):
            build = partial(network, preset="small")
            evaluator = ZeroCostEvaluator(build, digits(), score, device="cpu")
            rngs = [stream(SEED, f"evaluation/{i}") for i in range(len(archs))]
            start = time.process_time()
            found = evaluator(archs, rngs=rngs).score.double()
            each = 1000 * (time.process_time() - start) / len(archs)
            known = found.isfinite()
            of = partial(Row.of, f"{name}/cifar10", method=score, column=metric)
            yield of("Kendall's tau", [kendall_tau(found[known], truth[known])])
            yield of("Spearman's rho", [spearman(found[known], truth[known])])
            yield of("failed", [int((~known).sum())])
            yield of("milliseconds", [each])


if __name__ == "__main__":
    given = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("NETWRIGHT_TABLES", "tables")
    folder = Path(given)
    for name in SPACES:
        if not (folder / f"{name}.safetensors").exists():
            print(f"skipped: no {name}.safetensors in {folder}; point NETWRIGHT_TABLES at it")
            raise SystemExit
    torch.set_num_threads(1)
    publish(
        "zero-cost",
        show(measure(folder)),
        title="Zero-cost scores: rank correlation with trained accuracy",
        seeds=[SEED],
        note=f"{DRAWN} architectures of each benchmark, scored as small networks on scikit-learn's "
        "digits; the truth is the accuracy on CIFAR-10 after full training. Failed: scores that "
        "are not finite, left out of the correlations. Milliseconds of one processor core.",
    )
