import math

import pytest

from netwright.report import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, words.DASH),
        (math.nan, words.DASH),
        (math.inf, "∞"),
        (-math.inf, "-∞"),
        (0.0, "0"),
        (1_978_405.0, "1,978,405"),
        (12_345.67, "12,345.7"),
        (0.123456789, "0.12346"),
        (1e-5, "1.000e-05"),
        (1.5e61, "1.500e+61"),
        (-3.25, "-3.25"),
    ],
)
def test_numbers(value, text):
    assert words.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.97, "0.9700"), (-0.5, "-0.5000"), (1.0, "1.0000"), (0.0, "0"), (3.0, "3"),
     (93.125, "93.125"), (math.nan, words.DASH), (None, words.DASH)],
)  # fmt: skip
def test_scores(value, text):
    assert words.score(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.0 s"), (2.34, "2.3 s"), (42.4, "42 s"), (60.0, "1 min"), (59.9, "60 s"),
     (200.0, "3 min 20 s"), (7260.0, "2 h 1 min"), (90_000.0, "1 d 1 h"), (math.nan, words.DASH)],
)  # fmt: skip
def test_durations(seconds, text):
    assert words.duration(seconds) == text


def test_cutting_and_counting():
    assert words.short("abcdef", 6) == "abcdef"
    assert words.short("abcdefg", 6) == "abcde…"
    assert words.plural(1, "run") == "1 run"
    assert words.plural(2000, "run") == "2,000 runs"
