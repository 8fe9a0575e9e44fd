import re

import pytest
import torch
from small_fit import fitted, write_table

from netwright.networks.cost import count_parameters
from netwright.networks.nasbench101 import nasbench101_network
from netwright.networks.skeleton import Skeleton
from netwright.reproductions import extrapolation as ex
from netwright.reproductions import extrapolation_charts as charts
from netwright.reproductions import extrapolation_rows as rows_of
from netwright.reproductions.candidates import PAPERS_BEST, SPACE, Ranking, random_graphs
from netwright.reproductions.trials import Plan, Trial
from netwright.rng import stream


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table, a fit, and the results of both tables at smoke scale."""
    folder = tmp_path_factory.mktemp("extrapolation")
    run = fitted(folder / "fit", write_table(folder))
    return folder, run


def carried_out(place, item, *, lines=None, seeds=(0,), scale="smoke", data=None):
    folder, run = place
    return getattr(ex, item)(
        run,
        folder=folder / "runs",
        scale=scale,
        seeds=seeds,
        tables=folder,
        data=data,
        tell=[].append if lines is None else lines.append,
    )


@pytest.fixture(scope="module")
def four(place):
    return carried_out(place, "table4")


def found(outcome, metric):
    return {row.method: row for row in outcome.rows if row.metric == metric}


@pytest.mark.slow
def test_table4_has_every_group_and_the_published_values(four):
    test = found(four, "test accuracy")
    size = ex._SAMPLES["smoke"]
    expected = {
        ex.TOP: size.top,
        ex.EXPANDED: size.expanded,
        ex.ANY: size.strata,
        ex.BEST: size.repeats,
        ex.PAPERS: size.repeats,
        ex.RANDOM: size.random,
        rows_of.CHOSEN: 1,
    }
    assert {name: test[name].n for name in expected} == expected
    assert all(0 <= test[name].mean <= 100 for name in expected)
    assert all(test[name].paper is None for name in expected)  # digits are not CIFAR-10
    quoted = {(r.method, r.metric): r.paper for r in four.rows if r.preset == "quoted"}
    assert quoted["NB101-7, oracle", "valid accuracy"] == 95.15
    assert quoted["NB101-7, oracle", "test accuracy"] == 94.09
    assert quoted["NB101-8, SVGe", "valid accuracy"] == 95.18
    assert quoted["NB101-8, SVGe", "test accuracy"] == 94.92
    assert quoted["ENAS-14, SVGe", "valid accuracy"] == 96.09
    counts = found(four, "distinct candidates")
    # Here the paper's best cell is that of the table, too: 3 * 2 ** 6 of either kind.
    assert counts["appended"].mean == counts["prepended"].mean == 192
    assert counts["random"].mean <= 60


def test_parameters_are_those_of_the_network(four):
    arch = SPACE.parse([PAPERS_BEST])
    with torch.device("meta"):
        network = nasbench101_network(arch, in_channels=1, num_classes=10, preset=Skeleton(8, 2, 1))
    assert found(four, "parameters")[ex.PAPERS].mean == count_parameters(network)


@pytest.mark.slow
def test_what_is_on_disk_is_not_made_again(place, four):
    lines = []
    again = carried_out(place, "table4", lines=lines)
    assert lines == []
    assert again == four


def test_seeds_are_repetitions_of_the_whole(place, four):
    lines = []
    both = carried_out(place, "table4", lines=lines, seeds=(0, 1))
    assert lines[0] == "seed 1: ranking the candidates"
    assert found(both, "test accuracy")[ex.ANY].n == 2 * found(four, "test accuracy")[ex.ANY].n
    assert found(both, "test accuracy")[rows_of.CHOSEN].n == 2


def test_table5_trains_the_residual_cell_beside_the_others(place, four):
    del four  # has made the ranking
    lines = []
    five = carried_out(place, "table5", lines=lines)
    assert not any("ranking the candidates" in line for line in lines)
    test = found(five, "test accuracy")
    repeats = ex._TRANSFERS["smoke"].repeats
    for group in (ex.TOP, ex.EXPANDED, ex.BEST, ex.PAPERS, ex.RESNET):
        assert test[group].n == repeats
    assert test["SVGe + BO (NB101-7)"].paper == 56.83
    assert five.chart.startswith("<svg")
    assert "substitute" in ex.TITLES["table5"]


def test_the_residual_cell_is_two_convolutions_and_a_shortcut():
    arch = SPACE.parse([ex.RESIDUAL])
    assert [SPACE.op_names[op] for op in arch.ops[0, 1:3].tolist()] == ["conv3x3-bn-relu"] * 2
    assert arch.adj[0].nonzero().tolist() == [[0, 1], [0, 3], [1, 2], [2, 3]]


def test_the_chart_draws_the_cells(four):
    assert four.chart.count("data-node=") >= 7 + 7 + 8
    assert "7 nodes, the paper&#x27;s best" in four.chart
    places = re.findall(r">#(\d+) of [\d,]+, \w+<", four.chart)
    assert places[:2] == ["1", "2"]
    assert len(places) == len(set(places))  # each is drawn once


def test_missing_data_tables_and_other_fits_are_told_in_one_line(place, tmp_path):
    folder, run = place
    with pytest.raises(ValueError, match=r"table4 trains on images .*: give cifar10:PATH"):
        carried_out(place, "table4", scale="laptop")
    with pytest.raises(FileNotFoundError, match=r"no table at .*nasbench101\.safetensors"):
        ex.table4(run, folder=tmp_path, scale="smoke", seeds=[0], tables=tmp_path, data=None,
                  tell=print)  # fmt: skip
    other = fitted(tmp_path / "fit", write_table(tmp_path), graphs=32)
    with pytest.raises(ValueError, match="is of another fit: name another folder, or remove it"):
        carried_out((folder, other), "table4")


def ranking_of(n):
    archs = random_graphs(200, rng=stream(0, "r"))
    archs = archs[SPACE.is_valid(archs)][:n]
    return Ranking(archs, ("random",) * n, torch.linspace(0.9, 0.8, n), 0.5, {})


@pytest.mark.slow
@pytest.mark.parametrize(("sign", "expected"), [(1, 1.0), (-1, -1.0)])
def test_correlations_have_the_sign_of_the_truth(sign, expected):
    """Candidates are as good (or as bad) as predicted; parameters have nothing to do with it."""
    ranking = ranking_of(12)
    texts = SPACE.to_text(ranking.archs)
    plans = [Plan(ex.ANY, text, 0) for text in texts]
    trials = [
        Trial(0.5, 0.5 + sign * float(p) / 10, float(i * 7 % 12), 1.0)
        for i, p in enumerate(ranking.predicted)
    ]
    rows = rows_of.correlation_rows(rows_of.Done("b", plans, trials), [ranking], [0])
    values = {(row.metric.split(" with")[0], row.method): row for row in rows}
    for name in ("kendall tau", "spearman"):
        assert values[name, "predicted rank"].mean == expected
        assert values[name, "predicted rank"].low == values[name, "predicted rank"].high == expected
    sizes = values["kendall tau", "number of parameters"]
    assert abs(sizes.mean) < 0.3
    assert sizes.low < 0 < sizes.high


def test_failed_trainings_are_counted_and_left_out():
    plans = [Plan(ex.TOP, PAPERS_BEST, 0, i) for i in range(3)]
    nan = float("nan")
    trials = [
        Trial(0.4, 0.5, 9.0, 1.0),
        Trial(nan, nan, nan, 1.0, "NaN"),
        Trial(0.5, 0.7, 9.0, 1.0),
    ]
    done = rows_of.Done("b", plans, trials)
    rows = rows_of.accuracy_rows(done, [ex.TOP, ex.RANDOM], "paper")
    values = {row.metric: row for row in rows}
    assert (values["test accuracy"].mean, values["test accuracy"].n) == (60, 2)
    assert values["failed trainings"].mean == 1
    chosen = {row.metric: row for row in rows_of.chosen_rows(done, [0], "paper")}
    assert (chosen["test accuracy"].mean, chosen["valid accuracy"].mean) == (70, 50)
    assert (chosen["test accuracy"].paper, chosen["valid accuracy"].paper) == (94.92, 95.18)


def test_partial_tau_is_that_of_its_definition():
    assert rows_of.partial_tau(0.5, 0.0, 0.0) == 0.5
    assert rows_of.partial_tau(0.48, 0.8, 0.6) == pytest.approx(0.0)
    assert rows_of.partial_tau(0.5, 0.5, 0.5) == pytest.approx(1 / 3)
    assert rows_of.partial_tau(0.5, 1.0, 0.5) != rows_of.partial_tau(0.5, 1.0, 0.5)  # NaN


def test_drawings_need_a_title_for_each_cell():
    archs = SPACE.parse([PAPERS_BEST, ex.RESIDUAL])
    drawn = charts.cells_svg(archs, [["a"], ["b", "<c>"]], SPACE.op_names)
    assert "&lt;c&gt;" in drawn
    assert drawn.count("data-edge=") == 9 + 4
    for bad in ([["a"]], []):
        with pytest.raises(ValueError, match="give one for each"):
            charts.cells_svg(archs, bad, SPACE.op_names)
    with pytest.raises(ValueError, match="without width"):
        charts.stacked(["<svg></svg>"], "nothing")
