"""One HTML file that opens offline: the skeleton that all pages share.

It names no other file and its content security policy forbids loading any; the same policy lets
no script run but the two of this package, whatever stands in the data.
"""

import base64
import hashlib
from collections.abc import Sequence

from netwright import __version__
from netwright.report import words
from netwright.report.library import library
from netwright.report.markup import Markup, element, json_block
from netwright.report.parts import Section
from netwright.report.style import SCRIPT, STYLE


def document(title: str, parts: Sequence[Section], *, note: str = "") -> str:
    """Return the page.

    Args:
        title: What it is called in a list of windows.
        parts: The sections, in order; those without a body are left out.
        note: A sentence for its foot.

    Raises:
        ValueError: If a chart holds a NaN or an infinity.
    """
    specs = {name: spec for part in parts for name, spec in part.charts.items()}
    made = f"Made by netwright {__version__}. {note}{' ' * bool(note)}"
    main = element(
        "main",
        *[part.body for part in parts],
        element("footer", f"{made}This page is one file and needs no network."),
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
        element("title", f"{words.short(title, 80)}: Netwright report"),
        element("style", Markup(STYLE)),
    )
    data = json_block(specs, name="charts")
    body = element("body", main, data, *[element("script", Markup(s)) for s in scripts])
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _hashes(scripts: Sequence[str]) -> str:
    digests = (hashlib.sha256(script.encode()).digest() for script in scripts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
