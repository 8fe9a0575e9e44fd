"""`netwright table build`: a table of one's own measurements."""

from contextlib import closing as ending
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from netwright import __version__
from netwright.cli.options import DATASETS, SPACE_NAMES, Json, Quiet, Settings, settings
from netwright.cli.output import bar, print_json, remark, say
from netwright.cli.runs import closing
from netwright.config.base import CustomConfig, merge
from netwright.config.objects import make_evaluator, make_space
from netwright.config.schema import (
    EvaluatorConfig,
    RunConfig,
    SupernetConfig,
    TableConfig,
    TrainConfig,
    ZeroCostConfig,
)
from netwright.evaluators.train import DIGITS_RECIPE
from netwright.runs.measure import Measurement, chosen
from netwright.tables.build import measured_rows, seed_agreement
from netwright.tables.format import Table, Unit, insist_on_name


def build(
    space: Annotated[
        str,
        typer.Option(
            "--space",
            "-s",
            help=f"{SPACE_NAMES}.",
        ),
    ],
    evaluator: Annotated[
        str, typer.Option("--evaluator", "-e", help="train, zero-cost, or file.py:NAME.")
    ] = "train",
    dataset: Annotated[str | None, typer.Option(help=f"Images to measure on: {DATASETS}.")] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Only so many architectures, drawn at random."),
    ] = None,
    sample_seed: Annotated[int, typer.Option(help="Of the draw of --sample.")] = 0,
    seeds: Annotated[
        int, typer.Option(min=1, help="Evaluations of each architecture: seeds 0, 1, ...")
    ] = 1,
    workers: Annotated[
        int, typer.Option("--workers", "-w", min=1, help="Evaluations at the same time.")
    ] = 1,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME[:UNIT]",
            help="What to call the score, e.g. mydata/valid@10; by default as the evaluator has "
            "it. UNIT is fraction, seconds, count or number.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The table; SPACE-EVALUATOR.safetensors.")
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", "-r", help="Folder of the run folders; by default OUT's, .runs."),
    ] = None,
    source: Annotated[str, typer.Option(help="Where the measurements come from.")] = "",
    licence: Annotated[str, typer.Option(help="Theirs.")] = "not stated",
    option: Settings = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate a whole space, or a sample of it, into a table.

    Every evaluation is on the disk before the next one starts, in a run folder for each seed:
    stopped at any moment, the same command goes on. The table holds the mean of the seeds, each
    seed by itself, what it cost, and the number of parameters; of trained networks also the test
    accuracy, which no search with the table is shown.

        netwright table build --space nasbench101 --set space.max_nodes=5 --dataset digits --seeds 3

        netwright table build --space nasbench201 --sample 500 -e zero-cost
        --set evaluator.score=synflow
    """
    flags: dict[str, Any] = {"name": evaluator} | ({"dataset": dataset} if dataset else {})
    defaults = {"space": space, "method": "random", "evaluator": {"name": "train", "test": True}}
    config = RunConfig.parse(merge(merge(defaults, {"evaluator": flags}), settings(option)))
    opened = make_space(config.space)
    out = out or Path(f"{Path(space).stem}-{Path(evaluator).stem}.safetensors")
    resolved = config.resolved()
    about = {"space": resolved["space"], "evaluator": resolved["evaluator"]}
    if sample is not None:
        about["sample"] = {"size": sample, "seed": sample_seed}
    score, unit = _score(config.evaluator, metric)
    insist_on_name(score)  # before all work
    measurement = Measurement(
        run or out.with_suffix(".runs"),
        opened,
        chosen(opened, sample, seed=sample_seed),
        range(seeds),
        {"build": about},
        _completed,
    )
    done = measurement.count()
    if not quiet:
        count = f"{len(measurement.archs):,} architectures of {opened.name}"
        remark(f"{count}, {seeds} of each -> {measurement.folder}")
    with (
        closing(make_evaluator(config.evaluator, opened, workers=workers)) as measure,
        ending(measurement.execute(measure, workers=workers)) as chunks,
        bar(measurement.total, "evaluations", first=done, quiet=quiet) as progress,
    ):
        for chunk in chunks:
            done += len(chunk)
            for text, reason in zip(
                opened.to_text(chunk.proposals.archs), chunk.evaluation.error, strict=True
            ):
                if reason is not None:
                    progress.remark(f"{text} failed: {reason}")
            progress.update(done)
    results = measurement.results()
    rows = measured_rows(
        measurement.archs,
        results,
        metric=score,
        unit=unit,
        seeds=measurement.seeds,
        source=source or f"netwright {__version__}, evaluator {config.evaluator.name}",
        licence=licence,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    table = Table.write(out, opened, rows)
    failed = sum(error is not None for result in results for error in result.error)
    if json:
        facts = {"failed": failed, "agreement": seed_agreement(table)}
        print_json(table.info() | facts | {"run": str(measurement.folder)})
        return
    say(f"wrote {out}: {len(table):,} architectures of {table.space_name}")
    if failed:
        say(f"{failed:,} of {measurement.total:,} evaluations failed: NaN in the table")
    say("metrics: " + ", ".join(table.metrics))
    say_agreement(table)


def say_agreement(table: Table) -> None:
    """Print how far single seeds rank the architectures alike, if the table has them."""
    for metric, facts in seed_agreement(table).items():
        tau, rho = (sum(facts[key]) / len(facts[key]) for key in ("kendall_tau", "spearman"))
        say(f"{metric}: two seeds agree with Kendall's tau {tau:.3f}, Spearman's rho {rho:.3f}")


def _completed(config: dict[str, Any]) -> dict[str, Any]:
    """Let settings that came later than a run count as their defaults: so it was done before."""
    about = config.get("build", {})
    known = {name: about[name] for name in ("space", "evaluator") if name in about}
    if len(known) < 2:
        return config  # no run of ours
    resolved = RunConfig.parse({**known, "method": "random"}).resolved()
    return {**config, "build": {**about, **{name: resolved[name] for name in known}}}


def _score(config: EvaluatorConfig, named: str | None) -> tuple[str, Unit]:
    """Return the name of the score's column and its unit."""
    unit: Unit = "number"
    match config:
        case TrainConfig(dataset=dataset, epochs=epochs):
            name, unit = f"{_word(dataset)}/valid@{epochs or DIGITS_RECIPE.epochs}", "fraction"
        case TableConfig(metric=name):
            pass
        case ZeroCostConfig(score=score, dataset=dataset):
            name = f"{_word(dataset)}/{score}"
        case SupernetConfig():
            raise ValueError("scores of shared weights change: use the evaluator train")
        case CustomConfig():
            name = "score"
    if named is None:
        return name, unit
    name, colon, given = named.partition(":")
    for known in get_args(Unit):
        if given == known:
            return name, known
    if colon:
        raise ValueError(f"{named!r}: unknown unit {given!r}, use {', '.join(get_args(Unit))}")
    return name, unit


def _word(dataset: str) -> str:
    """Name a data set as `make_data` does: by its kind, or the folder that its images are in."""
    kind, _, path = dataset.partition(":")
    return Path(path).resolve().name if kind in ("folder", "idx") else kind
