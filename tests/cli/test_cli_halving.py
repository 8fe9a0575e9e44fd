"""Successive halving as a user asks for it: rungs of an evaluator."""

import json

import pytest

from netwright.config.objects import make_evaluator
from netwright.config.schema import RunConfig, TrainConfig
from netwright.evaluators.halving import Halving
from netwright.evaluators.isolated import Isolated
from netwright.evaluators.train import TrainEvaluator
from netwright.runs.run import Run
from netwright.spaces.toy import Toy


@pytest.fixture
def table(run, tmp_path):
    """The whole toy space; in full training the share of conv3x3 decides, before, of conv1x1."""
    run("space", "enumerate", "toy", "--out", "toy.txt")
    texts = [line.split(" ")[1] for line in (tmp_path / "toy.txt").read_text().splitlines()]
    rows = [f'"{t}",{t.count("conv1x1") / 3:.4f},{t.count("conv3x3") / 3:.4f}' for t in texts]
    (tmp_path / "toy.csv").write_text("arch,early,late\n" + "\n".join(rows))
    columns = ["--column", "early=mine/valid@4", "--column", "late=mine/valid@20"]
    code, _, err = run("table", "import", "toy.csv", "--space", "toy", *columns)
    assert code == 0, err
    return "toy.safetensors"


@pytest.fixture
def search(run, table):
    given = ["--space", "toy", "--table", table, "--method", "random", "--quiet", "--json"]
    given += ["--metric", "mine/valid@20", "--batch-size", 9]
    return lambda *more: run("search", *given, *more)


def test_search_in_brackets(search, run, tmp_path):
    rungs = ["--set", 'evaluator.rungs=["mine/valid@4"]']
    code, out, err = search(*rungs, "--budget", 18, "--run", "r")
    assert code == 0, err
    assert json.loads(out)["evaluations"] == 18
    rows = Run.open(tmp_path / "r").ledger.rows()
    assert len(rows) == 18
    for step in (0, 1):
        bracket = [row for row in rows if row.step == step]
        full = [row for row in bracket if row.score is not None]
        stopped = [row for row in bracket if row.score is None]
        assert (len(full), len(stopped)) == (3, 6)
        assert {row.error for row in stopped} == {"stopped after 4 epochs"}
        early = [row.extras["mine/valid@4"] for row in full]
        assert min(early) >= max(row.extras["mine/valid@4"] for row in stopped)
        assert [row.extras["epochs"] for row in full] == [24.0] * 3
        assert {row.extras["epochs"] for row in stopped} == {4.0}
        for row in full:
            assert row.score == pytest.approx(row.arch.count("conv3x3") / 3, abs=1e-3)
    code, out, err = run("resume", "r", "--budget", 27, "--json", "--quiet")
    assert (code, json.loads(out)["evaluations"]) == (0, 27), err
    assert "stopped after 4 epochs" in (tmp_path / "r" / "report.html").read_text()


def test_from_a_file_with_another_eta(table, run, tmp_path):
    (tmp_path / "c.toml").write_text(
        f'space = "toy"\nmethod = "random"\nbudget = 8\nbatch_size = 8\n'
        f'[evaluator]\nname = "table"\npath = "{table}"\nmetric = "mine/valid@20"\n'
        f'rungs = ["mine/valid@4"]\neta = 2\n'
    )
    code, _, err = run("search", "c.toml", "--run", "r", "--quiet", "--json")
    assert code == 0, err
    rows = Run.open(tmp_path / "r").ledger.rows()
    assert sum(row.score is not None for row in rows) == 4


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (['evaluator.rungs=["mine/valid@5"]'], "choose from mine/valid@4, mine/valid@20"),
        (['evaluator.rungs=["mine/valid@20"]'], "epochs must rise from rung to rung"),
        (['evaluator.rungs=["mine/valid@4"]', "evaluator.eta=1"], "evaluator.eta: "),
        (['evaluator.rungs=["mine/valid@4"]', "mode=asynchronous"], "mode batch and a batch_size"),
        (['evaluator.rungs=["mine/valid@4"]', "batch_size=1"], "mode batch and a batch_size"),
    ],
)
def test_wrong_settings(search, more, message):
    code, _, err = search(*[part for pair in more for part in ("--set", pair)])
    assert code != 0
    assert message in err
    assert len(err.splitlines()) == 1


def test_rungs_of_training():
    config = TrainConfig(rungs=(1, 3), epochs=9, test=True)
    halving = make_evaluator(config, Toy())
    assert isinstance(halving, Halving)
    assert all(isinstance(rung, TrainEvaluator) for rung in halving.rungs)
    assert [rung.recipe.epochs for rung in halving.rungs] == [1, 3, 9]
    assert [rung.test for rung in halving.rungs] == [False, False, True]
    assert (halving.epochs, halving.workers) == ([1, 3, 9], 1)
    assert list(halving.names) == ["valid@1", "valid@3", "valid@9"]
    shared = make_evaluator(config, Toy(), workers=2)
    assert shared.workers == 2
    assert all(isinstance(rung, Isolated) for rung in shared.rungs)


def test_settings_survive_the_run_folder():
    given = {"name": "train", "rungs": [1], "eta": 2, "epochs": 3}
    config = RunConfig.parse({"space": "toy", "method": "random", "evaluator": given})
    assert RunConfig.parse(config.resolved()) == config
