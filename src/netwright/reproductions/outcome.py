"""What an item of a paper came to, ready to be written as a page of results."""

from typing import NamedTuple

from netwright.results import Row


class Outcome(NamedTuple):
    """What an item of a paper came to.

    Attributes:
        rows: The results.
        chart: A picture, SVG; None where there is none.
        caption: What it shows.
    """

    rows: list[Row]
    chart: str | None
    caption: str
