"""Evaluations on Ray: the speed-up of two workers, and what is lost when workers or drivers die.

    python benchmarks/distributed.py

An evaluation trains a NAS-Bench-101 cell on a part of scikit-learn's digits, on one thread.

* speed-up: seconds of a search with one worker by those with two, workers started before.
* ideal speed-up: the same of one and of two plain processes, each with half of the work.
* lost evaluations: of 20, each of whose workers is killed by SIGKILL in its midst.
* repeated evaluations: of a search whose driver is killed by SIGKILL and that is resumed; those in
  flight are at most two.

Writes docs/results/distributed.json and .md; takes about five minutes.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch
from common import publish, show

from netwright.evaluation import Evaluation
from netwright.evaluators.distributed import Distributed
from netwright.evaluators.train import DIGITS_RECIPE, TrainEvaluator
from netwright.images.digits import digits
from netwright.networks.nasbench101 import nasbench101_network
from netwright.results import Row
from netwright.rng import stream
from netwright.runs.run import Run
from netwright.search import search
from netwright.searchers.random import RandomSearch
from netwright.spaces.nasbench101 import NASBench101

EVALUATIONS, REPEATS = 24, 3
SPACE = NASBench101()


def trainer():
    """The evaluator of all measurements."""
    build = partial(nasbench101_network, preset="small")
    return TrainEvaluator(build, digits(), DIGITS_RECIPE, device="cpu")


class Noted:
    """An evaluator that leaves a file for each time it begins, and may die once in the midst."""

    chunk = 1

    def __init__(self, folder, *, deadly=False):
        self.folder, self.deadly, self.inner = folder, deadly, trainer()

    def __call__(self, archs, *, rngs):
        name = SPACE.to_text(archs)[0].replace(":", "_")
        before = len(list(self.folder.glob(f"{name}-*")))
        (self.folder / f"{name}-{before}").touch()
        if self.deadly and not before:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.inner(archs, rngs=rngs)


def archs(n=EVALUATIONS):
    """The same architectures for all."""
    return RandomSearch(SPACE).ask(n, rng=stream(0, "searcher")).archs


def with_ray(workers):
    """Seconds of a search, its workers up."""
    with Distributed(trainer(), workers=workers) as evaluator:
        options = {"seed": 0, "workers": workers}
        list(search(RandomSearch(SPACE), evaluator, budget=workers, batch_size=workers, **options))
        start = time.perf_counter()
        options["batch_size"] = EVALUATIONS
        list(search(RandomSearch(SPACE), evaluator, budget=EVALUATIONS, **options))
        return time.perf_counter() - start


def alone(share, of):
    """Do a share of the work in this process, once told to."""
    torch.set_num_threads(1)
    evaluator, mine = trainer(), archs()[share::of]
    evaluator(mine[:1], rngs=[stream(0, "warm")])
    print("ready", flush=True)
    sys.stdin.readline()
    evaluator(mine, rngs=[stream(0, f"evaluation/{i}") for i in range(len(mine))])


def with_processes(count):
    """Seconds of as many plain processes that share the work."""
    command = [sys.executable, __file__, "alone"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen([*command, str(i), str(count)], **pipes) for i in range(count)]
    for child in children:
        child.stdout.readline()
    start = time.perf_counter()
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        child.wait()
    return time.perf_counter() - start


def lost():
    """Evaluations without a score, of 20 whose workers die."""
    with tempfile.TemporaryDirectory() as folder:
        evaluator = Noted(Path(folder), deadly=True)
        with Distributed(evaluator, workers=2) as distributed:
            options = {"budget": 20, "batch_size": 10, "seed": 0, "workers": 2}
            found = [c.evaluation for c in search(RandomSearch(SPACE), distributed, **options)
                     if hasattr(c, "evaluation")]  # fmt: skip
        begun = len(list(Path(folder).iterdir()))
        assert begun == 40, f"{begun} beginnings: not every worker died once"
    return 20 - int(Evaluation.cat(found).score.isfinite().sum())


def drive(folder, begun):
    """A search in a run folder, on Ray, begun or resumed."""
    run = Run.open(folder) if (Path(folder) / "config.toml").exists() else Run.create(folder)
    options = {"budget": 12, "batch_size": 6, "seed": 0, "workers": 2, "mode": "asynchronous"}
    with Distributed(Noted(Path(begun)), workers=2) as evaluator:
        for _ in run.execute(SPACE, RandomSearch(SPACE), evaluator, **options):
            print("event", flush=True)


def repeated():
    """Evaluations begun twice, of a search whose driver is killed and that is resumed."""
    with tempfile.TemporaryDirectory() as folder:
        begun = Path(folder) / "begun"
        begun.mkdir()
        command = [sys.executable, __file__, "drive", f"{folder}/run", str(begun)]
        driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for _ in range(8):
            driver.stdout.readline()
        driver.kill()
        driver.wait()
        time.sleep(5)  # its workers end by themselves
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        assert Run.open(f"{folder}/run").ledger.count() == 12
        names = [path.name.rpartition("-") for path in begun.iterdir()]
        return sum(number != "0" for _, _, number in names)


def measure():
    """Yield the rows of the results."""
    of = partial(Row.of, "digits/nasbench101", method="Ray", budget=EVALUATIONS)
    ray, plain = [], []
    for _ in range(REPEATS):  # in turn, so that whatever slows the machine slows both
        ray.append(with_ray(1) / with_ray(2))
        plain.append(with_processes(1) / with_processes(2))
    yield of("speed-up", ray)
    yield of("ideal speed-up", plain, method="processes")
    yield of("lost evaluations", [lost()], budget=20)
    yield of("repeated evaluations", [repeated()], budget=12)


if __name__ == "__main__":
    if sys.argv[1:2] == ["alone"]:
        alone(int(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["drive"]:
        drive(*sys.argv[2:])
    else:
        publish(
            "distributed",
            show(measure()),
            title="Evaluations on Ray: speed-up and losses",
            seeds=[0],
            note=f"{EVALUATIONS} NAS-Bench-101 cells trained on scikit-learn's digits, each on one "
            "thread. Speed-up: one worker's seconds by two workers'; ideal: of plain processes "
            "that share the work, measured in turn. Lost: of 20 evaluations, each of whose workers "
            "is killed in its midst. Repeated: begun twice, of 12, when the driver is killed and "
            "the run resumed; two were in flight.",
        )
