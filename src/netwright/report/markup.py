"""HTML that is escaped by construction: only `Markup` is taken as it stands."""

import json
from html import escape
from typing import Any

_VOID = {"meta", "input", "link", "br"}


class Markup(str):
    """Text that is already HTML."""

    __slots__ = ()


def element(tag: str, *children: str | None, **attributes: str | bool | None) -> Markup:
    """Return one element; plain strings among ``children`` are escaped, and all attributes.

    Args:
        tag: Name of the element.
        *children: What it holds; None is nothing.
        **attributes: By name; ``cls`` stands for class and ``_`` for ``-``. True is an attribute
            without a value; None or False is none.
    """
    written = []
    for key, value in attributes.items():
        name = "class" if key == "cls" else key.rstrip("_").replace("_", "-")
        if value is True:
            written.append(f" {name}")
        elif value is not None and value is not False:
            written.append(f' {name}="{escape(str(value))}"')
    start = f"<{tag}{''.join(written)}>"
    return Markup(start if tag in _VOID else f"{start}{join(*children)}</{tag}>")


def join(*children: str | None) -> Markup:
    """Return children side by side."""
    given = (child for child in children if child is not None)
    return Markup("".join(c if isinstance(c, Markup) else escape(c) for c in given))


def json_block(data: Any, *, name: str) -> Markup:
    """Return data as a script element of id ``name`` that nothing executes.

    Raises:
        ValueError: If the data hold a NaN or an infinity, which JSON does not know.
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    safe = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return Markup(f'<script type="application/json" id="{escape(name)}">{safe}</script>')
