"""Enumeration: every distinct cell of NAS-Bench-101 and NAS-Bench-201, from nothing.

    python benchmarks/enumeration.py

Lists both spaces, checks the counts against the published ones, and times the listing and the
hashing of the result on one thread. Writes docs/results/enumeration.json and .md.
"""

import resource
import time
from functools import partial

import torch
from common import publish, show, timed

from netwright.graphs import hashing
from netwright.results import Row
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201

REPETITIONS = 5
PUBLISHED = {"nasbench101": 423_624, "nasbench201": 15_625}
PUBLISHED_BY_NODES = {2: 1, 3: 6, 4: 84, 5: 2441, 6: 62_010, 7: 359_082}


def repeated(call, *args):
    """Wall and CPU seconds of each repetition, and the last result."""
    walls, cpus, result = [], [], None
    for _ in range(REPETITIONS):
        (result, cpu), wall = timed(time.perf_counter, timed, time.process_time, call, *args)
        cpus.append(cpu)
        walls.append(wall)
    return walls, cpus, result


def measure():
    """Yield the rows of the results."""
    labels = {"method": "enumerate", "preset": "default"}
    for space in (NASBench201(), NASBench101()):
        one = partial(Row, space.name, n=1, **labels)
        several = partial(Row.of, space.name, **labels)
        wall, cpu, archs = repeated(space.enumerate)
        distinct = len(hashing.first_of_each(space.keys(archs)))
        yield one("distinct architectures", distinct, paper=PUBLISHED[space.name])
        if space.name == "nasbench101":
            for n, published in PUBLISHED_BY_NODES.items():
                count = int((archs.num_nodes == n).sum())
                yield one(f"of {n} nodes", count, paper=published)
        yield several("seconds", wall)
        yield several("CPU seconds", cpu)
        yield several("architectures per CPU second", [len(archs) / busy for busy in cpu])
        _, cpu, _ = repeated(space.keys, archs)
        yield several("keys per CPU second", [len(archs) / busy for busy in cpu])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        yield one("peak memory of the process, MiB", round(peak))


if __name__ == "__main__":
    torch.set_num_threads(1)
    publish("enumeration", show(measure()), title="Enumeration of the search spaces")
