"""`netwright fit` of GNN2GNN and its peers, as a user types it."""

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

from netwright.config.adversarial import AdversarialConfig, make_adversarial_fit
from netwright.runs.fits import FitRun
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.toy import Toy
from netwright.tables.format import Column, Rows, Table

METRIC = "cifar10/test@108"
TINY = ["--set", "method.hidden=8", "--set", "recipe.batch_size=16"]
LENGTH = ["--set", "recipe.graphs=160", "--set", "recipe.period=48"]
NAMED = ["--table", "some.safetensors", "--metric", METRIC]
FIT = ["fit", "gnn2gnn", *NAMED, *TINY, *LENGTH]


@pytest.fixture(autouse=True)
def tables(tmp_path):
    """200 cells of at most 5 nodes, a third without a label; 40 of them; the toy space."""
    space = NASBench101()
    archs = NASBench101(max_nodes=5).enumerate()[::12][:200]
    score = 0.8 + torch.arange(200) / 1000
    score[::3] = torch.nan
    columns = {METRIC: Column(score), "cifar10/valid@108": Column(torch.full((200,), torch.nan))}
    Table.write(tmp_path / "some.safetensors", space, Rows(archs, columns, "made", "none"))
    few = {METRIC: Column(torch.rand(40))}
    Table.write(tmp_path / "few.safetensors", space, Rows(archs[:40], few, "made", "none"))
    toy = Toy().enumerate()
    columns = {"mine/valid@1": Column(torch.rand(len(toy)))}
    Table.write(tmp_path / "toy.safetensors", Toy(), Rows(toy, columns, "made", "none"))


def same(first, second):
    """Insist that two trees are equal, bit for bit, but for the seconds."""
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first.keys() - {"seconds"}:
            same(first[key], second[key])
    elif isinstance(first, list):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            same(a, b)
    elif isinstance(first, torch.Tensor):
        assert first.equal(second)
    else:
        assert first == second


def test_a_fit_says_what_came_of_it_and_what_to_do_next(run, tmp_path):
    code, out, err = run(*FIT)
    assert code == 0, err
    assert out.startswith("160 graphs seen: generator ")
    assert "netwright sample runs/nasbench101-gnn2gnn-1 -n 16" in out
    assert "gnn2gnn on nasbench101, seed 0, 90 graphs -> runs/nasbench101-gnn2gnn-1" in err
    assert "160/160 graphs" in err
    config = AdversarialConfig.parse(FitRun.open(tmp_path / "runs/nasbench101-gnn2gnn-1").config)
    assert (config.preset, config.data.metric, config.data.hold_out_top) == ("best", METRIC, 0.1)
    code, out, err = run(*FIT, "--hold-out-top", 50, "--seed", 3, "--json", "--quiet")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["graphs"] == 160
    assert found.keys() == {
        "run", "graphs", "generator", "discriminator", "valuer", "told_apart", "balance", "seconds",
    }  # fmt: skip
    config = AdversarialConfig.parse(FitRun.open(tmp_path / found["run"]).config)
    assert (config.seed, config.data.seed, config.data.hold_out_top) == (3, 0, 0.5)


def test_settings_from_a_file_and_options_win(run, tmp_path):
    (tmp_path / "c.toml").write_text(
        f'space = "nasbench101"\nmethod = {{ name = "rnn", hidden = 8, latent_size = 4 }}\n'
        f'[data]\ntable = "some.safetensors"\nmetric = "{METRIC}"\n'
        "[recipe]\ngraphs = 32\nbatch_size = 16\n"
    )
    words = ["fit", "--config", "c.toml", "--preset", "paper", "--hold-out-top", 20]
    code, _, err = run(*words, "--run", "r", "--json", "--quiet")
    assert code == 0, err
    config = AdversarialConfig.parse(FitRun.open(tmp_path / "r").config)
    assert (config.preset, config.data.hold_out_top, config.method.name) == ("paper", 0.2, "rnn")
    assert config.recipe.gan_loss == "saturating"
    code, _, err = run(*words, "--metric", "cifar10/valid@108", "--run", "s")
    assert code == 2
    assert "cifar10/valid@108 has no value in any row" in err


def test_epochs_instead_of_the_length_of_the_preset(run):
    words = ["fit", "gnn2gnn", *NAMED, *TINY, "--epochs", 1, "--run", "r", "--json", "--quiet"]
    code, out, err = run(*words)
    assert code == 0, err
    assert json.loads(out)["graphs"] == 96  # one pass over 90 cells, in batches of 16


def test_the_command_given_again_does_nothing_and_another_is_refused(run, tmp_path):
    _, first, _ = run(*FIT, "--run", "r", "--json")
    before = (tmp_path / "r" / "fit.safetensors").read_bytes()
    for again in ([*FIT, "--run", "r"], ["fit", "--run", "r"], ["resume", "r"]):
        code, out, err = run(*again, "--json", "--quiet")
        assert (code, err) == (0, "")
        assert json.loads(out) == json.loads(first)
    assert (tmp_path / "r" / "fit.safetensors").read_bytes() == before
    code, _, err = run(*FIT, "--run", "r", "--hold-out-top", 30)
    assert code == 2
    assert err == (
        "error: r holds a fit with data.hold_out_top = 0.1, not 0.3: use another folder\n"
    )


def test_a_fit_that_was_stopped_goes_on(run, tmp_path):
    code, _, err = run(*FIT, "--run", "whole", "--quiet")
    assert code == 0, err
    config = AdversarialConfig.parse(FitRun.open("whole").config)
    stopped = FitRun.create("r", config.resolved()).execute(make_adversarial_fit([config]))
    for _ in range(4):
        next(stopped)
    stopped.close()
    assert FitRun.open("r").state()["counters"][0] == 64
    for i, again in enumerate((["fit", "--run"], ["resume"], [*FIT, "--run"])):
        shutil.copytree("r", f"r{i}")
        code, _, err = run(*again, f"r{i}", "--quiet")
        assert code == 0, err
        same(FitRun.open(tmp_path / f"r{i}").state(), FitRun.open(tmp_path / "whole").state())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL], ids=["int", "kill"])
def test_a_killed_fit_ends_as_an_undisturbed_one(run, tmp_path, signal_number):
    words = ["fit", "gnn2gnn", *NAMED, *TINY, "--set", "recipe.graphs=8000"]
    words += ["--set", "recipe.period=160", "--quiet", "--run"]
    child = subprocess.Popen(
        [sys.executable, "-m", "netwright", *words, "r"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
        # A shell's background jobs, and so their children, ignore the signal.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 200
    while not (tmp_path / "r" / "fit.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal_number)
    _, err = child.communicate(timeout=100)
    assert "Traceback" not in err
    if signal_number == signal.SIGINT:
        assert child.returncode == 130
        assert "interrupted" in err.splitlines()[-1]
    assert 0 < FitRun.open(tmp_path / "r").state()["counters"][0] < 8000
    assert run("fit", "--run", "r", "--quiet")[0] == 0
    assert run(*words, "whole")[0] == 0
    same(FitRun.open(tmp_path / "r").state(), FitRun.open(tmp_path / "whole").state())


ERRORS = [
    (["fit", "gnn2gnn"], 2, "gnn2gnn learns from scores: give a --table that has them"),
    (["fit", "rnn", "--space", "nasbench101"], 2, "rnn learns from scores: give a --table that"),
    (
        ["fit", "gnn2gnn", "--table", "some.safetensors"],
        2,
        f"no --metric for gnn2gnn to learn from: choose from {METRIC}, cifar10/valid@108",
    ),
    (
        ["fit", "molgan", "--table", "some.safetensors", "--set", "method.features=4"],
        2,
        "no --metric for molgan to learn from: choose from",
    ),
    (
        ["fit", "gnn2gnn", "--table", "some.safetensors", "--metric", "x"],
        2,
        f"no metric 'x' in some.safetensors: choose from {METRIC}, cifar10/valid@108",
    ),
    (
        ["fit", "gnn2gnn", "--table", "some.safetensors", "--metric", "cifar10/valid@108"],
        2,
        "cifar10/valid@108 has no value in any row of some.safetensors: choose another metric",
    ),
    (
        ["fit", "gnn2gnn", "--table", "few.safetensors", "--metric", METRIC],
        2,
        "27 training cells are fewer than a batch of 32: hold less out, or set a smaller batch_siz",
    ),
    (
        [*FIT, "--hold-out-top", 100],
        2,
        "--hold-out-top is a percentage below 100, not 100",
    ),
    ([*FIT, "--hold-out-top", -1], 2, "--hold-out-top is a percentage below 100, not -1"),
    (
        [*FIT, "--hold-out-top", 99.99],
        2,
        "1 training cells are fewer than a batch of 16: hold less out",
    ),
    (
        [*FIT, "--space", "nasbench201"],
        2,
        "some.safetensors is a table of the space nasbench101, not of nasbench201",
    ),
    (["fit", "gnn2gnn", "--table", "x", "--metric", METRIC], 1, "no table at x: make it with"),
    (["fit", "gnn2gnn", "--table", "x"], 1, "no table at x: make it with"),
    ([*FIT, "--sample", 10], 2, "--sample is not for gnn2gnn, which learns from a --table"),
    ([*FIT, "--layout", "free"], 2, "--layout is not for gnn2gnn, which learns from a --table"),
    (["fit", "svge", *NAMED], 2, "--metric and --hold-out-top are for gnn2gnn, molgan, rnn: other"),
    (["fit", "svge", "--hold-out-top", 5], 2, "--metric and --hold-out-top are for gnn2gnn, mol"),
    ([*FIT, "--preset", "fast"], 2, "preset: Input should be 'best', 'paper' or 'released' (given"),
    ([*FIT, "--epochs", 1], 2, "recipe: give epochs or graphs, not both"),
    ([*FIT, "--set", "method.width=3"], 2, "method.width: there is no such setting of gnn2gnn"),
    ([*FIT, "--set", "device=abacus"], 2, "device: there is no 'abacus', use cpu or cuda"),
    ([*FIT, "--set", "data=5"], 2, "nothing to learn: give --space or --table"),
    (["fit", "gnn2gnn", "--config", "x.toml"], 1, "x.toml"),
]


@pytest.mark.parametrize(
    ("args", "code", "message"), ERRORS, ids=[" ".join(map(str, case[0])) for case in ERRORS]
)
def test_errors_are_one_line_with_the_remedy_and_leave_nothing(run, tmp_path, args, code, message):
    before = sorted(tmp_path.iterdir())
    found, out, err = run(*args)
    assert (found, out) == (code, ""), err
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


def test_a_space_of_fixed_edges(run):
    words = ["fit", "gnn2gnn", "--table", "toy.safetensors", "--metric", "mine/valid@1"]
    words += ["--set", "recipe.batch_size=8", "--set", "recipe.graphs=32", "--quiet", "--json"]
    code, out, err = run(*words)
    assert code == 0, err
    assert json.loads(out)["run"] == "runs/toy-gnn2gnn-1"
