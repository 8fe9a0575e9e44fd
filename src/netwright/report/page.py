"""The report of one search or several: a single HTML file that opens offline."""

from collections.abc import Sequence
from pathlib import Path

from netwright.files import write_atomic
from netwright.report import sections
from netwright.report.choices import choices, unreadable
from netwright.report.compare import comparison
from netwright.report.document import document
from netwright.report.gallery import best_of_each, gallery
from netwright.report.generator import SHOWN, generator
from netwright.report.header import finished, header
from netwright.report.markup import Markup
from netwright.report.methods import methods
from netwright.report.panels import panels
from netwright.report.parts import Section
from netwright.report.summary import Summary
from netwright.report.topology import topology
from netwright.report.tracing import tracing
from netwright.runs.run import Run
from netwright.spaces.base import SearchSpace


def write_report(
    runs: Sequence[Run], space: SearchSpace, path: Path, *, more: Sequence[Section] = ()
) -> Path:
    """Write the page of `report_html` to ``path`` and return the path.

    Raises:
        OSError: If the file cannot be written.
        ValueError: As `report_html`.
    """
    path = Path(path)
    write_atomic(path, report_html(runs, space, more=more))
    return path


def report_html(runs: Sequence[Run], space: SearchSpace, *, more: Sequence[Section] = ()) -> str:
    """Return a page about runs of one space, as they stand on the disk now.

    Args:
        runs: One run, shown with all its proposals, or several, compared by their best scores.
        space: Their search space; reads and names the architectures of the ledgers.
        more: Sections about what needs more than the folders of the runs, such as a generator.

    Raises:
        ValueError: If there are no runs, or a file of a run is damaged.
    """
    if not runs:
        raise ValueError("a report needs at least one run")
    summaries = [Summary.of(run) for run in runs]
    parts = _sections(summaries, space, more)
    name = summaries[0].name if len(summaries) == 1 else f"{len(summaries)} runs"
    return document(name, parts, note=f"Last result: {finished(summaries)}.")


def _sections(
    summaries: Sequence[Summary], space: SearchSpace, more: Sequence[Section]
) -> list[Section]:
    """Make the sections, in order."""
    groups = methods(summaries)
    if len(summaries) == 1:
        [only] = summaries
        found = [sections.progress(only), _plain(gallery(only, space))]
    else:
        found = [comparison(groups), _plain(best_of_each(groups, space))]
    try:
        shown = panels(groups, space)
        graphs = [choices(shown, space), topology(shown, summaries, space)]
    except ValueError as error:  # a ledger of another space: the rest of the page is still true
        graphs = [unreadable(error)]
    traces = [_plain(tracing(only, space)) for only in summaries if len(summaries) == 1]
    return [
        _plain(header(summaries, space)),
        _plain(sections.retrained(summaries)),
        *found,
        _plain(sections.ranking(summaries)),
        *more,
        *graphs,
        generator(groups, space),
        *traces,
        sections.statistics(groups, without=SHOWN),
        _plain(sections.failures(summaries)),
        _plain(sections.configuration(summaries)),
    ]


def _plain(body: Markup | None) -> Section:
    return Section(body, {})
