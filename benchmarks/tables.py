"""Tables: what importing, opening and looking up cost.

    python benchmarks/tables.py

Imports NAS-Bench-101 and NAS-Bench-201 from CSV, opens each table in fresh processes after the
file has been evicted from the page cache, and looks 100,000 architectures up. Writes
docs/results/tables.json and .md. Needs the files of `$NETWRIGHT_DATA` (or ../shared/data).
"""

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import safetensors
import torch
from common import DATA, publish, require, show, timed

from netwright.results import Row
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.tables.csv import import_csv
from netwright.tables.format import Table

LOOKUPS = 100_000
REPEATS = 10

OPEN = """
import sys, time
from netwright.tables.format import Table
start = time.perf_counter()
table = Table.open(sys.argv[1])
len(table)
print(time.perf_counter() - start)
"""


wall = partial(timed, time.perf_counter)


def evict(path):
    """Drop a file from the page cache; tell whether it is gone, None if that cannot be told."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        for _ in range(20):  # pages still on their way into the cache's lists are passed over
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            try:
                os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
            except BlockingIOError:
                return True
            except OSError:
                return None
            time.sleep(0.05)
    return False


def cold_open(path):
    """Seconds to open a table in a fresh process, imports not counted; whether all were cold."""
    times, cold = [], []
    for _ in range(REPEATS):
        cold.append(evict(path))
        command = [sys.executable, "-c", OPEN, str(path)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        times.append(float(done.stdout))
    return times, False if False in cold else None if None in cold else True


def measure(folder):
    """Yield the rows of the results."""
    states = {True: "page cache dropped", False: "page cache not dropped", None: "cache unknown"}
    for space in (NASBench101(), NASBench201()):
        labels = {"method": "table", "preset": "csv"}
        row = partial(Row.of, space.name, **labels)

        source = DATA / f"{space.name}.csv.gz"
        path = folder / f"{space.name}.safetensors"
        rows, reading = wall(import_csv, source, space, source="", licence="")
        table, writing = wall(Table.write, path, space, rows)
        n = len(table)
        yield Row(space.name, "rows", n, 1, **labels)
        yield row("import seconds: reading the CSV file", [reading], budget=n)
        yield row("import seconds: writing and verifying the table", [writing], budget=n)
        yield row("file megabytes", [path.stat().st_size / 1e6])
        yield row("verification seconds", [wall(table.verify)[1]], budget=n)
        del table  # pages that are mapped here could not be evicted

        times, cold = cold_open(path)
        opening = f"milliseconds to open in a fresh process ({states[cold]})"
        yield row(opening, [1000 * t for t in times])

        rng = stream(0, "look-ups")
        picks = [torch.randint(n, (LOOKUPS,), generator=rng) for _ in range(REPEATS)]
        keys = space.keys(rows.archs)
        wanted = [keys[pick] for pick in picks]
        state = states[evict(path)]
        table = Table.open(path)
        first = wall(table.lookup, wanted[0])[1]
        yield row(f"seconds to look keys up the first time ({state})", [first], budget=LOOKUPS)
        again = [wall(table.lookup, some)[1] for some in wanted]
        yield row("seconds to look keys up", again, budget=LOOKUPS)
        whole = []
        for pick in picks:
            archs = rows.archs[pick]
            keys, hashing = wall(space.keys, archs)
            found, looking = wall(table.lookup, keys)
            if not table.archs(found[:1000]).equal(archs[:1000]).all():
                raise SystemExit("a look-up found another architecture")
            whole.append(hashing + looking)
        yield row("seconds from architectures to rows, hashing included", whole, budget=LOOKUPS)


if __name__ == "__main__":
    require("nasbench101.csv.gz", "nasbench201.csv.gz")
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as temporary:
        measured = show(measure(Path(temporary)))
    publish(
        "tables",
        measured,
        title="Tables: importing, opening, looking up",
        seeds=[0],
        note="Budget: rows imported or architectures looked up in one call; n: repetitions. "
        f"{os.cpu_count()} cores, load average {before:.1f} before and {os.getloadavg()[0]:.1f} "
        "after.",
        versions={"safetensors": safetensors.__version__},
    )
