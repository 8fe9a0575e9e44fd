"""`netwright quickstart`: a whole search on real data, from nothing to a trained network."""

import json as json_module
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli.options import Json, Quiet
from netwright.cli.output import bar, remark
from netwright.cli.pages import stored_config
from netwright.cli.runs import conclude, execute, prepared
from netwright.config.objects import make_build, make_recipe, make_space, training_data
from netwright.config.schema import RunConfig, TrainConfig
from netwright.evaluation import Evaluation
from netwright.evaluators.isolated import Isolated
from netwright.evaluators.train import FinalEvaluator
from netwright.files import write_atomic
from netwright.rng import stream
from netwright.runs.run import Run
from netwright.spaces.base import SearchSpace

#: GraphPNAS over NAS-Bench-101 cells, each trained on a tenth of the digits. The generator is
#: smaller and fitted in fewer, larger steps than the paper's, so that two cores need a minute.
CONFIG: dict[str, Any] = {
    "space": "nasbench101",
    "method": {
        "name": "graphpnas",
        "hidden": 32,
        "rounds": 3,
        "explorer": {"p": 0.5},
        "capacity": 15,
        "epochs": 20,
        "batch_size": 5,
        "learning_rate": 5e-3,
        "refit": True,
    },
    "evaluator": {"name": "train", "dataset": "digits"},
    "budget": 80,
    "batch_size": 5,
    "workers": 2,
}
#: Trainings per finalist: one run of a small network on few images says little.
SEEDS = 3


def quickstart(
    run: Annotated[
        Path, typer.Option("--run", "-r", help="The run folder; one that exists is resumed.")
    ] = Path("runs/quickstart"),
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search a network for scikit-learn's digits in about a minute on two cores.

    GraphPNAS searches NAS-Bench-101 cells; each candidate is really trained, on a tenth of the
    training images. Then the best cell and a random one are trained on all of them and tested.
    """
    if (run / "config.toml").exists():
        opened = Run.open(run)
    else:
        opened = Run.create(run, RunConfig.parse(CONFIG | {"seed": seed}).resolved())
    config = stored_config(opened)
    with prepared(config) as parts:
        execute(opened, config, parts, quiet=quiet)
    compare_with_random(opened, config, quiet=quiet)
    conclude(opened, json=json, quiet=quiet)


def compare_with_random(run: Run, config: RunConfig, *, quiet: bool) -> None:
    """Train the best architecture and a random one on all training images; test both.

    The result goes to the run folder's ``final.json``; what stands there is not done again.
    """
    best = run.ledger.best()
    if best is None or not isinstance(config.evaluator, TrainConfig):
        return
    space = make_space(config.space)
    chance = space.to_text(space.sample(1, rng=stream(config.seed, "finalist")))[0]
    cells = {"best": best.arch, "random": chance}
    file = run.folder / "final.json"
    entries = json_module.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    if {entry["name"]: entry["arch"] for entry in entries} != cells:
        entries = _train_finalists(space, cells, config, quiet=quiet)
        write_atomic(file, json_module.dumps(entries, indent=1))
    if not quiet:
        for entry in entries:
            accuracy = entry["metrics"]["test accuracy"]
            remark(f"{entry['name']} cell: test accuracy {accuracy:.4f}, mean of {SEEDS} trainings")


def _train_finalists(
    space: SearchSpace, cells: dict[str, str], config: RunConfig, *, quiet: bool
) -> list[dict[str, Any]]:
    """Train each cell `SEEDS` times on all training images; return what came of it."""
    assert isinstance(config.evaluator, TrainConfig)
    data = training_data(config.evaluator)
    evaluator = FinalEvaluator(
        make_build(space, config.evaluator.preset),
        data,
        make_recipe(config.evaluator, data),
        device=config.evaluator.device,
    )
    jobs = [(name, seed) for name in cells for seed in range(SEEDS)]
    results: dict[str, list[Evaluation]] = {name: [] for name in cells}
    with (
        Isolated(evaluator, workers=config.workers) as isolated,
        ThreadPoolExecutor(config.workers) as pool,
        bar(len(jobs), "trainings on all images", quiet=quiet) as progress,
    ):
        running = [
            pool.submit(isolated, space.parse([cells[name]]), rngs=[stream(seed, f"final/{name}")])
            for name, seed in jobs
        ]
        for done, ((name, _), future) in enumerate(zip(jobs, running, strict=True), start=1):
            results[name].append(future.result())
            progress.update(done, f"the {name} cell")
    return [_entry(name, cells[name], Evaluation.cat(results[name])) for name in cells]


def _entry(name: str, arch: str, result: Evaluation) -> dict[str, Any]:
    reason = next((error for error in result.error if error is not None), None)
    if reason is not None:
        raise RuntimeError(f"training the {name} cell {arch} failed: {reason}")
    metrics = {
        "test accuracy": float(result.score.mean()),
        "test accuracy, sd": float(result.score.std()),
        "parameters": int(result.extras["parameters"][0]),
    }
    return {"name": name, "arch": arch, "metrics": metrics, "seeds": len(result)}
