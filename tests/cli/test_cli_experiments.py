"""`netwright experiment` and `netwright reproduce` as a user types them, in this process."""

import json

import pytest

from netwright.runs.run import Run

pytestmark = pytest.mark.usefixtures("files")

EXPERIMENT = """
title = "Toy"
seeds = 2
baseline = "random"

[[benchmarks]]
name = "toy/mine"
space = "toy"
table = "toy.safetensors"
metric = "mine/valid@1"
report = { "valid accuracy" = "mine/valid@1", "test error" = "mine/test@1" }
budgets = [4, 9]

[[methods]]
method = "random"
batch_size = 5

[[methods]]
name = "local search"
method = { name = "local", initial = 2 }
batch_size = 3
"""


@pytest.fixture
def files(run, tmp_path):
    """A table of the toy space in the folder `tables`, and an experiment on it."""
    run("space", "enumerate", "toy", "--out", "toy.txt", "--json")
    texts = [line.split(" ")[1] for line in (tmp_path / "toy.txt").read_text().splitlines()]
    rows = [
        f'"{text}",{0.2 + text.count("conv3x3") / 4:.4f},{0.1 + text.count("conv3x3") / 4:.4f}'
        for text in texts
    ]
    (tmp_path / "toy.csv").write_text("arch,good,other\n" + "\n".join(rows))
    columns = ["--column", "good=mine/valid@1", "--column", "other=mine/test@1"]
    (tmp_path / "tables").mkdir()
    where = ["--out", "tables/toy.safetensors"]
    code, _, err = run("table", "import", "toy.csv", "--space", "toy", *columns, *where, "--json")
    assert code == 0, err
    (tmp_path / "toy.toml").write_text(EXPERIMENT)


def test_an_experiment_from_a_file_writes_results_and_run_folders(run, tmp_path):
    code, out, err = run("experiment", "toy.toml", "--json", "--quiet")
    assert (code, err) == (0, "")
    last = json.loads(out)
    found = json.loads((tmp_path / "docs" / "results" / "toy.json").read_text())
    assert last["results"] == "docs/results/toy.json"
    assert found["rows"] == last["rows"]
    assert found["command"] == "netwright experiment toy.toml"
    assert found["seeds"] == [0, 1]
    assert len(found["rows"]) == 2 * 2 * 2
    assert {d["method"] for d in found["differences"]} == {"local search"}
    assert (tmp_path / "docs" / "results" / "toy.svg").exists()
    folder = tmp_path / "runs" / "toy" / "toy-mine" / "local-search" / "seed-1"
    assert Run.open(folder).ledger.count() == 9
    code, _, err = run("report", folder, "--json")
    assert code == 0, err


def test_options_win_over_the_file_and_finished_runs_are_kept(run, tmp_path):
    run("experiment", "toy.toml", "--quiet")
    ledger = tmp_path / "runs" / "toy" / "toy-mine" / "random" / "seed-0" / "ledger.sqlite"
    before = ledger.read_bytes()
    code, out, err = run("experiment", "toy.toml", "--seeds", 3, "--out", "more", "--json")
    assert code == 0, err
    assert {row["n"] for row in json.loads(out)["rows"]} == {3}
    assert json.loads((tmp_path / "more.json").read_text())["command"].endswith("--seeds 3")
    assert ledger.read_bytes() == before


def test_an_experiment_from_options(run):
    given = ["--table", "tables/toy.safetensors", "--metric", "mine/valid@1"]
    methods = ["-m", "random", "-m", "local", "-b", 5, "-b", 10, "--seeds", 2]
    report = ["--report", "test error=mine/test@1"]
    code, out, err = run("experiment", *given, *methods, *report, "--out", "r", "--json")
    assert code == 0, err
    rows = json.loads(out)["rows"]
    assert {(row["benchmark"], row["metric"], row["column"]) for row in rows} == {
        ("toy/mine", "test error", "mine/test@1")
    }
    assert [(row["method"], row["budget"]) for row in rows] == [
        ("random", 5), ("local", 5), ("random", 10), ("local", 10),
    ]  # fmt: skip


def test_people_see_rows_differences_and_how_to_go_on(run):
    code, out, _ = run("experiment", "toy.toml")
    assert code == 0
    assert "toy/mine @9  local search: test error " in out
    assert "local search minus random" in out
    assert "netwright report runs/toy/BENCHMARK/METHOD/seed-0" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["experiment"], "no --table: give an EXPERIMENT.toml, or --table, --metric and --method"),
        (["experiment", "toy.toml", "-m", "random"], "--method describes an experiment without a"),
        (["experiment", "toy.toml", "--baseline", "x"], "baseline: no method 'x' among random"),
        (["experiment", "toy.toml", "--tables", "nowhere"], "netwright table import FILE --space"),
        (["experiment", "none.toml"], "none.toml"),
        (["reproduce", "darts", "table1"], "unknown paper 'darts': use graphpnas, svge or gnn2gnn"),
        (["reproduce", "svge", "table1"], "there is no table tables/enas.safetensors: make it"),
        (
            ["reproduce", "graphpnas", "fig2", "--only", "x"],
            "no row has 'x' in its name: use GraphPNAS, paper; ",
        ),
        (["reproduce", "graphpnas", "table7"], "GraphPNAS has no 'table7'"),
        (["reproduce", "graphpnas", "fig2", "--scale", "huge"], "use laptop, paper, smoke"),
        (["reproduce", "graphpnas", "fig2"], "nasbench101.safetensors: make it with"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, args, message):
    code, out, err = run(*args)
    assert code in (1, 2)
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_a_changed_experiment_is_refused(run, tmp_path):
    run("experiment", "toy.toml", "--quiet")
    (tmp_path / "toy.toml").write_text(EXPERIMENT.replace("initial = 2", "initial = 4"))
    code, _, err = run("experiment", "toy.toml")
    assert code == 2
    assert "method.initial = 2, not 4: use another folder" in err


def test_an_experiment_on_the_benchmark_of_the_package(run):
    given = ["--table", "nasbench101-digits", "--metric", "digits/valid@12", "-m", "random"]
    code, out, err = run("experiment", *given, "-b", 5, "--seeds", 2, "--out", "r", "--json")
    assert code == 0, err
    assert json.loads(out)["rows"][0]["benchmark"] == "nasbench101/digits"
