"""How long a user waits: commands from the shell, imports included.

    python benchmarks/shell.py

Needs `nasbench201.csv.gz` in $NETWRIGHT_DATA (or ../shared/data) for the search on a table.
"""

import subprocess
import sys
import tempfile
import time
from functools import partial

from common import DATA, publish, require, show, timed

from netwright.results import Row

REPEATS = 5
NETWRIGHT = [sys.executable, "-m", "netwright"]


def seconds(*args, cwd):
    command = [*NETWRIGHT, *args]
    call = partial(subprocess.run, command, cwd=cwd, check=True, capture_output=True)
    return timed(time.perf_counter, call)[1]


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
    require("nasbench201.csv.gz")
    with tempfile.TemporaryDirectory() as temporary:
        rows = show(measure(temporary))
    publish(
        "shell",
        rows,
        title="Commands from the shell",
        note="Wall-clock seconds of a new process, imports and the report included; the "
        "very first report on a machine takes two seconds more. Reference: the limit we set "
        "ourselves.",
    )
