"""`netwright evaluate` and `netwright train`: one architecture, by its text."""

from pathlib import Path
from typing import Annotated, Any

import typer
from safetensors.torch import save

from netwright.cli.options import Json, Quiet, Settings, SpaceOption, settings
from netwright.cli.output import bar, print_json, say
from netwright.cli.runs import closing, evaluator_flags
from netwright.config.objects import (
    make_build,
    make_data,
    make_evaluator,
    make_recipe,
    make_space,
)
from netwright.config.schema import RunConfig, TrainConfig, merge
from netwright.evaluators.training import train as train_network
from netwright.files import write_atomic
from netwright.networks.cost import count_parameters
from netwright.rng import stream

Arch = Annotated[str, typer.Argument(metavar="ARCH", help="The architecture as text.")]


def evaluate(
    arch: Arch,
    space: SpaceOption,
    evaluator: Annotated[
        str | None, typer.Option("--evaluator", "-e", help="train, table, or file.py:NAME.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="digits, or folder:PATH.")] = None,
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
    arch: Arch,
    space: SpaceOption,
    dataset: Annotated[str, typer.Option(help="digits, or folder:PATH.")] = "digits",
    preset: Annotated[
        str, typer.Option(help="Skeleton of the network: small or official.")
    ] = "small",
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the images.")] = None,
    seed: Annotated[int, typer.Option(help="Of initial weights and batches.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write the weights here (.safetensors).")
    ] = None,
    option: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one architecture on all training images and test it once, on the test images."""
    given: dict[str, Any] = {
        "name": "train",
        "dataset": dataset,
        "preset": preset,
        "device": device,
    }
    given |= {"epochs": epochs} if epochs is not None else {}
    flags = {"space": space, "method": "random", "evaluator": given}
    config = RunConfig.parse(merge(flags, settings(option)))
    if not isinstance(config.evaluator, TrainConfig):
        raise ValueError("this command trains: evaluator.name can only be train")
    opened = make_space(config.space)
    archs = opened.parse([arch])
    data = make_data(config.evaluator.dataset)
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
        weights = {k: v.detach().cpu().contiguous() for k, v in trained.model.state_dict().items()}
        about = facts | {"space": opened.name, "dataset": data.name}
        about["preset"] = config.evaluator.preset
        metadata = {key: str(value) for key, value in about.items()}
        write_atomic(out, save(weights, metadata | {"classes": "\n".join(data.class_names)}))
        facts["weights"] = str(out)
    if json:
        print_json(facts)
        return
    size = facts["parameters"]
    say(f"test accuracy {trained.test_accuracy:.4f} on {data.name}, {size:,} parameters")
    if out is not None:
        say(f"wrote {out}")
