"""The report of one search or several: a single HTML file that opens offline.

It names no other file and its content security policy forbids loading any; the same policy lets
no script run but the two of this package, whatever stands in a ledger.
"""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path

from netwright import __version__
from netwright.files import write_atomic
from netwright.report import charts, sections, words
from netwright.report.gallery import gallery
from netwright.report.header import finished, header
from netwright.report.library import library
from netwright.report.markup import Markup, element, json_block
from netwright.report.style import SCRIPT, STYLE
from netwright.report.summary import Summary
from netwright.runs.run import Run
from netwright.spaces.base import SearchSpace


def write_report(runs: Sequence[Run], space: SearchSpace, path: Path) -> Path:
    """Write the page of `report_html` to ``path`` and return the path.

    Raises:
        OSError: If the file cannot be written.
        ValueError: As `report_html`.
    """
    path = Path(path)
    write_atomic(path, report_html(runs, space))
    return path


def report_html(runs: Sequence[Run], space: SearchSpace) -> str:
    """Return a page about runs of one space, as they stand on the disk now.

    Args:
        runs: One run, shown with all its proposals, or several, compared by their best scores.
        space: Their search space; reads and names the architectures of the ledgers.

    Raises:
        ValueError: If there are no runs, or a file of a run is damaged.
    """
    if not runs:
        raise ValueError("a report needs at least one run")
    summaries = [Summary.of(run) for run in runs]
    specs = {"progress": charts.progress(summaries)} if any(s.rows for s in summaries) else {}
    statistics = charts.statistics(summaries)
    specs |= {f"statistic {i}": spec for i, spec in enumerate(statistics.values())}
    name = summaries[0].name if len(summaries) == 1 else f"{len(summaries)} runs"
    main = element(
        "main",
        header(summaries, space),
        sections.retrained(summaries),
        sections.progress(summaries),
        gallery(summaries, space),
        sections.ranking(summaries),
        sections.statistics(list(statistics)),
        sections.failures(summaries),
        sections.configuration(summaries),
        element(
            "footer",
            f"Made by netwright {__version__}. Last result: {finished(summaries)}. "
            "This page is one file and needs no network.",
        ),
    )
    scripts = [library(), SCRIPT] if specs else [SCRIPT]
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src {_hashes(scripts)}"
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("link", rel="icon", href="data:,"),
        element("title", f"{words.short(name, 80)}: Netwright report"),
        element("style", Markup(STYLE)),
    )
    data = json_block(specs, name="charts")
    body = element("body", main, data, *[element("script", Markup(s)) for s in scripts])
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _hashes(scripts: Sequence[str]) -> str:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
