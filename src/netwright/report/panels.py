"""The graphs of ledgers, in groups that are drawn side by side."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from netwright.graphs.batch import ArchitectureBatch
from netwright.report.methods import Method
from netwright.report.vega import origin_colours
from netwright.runs.ledger import Row
from netwright.spaces.base import SearchSpace

MAX_READ = 20_000  # graphs of one run that are read
_MOST = 4  # panels of one run


@dataclass(frozen=True, eq=False)
class Panel:
    """Proposals that belong together.

    Attributes:
        title: What they have in common.
        colour: Of what is drawn of them.
        rows: Evaluations, failed ones too, by number.
        archs: Their graphs.
    """

    title: str
    colour: str
    rows: tuple[Row, ...]
    archs: ArchitectureBatch


def panels(methods: Sequence[Method], space: SearchSpace) -> list[Panel]:
    """Read the graphs that were evaluated: of one run by origin, of several by method.

    Of a long run, evenly spaced ones. Of one run, the four most frequent origins.

    Raises:
        ValueError: If a ledger is one of another space.
    """
    groups: list[tuple[str, str, list[Row]]] = []
    for method in methods:
        rows = [row for run in method.runs for row in strided(run.evaluated)]
        if len(methods) > 1 or len(method.runs) > 1:
            groups.append((method.label, method.colour, rows))
            continue
        by_origin: dict[str, list[Row]] = {}
        for row in rows:
            by_origin.setdefault(row.origin, []).append(row)
        paint = origin_colours(list(by_origin))
        kept = sorted(by_origin, key=lambda origin: -len(by_origin[origin]))[:_MOST]
        groups += [(o, paint[o], mine) for o, mine in by_origin.items() if o in kept]
    return [
        Panel(title, colour, tuple(rows), space.from_text([row.arch for row in rows]))
        for title, colour, rows in groups
        if rows
    ]


def strided(rows: Sequence[Row]) -> Sequence[Row]:
    """Keep at most `MAX_READ` rows, evenly spaced."""
    return rows[:: max(1, math.ceil(len(rows) / MAX_READ))]


def numbers(panel: Panel) -> torch.Tensor:
    """Return the number of each evaluation, from 0."""
    return torch.tensor([row.index for row in panel.rows])
