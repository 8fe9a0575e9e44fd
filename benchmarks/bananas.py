"""BANANAS and local search: seconds of a whole search.

    python benchmarks/bananas.py TABLES    # the folder of nasbench101.safetensors

A search is 300 evaluations on NAS-Bench-101, by a table's emulated validation accuracy, with all
there is to it: proposing, looking up, learning. BANANAS trains 5 perceptrons of 10 layers of 20
units for 150 epochs in each of its 29 rounds of 10; "10 seeds" is ten searches whose ensembles
train as one stacked model, as in an experiment; the seconds are those of all ten. TABLES is by
default $NETWRIGHT_TABLES. On one thread. The reference is naszilla, re-created, on a machine of
this kind; for ten seeds, ten times that. Writes bananas-speed.json and .md to docs/results.
"""

import os
import sys
import time
from pathlib import Path

import torch
from common import publish, show

from netwright.evaluators.table import TableEvaluator
from netwright.progress import Step
from netwright.results import Row
from netwright.search import search
from netwright.searchers.bananas import Bananas
from netwright.searchers.local import LocalSearch
from netwright.searchers.together import train_together
from netwright.spaces.nasbench101 import NASBench101
from netwright.tables.format import Table

METRIC = "cifar10/valid-emulated@108"
BUDGET, REPEATS, SEEDS = 300, 3, 10
SPACE = NASBench101()
#: Method, evaluations told at a time, searches side by side, naszilla's seconds for one search.
SETTINGS = {
    "local search": (LocalSearch, 1, 1, 2.4),
    "BANANAS": (Bananas, 10, 1, 345.0),
    f"BANANAS, {SEEDS} seeds": (Bananas, 10, SEEDS, 345.0 * SEEDS),
}


def seconds(evaluator, make, batch_size, seeds, *, budget=BUDGET):
    """Seconds of searches that advance in lockstep."""
    start = time.perf_counter()
    searchers = [make(SPACE) for _ in seeds]
    loops = [
        search(searcher, evaluator, budget=budget, batch_size=batch_size, seed=seed)
        for searcher, seed in zip(searchers, seeds, strict=True)
    ]
    running = set(range(len(loops)))
    while running:
        train_together([searchers[i] for i in sorted(running)])
        for i in sorted(running):
            if not any(isinstance(result, Step) for result in loops[i]):
                running.remove(i)
    return time.perf_counter() - start


def measure(evaluator):
    """Yield the rows of the results."""
    for method, (make, batch_size, side_by_side, reference) in SETTINGS.items():
        seconds(evaluator, make, batch_size, [99], budget=30)  # warms up
        found = [
            seconds(evaluator, make, batch_size, range(i * side_by_side, (i + 1) * side_by_side))
            for i in range(REPEATS if side_by_side == 1 else 1)
        ]
        yield Row.of(
            "nasbench101/cifar10",
            "seconds",
            found,
            method=method,
            budget=BUDGET,
            reference=reference,
        )


if __name__ == "__main__":
    folder = Path(
        sys.argv[1] if len(sys.argv) > 1 else os.environ.get("NETWRIGHT_TABLES", "tables")
    )
    path = folder / "nasbench101.safetensors"
    if not path.exists():
        print(f"skipped: no {path}; point NETWRIGHT_TABLES at its folder")
        raise SystemExit
    torch.set_num_threads(1)
    publish(
        "bananas-speed",
        show(measure(TableEvaluator(Table.open(path), SPACE, METRIC))),
        title="BANANAS and local search: speed",
        seeds=list(range(SEEDS)),
        note="n: searches, or groups of searches. Reference: naszilla, re-created, on a machine of "
        "this kind. How each is measured stands at the top of the script.",
    )
