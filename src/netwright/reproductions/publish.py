"""Write the results of an experiment: rows, paired differences, and curves, for all readers."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from netwright.files import write_atomic
from netwright.report.experiment import experiment_html
from netwright.report.experiment_charts import curves_svg
from netwright.reproductions.experiment import Experiment
from netwright.reproductions.outcomes import Outcome, curves_of, differences_of, rows_of
from netwright.results import Difference, Row, read_results, write_results


def publish(
    path: Path, experiment: Experiment, outcomes: Sequence[Outcome], *, command: str
) -> tuple[list[Row], list[Difference]]:
    """Write ``path.json``, ``path.md``, ``path.svg`` and ``path.html``.

    Returns:
        The rows and the differences.
    """
    rows = rows_of(outcomes, experiment.published)
    baseline = experiment.baseline
    differences = [] if baseline is None else differences_of(outcomes, baseline)
    curves = curves_of(outcomes)
    write_results(
        path,
        rows,
        title=experiment.title,
        command=command,
        seeds=list(experiment.seed_list),
        note=experiment.note,
        differences=differences,
        curves=curves,
        chart=curves_svg([asdict(curve) for curve in curves]) if curves else None,
    )
    page = experiment_html(read_results(path))
    write_atomic(path.with_name(f"{path.name}.html"), page)
    return rows, differences
