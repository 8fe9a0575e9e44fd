import math

import numpy as np
import pytest
from toy_experiment import described, write_table

from netwright.reproductions.execute import carry_out
from netwright.reproductions.experiment import Experiment, run_folder
from netwright.reproductions.outcomes import (
    Outcome,
    curves_of,
    differences_of,
    incumbents,
    interval,
    read_outcomes,
    rows_of,
)
from netwright.reproductions.publish import draw, publish
from netwright.runs.run import Run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("experiment")
    write_table(folder / "tables")
    experiment = Experiment.parse(described(seeds=4))
    list(carry_out(experiment, folder / "e", tables=folder / "tables"))
    return experiment, folder


def test_incumbents_are_the_first_of_the_best_so_far():
    assert incumbents([0.2, 0.1, 0.4, 0.4, None, 0.3, 0.5]) == [0, 0, 2, 2, 2, 2, 6]
    assert incumbents([None, math.nan, 0.1]) == [0, 0, 2]
    assert incumbents([]) == []


def test_the_interval_of_a_mean_is_students():
    # the textbook's example: n = 4, t = 3.182
    low, high = interval([1.0, 2.0, 3.0, 4.0])
    half = 3.18245 * math.sqrt(5 / 3) / 2
    assert (low, high) == pytest.approx((2.5 - half, 2.5 + half), rel=1e-5)
    assert interval([5.0]) is None
    assert interval([2.0, 2.0]) == (2.0, 2.0)


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hits = sum(
        low <= 1 <= high
        for low, high in (interval(rng.normal(1, 2, 5).tolist()) for _ in range(2000))
    )
    assert 0.93 < hits / 2000 < 0.97


def test_reports_are_of_the_incumbent_by_the_search_metric(finished):
    experiment, folder = finished
    outcomes = read_outcomes(experiment, folder / "e", tables=folder / "tables")
    for outcome in outcomes:
        for i, seed in enumerate(experiment.seed_list):
            run = Run.open(run_folder(folder / "e", outcome.cell, seed))
            for budget in (4, 12):
                rows = [row for row in run.ledger.rows() if row.index < budget]
                best = max(rows, key=lambda row: row.score)
                assert outcome.at("valid accuracy", budget)[i] == pytest.approx(100 * best.score)
                test = best.extras["mine/test@1"]
                assert outcome.at("test error", budget)[i] == pytest.approx(100 * (1 - test))
                regret = 100 * (0.91 - best.score)
                assert outcome.at("valid regret", budget)[i] == pytest.approx(regret, abs=1e-4)
                found = 100.0 * (regret < 1e-4)
                assert outcome.at("at optimum", budget)[i] == found


def test_an_exhausted_space_leaves_no_regret(tmp_path):
    write_table(tmp_path)
    whole = [{**described()["benchmarks"][0], "budgets": [1, 40]}]
    experiment = Experiment.parse(described(seeds=2, benchmarks=whole))
    list(carry_out(experiment, tmp_path / "e", tables=tmp_path))
    for outcome in read_outcomes(experiment, tmp_path / "e", tables=tmp_path):
        assert outcome.at("at optimum", 40) == [100.0, 100.0]
        assert outcome.at("valid regret", 40) == pytest.approx([0.0, 0.0], abs=1e-5)
        assert outcome.at("at optimum", 1) == [0.0, 0.0]


def test_a_search_that_ended_early_keeps_its_last_value(finished):
    experiment, _ = finished
    outcome = Outcome(experiment.cells[0], {"test error": np.array([[3.0, 2.0, 1.0]])})
    assert outcome.at("test error", 100) == [1.0]
    assert outcome.at("test error", 2) == [2.0]


def _outcomes(experiment):
    first = np.array([[4.0] * 4 + [2.0] * 8, [5.0] * 4 + [4.0] * 8, [6.0] * 4 + [3.0] * 8])
    values = [first, first - np.array([[1.0], [2.0], [3.0]])]
    reports = experiment.benchmarks[0].report
    return [
        Outcome(cell, dict.fromkeys(reports, value))
        for cell, value in zip(experiment.cells, values, strict=True)
    ]


def test_differences_pair_equal_seeds():
    experiment = Experiment.parse(described())
    found = differences_of(_outcomes(experiment), "random")
    assert {one.method for one in found} == {"local search"}
    assert all((one.mean, one.n) == (-2.0, 3) for one in found)
    half = 4.30265 * 1 / math.sqrt(3)
    assert (found[0].low, found[0].high) == pytest.approx((-2 - half, -2 + half), rel=1e-4)


def test_published_values_stand_beside_their_rows_or_are_quoted():
    published = [
        {"benchmark": "toy/mine", "method": "random", "metric": "test error", "budget": 12,
         "mean": 3.5, "sd": 0.5, "n": 10},
        {"benchmark": "toy/mine", "method": "random", "metric": "test error", "budget": 300,
         "mean": 1.5},
    ]  # fmt: skip
    experiment = Experiment.parse(described(published=published))
    rows = rows_of(_outcomes(experiment), experiment.published)
    mine = [r for r in rows if (r.method, r.metric, r.budget) == ("random", "test error", 12)]
    assert [(r.mean, r.paper, r.paper_sd, r.column) for r in mine] == [
        (3.0, 3.5, 0.5, "mine/test@1")
    ]
    assert [r.paper for r in rows if r.method == "local search"] == [None] * 8
    quoted = [r for r in rows if r.preset == "quoted"]
    assert [(r.mean, r.paper, r.n, r.budget) for r in quoted] == [(1.5, 1.5, None, 300)]


def test_curves_begin_where_every_seed_has_a_value():
    experiment = Experiment.parse(described())
    values = np.array([[np.nan, 3.0, 2.0], [1.0, 1.0, 0.0]])
    outcome = Outcome(experiment.cells[0], {"valid accuracy": values})
    [curve] = curves_of([outcome])
    assert (curve.first, curve.mean) == (2, [2.0, 1.0])
    assert curve.low[0] < 2.0 < curve.high[0]
    assert curve.sd == pytest.approx([math.sqrt(2), math.sqrt(2)], rel=1e-5)


def test_a_missing_run_is_named(finished, tmp_path):
    experiment, folder = finished
    with pytest.raises(ValueError, match="seed-0 is not a run folder"):
        read_outcomes(experiment, tmp_path, tables=folder / "tables")


def test_results_are_written_with_differences_and_a_chart(finished, tmp_path):
    experiment, folder = finished
    experiment = experiment.model_copy(update={"baseline": "random"})
    outcomes = read_outcomes(experiment, folder / "e", tables=folder / "tables")
    rows, differences = publish(tmp_path / "toy", experiment, outcomes, command="c")
    assert (len(rows), len(differences)) == (2 * 4 * 2, 4 * 2)
    page = (tmp_path / "toy.md").read_text()
    assert "Differences on equal seeds" in page
    assert "(toy.svg)" in page
    picture = (tmp_path / "toy.svg").read_text()
    assert picture.startswith("<svg")
    for text in ("toy/mine", "local search", "valid accuracy (%)"):
        assert text in picture


def test_the_chart_has_a_line_and_a_band_for_every_method(finished):
    experiment, folder = finished
    outcomes = read_outcomes(experiment, folder / "e", tables=folder / "tables")
    both, one = draw(curves_of(outcomes)), draw(curves_of(outcomes[:1]))
    assert both.count("line mark") == 2 * one.count("line mark") > 0
    assert both.count("area mark") == 2 * one.count("area mark") > 0
