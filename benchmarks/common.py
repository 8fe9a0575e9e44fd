"""What the benchmarks share: where data lie, timing, and how results are shown and published."""

import os
import shlex
import sys
import time
from pathlib import Path

import torch

from netwright.results import write_results

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("NETWRIGHT_DATA", ROOT.parent / "shared" / "data"))


def require(*names):
    """End the benchmark, without a failure, where one of these data files is missing."""
    for name in names:
        if not (DATA / name).exists():
            print(f"skipped: no {name} in {DATA}; point NETWRIGHT_DATA at its folder")
            raise SystemExit


def timed(clock, call, /, *args, **options):
    """What a call returns, and how many of the clock's seconds it takes."""
    start = clock()
    value = call(*args, **options)
    return value, clock() - start


def finished(device):
    """Wait for what runs on the device."""
    if device != "cpu":
        torch.cuda.synchronize()


def rates(work, graphs, *, seconds, device, at_least=0.0):
    """Graphs per second of each repetition, or of repetitions that together take ``at_least``."""
    work()
    found, end = [], time.monotonic() + seconds
    while time.monotonic() < end or len(found) < 3:
        finished(device)
        start, done = time.perf_counter(), 0
        while not done or time.perf_counter() < start + at_least:
            work()
            done += graphs
        finished(device)
        found.append(done / (time.perf_counter() - start))
    return found


def show(rows):
    """Print each row as it comes, and return them all."""
    shown = []
    for row in rows:
        spread = "" if row.sd is None else f" +- {row.sd}"
        labels = f"{row.benchmark}, {row.method}" if row.method else row.benchmark
        print(f"{labels}: {row.metric} {row.mean}{spread} (n {row.n})", flush=True)
        shown.append(row)
    return shown


def publish(name, rows, **about):
    """Write docs/results/NAME.json and .md; the command is the one that was called."""
    command = shlex.join(["python", os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]])
    write_results(ROOT / "docs" / "results" / name, rows, command=command, **about)
