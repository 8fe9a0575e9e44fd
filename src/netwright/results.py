"""Results of benchmarks and experiments: one JSON file for machines, one page for people.

Nothing in them is typed by hand. A row says what was measured (``benchmark``, ``method``,
``preset``, ``metric``, ``budget``), what came out (``mean``, ``sd``, ``n``) and what was published
(``paper``). Accuracies and errors are in percent.
"""

import datetime
import json
import math
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from netwright import __version__
from netwright.files import write_atomic

#: Significant digits kept of means and standard deviations.
DIGITS = 6


@dataclass(frozen=True)
class Row:
    """One line of a table of results.

    Attributes:
        benchmark: What it was measured on, like ``nasbench201/cifar10``.
        metric: What was measured, unit included where it is not percent.
        mean: Over the repetitions.
        n: Number of repetitions.
        sd: Standard deviation of the sample; None for a single repetition.
        method: What was measured of.
        preset: Its settings, by name.
        budget: Evaluations, epochs or whatever the page says.
        paper: The published value.
        reference: What to compare with where there is no paper: an earlier or another
            implementation, the machine's limit.
    """

    benchmark: str
    metric: str
    mean: float
    n: int
    sd: float | None = None
    method: str | None = None
    preset: str | None = None
    budget: float | None = None
    paper: float | None = None
    reference: float | None = None

    @classmethod
    def of(cls, benchmark: str, metric: str, values: Sequence[float], **more: Any) -> "Row":
        """Summarise repetitions.

        Raises:
            ValueError: If there are none, or one is not finite.
        """
        if not values or not all(math.isfinite(value) for value in values):
            raise ValueError(f"{benchmark}, {metric}: needs finite values, not {list(values)}")
        sd = _rounded(statistics.stdev(values)) if len(values) > 1 else None
        return cls(benchmark, metric, _rounded(statistics.fmean(values)), len(values), sd, **more)


def write_results(
    path: Path,
    rows: Sequence[Row],
    *,
    title: str,
    command: str,
    seeds: Sequence[int] = (),
    note: str = "",
    versions: Mapping[str, str] | None = None,
) -> None:
    """Write ``path.json``, and ``path.md`` rendered from it.

    Args:
        path: Where, without a suffix.
        rows: The results.
        title: Of the page.
        command: What makes them again.
        seeds: Of what was random.
        note: A paragraph above the table: how it was measured, what the budget counts.
        versions: Of further packages that matter.
    """
    found = {
        "title": title,
        "command": command,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "versions": {
            "netwright": __version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            **(versions or {}),
        },
        "machine": f"{processor()}, {torch.get_num_threads()} thread(s)",
        "seeds": list(seeds),
        "note": note,
        "rows": [asdict(row) for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path.with_suffix(".json"), json.dumps(found, indent=1) + "\n")
    write_atomic(path.with_suffix(".md"), render(found))


def render(found: Mapping[str, Any]) -> str:
    """Return the Markdown page of results as they stand in the JSON file.

    Columns in which no row has anything are left out.
    """
    order = ("benchmark", "method", "preset", "metric", "budget", "mean", "sd", "n", "paper")
    columns = [
        name
        for name in (*order, "reference")
        if any(row.get(name) is not None for row in found["rows"])
    ]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    seeds = ", ".join(map(str, found["seeds"]))
    lines = [
        f"# {found['title']}",
        "",
        f"`{found['command']}`, {found['date']}, {found['machine']}; {versions}"
        + (f"; seeds {seeds}." if seeds else "."),
        "",
        *([found["note"], ""] if found["note"] else []),
        "| " + " | ".join(columns) + " |",
        "|" + " --- |" * len(columns),
    ]
    for row in found["rows"]:
        cells = ("" if row.get(name) is None else str(row[name]) for name in columns)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def processor() -> str:
    """Name the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
