"""Schedules: a number that changes with the count of told evaluations.

Counted in evaluations, not in calls, so that a search learns at the same pace whether it asks for
one architecture at a time or for a hundred.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

#: Told evaluations in, value out.
Schedule = Callable[[int], float]


@dataclass(frozen=True)
class Constant:
    """Always ``value``."""

    value: float

    def __call__(self, told: int) -> float:
        """Return the value after ``told`` evaluations."""
        del told
        return self.value


@dataclass(frozen=True)
class Linear:
    """From ``start`` in a straight line to ``end`` after ``over`` evaluations, then constant."""

    start: float
    end: float
    over: int

    def __post_init__(self) -> None:
        _at_least_one("over", self.over)

    def __call__(self, told: int) -> float:
        """Return the value after ``told`` evaluations."""
        share = min(told / self.over, 1.0)
        return (1 - share) * self.start + share * self.end


@dataclass(frozen=True)
class Steps:
    """``start``, times ``factor`` after every ``every`` evaluations.

    [GraphPNAS] on Tiny-ImageNet: 0.6, times 0.2 every 10 steps. A factor of 0 holds the start
    value for ``every`` evaluations and drops to nothing, as the released code does.
    """

    start: float
    factor: float
    every: int

    def __post_init__(self) -> None:
        _at_least_one("every", self.every)

    def __call__(self, told: int) -> float:
        """Return the value after ``told`` evaluations."""
        return self.start * self.factor ** (told // self.every)


@dataclass(frozen=True)
class Exponential:
    """``start``, halved smoothly every ``half_life`` evaluations."""

    start: float
    half_life: int

    def __post_init__(self) -> None:
        _at_least_one("half_life", self.half_life)

    def __call__(self, told: int) -> float:
        """Return the value after ``told`` evaluations."""
        return self.start * math.pow(0.5, told / self.half_life)


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1 evaluation, not {value}")
