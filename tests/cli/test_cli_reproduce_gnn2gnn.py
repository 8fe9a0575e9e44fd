"""`netwright reproduce gnn2gnn`: the paper's tables at the smallest scale."""

import json

import pytest
import torch

from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.tables.derive import derive
from netwright.tables.format import Column, Rows, Table

SMOKE = ["--scale", "smoke", "--json", "--quiet"]
MEASURES = ["novelty", "top-5", "top-10", "top-50", "acc_90", "mean accuracy", "distinct"]
OTHERS = ["validity", "uniqueness", "in table", "mean parameters", "best accuracy"]


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Cells of NAS-Bench-101 with few nodes, and NAS-Bench-201's, with made-up scores."""
    folder = tmp_path_factory.mktemp("tables")
    space = NASBench101()
    archs = NASBench101(max_nodes=5).enumerate()
    score = 0.85 + (archs.ops == 2).sum(dim=1) / 40 + torch.arange(len(archs)) / 1e6
    columns = {
        "cifar10/test@108": Column(score),
        "parameters": Column(1e6 + torch.arange(len(archs)).double(), "count"),
    }
    Table.write(folder / "nasbench101.safetensors", space, Rows(archs, columns, "made", "none"))
    space = NASBench201()
    archs = space.enumerate()
    share = (archs.ops == 3).sum(dim=1) / 7 + torch.arange(len(archs)) / 1e6
    metrics = ("cifar10/test@200", "cifar100/test@200")
    columns = {name: Column(share) for name in metrics}
    columns["parameters"] = Column(1e6 * (1 + share), "count")
    rows = Rows(archs, columns, "made", "none")
    whole = Table.write(folder / "nasbench201.safetensors", space, rows)
    derive(whole, space="nats_pruned", out=folder / "nats_pruned.safetensors")
    derive(whole, space="nasbench201", out=folder / "nats_cells.safetensors")
    return folder


def reproduced(run, tmp_path, item, tables, *more):
    words = ["reproduce", "gnn2gnn", item, "--tables", tables, "--out", "r", *SMOKE, *more]
    code, out, err = run(*words)
    assert (code, err) == (0, ""), err
    found = json.loads((tmp_path / "r.json").read_text())
    told = json.loads(out)
    assert told["rows"] == found["rows"]
    assert told["results"] == "r.json"
    return found


def named(found):
    """The metrics of each row of the table, in order."""
    rows = {}
    for row in found["rows"]:
        rows.setdefault(f"{row['method']}, {row['preset']}", []).append(row["metric"])
    return rows


def test_table3(run, tables, tmp_path):
    found = reproduced(run, tmp_path, "table3", tables)
    rows = named(found)
    first, *random, last = rows
    assert first == "GNN2GNN, released"
    assert random == [
        "Erdos-Renyi p = .5, uniform operations",
        "Erdos-Renyi p = .5, all conv3x3",
        "Erdos-Renyi p = .5, all conv3x3, valid only",
    ]
    assert ", best" in last
    for name, metrics in rows.items():
        trained = [] if name.startswith("Erdos") else ["valuer Kendall tau"]
        assert metrics == [*MEASURES, *OTHERS, *trained]
    assert found["command"] == "netwright reproduce gnn2gnn table3 --scale smoke"
    assert found["seeds"] == [0, 1]
    assert {row["n"] for row in found["rows"]} == {2}
    published = [row["paper"] for row in found["rows"][:6]]
    assert published == [82.60, 45.91, 52.21, 57.37, 81.79, 92.04]
    by = {(row["preset"], row["metric"]): row for row in found["rows"]}
    assert by["uniform operations", "top-5"]["paper"] == 11.17
    assert by["all conv3x3", "top-5"]["paper"] is None
    assert by["released", "distinct"]["paper"] is None
    assert by["released", "top-5"]["budget"] == 640
    assert by["all conv3x3", "top-5"]["budget"] is None
    assert by["all conv3x3, valid only", "validity"]["mean"] == 100
    assert by[last.partition(", ")[2], "validity"]["mean"] == 100  # best heeds the limit on edges
    assert by["released", "validity"]["mean"] < 100
    assert 0 < by["released", "in table"]["mean"] < 100
    for row in found["rows"]:
        if row["metric"] in MEASURES[:4]:
            assert 0 <= row["mean"] <= 100
    page = (tmp_path / "r.md").read_text()
    assert "*acc_n* (above n)" in page
    assert "all conv3x3* is the trivial generator" in page
    assert (tmp_path / "r.svg").read_text().startswith("<svg")
    fits = sorted(p.name for p in (tmp_path / "runs" / "gnn2gnn-smoke").glob("nasb*"))
    assert len(fits) == 2


def test_measures_are_kept_and_fits_are_not_trained_again(run, tables, tmp_path):
    words = ["--only", "GNN2GNN, released", "--seeds", 1, "--run", "fits"]
    found = reproduced(run, tmp_path, "table3", tables, *words)
    assert list(named(found)) == ["GNN2GNN, released"]
    assert found["command"] == (
        "netwright reproduce gnn2gnn table3 --seeds 1 --only 'GNN2GNN, released' --scale smoke"
    )
    (state,) = (tmp_path / "fits").glob("*/seed-0/fit.safetensors")
    before = state.stat().st_mtime_ns
    kept = state.with_name("measures.safetensors")
    taken = kept.read_bytes()
    again = reproduced(run, tmp_path, "table3", tables, *words)
    assert again["rows"] == found["rows"]
    assert kept.read_bytes() == taken
    kept.unlink()
    fresh = reproduced(run, tmp_path, "table3", tables, *words)
    assert fresh["rows"] == found["rows"]
    assert state.stat().st_mtime_ns == before
    more = reproduced(run, tmp_path, "table3", tables, *words[:2], "--seeds", 2, "--run", "fits")
    assert {row["n"] for row in more["rows"]} == {2}
    assert state.stat().st_mtime_ns == before
    other = reproduced(run, tmp_path, "table3", tables, *words, "--first-seed", 1)
    assert other["seeds"] == [1]
    assert len(list((tmp_path / "fits").glob("*/seed-*"))) == 2
    pairs = zip(found["rows"], more["rows"], other["rows"], strict=True)
    for one, both, two in pairs:
        assert both["mean"] == pytest.approx((one["mean"] + two["mean"]) / 2, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("item", ["table1", "table2", "table4", "table5", "trade"])
def test_every_table(run, tables, tmp_path, item):
    found = reproduced(run, tmp_path, item, tables, "--seeds", 1)
    rows = named(found)
    assert len(rows) == {"table5": 3, "trade": 2}.get(item, 2)
    for metrics in rows.values():
        assert "top-5" in metrics
        assert "distinct" in metrics
    assert (tmp_path / "r.svg").read_text().startswith("<svg")
    published = {row["paper"] for row in found["rows"]} - {None}
    assert bool(published) == (item != "trade")
    if item == "table5":
        assert {row["benchmark"] for row in found["rows"]} == {
            "nats_pruned/cifar10", "nats_pruned/cifar100",
        }  # fmt: skip
        assert "acc_70" in rows["uniform over the space, None"]


@pytest.mark.slow
def test_cells_of_one_benchmark_are_looked_up_in_the_other(run, tables, tmp_path):
    found = reproduced(
        run, tmp_path, "table5", tables, "--seeds", 1, "--only", "nats_pruned/cifar10 uniform"
    )
    by = {row["metric"]: row["mean"] for row in found["rows"]}
    assert by["validity"] == by["in table"] == 100
    assert 3 < by["top-5"] < 8  # as many as there are


@pytest.mark.slow
def test_overlap_of_two_benchmarks(run, tables, tmp_path):
    found = reproduced(run, tmp_path, "overlap", tables)
    by = {}
    for row in found["rows"]:
        by.setdefault(row["metric"], []).append(row)
    assert {row["mean"] for row in by["distinct NATS graphs, number"]} >= {5256, 8764}
    assert {row["paper"] for row in by["cells in both, number"]} == {576}
    assert all(row["mean"] > 0 for row in by["mean gap, points"])


def test_what_is_written_for_people(run, tables, tmp_path):
    words = ["reproduce", "gnn2gnn", "table3", "--scale", "smoke", "--seeds", 1]
    code, out, err = run(*words, "--tables", tables, "--only", "uniform operations")
    assert code == 0, err
    assert "Erdos-Renyi p = .5, uniform operations: novelty " in out
    assert "paper 51.81" in out
    assert "wrote docs/results/gnn2gnn-table3-smoke.json and gnn2gnn-table3-smoke.md" in out
    assert "measuring Erdos-Renyi p = .5, uniform operations" in err
    assert (tmp_path / "docs" / "results" / "gnn2gnn-table3-smoke.md").is_file()


ERRORS = [
    (["table9"], 2, "unknown item 'table9' of gnn2gnn: use table1, table2, table3, table4, table5"),
    (["table3", "--scale", "x"], 2, "unknown scale 'x': use "),
    (["table3", "--only", "zz"], 2, "no row has 'zz' in its name: use GNN2GNN, released; Erdos"),
    (["table3", "--seeds", 0], 2, "--seeds must be at least 1, not 0"),
    (
        ["table3", "--set", "device=cuda"],
        2,
        "--set and --data are for svge, and items of graphpnas that train networks",
    ),
]


@pytest.mark.parametrize(
    ("words", "code", "message"), ERRORS, ids=[" ".join(map(str, case[0])) for case in ERRORS]
)
def test_options_that_do_not_belong_are_refused(run, tables, tmp_path, words, code, message):
    scale = [] if "--scale" in words else ["--scale", "smoke"]
    found, out, err = run("reproduce", "gnn2gnn", *words, "--tables", tables, *scale)
    assert (found, out) == (code, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("item", "command"),
    [
        (
            "table3",
            "netwright table import FILE --space nasbench101 --out tables/nasbench101.safetensors",
        ),
        (
            "table5",
            "netwright table derive tables/nasbench201.safetensors --space nats_pruned --out "
            "tables/nats_pruned.safetensors",
        ),
    ],
    ids=["table3", "table5"],
)
def test_a_missing_table_is_named_with_what_makes_it(run, tmp_path, item, command):
    code, out, err = run("reproduce", "gnn2gnn", item, "--quiet")
    assert (code, out) == (1, "")
    assert err.startswith("error: there is no table tables/")
    assert command in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
