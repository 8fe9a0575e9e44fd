"""Learning curves: what was reached when, and what a power law foretells."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netwright.generators.fit import Record
from netwright.reproductions.learning import Curve, draw, foretold, reached


def record(graphs, reconstruction):
    return Record(graphs, 1.0, 1.0, reconstruction, 1e-3, graphs / 100)


def power_law(scale, exponent, graphs):
    return [record(seen, 1 - scale * seen**-exponent) for seen in graphs]


def test_a_share_is_reached_at_the_first_record_that_has_it():
    records = [record(10, None), record(20, 0.2), record(30, 0.5), record(40, 0.4), record(50, 0.9)]
    assert reached(records, 0.5) == 30
    assert reached(records, 0.51) == 50
    assert reached(records, 0.0) == 20
    assert reached(records, 0.91) is None
    assert reached([], 0.5) is None


@given(scale=st.floats(0.5, 5), exponent=st.floats(0.05, 0.5), target=st.floats(1.5, 100))
def test_a_power_law_is_continued_exactly(scale, exponent, target):
    graphs = [1000 * 2**i for i in range(8)]
    records = [r for r in power_law(scale, exponent, graphs) if r.reconstruction > 0]
    if len(records) < 6:
        return
    after = int(target * graphs[-1])
    wanted = 1 - scale * after**-exponent
    assert foretold(records, after) == pytest.approx(wanted, abs=1e-6)


def test_only_the_last_half_counts():
    late = power_law(2.0, 0.4, [16_000, 32_000, 64_000, 128_000])
    early = [record(1000 * 2**i, 0.1) for i in range(4)]
    wanted = 1 - 2.0 * 1_000_000**-0.4
    assert foretold([*early, *late], 1_000_000) == pytest.approx(wanted, abs=1e-6)


def test_nothing_is_foretold_from_too_little():
    assert foretold([], 1000) is None
    assert foretold(power_law(2, 0.4, [10_000, 20_000]), 10**6) is None
    assert foretold([record(100 * i, None) for i in range(1, 9)], 10**6) is None
    assert foretold([record(100 * i, 0.0) for i in range(1, 9)], 10**6) is None


def test_nothing_is_foretold_where_the_error_does_not_fall():
    worse = [record(1000 * i, 0.5 - 0.02 * i) for i in range(1, 9)]
    assert foretold(worse, 10**6) is None


def test_errors_that_are_chance_are_left_out():
    falling = power_law(2.0, 0.4, [1000 * 2**i for i in range(6)])
    perfect = [record(2**i * 64_000, 1.0) for i in range(3)]
    # Of nine records the last five count, three of which are perfect: two are too few.
    assert foretold([*falling, *perfect], 10**6) is None


def test_the_chart_has_a_panel_for_each_space_and_no_gaps():
    curves = [
        Curve("enas", "SVGe", [record(10, None), record(100, 0.2), record(1000, 0.6)]),
        Curve("enas", "DGMG", power_law(2, 0.4, [100, 1000])),
        Curve("nasbench201", "SVGe", power_law(2, 0.4, [100, 1000])),
    ]
    svg = draw(curves)
    assert svg.startswith("<svg")
    for words in ("enas", "nasbench201", "SVGe", "DGMG", "held-out reconstruction"):
        assert words in svg
    assert not any(word in svg for word in ("NaN", "undefined", "null"))
