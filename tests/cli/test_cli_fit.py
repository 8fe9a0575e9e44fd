"""`netwright fit`, and what other commands do with a fit, as a user types them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial

import pytest
import torch

from netwright.config.fits import FitConfig, make_fit
from netwright.files import load_state
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy
from netwright.tables.format import Column, Rows, Table

TINY = ["--set", "method.hidden=8", "--set", "method.latent_size=3", "--set", "method.rounds=1"]
FIT = ["fit", "svge", "--space", "toy", *TINY]


def counter(folder):
    return FitRun.open(folder).state()["counters"][0]


@pytest.fixture
def toy_table(tmp_path):
    return table(tmp_path / "toy.safetensors", Toy(), Toy().enumerate(), "mine/valid@1")


def table(path, space, archs, metric):
    """A made-up metric between 0.6 and 1: the share of nodes with the last operation but one."""
    path.parent.mkdir(exist_ok=True)
    share = ((archs.ops == len(space.op_names) - 2) & archs.node_mask).sum(dim=1) / archs.max_nodes
    columns = {metric: Column(0.6 + 0.4 * share)}
    Table.write(path, space, Rows(archs, columns, "made", "none"))
    return path


@pytest.fixture
def tables(tmp_path):
    """A few hundred cells of NAS-Bench-101."""
    cells = NASBench101().sample(400, rng=stream(0, "cells"))
    space = NASBench101()
    keys = {tuple(key): i for i, key in enumerate(space.keys(cells).tolist())}
    cells = cells[torch.tensor(sorted(keys.values()))]
    table(tmp_path / "tables" / "nasbench101.safetensors", space, cells, "cifar10/valid@108")
    return tmp_path / "tables"


# fit


def test_a_fit_says_what_came_of_it_and_what_to_do_next(run, tmp_path):
    code, out, err = run(*FIT, "--epochs", 2)
    assert code == 0, err
    assert out.startswith("48 graphs seen: loss ")
    assert "netwright report runs/toy-svge-1" in out
    assert "svge on toy, seed 0, 24 graphs -> runs/toy-svge-1" in err
    assert "48/48 graphs" in err
    assert counter(tmp_path / "runs" / "toy-svge-1") == 48
    code, out, err = run(*FIT, "--epochs", 2, "--json", "--quiet")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["run"] == "runs/toy-svge-2"
    assert found["graphs"] == 48
    assert 0 < found["train"] < 100
    assert found.keys() == {"run", "graphs", "train", "valid", "reconstruction", "seconds"}


def test_a_last_batch_that_goes_beyond_is_not_shown_as_more_than_all(run):
    code, out, err = run(*FIT, "--set", "recipe.graphs=20", "--set", "recipe.batch_size=15")
    assert code == 0, err
    assert "20/20 graphs" in err
    assert "24 graphs seen" in out
    assert "-1:" not in err


def test_a_fit_to_a_table_takes_its_space_and_settings_from_a_file(run, toy_table, tmp_path):
    (tmp_path / "c.toml").write_text(
        'space = "toy"\nmethod = { name = "arch2vec", hidden = 8, node_latent = 2 }\n'
        "[recipe]\ngraphs = 60\nbatch_size = 10\n"
    )
    code, out, err = run(
        "fit", "--config", "c.toml", "--table", toy_table, "--seed", 3, "--run", "r", "--json"
    )
    assert code == 0, err
    assert json.loads(out)["graphs"] == 68  # 24 an epoch, in batches of 10
    config = FitRun.open(tmp_path / "r").config
    assert (config["seed"], config["method"]["name"]) == (3, "arch2vec")
    code, out, err = run("fit", "dvae", "--table", toy_table, "--set", "method.hidden=6",
                         "--set", "recipe.graphs=32", "--run", "d", "--json")  # fmt: skip
    assert code == 0, err
    assert FitRun.open(tmp_path / "d").config["space"]["name"] == "toy"


def test_the_command_given_again_does_nothing_and_another_is_refused(run, tmp_path):
    command = [*FIT, "--epochs", 2, "--run", "r"]
    _, first, _ = run(*command, "--json")
    before = (tmp_path / "r" / "fit.safetensors").read_bytes()
    for again in (command, ["fit", "--run", "r"], ["resume", "r"]):
        code, out, err = run(*again, "--json", "--quiet")
        assert (code, err) == (0, "")
        assert json.loads(out) == json.loads(first)
    assert (tmp_path / "r" / "fit.safetensors").read_bytes() == before
    code, out, err = run(*FIT, "--epochs", 3, "--run", "r")
    assert (code, out) == (2, "")
    assert err == "error: r holds a fit with recipe.epochs = 2.0, not 3.0: use another folder\n"
    code, _, err = run(*command, "--set", "recipe.clip=2")
    assert err == "error: r holds a fit with recipe.clip = unset, not 2.0: use another folder\n"


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for children")
def test_an_interrupted_fit_says_so_and_keeps_what_it_has(run, tmp_path):
    del run  # for its empty folder
    endless = ["--set", "recipe.graphs=10000000", "--set", "recipe.period=40", "--run", "r"]
    child = subprocess.Popen(
        [sys.executable, "-m", "netwright", *FIT, *endless],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        # A shell's background jobs, and so their children, ignore the signal.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "r" / "fit.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "interrupted" in err.splitlines()[-1]
    assert "Traceback" not in err
    assert counter(tmp_path / "r") > 0


def test_a_fit_that_was_stopped_goes_on(run, tmp_path):
    words = [*FIT, "--set", "recipe.graphs=200", "--set", "recipe.period=40", "--run"]
    code, out, err = run(*words, "whole", "--json", "--quiet")
    assert code == 0, err
    config = FitConfig.parse(FitRun.open("whole").config)
    stopped = FitRun.create("r", config.resolved()).execute(make_fit(config))
    for _ in range(3):
        next(stopped)
    stopped.close()
    assert 0 < counter(tmp_path / "r") < 200
    for i, again in enumerate((["fit", "--run"], ["resume"], words)):
        shutil.copytree("r", f"r{i}")
        code, found, err = run(*again, f"r{i}", "--json", "--quiet")
        assert code == 0, err
        assert json.loads(found)["train"] == json.loads(out)["train"]
        assert counter(tmp_path / f"r{i}") == counter(tmp_path / "whole")


ERRORS = [
    (
        ["fit"],
        2,
        "name a METHOD, one of svge, dgmg, dvae, arch2vec, graphpnas, gnn2gnn, molgan, rnn, or",
    ),
    (["fit", "svge"], 2, "nothing to learn: give --space or --table"),
    (["fit", "svge", "--set", "data.table=5"], 2, "nothing to learn: give --space or --table"),
    (["fit", "svge", "--set", "data=5"], 2, "nothing to learn: give --space or --table"),
    (["fit", "vae", "--space", "toy"], 2, "unknown generator 'vae': use one of svge, dgmg, dvae,"),
    (["fit", "svge", "--space", "x"], 2, "unknown space 'x': use one of toy, nasbench101"),
    (["fit", "svge", "--table", "x"], 1, "no table at x: make it with `netwright table import`"),
    (["fit", "svge", "--config", "x.toml"], 1, "x.toml"),
    (["fit", "--run", "x"], 2, "x is not a run folder: it has no config.toml"),
    ([*FIT, "--epochs", 0], 2, "recipe.epochs: Input should be greater than 0"),
    ([*FIT, "--layout", "x"], 2, "layout: Input should be 'free' or 'space' (given: 'x')"),
    ([*FIT, "--sample", 1], 2, "data.sample: Input should be greater than or equal to 2"),
    (
        ["reproduce", "svge", "table9"],
        2,
        "unknown item 'table9' of svge: use table1, table2, table3",
    ),
    (["reproduce", "gnn", "table1"], 2, "unknown paper 'gnn': use graphpnas, svge or gnn2gnn"),
    (["reproduce", "svge", "table1", "--scale", "x"], 2, "unknown scale 'x': use "),
    (["reproduce", "svge", "table1", "--only", "x"], 2, "no row has 'x' in its name: use enas/svg"),
    (["reproduce", "svge", "table1", "--seeds", 0], 2, "--seeds must be at least 1, not 0"),
    (
        ["reproduce", "svge", "fig2", "--seeds", 2],
        2,
        "fig2 is of one fit: choose it with --first-seed",
    ),
    (["reproduce", "svge", "table1"], 1, "there is no table tables/enas.safetensors: make it with"),
    (["reproduce", "svge", "fig2"], 1, "there is no table tables/nasbench101.safetensors: make it"),
    (["reproduce", "graphpnas", "table5", "--only", "x"], 2, "no row has 'x'"),
]


@pytest.mark.parametrize(
    ("args", "code", "message"), ERRORS, ids=[" ".join(map(str, case[0])) for case in ERRORS]
)
def test_errors_are_one_line_with_the_remedy_and_leave_nothing(run, tmp_path, args, code, message):
    found, out, err = run(*args)
    assert (found, out) == (code, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_else_is_refused(run, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "file").write_text("mine")
    code, _, err = run(*FIT, "--run", "r")
    assert code == 1
    assert err.startswith("error: r is not empty")
    (tmp_path / "r" / "config.toml").write_text("fit = ")
    for command in ([*FIT, "--run", "r"], ["fit", "--run", "r"], ["resume", "r"], ["report", "r"]):
        code, _, err = run(*command)
        assert code == 2
        assert err.startswith("error: r/config.toml is damaged")
        assert err.count("\n") == 1


# What other commands do with a fit


@pytest.fixture
def fitted(run, toy_table):
    run("fit", "svge", "--table", toy_table, *TINY, "--epochs", 4, "--run", "r", "--quiet")
    return "r"


def test_samples_of_a_fit(run, fitted):
    code, out, err = run("sample", fitted, "-n", 5)
    assert code == 0, err
    texts = out.splitlines()
    assert len(texts) == 5
    assert bool(Toy().is_valid(Toy().parse(texts)).all())
    assert json.loads(run("sample", fitted, "-n", 5, "--json")[1])["archs"] == texts
    assert run("sample", fitted, "-n", 5, "--seed", 1)[1] != out


def test_the_page_of_a_fit(run, fitted, toy_table, tmp_path):
    code, out, err = run("report", fitted)
    assert code == 0, err
    assert out == "wrote r/report.html\n"
    page = (tmp_path / "r" / "report.html").read_text()
    assert "mine/valid@1" in page
    assert "svge" in page
    for word in ("NaN", "undefined", "Infinity"):
        assert word not in page.split("<script")[0]
    code, out, err = run(
        "report", fitted, "--table", toy_table, "--metric", "mine/valid@1", "-o", "p.html", "--json"
    )
    assert code == 0, err
    assert json.loads(out) == {"report": "p.html"}
    assert (tmp_path / "p.html").exists()
    code, _, err = run("report", fitted, "--metric", "mine/test@1")
    assert code in (1, 2)
    assert err.startswith("error: ")
    assert "mine/test@1" in err
    assert err.count("\n") == 1


def test_what_does_not_go_with_a_fit_is_refused(run, fitted):
    wrong = [
        (["resume", fitted, "--budget", 4], "r holds a fit, which has no budget"),
        (["report", fitted, fitted], "a fit has a page of its own: give one at a time"),
        (["report", "x", fitted], "a fit has a page of its own: give one at a time"),
        (["report", fitted, "--space", "toy"], "a fit knows its space: leave --space out"),
        (["export", fitted], "r is the folder of a fit, not of a search"),
        (["train", fitted], "r is the folder of a fit, not of a search"),
    ]
    for command, message in wrong:
        assert run(*command) == (2, "", f"error: {message}\n")


def test_a_metric_needs_a_table(run):
    run(*FIT, "--epochs", 1, "--run", "r", "--quiet")
    code, _, err = run("report", "r", "--metric", "mine/valid@1")
    assert code == 2
    assert err == "error: the fit is not of a table: give the --table that has the metric\n"
    code, out, err = run("report", "r")  # without scores
    assert (code, out) == (0, "wrote r/report.html\n"), err


def test_a_fit_that_has_not_begun_has_nothing_to_show(run, tmp_path):
    run(*FIT, "--epochs", 1, "--run", "r", "--quiet")
    (tmp_path / "r" / "fit.safetensors").unlink()
    for command in (["report", "r"], ["sample", "r"]):
        assert run(*command) == (2, "", "error: r holds no parameters yet: go on with its fit\n")


@pytest.mark.usefixtures("fitted")
def test_a_damaged_state_is_one_line(run, tmp_path):
    (tmp_path / "r" / "fit.safetensors").write_bytes(b"half")
    for command in (["report", "r"], ["sample", "r"], ["fit", "--run", "r"], ["resume", "r"]):
        code, _, err = run(*command, "--json")
        assert code == 2
        assert "error: r/fit.safetensors is damaged" in err
        assert "Traceback" not in err


# reproduce svge


def test_table1_of_a_space_that_needs_no_table(run, tmp_path):
    command = ["reproduce", "svge", "table1", "--scale", "smoke", "--only", "nasbench201"]
    code, out, err = run(*command, "--out", "out/t1.json", "--json", "--quiet")
    assert (code, err) == (0, ""), err
    last = json.loads(out)
    found = json.loads((tmp_path / "out" / "t1.json").read_text())
    assert last["results"] == "out/t1.json"
    assert last["rows"] == found["rows"]
    assert found["command"] == "netwright reproduce svge table1 --only nasbench201 --scale smoke"
    assert found["seeds"] == [0]
    rows = {(row["method"], row["preset"], row["metric"]): row for row in found["rows"]}
    methods = {"SVGe": ("forward", "union", "valid only"), "D-VAE": (None,), "arch2vec": (None,)}
    methods["DGMG"] = (None, "valid only")
    for method in methods:
        known = {preset for name, preset, _ in rows if name == method} - {None}
        assert known <= set(methods[method])
        for metric in ("accuracy", "validity"):
            values = [row["mean"] for key, row in rows.items() if key[::2] == (method, metric)]
            assert values
            assert all(0 <= value <= 100 for value in values)
    for metric in ("uniqueness", "novelty", "membership"):  # of what is valid by construction
        assert 0 < rows["SVGe", "valid only", metric]["mean"] <= 100
    assert rows["SVGe", "union", "accuracy"]["paper"] == 99.99
    assert rows["D-VAE", None, "accuracy"]["paper"] is None  # not in the paper
    assert rows["SVGe", None, "graphs per second in training"]["mean"] > 0
    for name in ("t1.md", "t1.svg"):
        assert "NaN" not in (tmp_path / "out" / name).read_text()
    folder = tmp_path / "runs" / "svge-smoke" / "nasbench201" / "dvae" / "seed-0"
    state = (folder / "fit.safetensors").read_bytes()
    assert load_state(folder / "fit.safetensors")["counters"][0] == 64
    code, out, err = run(*command[:-1], "nasbench201/dvae", "--out", "out/t2", "--json", "--quiet")
    assert code == 0, err
    assert json.loads(out)["rows"] == found["rows"]  # all that is finished, and nothing anew
    assert (folder / "fit.safetensors").read_bytes() == state


def test_table1_with_seeds_on_a_table(run, tables, tmp_path):
    command = ["reproduce", "svge", "table1", "--scale", "smoke", "--only", "nasbench101/arch2vec"]
    code, out, err = run(
        *command, "--seeds", 2, "--first-seed", 3, "--tables", tables, "--out", "t"
    )
    assert code == 0, err
    assert "nasbench101 @64  arch2vec: accuracy" in out
    assert out.endswith("wrote t.json and t.md\n")
    assert "nasbench101/arch2vec: taking the measures" in err
    found = json.loads((tmp_path / "t.json").read_text())
    assert found["seeds"] == [3, 4]
    rows = {row["metric"]: row for row in found["rows"]}
    assert (rows["accuracy"]["n"], rows["accuracy"]["paper"]) == (2, 98.84)


@pytest.mark.parametrize("item", ["fig2", "fig3-left", "isomorphism"])
def test_figures_and_the_isomorphism_experiment(run, tables, tmp_path, item):
    command = ["reproduce", "svge", item, "--scale", "smoke", "--tables", tables]
    code, out, err = run(*command, "--first-seed", 2, "--out", "f", "--json", "--quiet")
    assert (code, err) == (0, ""), err
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["seeds"] == [2]
    assert json.loads(out)["rows"] == found["rows"]
    rows = {row["metric"]: row["mean"] for row in found["rows"]}
    if item == "isomorphism":
        assert 0 < rows["cells with another order"] <= 500
        assert rows["isomorphic pairs"] >= rows["cells with another order"]
        assert rows["pairs mapped to one point"] == 100
        assert rows["largest difference of a pair, in sd"] < 1e-3
        return
    assert rows["edits per step on lines"] >= 0
    assert rows["edits between random pairs"] > 0
    assert ("edits per step on the circle" in rows) == (item == "fig2")
    image = (tmp_path / "f.svg").read_text()
    assert image.startswith("<svg")
    assert not any(word in image for word in ("NaN", "undefined"))


def test_a_fit_of_another_configuration_is_refused(run, tables):
    space = NASBench201()
    table(tables / "enas.safetensors", space, space.sample(10, rng=stream(0, "x")), "a/valid@1")
    command = ["reproduce", "svge", "table1", "--scale", "smoke", "--only", "enas/dvae"]
    code, _, err = run(*command, "--tables", tables)
    assert code in (1, 2)
    assert err.splitlines()[-1].startswith("error: ")
    assert "nasbench201" in err
