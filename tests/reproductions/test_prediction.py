"""Table II and Fig. 3 (right) of SVGe, on a table small enough for a test."""

import math

import pytest
import torch

from netwright import metrics
from netwright.config.fits import FitConfig, make_fit
from netwright.files import load_state
from netwright.reproductions import prediction_jobs
from netwright.reproductions.prediction import PUBLISHED, fig3_right, table2
from netwright.reproductions.prediction_jobs import EXTENTS, TEST, VALID, Bench, Extent, Job, jobs
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.spaces.nasbench101 import NASBench101
from netwright.tables.format import Column, Rows, Table

SMALL = {"hidden": 12, "latent_size": 6}
QUICK = ["test/30/svge/best", "test/30/mean"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A table of 400 cells whose accuracy falls with the number of edges; some were run once."""
    folder, space = tmp_path_factory.mktemp("tables"), NASBench101()
    archs = space.sample(900, rng=stream(0, "cells"))
    _, first = space.keys(archs).unique(dim=0, return_inverse=True)
    once = [int((first == k).nonzero()[0]) for k in range(400)]
    archs = archs[torch.tensor(once)]
    test = 0.95 - 0.02 * archs.num_edges.float()
    noise = 0.002 * torch.randn(400, generator=stream(0, "noise"))
    valid = torch.where(torch.arange(400) % 2 == 0, test + noise, torch.nan)
    columns = {TEST.column: Column(test), VALID.column: Column(valid)}
    Table.write(folder / "nasbench101.safetensors", space, Rows(archs, columns, "test", "none"))
    return folder


@pytest.fixture(scope="module")
def fits(tables, tmp_path_factory):
    """An SVGe and a DGMG, hardly fitted."""
    found = {}
    for name in ("svge", "dgmg"):
        config = FitConfig.parse(
            {
                "space": "nasbench101",
                "method": {"name": name, **SMALL},
                "data": {"table": str(tables / "nasbench101.safetensors"), "limit": 40},
                "recipe": {"graphs": 16, "batch_size": 8, "valid_graphs": 0},
            }
        )
        run = FitRun.create(
            tmp_path_factory.mktemp(name) / "fit", config.model_dump(mode="json", exclude_none=True)
        )
        for _ in run.execute(make_fit(config)):
            pass
        found[name] = run
    return found


def carried_out(fits, tables, folder, item=table2, **more):
    told = []
    arguments = {
        "folder": folder, "scale": "smoke", "seeds": [0, 1], "tables": tables, "tell": told.append,
    }  # fmt: skip
    if item is table2:
        arguments["others"] = {"dgmg": fits["dgmg"]}
    return item(fits["svge"], **(arguments | more)), told


@pytest.fixture(scope="module")
def whole(fits, tables, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return carried_out(fits, tables, folder)[0], folder


@pytest.mark.slow
def test_every_method_has_every_measure(whole):
    rows = whole[0].rows
    found = {(r.benchmark, r.method, r.preset and r.preset.split(",")[0], r.budget) for r in rows}
    for budget in (30, 60):
        for method, preset in [("SVGe", "best"), ("SVGe", "paper"), ("DGMG", "best")]:
            assert (TEST.benchmark, method, preset, budget) in found
        for method in ("trees", "MLP", "mean"):
            assert (TEST.benchmark, method, None, budget) in found
    assert (VALID.benchmark, "SVGe", "best", 30) in found
    mine = [row for row in rows if (row.method, row.budget) == ("trees", 60)]
    names = ["mse", "rmse", "kendall tau", "spearman", "seconds of the fit"]
    assert [row.metric for row in mine] == names
    assert all(row.n == 2 for row in rows)
    by = {
        (row.method, row.budget, row.metric): row.mean for row in rows if row.column == TEST.column
    }
    assert by["trees", 60, "mse"] < 0.5 * by["mean", 60, "mse"]
    assert by["trees", 60, "kendall tau"] > 0.5
    assert ("mean", 60, "kendall tau") not in by  # of a constant there is none


def test_a_row_is_the_mean_of_the_results_on_disk(whole):
    outcome, folder = whole
    states = [load_state(folder / f"smoke/test/60/trees/seed-{k}.safetensors") for k in (0, 1)]
    errors = [metrics.mse(state["predicted"], state["actual"]) for state in states]
    (row,) = [
        r
        for r in outcome.rows
        if (r.method, r.metric, r.budget, r.column) == ("trees", "mse", 60, TEST.column)
    ]
    assert row.mean == pytest.approx(sum(errors) / 2, rel=1e-5)
    assert row.sd == pytest.approx(abs(errors[0] - errors[1]) / math.sqrt(2), rel=1e-4)
    assert not list(folder.rglob("*.part"))


def test_labels_are_of_training_cells_and_tests_of_held_out_ones(fits, tables):
    bench = Bench([fits["svge"]], tables, "smoke")
    few, many = (bench.examples(Job(TEST, n, "trees", None), 0) for n in (30, 60))
    assert few.train.equal(many.train[:30]).all()
    space = NASBench101()
    key = lambda archs: set(map(tuple, space.keys(archs).tolist()))  # noqa: E731
    train, held_out = key(bench.split.train), key(bench.split.held_out)
    assert (len(train), len(held_out)) == (360, 40)
    assert key(many.train) <= train
    assert key(many.test) == held_out
    other = bench.examples(Job(TEST, 30, "trees", None), 1)
    assert key(other.train) != key(few.train)
    valid = bench.examples(Job(VALID, 30, "trees", None), 0)
    assert len(valid.test) == EXTENTS["smoke"].test  # of the 170 with a run
    assert not key(valid.train) & key(valid.test)
    assert valid.test_score.isfinite().all()


def test_the_scores_are_those_of_the_cells(fits, tables):
    bench = Bench([fits["svge"]], tables, "smoke")
    examples = bench.examples(Job(TEST, 60, "trees", None), 0)
    for archs, score in (examples[:2], examples[2:]):
        torch.testing.assert_close(score, 0.95 - 0.02 * archs.num_edges.float())


def test_what_is_finished_is_not_done_again(whole, fits, tables):
    outcome, folder = whole
    again, told = carried_out(fits, tables, folder)
    assert again.rows == outcome.rows
    assert told == []


class _Killed(Exception):
    pass


def test_a_killed_fit_goes_on_from_its_last_state(whole, fits, tables, tmp_path, monkeypatch):
    saves, save = [], prediction_jobs.save_state

    def dying(path, state):
        save(path, state)
        saves.append(path)
        if path.suffix == ".part" and len(saves) == 1:
            raise _Killed

    monkeypatch.setattr(prediction_jobs, "_SAVE_EVERY", 0.0)
    monkeypatch.setattr(prediction_jobs, "save_state", dying)
    only = ["test/60/svge/best"]
    with pytest.raises(_Killed):
        carried_out(fits, tables, tmp_path, seeds=[0], only=only)
    assert not list(tmp_path.rglob("seed-0.safetensors"))
    seen = load_state(next(tmp_path.rglob("*.part")))["regression"]["counters"][0]
    assert seen == 32  # of 60
    monkeypatch.setattr(prediction_jobs, "save_state", save)
    _, told = carried_out(fits, tables, tmp_path, seeds=[0], only=only)
    assert "goes on" in told[0]
    name = "smoke/test/60/svge/best/seed-0.safetensors"
    mine, theirs = (load_state(folder / name)["predicted"] for folder in (tmp_path, whole[1]))
    assert torch.equal(mine, theirs)


@pytest.mark.slow
def test_published_values_stand_beside_the_rows(whole, fits, tables, monkeypatch):
    monkeypatch.setitem(PUBLISHED, ("SVGe", 30), (0.0028, 0.00002))
    monkeypatch.setitem(PUBLISHED, ("Assess. [44]", 30), (0.0031, 0.0003))
    rows = carried_out(fits, tables, whole[1])[0].rows
    shown = [r for r in rows if r.paper is not None]
    assert [(r.method, r.metric, r.paper, r.paper_sd) for r in shown] == [
        ("SVGe", "mse", 0.0028, 0.00002),
        ("SVGe", "mse", 0.0028, 0.00002),
        ("Assess. [44]", "mse", 0.0031, 0.0003),
    ]
    assert shown[2].preset == "quoted"
    assert {r.column for r in shown[:2]} == {TEST.column}


def test_the_figure_shows_cells_above_80_percent(whole, fits, tables):
    outcome, told = carried_out(fits, tables, whole[1], fig3_right)
    assert told == []  # the predictor is that of the table
    state = load_state(whole[1] / "smoke/test/30/svge/best/seed-0.safetensors")
    kept = state["actual"] > 0.8
    assert 0 < int(kept.sum()) < len(kept)
    tau = metrics.kendall_tau(state["predicted"][kept], state["actual"][kept])
    assert f"Kendall tau {tau:.2f}" in outcome.caption
    assert f"{int(kept.sum())} held-out cells" in outcome.caption
    assert outcome.chart is not None
    assert outcome.chart.count("#0072B2") >= int(kept.sum())
    assert "nasbench101/test accuracy above 80%" in {row.benchmark for row in outcome.rows}


def test_results_of_other_settings_are_refused(whole, fits, tables, monkeypatch):
    monkeypatch.setitem(EXTENTS, "smoke", Extent((30, 60), 100, (1, 1), (3, 1), trees=10))
    with pytest.raises(ValueError, match="other settings"):
        carried_out(fits, tables, whole[1], only=["test/30/svge/best"])


def test_words_choose_the_jobs():
    every = jobs(["svge", "dgmg"], "laptop")
    assert len({job.name for job in every}) == len(every)
    assert jobs(["svge", "dgmg"], "laptop", ["dgmg"]) == [j for j in every if j.method == "dgmg"]
    with pytest.raises(ValueError, match="no row has 'xyz'"):
        jobs(["svge"], "laptop", ["xyz"])
    assert {job.labels for job in jobs(["svge"], "paper")} == {1000, 10_000, 100_000}


def test_a_fit_of_another_space_or_split_is_refused(fits, tables, tmp_path):
    other = FitRun.create(tmp_path / "a", {"space": {"name": "toy"}, "method": {"name": "svge"}})
    with pytest.raises(ValueError, match="toy"):
        carried_out({"svge": other, "dgmg": fits["dgmg"]}, tables, tmp_path)
    config = dict(fits["dgmg"].config) | {"data": {"seed": 3}}
    other = FitRun.create(tmp_path / "b", config)
    with pytest.raises(ValueError, match="holds out other cells"):
        carried_out(fits | {"dgmg": other}, tables, tmp_path)
