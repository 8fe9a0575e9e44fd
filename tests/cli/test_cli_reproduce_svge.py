"""`netwright reproduce svge`: prediction, search and extrapolation at the smallest scale."""

import json

import pytest
import torch

from netwright.reproductions.prediction_jobs import TEST, VALID
from netwright.rng import stream
from netwright.spaces.enas import ENAS
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.tables.format import Column, Rows, Table

SMOKE = ["--scale", "smoke", "--json", "--quiet"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Some hundred cells of NAS-Bench-101 with made-up scores, and all of NAS-Bench-201."""
    folder = tmp_path_factory.mktemp("tables")
    space = NASBench101()
    archs = space.enumerate()
    score = 0.5 + (archs.ops == 2).sum(dim=1) / 11 + torch.arange(len(archs)) / 1e8
    single = score.clone()
    single[torch.arange(len(archs)) % 100 > 0] = torch.nan
    names = {"cifar10/valid-emulated@108": score, TEST.column: score, VALID.column: single}
    columns = {name: Column(values) for name, values in names.items()}
    Table.write(folder / "nasbench101.safetensors", space, Rows(archs, columns, "made", "none"))
    space = NASBench201()
    archs = space.enumerate()
    share = (archs.ops == 3).sum(dim=1) / 6
    metrics = ("cifar10-valid/valid@200", "cifar10/test@200", "cifar100/valid@200")
    columns = {name: Column(share) for name in (*metrics, "cifar100/test@200")}
    Table.write(folder / "nasbench201.safetensors", space, Rows(archs, columns, "made", "none"))
    space = ENAS()
    archs = space.sample(200, rng=stream(0, "enas"))
    columns = {"cifar10/weight-sharing": Column((archs.ops == 3).sum(dim=1) / 6)}
    Table.write(folder / "enas.safetensors", space, Rows(archs, columns, "made", "none"))
    return folder


def reproduced(run, tmp_path, item, tables, *more):
    words = ["reproduce", "svge", item, "--tables", tables, "--out", "r", *SMOKE, *more]
    code, out, err = run(*words)
    assert (code, err) == (0, ""), err
    found = json.loads((tmp_path / "r.json").read_text())
    assert json.loads(out)["rows"] == found["rows"]
    return found


@pytest.mark.slow
def test_table2_and_its_figure_share_their_fits(run, tables, tmp_path):
    found = reproduced(run, tmp_path, "table2", tables, "--seeds", 1, "--only", "svge/best")
    assert found["command"] == (
        "netwright reproduce svge table2 --seeds 1 --only svge/best --scale smoke"
    )
    rows = {(row["budget"], row["metric"]): row for row in found["rows"]}
    assert {30, 60} <= {budget for budget, _ in rows}
    assert all(row["method"] == "SVGe" for row in found["rows"])
    assert (tmp_path / "runs" / "svge-smoke-prediction" / "smoke").is_dir()
    assert not (tmp_path / "runs" / "svge-smoke" / "nasbench101" / "dvae").exists()
    found = reproduced(run, tmp_path, "fig3-right", tables)
    assert {row["metric"] for row in found["rows"]} >= {"mse", "kendall tau"}
    assert (tmp_path / "r.svg").read_text().startswith("<svg")


@pytest.mark.slow
def test_table3_searches_in_the_latent_spaces_of_table1(run, tables, tmp_path):
    found = reproduced(run, tmp_path, "table3", tables, "--only", "SVGe + BO")
    presets = {row["preset"] for row in found["rows"]}
    assert presets >= {"paper", "best", "best, 1,000 first", "known", "paper, 90 % known"}
    for space in ("nasbench101", "nasbench201", "enas"):
        assert (tmp_path / "runs" / "svge-smoke" / space / "svge" / "seed-0").is_dir()
    paper = [row for row in found["rows"] if row["benchmark"].startswith("nasbench101-emulated-15")]
    assert paper
    assert all(row["n"] == 2 for row in paper if row["preset"] != "quoted")
    assert (tmp_path / "r-path.svg").read_text().startswith("<svg")
    assert "(r-path.svg)" in (tmp_path / "r.md").read_text()
    again = reproduced(run, tmp_path, "table3", tables, "--only", "SVGe + BO")
    assert again["rows"] == found["rows"]


@pytest.mark.slow
@pytest.mark.parametrize("item", ["table4", "table5"])
def test_extrapolation_trains_on_digits(run, tables, tmp_path, item):
    found = reproduced(run, tmp_path, item, tables)
    assert {"test accuracy"} <= {row["metric"] for row in found["rows"]}
    assert any("8 nodes" in row["method"] for row in found["rows"])
    assert (tmp_path / "r.svg").read_text().startswith("<svg")
    again = reproduced(run, tmp_path, item, tables)
    assert again["rows"] == found["rows"]  # read, not trained again


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table2", "--only", "zz"], "no row has 'zz'"),
        (["table3", "--only", "zz"], "no row has 'zz' in its name: use SVGe + BO/paper; "),
        (["table4", "--only", "x"], "--only is for tables 1 to 3"),
        (["fig3-right", "--data", "idx:x"], "--data is for tables 4 and 5"),
        (["table3", "--seeds", 0], "--seeds must be at least 1, not 0"),
    ],
)
def test_options_that_do_not_belong_are_refused(run, tables, words, message):
    code, _, err = run("reproduce", "svge", *words, "--tables", tables, *SMOKE)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
