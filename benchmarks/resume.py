"""A search killed at twenty random moments, resumed each time, against one left alone.

    python benchmarks/resume.py

The search is GraphPNAS (small) on NAS-Bench-101 with a stand-in for training: a noisy score that
takes 5 to 20 milliseconds and sometimes fails. The evaluator notes on the side what it really
evaluates. Compares both ledgers, and writes docs/results/kill-and-resume.json and .md.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import torch
from common import publish, show

from netwright.evaluation import Evaluation
from netwright.generators.graphpnas import GraphPNAS
from netwright.results import Row
from netwright.rng import stream
from netwright.runs.run import Run
from netwright.searchers.policy_gradient import FitOptions
from netwright.searchers.reinforce import Reinforce, ReinforceOptions
from netwright.spaces.nasbench101 import NASBench101

SPAWN = multiprocessing.get_context("forkserver")
SPAWN.set_forkserver_preload(["netwright.searchers.reinforce", "netwright.runs.run"])


class StandIn:
    """Scores cells by their shape, with noise; writes the number of each evaluation to a file."""

    chunk = 1

    def __init__(self, log, seed):
        self.log, self.seed = log, seed

    def __call__(self, archs, *, rngs):
        numbers = (i for i in range(10**6) if self.name(i) == rngs[0].initial_seed())
        noise, wait = torch.rand(2, generator=rngs[0]).tolist()
        time.sleep(0.005 + 0.015 * wait)
        score = archs.num_edges.double() / 10 + (archs.ops == 3).sum(dim=1) / 10 + noise / 5
        evaluation = Evaluation(score, torch.tensor([wait]), {"noise": torch.tensor([noise])})
        if noise < 0.1:
            evaluation = Evaluation.failed("loss is NaN", cost=wait)
        with self.log.open("a") as file:
            file.write(f"{next(numbers)}\n")
        return evaluation

    def name(self, number):
        return stream(self.seed, f"evaluation/{number}").initial_seed()


def search(folder, log, *, budget, seed, workers=1, mode="batch"):
    """Start the search in ``folder``, or resume it there, and see it through."""
    torch.set_num_threads(1)
    space = NASBench101()
    searcher = Reinforce(
        space,
        lambda layout, *, rng: GraphPNAS(layout, hidden=16, rounds=2, mixtures=2, rng=rng),
        options=ReinforceOptions(fit=FitOptions(epochs=2)),
        rng=stream(seed, "searcher/init"),
    )
    ready = (folder / "config.toml").exists()
    run = Run.open(folder) if ready else Run.create(folder, {"seed": seed})
    options = {"budget": budget, "batch_size": 7, "seed": seed, "checkpoint_every": 0.3}
    for _ in run.execute(
        space, searcher, StandIn(log, seed), workers=workers, mode=mode, **options
    ):
        pass


def start(folder, **options):
    log = folder.with_suffix(".log")
    log.touch()
    child = SPAWN.Process(target=search, args=(folder, log), kwargs=options)
    child.start()
    return child


def evaluated(folder):
    """Numbers of the evaluations that really took place, again and again if they were repeated."""
    return [int(line) for line in folder.with_suffix(".log").read_text().split()]


def rows(folder):
    """The ledger without times, by column."""
    found = [asdict(row) for row in Run.open(folder).ledger.rows()]
    for row in found:
        del row["finished"]
        row["extras"] = repr(row["extras"])  # NaN is not equal to itself
    return found


def steps(folder):
    return [(s.step, s.evaluations, repr(s.stats)) for s in Run.open(folder).ledger.steps()]


def kill_and_resume(folder, *, kills, budget, seed, options=({},)):
    """Kill and resume, with the given options in turn; return what happened."""
    rng = stream(seed, "kills")
    thresholds = torch.randint(budget, (kills,), generator=rng).sort().values.tolist()
    facts = {"kills": 0, "paid twice": 0, "lost": 0, "changed": 0, "begun again": 0}
    committed, before = [], 0
    for life in range(kills + 1):
        child = start(folder, budget=budget, seed=seed, **options[life % len(options)])
        if life < kills:
            # A random number of evaluations from now, and then a random moment.
            ready = folder / "config.toml"
            while child.is_alive() and not (
                ready.exists() and len(evaluated(folder)) >= thresholds[life]
            ):
                time.sleep(0.001)
            time.sleep(0.06 * float(torch.rand(1, generator=rng)))
            child.kill()
            child.join()
            facts["kills"] += child.exitcode == -9
        else:
            child.join()
            assert child.exitcode == 0, f"the last life ended with {child.exitcode}"
        known = {row["index"] for row in committed if row["status"] == "evaluated"}
        now = evaluated(folder)
        facts["paid twice"] += len(known & set(now[before:]))
        facts["begun again"] += len(set(now[:before]) & set(now[before:]) - known)
        before = len(now)
        found = rows(folder)
        facts["lost"] += max(0, len(committed) - len(found))
        facts["changed"] += found[: len(committed)] != committed
        committed = found
    return facts


def measure(folder, *, kills, budget, seed):
    """Facts of the killed run, compared with those of an undisturbed one."""
    calm, hunted = folder / f"calm-{seed}", folder / f"hunted-{seed}"
    child = start(calm, budget=budget, seed=seed)
    child.join()
    assert child.exitcode == 0
    facts = kill_and_resume(hunted, kills=kills, budget=budget, seed=seed)
    best = [Run.open(path).ledger.best() for path in (calm, hunted)]
    left, right = rows(calm), rows(hunted)
    facts |= {
        "evaluations": Run.open(hunted).ledger.count(),
        "different rows": sum(a != b for a, b in zip(left, right, strict=False))
        + abs(len(left) - len(right)),
        "different steps": sum(a != b for a, b in zip(steps(calm), steps(hunted), strict=False))
        + abs(len(steps(calm)) - len(steps(hunted))),
        "different incumbent": int(
            (best[0].id, best[0].arch, best[0].score) != (best[1].id, best[1].arch, best[1].score)
        ),
    }
    return facts


LABELS = {
    "kills": "kills (SIGKILL)",
    "evaluations": "evaluations in the ledger at the end",
    "paid twice": "evaluations done again after they were committed",
    "begun again": "evaluations killed between their end and their commit, done again",
    "lost": "committed rows lost",
    "changed": "lives after which a committed row had changed",
    "different rows": "ledger rows that differ from the undisturbed run (times aside)",
    "different steps": "step rows that differ from the undisturbed run (times aside)",
    "different incumbent": "runs with another incumbent than the undisturbed run",
}


def results(facts, *, budget):
    """Yield the rows of the results."""
    for name, metric in LABELS.items():
        labels = {"method": "graphpnas", "preset": "small", "budget": budget}
        yield Row.of("nasbench101/stand-in", metric, [fact[name] for fact in facts], **labels)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    facts, seeds = [], list(range(chosen.seeds))
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            facts.append(measure(Path(folder), kills=chosen.kills, budget=chosen.budget, seed=seed))
            print(json.dumps(facts[-1]), flush=True)
    publish(
        "kill-and-resume",
        show(results(facts, budget=chosen.budget)),
        title="Killed and resumed",
        seeds=seeds,
        note=f"A search killed at {chosen.kills} random moments and resumed each time, against one "
        "left alone. Mean and standard deviation over independent searches.",
    )


if __name__ == "__main__":
    os.environ["OMP_NUM_THREADS"] = "1"
    main()
