import math
from dataclasses import asdict

import numpy as np
import pytest
from toy_experiment import described, write_table

from netwright.report.experiment_charts import curves_svg
from netwright.reproductions.execute import carry_out
from netwright.reproductions.experiment import Experiment, run_folder
from netwright.reproductions.outcomes import (
    Outcome,
    curves_of,
    differences_of,
    incumbents,
    outcome_of,
    read_outcomes,
    rows_of,
)
from netwright.reproductions.publish import publish
from netwright.reproductions.statistics import wilcoxon_p
from netwright.runs.ledger import Row as LedgerRow
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
    p = wilcoxon_p([-1.0, -2.0, -3.0])
    assert (found[0].p, found[0].p_holm) == pytest.approx((p, p))  # one comparison: no correction


def test_ranks_are_of_the_methods_of_a_budget():
    experiment = Experiment.parse(described())
    rows = rows_of(_outcomes(experiment), ())
    rank = {(row.metric, row.method): row.rank for row in rows if row.budget == 12}
    assert rank["test error", "local search"] == 1.0  # lower everywhere
    assert rank["valid accuracy", "local search"] == 2.0  # and that is worse
    assert rank["at optimum", "random"] == 1.0


def _timed(cell, values, hours):
    return Outcome(cell, dict.fromkeys(cell.benchmark.report, np.array(values)), np.array(hours))


def test_curves_against_hours_hold_the_last_finished_evaluation():
    experiment = Experiment.parse(described())
    values, hours = [[1.0, 2.0, 4.0], [3.0, 3.0, 5.0]], [[1.0, 2.0, 4.0], [2.0, 3.0, 5.0]]
    outcome = _timed(experiment.cells[0], values, hours)
    curves = curves_of([outcome])
    assert [curve.hours is None for curve in curves] == [True, False]
    timed = curves[1]
    assert (timed.hours[0], timed.hours[-1]) == (2.0, 4.0)  # from both have one to one ends
    assert timed.mean[0] == 2.5  # 2 after two hours, 3 after two hours
    assert timed.mean[-1] == 3.5  # 4 after four, 3 still
    assert set(timed.mean) == {2.5, 3.5}
    rows = rows_of([outcome], ())
    spent = {row.budget: row.mean for row in rows if row.metric == "simulated hours"}
    assert spent == {4: 4.5, 12: 4.5}


def test_there_are_no_hours_where_a_method_does_not_tell():
    experiment = Experiment.parse(described())
    values, hours = [[1.0, 2.0]], [[1.0, 2.0]]
    one = _timed(experiment.cells[0], values, hours)
    other = Outcome(experiment.cells[1], {"valid accuracy": np.array(values)})
    assert all(curve.hours is None for curve in curves_of([one, other]))


def _row(index, score, epochs=None, cost=0.0):
    extras = {} if epochs is None else {"epochs": epochs}
    return LedgerRow(
        index + 1, index // 2, index, "", "", "random", "evaluated", score, extras, cost, None, 0.0
    )


def test_budgets_of_a_method_that_stops_early_count_full_trainings():
    bench = {**described()["benchmarks"][0], "rungs": ["mine/valid@1"], "metric": "mine/valid@4"}
    bench |= {"report": {"valid accuracy": "mine/valid@4"}, "budgets": [1, 2, 3]}
    method = {"method": "random", "eta": 2, "proposals": 5}
    experiment = Experiment.parse(described(benchmarks=[bench], methods=[method]))
    [cell] = experiment.cells
    rows = [_row(0, None, 1.0), _row(1, 0.5, 5.0), _row(2, None, 1.0), _row(3, 0.7, 5.0)]
    outcome = outcome_of(cell, [rows], {"valid accuracy": 1.0})
    # steps of two end after 6 and 12 of 4 epochs each: after 1 and 1/2 full trainings, and 3
    found = outcome.at("valid accuracy", 1) + outcome.at("valid accuracy", 2)
    assert math.isnan(found[0])
    assert (found[1], outcome.at("valid accuracy", 3)) == (50.0, [70.0])
    assert [row.budget for row in rows_of([outcome], ())] == [2, 3]


def test_a_method_that_stops_early_needs_rungs_and_proposals():
    method = {"method": "random", "eta": 2, "proposals": 5}
    with pytest.raises(ValueError, match="random stops early, and toy/mine has no rungs"):
        Experiment.parse(described(methods=[method]))
    with pytest.raises(ValueError, match="eta and proposals belong together"):
        Experiment.parse(described(methods=[{"method": "random", "eta": 2}]))


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
    html = (tmp_path / "toy.html").read_text()
    for text in ("toy/mine", "Test error after 12 evaluations", "local search", "Difference"):
        assert text in html
    assert 'data-chart="curves-0"' in html


def test_the_chart_has_a_line_and_a_band_for_every_method(finished):
    experiment, folder = finished
    outcomes = read_outcomes(experiment, folder / "e", tables=folder / "tables")
    both, one = (
        curves_svg([asdict(curve) for curve in curves_of(some)])
        for some in (outcomes, outcomes[:1])
    )
    assert both.count("line mark") == 2 * one.count("line mark") > 0
    assert both.count("area mark") == 2 * one.count("area mark") > 0
