"""`netwright fit`: train a generator on a space or a table."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from netwright.cli.options import Json, Quiet, Settings, settings
from netwright.cli.output import bar, print_json, remark, say
from netwright.config.adversarial import (
    ADVERSARIES,
    AdversarialConfig,
    make_adversarial_fit,
    parse_fit,
)
from netwright.config.base import merge, named, read_toml
from netwright.config.fits import GENERATORS, FitConfig, make_fit
from netwright.generators.adversarial import AdversarialFit, AdversarialRecord
from netwright.generators.fit import Fit, Record
from netwright.runs.fits import FitRun, Training
from netwright.runs.folder import NAME as CONFIG_NAME
from netwright.tables.format import Table

_METHODS = ", ".join([*GENERATORS, *ADVERSARIES])


def fit(
    method: Annotated[
        str | None,
        typer.Argument(metavar="METHOD", help=f"{_METHODS}, or file.py:NAME."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Settings, a TOML file; options win over it."),
    ] = None,
    space: Annotated[
        str | None,
        typer.Option("--space", "-s", help="Learn its architectures, all of them if it has few."),
    ] = None,
    table: Annotated[Path | None, typer.Option(help="Learn the architectures of a table.")] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="Of an adversarial fit: the metric of the table to learn from."),
    ] = None,
    hold_out_top: Annotated[
        float | None,
        typer.Option(help="Of an adversarial fit: percent of the table, the best, to hold out."),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(help="Learn so many architectures drawn from the space.")
    ] = None,
    layout: Annotated[
        str | None,
        typer.Option(
            help="free: the generator learns what graphs look like, as published models do; "
            "space: it knows the rules of the space."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="fast: needs few graphs; paper: as published, for days. Of an adversarial fit: "
            "best, paper or released."
        ),
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the data.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random but the split.")] = None,
    option: Settings = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run", "-r", help="The folder, new or to go on with; by default runs/SPACE-METHOD-N."
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a generator on the architectures of a space or a table.

        netwright fit svge --space nasbench201 --epochs 10

        netwright fit dvae --table nb101.safetensors --preset paper --run runs/dvae

    GNN2GNN and its peers (gnn2gnn, molgan, rnn) learn to make strong architectures from a table's
    scores, the best architectures held out:

        netwright fit gnn2gnn --table nb101.safetensors --metric cifar10/test@108 --hold-out-top 10

    A fit that was stopped goes on with `netwright fit --run FOLDER`, or the command that began it.
    Then: `netwright report FOLDER` shows the latent space, or what is generated; `netwright sample
    FOLDER` draws from it.
    """
    flags = _flags(method, space, table, sample, layout, preset, epochs, seed)
    name = _name_in(read_toml(config)) if method is None and config is not None else method
    if name in ADVERSARIES:
        flags = _adversarial(flags, name, metric, hold_out_top)
    elif metric is not None or hold_out_top is not None:
        raise ValueError(
            f"--metric and --hold-out-top are for {', '.join(ADVERSARIES)}: other methods learn "
            "what graphs look like, not how good they are"
        )
    flags = merge(flags, settings(option))
    if run is not None and not flags and config is None:
        go_on(FitRun.open(run), json=json, quiet=quiet)
        return
    described = _described(config, flags)
    prepared = make(described)  # before the folder is made: a wrong setting leaves nothing
    opened = open_run(run or _new_folder(described), described)
    execute(opened, prepared, describe(described), quiet=quiet)
    conclude(opened, prepared, json=json, quiet=quiet)


def go_on(opened: FitRun, *, json: bool, quiet: bool) -> None:
    """Train in the folder of a fit until the end, and say what came of it."""
    described = parse_fit(opened.config)
    prepared = make(described)
    execute(opened, prepared, describe(described), quiet=quiet)
    conclude(opened, prepared, json=json, quiet=quiet)


def make(described: FitConfig | AdversarialConfig) -> Fit | AdversarialFit:
    """Build a fit from its beginning.

    Raises:
        ValueError: If a setting does not fit.
        FileNotFoundError: If there is no such table.
    """
    if isinstance(described, AdversarialConfig):
        return make_adversarial_fit([described])
    return make_fit(described)


def open_run(folder: Path, described: FitConfig | AdversarialConfig) -> FitRun:
    """Make the folder of a fit, or open the one that is there.

    Raises:
        ValueError: If it holds another fit; with the first setting that differs.
        FileExistsError: If it holds something else.
    """
    if not (folder / CONFIG_NAME).exists():
        return FitRun.create(folder, described.resolved())
    opened = FitRun.open(folder)
    wanted = _flat(described.resolved())
    have = _flat(parse_fit(opened.config).resolved())
    for name in [*wanted, *have]:
        if wanted.get(name) != have.get(name):
            raise ValueError(
                f"{folder} holds a fit with {name} = {have.get(name, 'unset')}, not "
                f"{wanted.get(name, 'unset')}: use another folder"
            )
    return opened


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Name nested settings as ``--set`` does: ``recipe.epochs``."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        inner = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{name}.") if inner else {prefix + name: value}
    return flat


def execute(opened: FitRun, prepared: Fit | AdversarialFit, what: str, *, quiet: bool) -> None:
    """Train in a folder until the end, showing progress."""
    if not quiet:
        remark(f"{what}, {len(prepared.train)} graphs -> {opened.folder}")
    state = opened.state()
    total = prepared.recipe.graphs
    first = 0 if state is None else min(state["counters"][0], total)
    last = ""
    with bar(total, "graphs", first=first, quiet=quiet) as progress:
        progress.update(first)
        training: Training[Record | AdversarialRecord] = prepared
        for record in opened.execute(training):
            if record is not None:
                last = line(record)
            progress.update(min(prepared.graphs, total), last)  # the last batch may go beyond


def conclude(opened: FitRun, prepared: Fit | AdversarialFit, *, json: bool, quiet: bool) -> None:
    """Say what came of a fit."""
    record = prepared.history[-1]
    if json:
        print_json({"run": str(opened.folder), **_told(record)})
        return
    say(f"{record.graphs} graphs seen: {line(record)}")
    if not quiet:
        say("go on with")
        say(f"  netwright report {opened.folder}")
        say(f"  netwright sample {opened.folder} -n 16")


def _told(record: Record | AdversarialRecord) -> dict[str, Any]:
    """Return what is told of a record to machines."""
    return {name: value for name, value in asdict(record).items() if name != "learning_rate"}


def line(record: Record | AdversarialRecord) -> str:
    """Write a record in a few words."""
    if isinstance(record, AdversarialRecord):
        return (
            f"generator {record.generator:.3f}, valuer {record.valuer:.3f}, discriminator right "
            f"about {record.told_apart:.0%}"
        )
    words = [f"loss {record.train:.3f}"]
    if record.valid is not None:
        words.append(f"held out {record.valid:.3f}")
    if record.reconstruction is not None:
        words.append(f"reconstructed {record.reconstruction:.1%}")
    return ", ".join(words)


def describe(config: FitConfig | AdversarialConfig) -> str:
    """Say in one line what is fitted to what."""
    return f"{config.method.name} on {config.space.name}, seed {config.seed}"


def _described(config: Path | None, flags: dict[str, Any]) -> FitConfig | AdversarialConfig:
    """Read a configuration from a file and options."""
    if config is not None:
        return parse_fit(merge(read_toml(config), flags))
    if "method" not in flags:
        raise ValueError(f"name a METHOD, one of {_METHODS}, or a --run to go on with")
    data = flags.get("data")
    table = data.get("table") if isinstance(data, Mapping) else None
    if "space" not in flags and isinstance(table, str):
        flags = {**flags, "space": Table.open(table).space_name}
    name = _name_in(flags)
    if name in ADVERSARIES and isinstance(data, Mapping | None):
        if not isinstance(table, str):
            raise ValueError(f"{name} learns from scores: give a --table that has them")
        if data is None or "metric" not in data:
            known = ", ".join(Table.open(table).metrics)
            raise ValueError(f"no --metric for {name} to learn from: choose from {known}")
    if "space" not in flags:
        raise ValueError("nothing to learn: give --space or --table")
    return parse_fit(flags)


def _name_in(described: Mapping[str, Any]) -> str | None:
    """Return the name of the method that is described, if it has one."""
    method = named(described.get("method"))
    name = method.get("name") if isinstance(method, Mapping) else None
    return name if isinstance(name, str) else None


def _adversarial(
    flags: dict[str, Any], method: str, metric: str | None, hold_out_top: float | None
) -> dict[str, Any]:
    """Return flags as an adversarial fit takes them.

    Raises:
        ValueError: If one is given that is for other fits, or is no percentage.
    """
    data, recipe = dict(flags.get("data", {})), dict(flags.get("recipe", {}))
    for name, wrong in (("--sample", data.get("sample")), ("--layout", flags.get("layout"))):
        if wrong is not None:
            raise ValueError(f"{name} is not for {method}, which learns from a --table")
    preset = recipe.pop("preset", None)
    if metric is not None:
        data["metric"] = metric
    if hold_out_top is not None:
        if not 0 <= hold_out_top < 100:
            raise ValueError(f"--hold-out-top is a percentage below 100, not {hold_out_top:g}")
        data["hold_out_top"] = hold_out_top / 100
    given = {"data": data, "recipe": recipe, "preset": preset}
    return {**flags, **given} if preset else {**flags, "data": data, "recipe": recipe}


def _flags(
    method: str | None,
    space: str | None,
    table: Path | None,
    sample: int | None,
    layout: str | None,
    preset: str | None,
    epochs: float | None,
    seed: int | None,
) -> dict[str, Any]:
    """Return the settings that were given as options."""
    data = {"table": table and str(table), "sample": sample}
    recipe = {"preset": preset, "epochs": epochs}
    given = {
        "method": method,
        "space": space,
        "layout": layout,
        "seed": seed,
        "data": {key: value for key, value in data.items() if value is not None},
        "recipe": {key: value for key, value in recipe.items() if value is not None},
    }
    return {key: value for key, value in given.items() if value not in (None, {})}


def _new_folder(config: FitConfig | AdversarialConfig) -> Path:
    """Name a folder that does not exist yet."""
    stem = "-".join(
        Path(name.rpartition(":")[0] or name).stem
        for name in (config.space.name, config.method.name)
    )
    number = 1
    while (folder := Path("runs") / f"{stem}-{number}").exists():
        number += 1
    return folder
