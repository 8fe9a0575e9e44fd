"""What a run's folder has to say, counted and sorted once for the whole page."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from netwright import metrics
from netwright.runs.ledger import Row, StepRow
from netwright.runs.run import Run
from netwright.runs.samples import Samples

TOP = 10


@dataclass(frozen=True)
class Summary:
    """One run.

    Attributes:
        name: Name of its folder.
        folder: The folder.
        config: The configuration.
        versions: Of the software it began with.
        rows: Evaluations and initial labels by number; initial labels come first.
        repeats: How many proposals repeated an architecture and cost nothing.
        steps: What the searcher said of itself, step by step.
        final: Architectures that were retrained after the search, if there are any.
        samples: What its generator draws, if it has one and that is known.
    """

    name: str
    folder: Path
    config: dict[str, Any]
    versions: dict[str, Any]
    rows: tuple[Row, ...]
    repeats: int
    steps: tuple[StepRow, ...]
    final: tuple[dict[str, Any], ...]
    samples: Samples | None

    @classmethod
    def of(cls, run: Run) -> "Summary":
        """Read a run.

        Raises:
            ValueError: If the file of final results or that of samples is damaged.
        """
        rows = run.ledger.rows()
        counted = [row for row in rows if row.status != "repeat"]
        counted.sort(key=lambda row: (row.index, row.id))
        folder = Path(run.folder)
        return cls(
            name=folder.resolve().name,
            folder=folder,
            config=run.config,
            versions=run.versions,
            rows=tuple(counted),
            repeats=len(rows) - len(counted),
            steps=tuple(run.ledger.steps()),
            final=_final(folder / "final.json"),
            samples=Samples.read(folder),
        )

    @property
    def evaluated(self) -> list[Row]:
        """What the search paid for: initial labels are not among them."""
        return [row for row in self.rows if row.status == "evaluated"]

    @property
    def scored(self) -> list[Row]:
        """The evaluations with a score."""
        return [row for row in self.evaluated if not is_failed(row)]

    @property
    def failed(self) -> list[Row]:
        """The evaluations without a score, but for those that were stopped on purpose."""
        return [row for row in self.evaluated if is_failed(row) and not row.stopped]

    @property
    def stopped(self) -> list[Row]:
        """The evaluations that were ended early, as not worth more epochs."""
        return [row for row in self.evaluated if row.stopped]

    @property
    def initial(self) -> int:
        """How many labels were known before the search."""
        return len(self.rows) - len(self.evaluated)

    @property
    def best(self) -> Row | None:
        """The evaluation with the best score, of equals the first."""
        return max(self.scored, key=_rank, default=None)

    @property
    def cost(self) -> float:
        """Seconds that evaluations took, or that a benchmark reports for them."""
        return math.fsum(row.cost for row in self.evaluated if math.isfinite(row.cost))

    @property
    def elapsed(self) -> float:
        """Seconds from the first result to the last, pauses included."""
        times = [row.finished for row in self.rows]
        return max(times) - min(times) if times else 0.0

    def incumbents(self) -> list[tuple[int, float]]:
        """Best score so far, by number of evaluations, wherever it changes and at the end."""
        rows = self.evaluated
        scores = [math.nan if row.score is None else row.score for row in rows]
        best = metrics.incumbent(torch.tensor(scores, dtype=torch.float64)).tolist()
        curve: list[tuple[int, float]] = []
        for row, value in zip(rows, best, strict=True):
            if not math.isnan(value) and (not curve or value != curve[-1][1]):
                curve.append((row.index + 1, value))
        if curve and curve[-1][0] <= rows[-1].index:
            curve.append((rows[-1].index + 1, curve[-1][1]))
        return curve


def is_failed(row: Row) -> bool:
    """Tell whether a row has no score."""
    return row.score is None or math.isnan(row.score)


def top(summaries: Sequence[Summary], n: int = TOP) -> list[tuple[Summary, Row]]:
    """Return the ``n`` best distinct architectures of all runs, best first, the first of equals."""
    pairs = [(summary, row) for summary in summaries for row in summary.scored]
    pairs.sort(key=lambda pair: _rank(pair[1]), reverse=True)
    first: dict[str, tuple[Summary, Row]] = {}
    for pair in pairs:
        first.setdefault(pair[1].key, pair)
        if len(first) == n:
            break
    return list(first.values())


def _rank(row: Row) -> tuple[float, int]:
    return (-math.inf if row.score is None else row.score, -row.index)


def reasons(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Group failures by their reason, the most frequent first."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.error or "no score and no reason given", []).append(row)
    return sorted(groups.items(), key=lambda group: -len(group[1]))


def _final(path: Path) -> tuple[dict[str, Any], ...]:
    if not path.exists():
        return ()
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        checked = [
            {"name": str(e["name"]), "arch": str(e["arch"]), "seeds": int(e.get("seeds", 1)),
             "metrics": {str(k): float(v) for k, v in e["metrics"].items() if v is not None}}
            for e in entries
        ]  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged ({error!r}): delete it and retrain, or delete it and go without"
        ) from error
    return tuple(checked)
