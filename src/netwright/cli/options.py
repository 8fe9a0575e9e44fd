"""Options that several commands share."""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

#: What `--space` takes.
SPACE_NAMES = "toy, nasbench101, nasbench201, enas, nasbenchgraph, randwire, or file.py:NAME"
#: What `--dataset` takes.
DATASETS = (
    "digits, folder:PATH (your own), idx:PATH, cifar10:PATH, cifar100:PATH, imagenet16:PATH, "
    "tiny-imagenet:PATH or huggingface:NAME"
)

Json = Annotated[bool, typer.Option("--json", help="Print one line of JSON, for machines.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no remarks.")]
SpaceName = Annotated[
    str,
    typer.Argument(metavar="SPACE", help=f"{SPACE_NAMES}."),
]
SpaceOption = Annotated[
    str,
    typer.Option("--space", "-s", help=f"{SPACE_NAMES}."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Any setting of the configuration, e.g. --set method.hidden=64. Repeatable.",
    ),
]
SpaceSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Option of the space: --set max_nodes=5."),
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]


def settings(pairs: Iterable[str] | None) -> dict[str, Any]:
    """Turn ``a.b=value`` pairs into nested settings; values are read as TOML, else as text.

    Raises:
        ValueError: If a pair has no ``=``.
    """
    result: dict[str, Any] = {}
    for pair in pairs or ():
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"--set takes KEY=VALUE, not {pair!r}")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        *tables, name = key.strip().split(".")
        place = result
        for table in tables:
            place = place.setdefault(table, {})
            if not isinstance(place, dict):
                raise ValueError(f"--set {key}: {table} is set to a value already")
        place[name] = value
    return result


def evaluator_flags(
    evaluator: str | None,
    dataset: str | None,
    table: Path | None,
    metric: str | None,
    extra: list[str] | None,
) -> dict[str, Any]:
    """Turn the options about the evaluator into settings; what is given tells which it is."""
    if dataset is not None and table is not None:
        raise ValueError("--dataset trains and --table looks up: give one of them")
    given = {"dataset": dataset, "path": table and str(table), "metric": metric, "extras": extra}
    flags = {key: value for key, value in given.items() if value}
    kind = evaluator or ("train" if dataset else "table" if table else None)
    if kind is not None:
        flags = {"name": kind, **flags}
    return {"evaluator": flags} if flags else {}
