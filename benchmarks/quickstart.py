"""What the quickstart finds, and how long it takes, beside random search with the same budget.

    python benchmarks/quickstart.py [--seeds 10]

Each search is kept in runs/benchmark-quickstart, so that an interrupted benchmark goes on.
"""

import argparse
import json
import subprocess
import sys
import time

import tomli_w
from common import ROOT, publish, show

from netwright.cli.quickstart import CONFIG
from netwright.results import Row
from netwright.runs.run import Run

FOLDER = ROOT / "runs" / "benchmark-quickstart"
NETWRIGHT = [sys.executable, "-m", "netwright"]


def searched(method, seed):
    """Run the quickstart with a method and a seed, or take what an earlier call left."""
    folder = FOLDER / f"{method}-{seed}"
    timing = FOLDER / f"{method}-{seed}.json"
    if not timing.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        begun = time.perf_counter()
        if method == "random" and not (folder / "config.toml").exists():
            file = FOLDER / f"{method}-{seed}.toml"
            file.write_text(tomli_w.dumps(CONFIG | {"method": "random", "seed": seed}))
            call("search", str(file), "--run", str(folder))
        call("quickstart", "--run", str(folder), "--seed", str(seed))
        timing.write_text(json.dumps({"seconds": time.perf_counter() - begun}))
    final = json.loads((folder / "final.json").read_text())
    return {
        "seconds": json.loads(timing.read_text())["seconds"],
        "valid": 100 * Run.open(folder).ledger.best().score,
        **{entry["name"]: 100 * entry["metrics"]["test accuracy"] for entry in final},
    }


def call(*args):
    subprocess.run([*NETWRIGHT, *args, "--quiet"], check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    seeds = list(range(parser.parse_args().seeds))
    rows, budget = [], CONFIG["budget"]
    for method in ("graphpnas", "random"):
        found = [searched(method, seed) for seed in seeds]

        def row(metric, key, found=found, method=method):
            values = [entry[key] for entry in found]
            more = {"method": method, "preset": "quickstart", "budget": budget}
            return Row.of("digits, NAS-Bench-101 cells", metric, values, **more)

        rows.append(row("valid accuracy, low data, best of the search", "valid"))
        rows.append(row("test accuracy, retrained on all images", "best"))
        if method == "graphpnas":
            rows.append(row("test accuracy of one random cell, retrained", "random"))
        rows.append(row("seconds, all of it", "seconds"))
    publish(
        "quickstart",
        show(rows),
        title="The quickstart, ten times",
        seeds=seeds,
        note="`netwright quickstart`: 80 NAS-Bench-101 cells, each trained on a tenth of the "
        "digits' training images and validated on the rest; then the best cell and a random one "
        "trained three times on all training images and tested. Below, random search with the "
        "same budget and evaluator.",
    )


if __name__ == "__main__":
    main()
