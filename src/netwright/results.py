"""Results of benchmarks and experiments: one JSON file for machines, one page for people.

Nothing in them is typed by hand. A row says what was measured (``benchmark``, ``method``,
``preset``, ``metric``, ``budget``), what came out (``mean``, ``sd``, ``n``) and what was published
(``paper``). Accuracies and errors are in percent. An experiment adds the differences between
methods on equal seeds, and the curves of its chart.
"""

import datetime
import json
import math
import platform
import re
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
        low: Lower end of the 95 % confidence interval of the mean.
        high: Upper end.
        paper_sd: The published standard deviation.
        column: The column of a table that was read, like ``cifar10/test@200``.
        rank: Mean over seeds of the method's rank among those of the same benchmark and budget, 1
            for the best.
    """

    benchmark: str
    metric: str
    mean: float
    n: int | None  # None: not published
    sd: float | None = None
    method: str | None = None
    preset: str | None = None
    budget: int | float | None = None
    paper: float | None = None
    reference: float | None = None
    low: float | None = None
    high: float | None = None
    paper_sd: float | None = None
    column: str | None = None
    rank: float | None = None

    @classmethod
    def of(cls, benchmark: str, metric: str, values: Sequence[float], **more: Any) -> "Row":
        """Summarise repetitions.

        Raises:
            ValueError: If there are none, or one is not finite.
        """
        if not values or not all(math.isfinite(value) for value in values):
            raise ValueError(f"{benchmark}, {metric}: needs finite values, not {list(values)}")
        sd = rounded(statistics.stdev(values)) if len(values) > 1 else None
        return cls(benchmark, metric, rounded(statistics.fmean(values)), len(values), sd, **more)


@dataclass(frozen=True)
class Difference:
    """How much larger a quantity is for one method than for another, seed by seed.

    Attributes:
        benchmark: As in `Row`, like the next ones.
        metric: What was measured.
        budget: Evaluations.
        method: With its preset, if it has one.
        baseline: The method that is subtracted.
        mean: Of the differences.
        low: Lower end of the 95 % confidence interval of the mean; None for a single pair.
        high: Upper end.
        n: Number of pairs.
        p: Two-sided p-value of Wilcoxon's signed-rank test; None for a single pair.
        p_holm: The same, corrected for all methods compared with this baseline (Holm).
    """

    benchmark: str
    metric: str
    budget: int
    method: str
    baseline: str
    mean: float
    low: float | None
    high: float | None
    n: int
    p: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class Curve:
    """The mean of a quantity after each number of evaluations, or some hours of training.

    Attributes:
        benchmark: As in `Row`, like the next ones.
        metric: What is drawn.
        method: With its preset, if it has one.
        first: The number of evaluations the first value belongs to; the next ones follow.
        mean: Over the repetitions.
        low: Lower end of the 95 % confidence interval of the mean.
        high: Upper end.
        sd: Standard deviation of the sample.
        preset: The method's settings, by name.
        hours: Where the values belong to hours of training, simulated, not to evaluations.
    """

    benchmark: str
    metric: str
    method: str
    first: int
    mean: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    sd: Sequence[float]
    preset: str | None = None
    hours: Sequence[float] | None = None


def write_results(  # noqa: PLR0913 (all but three have defaults)
    path: Path,
    rows: Sequence[Row],
    *,
    title: str,
    command: str,
    seeds: Sequence[int] = (),
    note: str = "",
    versions: Mapping[str, str] | None = None,
    differences: Sequence[Difference] = (),
    curves: Sequence[Curve] = (),
    chart: str | None = None,
    caption: str = "Means and 95 % confidence intervals",
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
        differences: Between methods.
        curves: What the chart shows.
        chart: A picture, SVG; it becomes ``path.svg``.
        caption: What it shows.
    """
    found: dict[str, Any] = {
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
    if differences:
        found["differences"] = [asdict(difference) for difference in differences]
    if curves:
        found["curves"] = [asdict(curve) for curve in curves]
    path.parent.mkdir(parents=True, exist_ok=True)
    if chart is not None:
        found["chart"], found["caption"] = f"{path.name}.svg", caption
        write_atomic(path.with_name(found["chart"]), chart)
    write_atomic(path.with_name(f"{path.name}.json"), _dumped(found))
    write_atomic(path.with_name(f"{path.name}.md"), render(found))


def read_results(path: Path) -> dict[str, Any]:
    """Read ``path.json``, as `write_results` wrote it."""
    text = path.with_name(f"{path.name}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def render(found: Mapping[str, Any]) -> str:
    """Return the Markdown page of results as they stand in the JSON file.

    Columns in which no row has anything are left out.
    """
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    seeds = ", ".join(map(str, found["seeds"]))
    lines = [
        f"# {found['title']}",
        "",
        f"`{found['command']}`, {found['date']}, {found['machine']}; {versions}"
        + (f"; seeds {seeds}." if seeds else "."),
        "",
        *([found["note"], ""] if found["note"] else []),
    ]
    if "chart" in found:
        lines += [
            f"![{found.get('caption', 'Means and 95 % confidence intervals')}]({found['chart']})",
            "",
        ]
    lines += _table(found["rows"], _ROW_COLUMNS)
    if differences := found.get("differences"):
        lines += ["", "## Differences on equal seeds", "", _DIFFERENCES, ""]
        lines += _table(differences, _DIFFERENCE_COLUMNS)
    return "\n".join(lines) + "\n"


_DIFFERENCES = (
    "Method minus baseline, seed by seed: mean, its 95 % interval (Student's t), and the p-value "
    "of Wilcoxon's signed-rank test, alone and corrected for the number of methods (Holm)."
)
_ROW_COLUMNS = (
    "benchmark", "method", "preset", "metric", "column", "budget", "mean", "sd", "low", "high", "n",
    "rank", "paper", "paper_sd", "reference",
)  # fmt: skip
_DIFFERENCE_COLUMNS = (
    "benchmark", "method", "baseline", "metric", "budget", "mean", "low", "high", "n", "p",
    "p_holm",
)  # fmt: skip


def _table(rows: Sequence[Mapping[str, Any]], order: Sequence[str]) -> list[str]:
    columns = [name for name in order if any(row.get(name) is not None for row in rows)]
    titles = [name.replace("_", " ") for name in columns]
    lines = ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = ("" if row.get(name) is None else str(row[name]) for name in columns)
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _dumped(found: Mapping[str, Any]) -> str:
    """Write JSON with a line for every value, but for lists of numbers one line."""
    text = json.dumps(found, indent=1, allow_nan=False)
    numbers = re.compile(r"\[\s+(-?\d[-+.\deE,\s]*?)\s+\]")
    return numbers.sub(lambda match: f"[{' '.join(match[1].split())}]", text) + "\n"


def processor() -> str:
    """Name the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def rounded(value: float) -> float:
    """Keep `DIGITS` significant digits."""
    return float(f"{value:.{DIGITS}g}")
