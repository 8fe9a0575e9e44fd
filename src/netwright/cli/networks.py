"""`netwright evaluate` and `netwright train`: one architecture, by its text or out of a run."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli.options import (
    DATASETS,
    Json,
    Quiet,
    Settings,
    SpaceOption,
    evaluator_flags,
    settings,
)
from netwright.cli.output import bar, print_json, say
from netwright.cli.runs import closing
from netwright.config.base import merge
from netwright.config.objects import (
    make_build,
    make_evaluator,
    make_recipe,
    make_space,
    training_data,
)
from netwright.config.schema import RunConfig, TrainConfig
from netwright.evaluators.training import train as train_network
from netwright.files import write_atomic
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.hashing import to_hex
from netwright.images.data import ImageData
from netwright.networks.cost import count_parameters
from netwright.networks.export.card import Card, weights_bytes
from netwright.rng import stream
from netwright.runs.run import Run
from netwright.spaces.base import SearchSpace

ArchOfRun = Annotated[
    str, typer.Option("--arch", help="Of a run folder: best, #N for evaluation N, or a text.")
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]

Arch = Annotated[str, typer.Argument(metavar="ARCH", help="The architecture as text.")]


def evaluate(
    arch: Arch,
    space: SpaceOption,
    evaluator: Annotated[
        str | None, typer.Option("--evaluator", "-e", help="train, table, or file.py:NAME.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help=f"{DATASETS}.")] = None,
    table: Annotated[Path | None, typer.Option(help="Table to look the score up in.")] = None,
    metric: Annotated[str | None, typer.Option(help="Metric of the table.")] = None,
    extra: Annotated[list[str] | None, typer.Option(help="Further metric. Repeatable.")] = None,
    seed: Annotated[int, typer.Option(help="Of initial weights and batches.")] = 0,
    option: Settings = None,
    json: Json = False,
) -> None:
    """Score one architecture as a search would: training on a part of the data, or a look-up."""
    flags = merge(
        {"space": space, "method": "random", "evaluator": "train"},
        evaluator_flags(evaluator, dataset, table, metric, extra),
    )
    config = RunConfig.parse(merge(flags, settings(option)))
    opened = make_space(config.space)
    archs = opened.parse([arch])
    with closing(make_evaluator(config.evaluator, opened)) as scorer:
        result = scorer(archs, rngs=[stream(seed, "evaluation/0")])
    facts: dict[str, Any] = {
        "arch": opened.to_text(archs)[0],
        "score": float(result.score),
        "cost": float(result.cost),
        "extras": {name: float(value) for name, value in result.extras.items()},
        "error": result.error[0],
    }
    if json:
        print_json(facts)
    if facts["error"] is not None:
        raise RuntimeError(f"the evaluation failed: {facts['error']}")
    if not json:
        say(f"score {facts['score']:.6g}   {facts['cost']:.2f} s")
        for name, value in facts["extras"].items():
            say(f"  {name} {value:.6g}")


def train(
    source: Annotated[
        str,
        typer.Argument(metavar="ARCH|RUN", help="An architecture as text, or a run folder."),
    ],
    space: Annotated[
        str | None,
        typer.Option(
            "--space",
            "-s",
            help="Of a text: toy, nasbench101, nasbench201, randwire, or file.py:NAME.",
        ),
    ] = None,
    arch: ArchOfRun = "best",
    dataset: Annotated[
        str | None, typer.Option(help=f"{DATASETS}; by default the run's, or digits.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Skeleton of the network: small, official or large; by default the run's."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the images.")] = None,
    seed: Annotated[int, typer.Option(help="Of initial weights and batches.")] = 0,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write the weights here (.safetensors); those of a run's architecture go to "
            "RUN/trained/KEY.safetensors otherwise.",
        ),
    ] = None,
    force: Force = False,
    option: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one architecture on all training images and test it once, on the test images.

    A text needs its space; a run folder brings everything along, and keeps the weights:

        netwright train conv3x3,identity,conv1x1 --space toy --out w.safetensors

        netwright train runs/mine

    `netwright export` makes PyTorch source, a torch.export program or ONNX of the result.
    """
    given = {"dataset": dataset, "preset": preset, "device": device, "epochs": epochs}
    run = run_at(source)
    given = {key: value for key, value in given.items() if value is not None}
    flags = {"space": space_of(source, run, space), **_training(run, given)}
    config = RunConfig.parse(merge(flags, settings(option)))
    if not isinstance(config.evaluator, TrainConfig):
        raise ValueError("this command trains: evaluator.name can only be train")
    opened = make_space(config.space)
    archs = opened.parse([source if run is None else arch_of(run, arch)])
    if run is not None and out is None:
        out = trained_file(run, opened, archs)
    if out is not None:
        insist_on_new([out], force=force)
    data = training_data(config.evaluator)
    recipe, build = make_recipe(config.evaluator, data), make_build(opened, config.evaluator.preset)
    with bar(recipe.epochs, "epochs", quiet=quiet) as progress:
        trained = train_network(
            lambda: build(archs, in_channels=data.channels, num_classes=data.num_classes),
            data,
            recipe,
            rng=stream(seed, "train"),
            device=config.evaluator.device,
            on_epoch=lambda epoch: progress.update(epoch.number, f"loss {epoch.train_loss:.4f}"),
        )
    facts: dict[str, Any] = {
        "arch": opened.to_text(archs)[0],
        "test_accuracy": trained.test_accuracy,
        "parameters": count_parameters(trained.model),
        "epochs": recipe.epochs,
        "seconds": trained.history.epochs[-1].seconds,
    }
    if out is not None:
        about = {"space": config.space.name, "options": config.space.options}
        card = Card.of(**facts, **about, preset=config.evaluator.preset, **facts_of(data))
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, weights_bytes(trained.model.state_dict(), card))
        facts["weights"] = str(out)
    if json:
        print_json(facts)
        return
    size = facts["parameters"]
    say(f"test accuracy {trained.test_accuracy:.4f} on {data.name}, {size:,} parameters")
    if out is not None:
        say(f"wrote {out}")
        if not quiet:
            say(f"go on with\n  netwright export {source if run else out} --format python")


def _training(run: Run | None, given: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a training: a run's own, where there is one, and what is given."""
    evaluator = {"name": "train"} if run is None else run.config.get("evaluator", {})
    if evaluator.get("name") != "train":
        if "dataset" not in given:
            raise ValueError(f"the run trained on no images: give --dataset {DATASETS}")
        evaluator = {"name": "train"}
    return {"method": "random", "evaluator": merge(evaluator, given)}


def space_of(source: str, run: Run | None, space: str | None) -> str | dict[str, Any]:
    """Return the space that is named, or else a run's own.

    Raises:
        ValueError: If there is neither.
    """
    stored: dict[str, Any] = {} if run is None else run.config
    if space is None and "space" not in stored:
        what = "a run made in Python" if run else "no run folder, so an architecture"
        raise ValueError(f"{source!r} is {what}: give its --space")
    return space or stored["space"]


def run_at(source: str) -> Run | None:
    """Open the run folder that ``source`` names, if it is a folder and not an architecture."""
    return Run.open(source) if os.path.isdir(source) else None  # Path raises on long texts


def arch_of(run: Run, which: str) -> str:
    """Return the text of a run's architecture: "best", "#N" for evaluation N, or the text itself.

    Raises:
        ValueError: If there is no such evaluation.
    """
    ledger = run.ledger
    if which == "best":
        best = ledger.best()
        if best is None:
            raise ValueError(f"{run.folder} has no successful evaluation: resume it")
        return best.arch
    if not which.startswith("#"):
        return which
    for row in ledger.rows():
        if row.status == "evaluated" and f"#{row.index + 1}" == which:
            return row.arch
    raise ValueError(f"{run.folder} has no evaluation {which}: it has #1 to #{ledger.count()}")


def trained_file(run: Run, space: SearchSpace, arch: ArchitectureBatch) -> Path:
    """Return where a run keeps the trained weights of an architecture, be they there or not."""
    return run.folder / "trained" / f"{to_hex(space.keys(arch))[0]}.safetensors"


def facts_of(data: ImageData) -> dict[str, Any]:
    """Return what a card says of a data set."""
    channels, height, width = data.train_images.shape[1:]
    return {
        "dataset": data.name,
        "classes": data.class_names,
        "channels": channels,
        "height": height,
        "width": width,
        "mean": data.mean.tolist(),
        "std": data.std.tolist(),
    }


def insist_on_new(files: Sequence[Path], *, force: bool) -> None:
    """Refuse to overwrite a file, unless told to.

    Raises:
        FileExistsError: Naming the first file that exists.
    """
    for file in files:
        if file.exists() and not force:
            raise FileExistsError(f"{file} exists: give another --out, or --force to replace it")
