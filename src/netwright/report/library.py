"""The charts' JavaScript, made once for each version of what makes it."""

import hashlib
import os
from functools import cache
from importlib.metadata import version
from pathlib import Path

from netwright.files import write_atomic

_SNIPPET = "window.vegaEmbed = vegaEmbed;"


@cache
def library() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script.

    Bundling takes two seconds, so the script is kept in the user's cache folder, with its digest;
    a copy that is damaged, or a folder that cannot be written, costs the time again.
    """
    file = cache_folder() / f"vega-{version('vl-convert-python')}.js"
    try:
        digest, script = file.read_text(encoding="utf-8").split("\n", maxsplit=1)
        if digest == _digest(script):
            return script
    except (OSError, ValueError):
        pass
    import vl_convert  # brings its own JavaScript engine

    script = str(vl_convert.javascript_bundle(_SNIPPET))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, f"{_digest(script)}\n{script}")
    except OSError:
        pass
    return script


def cache_folder() -> Path:
    """Return where caches go: ``$XDG_CACHE_HOME/netwright``, by default ``~/.cache/netwright``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "netwright"


def _digest(script: str) -> str:
    return hashlib.sha256((_SNIPPET + script).encode()).hexdigest()
