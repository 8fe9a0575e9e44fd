"""Progress of reading a file whose end is known as a share: how much, how fast, the time left."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn

from netwright.cli.output import LOG_EVERY, duration, remark, remarks

#: Writes an amount: "1,200 rows", "3.4 MB".
Amount = Callable[[float], str]


@contextmanager
def reading(
    unit: str, *, quiet: bool = False, amount: Amount | None = None
) -> Iterator[Callable[[int, float], None]]:
    """Yield what is told how much was done, and which share of all that is.

    Progress goes to standard error: a bar on a terminal, else a line every `LOG_EVERY` seconds.
    """
    show = amount or (lambda done: f"{done:,.0f} {unit}")
    if quiet:
        yield lambda _done, _share: None
        return
    if not remarks.is_terminal:
        yield _Pace(show, _log())
        return
    bar = Progress(
        SpinnerColumn(),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        console=remarks,
    )
    with bar:
        task = bar.add_task("", total=1.0, text="")
        yield _Pace(show, lambda text, share: bar.update(task, completed=share, text=text))


def _log() -> Callable[[str, float], None]:
    logged = time.monotonic()

    def log(text: str, share: float) -> None:
        nonlocal logged
        if time.monotonic() - logged >= LOG_EVERY:
            logged = time.monotonic()
            remark(f"{100 * share:.0f} %  {text}")

    return log


class _Pace:
    """Adds rate and time left, measured since the first report."""

    def __init__(self, show: Amount, put: Callable[[str, float], None]) -> None:
        self._show, self._put = show, put
        self._first: tuple[float, int, float] | None = None

    def __call__(self, done: int, share: float) -> None:
        now = time.monotonic()
        begun, before, part = self._first = self._first or (now, done, share)
        seconds, fresh, gone = now - begun, done - before, share - part
        text = self._show(done)
        if seconds > 0 and fresh > 0 and gone > 0:
            left = duration((1 - share) * seconds / gone)
            text += f"  {self._show(fresh / seconds)}/s  {left} left"
        self._put(text, share)
