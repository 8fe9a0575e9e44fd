"""Enumeration: every distinct cell of NAS-Bench-101 and NAS-Bench-201, from nothing.

    python benchmarks/enumeration.py

Lists both spaces, checks the counts against the published ones, and times the listing and the
hashing of the result on one thread. Writes docs/results/enumeration.json and .md.
"""

import datetime
import json
import platform
import resource
import statistics
import time
from pathlib import Path

import torch

import netwright
from netwright.graphs import hashing
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201

ROOT = Path(__file__).resolve().parent.parent
REPETITIONS = 5
PUBLISHED = {"nasbench101": 423_624, "nasbench201": 15_625}
PUBLISHED_BY_NODES = {2: 1, 3: 6, 4: 84, 5: 2441, 6: 62_010, 7: 359_082}


def timed(call):
    """Wall and CPU seconds of each repetition, and the last result."""
    wall, cpu, result = [], [], None
    for _ in range(REPETITIONS):
        start, busy = time.perf_counter(), time.process_time()
        result = call()
        cpu.append(time.process_time() - busy)
        wall.append(time.perf_counter() - start)
    return wall, cpu, result


def row(space, metric, values, *, paper=None):
    return {
        "benchmark": space.name,
        "method": "enumerate",
        "preset": "default",
        "metric": metric,
        "budget": None,
        "mean": round(statistics.mean(values), 4),
        "sd": round(statistics.stdev(values), 4) if len(values) > 1 else None,
        "n": len(values),
        "paper": paper,
    }


def measure():
    for space in (NASBench201(), NASBench101()):
        wall, cpu, archs = timed(space.enumerate)
        distinct = len(hashing.first_of_each(space.keys(archs)))
        yield row(space, "distinct architectures", [distinct], paper=PUBLISHED[space.name])
        if space.name == "nasbench101":
            for n, published in PUBLISHED_BY_NODES.items():
                count = int((archs.num_nodes == n).sum())
                yield row(space, f"of {n} nodes", [count], paper=published)
        yield row(space, "seconds", wall)
        yield row(space, "CPU seconds", cpu)
        yield row(space, "architectures per CPU second", [len(archs) / busy for busy in cpu])
        _, cpu, _ = timed(lambda space=space, archs=archs: space.keys(archs))
        yield row(space, "keys per CPU second", [len(archs) / busy for busy in cpu])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        yield row(space, "peak memory of the process, MiB", [round(peak)])


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def write(rows):
    result = {
        "command": "python benchmarks/enumeration.py",
        "date": datetime.date.today().isoformat(),
        "versions": {
            "netwright": netwright.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "machine": f"{processor()}, {torch.get_num_threads()} threads",
        "seeds": [],
        "rows": rows,
    }
    target = ROOT / "docs" / "results" / "enumeration"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    columns = ("benchmark", "metric", "mean", "sd", "n", "paper")
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    text = [
        "# Enumeration of the search spaces",
        "",
        f"`{result['command']}`, {result['date']}, {result['machine']}; {versions}.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + " --- |" * len(columns),
    ]
    for entry in rows:
        cells = ["-" if entry[name] is None else str(entry[name]) for name in columns]
        text.append("| " + " | ".join(cells) + " |")
    target.with_suffix(".md").write_text("\n".join(text) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    torch.set_num_threads(1)
    write(list(measure()))
