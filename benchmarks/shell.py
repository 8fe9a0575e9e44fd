"""How long a user waits: commands from the shell, imports included.

    python benchmarks/shell.py

Needs `nasbench201.csv.gz` in $NETWRIGHT_DATA (or ../shared/data) for the search on a table.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from netwright.results import Row, write_results

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("NETWRIGHT_DATA", ROOT.parent / "shared" / "data"))
REPEATS = 5
NETWRIGHT = [sys.executable, "-m", "netwright"]


def seconds(*args, cwd):
    begun = time.perf_counter()
    subprocess.run([*NETWRIGHT, *args], cwd=cwd, check=True, capture_output=True)
    return time.perf_counter() - begun


def measure(folder):
    table = str(DATA / "nasbench201.csv.gz")
    seconds(
        "table", "import", table, "--space", "nasbench201", "--out", "t.safetensors", cwd=folder
    )
    given = ["--space", "nasbench201", "--table", "t.safetensors", "--metric", "cifar100/valid@200"]
    search = ["search", *given, "--method", "random", "--budget", "100", "--run"]
    commands = {
        "--help": lambda _: ["--help"],
        "space info": lambda _: ["space", "info", "nasbench101"],
        "table query": lambda _: [
            "table",
            "query",
            "t.safetensors",
            "--best",
            "cifar100/valid@200",
        ],
        "search, 100 evaluations": lambda i: [*search, f"r{i}"],
    }
    for name, command in commands.items():
        taken = [seconds(*command(i), cwd=folder) for i in range(REPEATS)]
        budget = 100 if name.startswith("search") else None
        limit = 5.0 if budget else None
        more = {"method": "random" if budget else None, "budget": budget, "reference": limit}
        yield Row.of("shell", f"netwright {name}, seconds", taken, **more)


if __name__ == "__main__":
    if not (DATA / "nasbench201.csv.gz").exists():
        raise SystemExit(f"skipped: no files in {DATA}; point NETWRIGHT_DATA at them")
    with tempfile.TemporaryDirectory() as temporary:
        rows = list(measure(temporary))
    write_results(
        ROOT / "docs" / "results" / "shell",
        rows,
        title="Commands from the shell",
        command="python benchmarks/shell.py",
        note="Wall-clock seconds of a new process, imports and the report included. Reference: "
        "the limit we set ourselves.",
    )
