"""Tables: what importing, opening and looking up cost.

    python benchmarks/tables.py

Imports NAS-Bench-101 and NAS-Bench-201 from CSV, opens each table in fresh processes after the
file has been evicted from the page cache, and looks 100,000 architectures up. Writes
docs/results/tables.json and .md. Needs the files of `$NETWRIGHT_DATA` (or ../shared/data).
"""

import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import safetensors
import torch

import netwright
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.tables.csv import import_csv
from netwright.tables.format import Table

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("NETWRIGHT_DATA", ROOT.parent / "shared" / "data"))
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


def seconds(call):
    """What a call returns, and how long it takes."""
    start = time.perf_counter()
    value = call()
    return value, time.perf_counter() - start


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
        method = {"benchmark": space.name, "method": "table", "preset": "csv"}

        def row(metric, values, *, budget=None, digits=4, labels=method):
            mean = round(statistics.fmean(values), digits or None)
            sd = round(statistics.stdev(values), digits) if len(values) > 1 else None
            print(f"{labels['benchmark']:12} {metric:60} {mean:>12} +- {sd}", flush=True)
            size = {"budget": budget, "mean": mean, "sd": sd, "n": len(values), "paper": None}
            return {**labels, "metric": metric, **size}

        source = DATA / f"{space.name}.csv.gz"
        path = folder / f"{space.name}.safetensors"
        rows, reading = seconds(lambda: import_csv(source, space, source="", licence=""))  # noqa: B023 (called at once)
        table, writing = seconds(lambda: Table.write(path, space, rows))  # noqa: B023 (called at once)
        n = len(table)
        yield row("rows", [n], digits=0)
        yield row("import seconds: reading the CSV file", [reading], budget=n)
        yield row("import seconds: writing and verifying the table", [writing], budget=n)
        yield row("file megabytes", [path.stat().st_size / 1e6], digits=1)
        yield row("verification seconds", [seconds(table.verify)[1]], budget=n)
        del table  # pages that are mapped here could not be evicted

        times, cold = cold_open(path)
        opening = f"milliseconds to open in a fresh process ({states[cold]})"
        yield row(opening, [1000 * t for t in times], digits=2)

        rng = stream(0, "look-ups")
        picks = [torch.randint(n, (LOOKUPS,), generator=rng) for _ in range(REPEATS)]
        keys = space.keys(rows.archs)
        wanted = [keys[pick] for pick in picks]
        state = states[evict(path)]
        table = Table.open(path)
        first = seconds(lambda: table.lookup(wanted[0]))[1]  # noqa: B023 (called at once)
        yield row(f"seconds to look keys up the first time ({state})", [first], budget=LOOKUPS)
        again = [seconds(lambda: table.lookup(some))[1] for some in wanted]  # noqa: B023 (called at once)
        yield row("seconds to look keys up", again, budget=LOOKUPS)
        whole = []
        for pick in picks:
            archs = rows.archs[pick]
            found, taken = seconds(lambda: table.lookup(space.keys(archs)))  # noqa: B023 (called at once)
            if not table.archs(found[:1000]).equal(archs[:1000]).all():
                raise SystemExit("a look-up found another architecture")
            whole.append(taken)
        yield row("seconds from architectures to rows, hashing included", whole, budget=LOOKUPS)


def write(rows, load):
    """Write docs/results/tables.json, and .md from it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor()
    result = {
        "command": "python benchmarks/tables.py",
        "date": datetime.date.today().isoformat(),
        "versions": {
            "netwright": netwright.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "safetensors": safetensors.__version__,
        },
        "machine": f"{processor}, {torch.get_num_threads()} threads, {os.cpu_count()} cores, "
        f"load average {load[0]:.1f} before and {load[1]:.1f} after",
        "seeds": [0],
        "rows": rows,
    }
    target = ROOT / "docs" / "results" / "tables"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    columns = ["benchmark", "metric", "budget", "mean", "sd", "n"]
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    text = [
        "# Tables: importing, opening, looking up",
        "",
        f"`{result['command']}`, {result['date']}, {result['machine']}; {versions}.",
        "",
        "Budget: rows imported or architectures looked up in one call; n: repetitions.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + " --- |" * len(columns),
    ]
    for row in rows:
        cells = ("-" if row[name] is None else str(row[name]) for name in columns)
        text.append("| " + " | ".join(cells) + " |")
    target.with_suffix(".md").write_text("\n".join(text) + "\n")


if __name__ == "__main__":
    if not (DATA / "nasbench101.csv.gz").exists():
        raise SystemExit(f"skipped: no files in {DATA}; point NETWRIGHT_DATA at them")
    with tempfile.TemporaryDirectory() as temporary:
        before = os.getloadavg()[0]
        measured = list(measure(Path(temporary)))
        write(measured, (before, os.getloadavg()[0]))
