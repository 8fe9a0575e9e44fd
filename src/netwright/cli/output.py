"""What the commands print: for people on the terminal, for machines as one JSON line."""

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

#: Progress and remarks go to standard error, so that standard output holds results only.
remarks = Console(stderr=True, highlight=False, soft_wrap=True)
results = Console(highlight=False, soft_wrap=True)

#: Seconds between two lines of progress where standard error is no terminal.
LOG_EVERY = 10.0


def plain(value: Any) -> Any:
    """Make ``value`` fit for JSON: NaN and infinities become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return value


def print_json(value: Any) -> None:
    """Print ``value`` as one line of JSON."""
    sys.stdout.write(json.dumps(plain(value), ensure_ascii=False) + "\n")
    sys.stdout.flush()


def say(text: str = "") -> None:
    """Print a result for people; square brackets are text, not markup."""
    results.print(text, markup=False)


def remark(text: str, *, style: str | None = None) -> None:
    """Print a remark for people on standard error."""
    remarks.print(text, markup=False, style=style)


def duration(seconds: float) -> str:
    """Write seconds as people do: ``0:07``, ``12:30``, ``3:05:00``."""
    minutes, secs = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


@dataclass
class Bar:
    """Progress of one task: how much is done, at which rate, and the time left.

    On a terminal it is a bar; elsewhere a line every `LOG_EVERY` seconds.
    """

    total: int
    unit: str
    first: int = 0
    progress: Progress | None = None
    log: bool = False
    _begun: float = field(default_factory=time.monotonic, init=False)
    _logged: float = field(default_factory=time.monotonic, init=False)

    def __post_init__(self) -> None:
        if self.progress is not None:
            self._task = self.progress.add_task("", total=self.total, completed=self.first, text="")

    def update(self, done: int, text: str = "") -> None:
        """Show that ``done`` of the total are done, and ``text`` beside it."""
        now = time.monotonic()
        line = "  ".join(part for part in (text, self._pace(done, now - self._begun)) if part)
        if self.progress is not None:
            self.progress.update(self._task, completed=done, text=line)
        elif self.log and (now - self._logged >= LOG_EVERY or done >= self.total):
            self._logged = now
            remark(f"{done}/{self.total} {self.unit}  {line}")

    def remark(self, text: str) -> None:
        """Print a line above the bar."""
        if self.progress is not None or self.log:
            remark(text, style="yellow")

    def _pace(self, done: int, seconds: float) -> str:
        fresh = done - self.first  # what an earlier life did says nothing of the pace
        if fresh <= 0 or seconds <= 0:
            return ""
        rate = fresh / seconds
        pace = f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"
        return f"{pace}  {duration((self.total - done) / rate)} left"


@contextmanager
def bar(total: int, unit: str, *, first: int = 0, quiet: bool = False) -> Iterator[Bar]:
    """Show progress on standard error while the block runs; nothing if ``quiet``."""
    if quiet or not remarks.is_terminal:
        yield Bar(total, unit, first, log=not quiet)
        return
    columns = [
        SpinnerColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[text]}", markup=False),
    ]
    with Progress(*columns, console=remarks) as progress:
        yield Bar(total, unit, first, progress)
