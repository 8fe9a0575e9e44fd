"""`netwright search --method latent-bo`, from the fit to the page."""

import json
import shutil
import sys

import pytest
import torch

from netwright.runs.run import Run
from netwright.searchers.latent import LatentSearch
from netwright.spaces.toy import Toy
from netwright.tables.format import Column, Rows, Table

METRIC = "mine/valid@1"
SMALL = ["--set", "method.hidden=8", "--set", "method.rounds=1", "--quiet"]
GAUSSIAN = ["--set", "method.pool=40", "--set", "method.initial=4"]


@pytest.fixture
def table(tmp_path):
    """All of the toy space: the score is the mean index of the operations."""
    space = Toy()
    archs = space.enumerate()
    columns = {METRIC: Column(archs.ops.sum(dim=1) / 6)}
    Table.write(tmp_path / "toy.safetensors", space, Rows(archs, columns, "made", "none"))
    return "toy.safetensors"


@pytest.fixture
def fit(run, table):
    """A fit of some seconds to the cells of the table."""
    latent = ["--set", "method.latent_size=3", "--epochs", 8]
    code, _, err = run("fit", "svge", "--table", table, *SMALL, *latent, "--run", "fit")
    assert code == 0, err
    return "fit"


def command(table, fit, *more, run="r"):
    given = ["--space", "toy", "--table", table, "--metric", METRIC, "--model", fit]
    return ["search", *given, "--batch-size", 3, *GAUSSIAN, "--run", run, *more]


def rows(folder):
    return [(row.step, row.index, row.arch, row.origin, row.score, row.status)
            for row in Run.open(folder).ledger.rows()]  # fmt: skip


def one_line(found, code=2):
    """What is wrong, in the one line that was written."""
    assert found[:2] == (code, "")
    assert found[2].startswith("error: ")
    assert found[2].count("\n") == 1
    return found[2]


@pytest.mark.parametrize("setting", [[], ["--set", "method.candidates=box"]], ids=["near", "box"])
def test_a_search_in_the_latent_space_of_a_fit(run, table, fit, tmp_path, setting):
    draws = ["--set", "method.draws=10"]
    code, out, err = run(*command(table, fit, "--budget", 14, *setting, *draws), "--json")
    assert code == 0, err
    assert "latent-bo" in err
    last = json.loads(out.splitlines()[-1])
    assert last["evaluations"] == 14
    assert last["best"]["score"] > 0.8
    origins = [row.origin for row in Run.open("r").ledger.rows() if row.status == "evaluated"]
    assert origins[:4] == ["random"] * 4
    assert "latent" in origins[4:]
    page = (tmp_path / "r" / "report.html").read_text()
    assert "The search in the latent space" in page
    assert last["best"]["arch"] in page


def test_the_method_need_not_be_named_and_settings_can_stand_in_a_file(run, table, fit, tmp_path):
    (tmp_path / "c.toml").write_text(
        'space = "toy"\nbudget = 8\nbatch_size = 3\n'
        f'method = {{ name = "latent-bo", model = "{fit}", preset = "paper", initial = 5,'
        " pool = 40, draws = 5, inducing = 4 }\n"
        f'evaluator = {{ name = "table", path = "{table}", metric = "{METRIC}" }}\n'
    )
    code, out, err = run("search", "c.toml", "--run", "r", "--json", "--quiet")
    assert (code, err) == (0, "")
    assert json.loads(out)["evaluations"] == 8
    method = Run.open("r").config["method"]
    assert (method["candidates"], method["kernel"], method["initial"]) == ("box", "rbf", 5)


@pytest.mark.slow
def test_a_search_that_was_stopped_goes_on_as_if_it_had_not_been(run, table, fit, monkeypatch):
    code, _, err = run(*command(table, fit, "--budget", 16, run="whole"), "--quiet")
    assert code == 0, err
    tell, told = LatentSearch.tell, []

    def stopped(self, archs, score, *, rng):
        told.append(len(archs))
        if len(told) == 4:
            raise KeyboardInterrupt
        tell(self, archs, score, rng=rng)

    with monkeypatch.context() as patch:
        patch.setattr(LatentSearch, "tell", stopped)
        code, _, err = run(*command(table, fit, "--budget", 16), "--quiet")
    assert code == 130
    assert "Traceback" not in err
    done = len(rows("r"))
    assert 0 < done < 16
    code, out, err = run("resume", "r", "--json", "--quiet")
    assert (code, err) == (0, "")
    assert json.loads(out)["evaluations"] == 16
    assert rows("r") == rows("whole")


def test_a_model_that_has_changed_since_is_refused(run, table, fit, tmp_path):
    run(*command(table, fit, "--budget", 6), "--quiet")
    before = rows("r")
    other = ["--set", "method.latent_size=3", "--epochs", 1, "--run", "other"]
    run("fit", "svge", "--table", table, *SMALL, *other)
    shutil.copy(tmp_path / "other" / "fit.safetensors", tmp_path / "fit" / "fit.safetensors")
    message = one_line(run("resume", "r", "--budget", 12, "--quiet"))
    assert "belongs to a search with model" in message
    assert "start a new run" in message
    assert rows("r") == before


@pytest.mark.usefixtures("fit")
def test_what_is_not_the_fit_of_a_latent_space_is_refused(run, table, tmp_path):
    wanted = ["--space", "nasbench201", "--budget", 3]
    run("fit", "graphpnas", "--table", table, *SMALL, "--epochs", 1, "--run", "graphpnas")
    (tmp_path / "empty").mkdir()
    shutil.copytree("fit", "unfitted")
    (tmp_path / "unfitted" / "fit.safetensors").unlink()
    cases = {
        "nowhere": "nowhere",
        "empty": "empty",
        "graphpnas": "graphpnas is the fit of a GraphPNAS, which has no latent space",
        "unfitted": "unfitted holds no parameters yet: go on with its fit",
    }
    for folder, message in cases.items():
        assert message in one_line(run(*command(table, folder, "--quiet")))
    assert "knows the operations" in one_line(
        run("search", *wanted, "--model", "fit", "--evaluator", "train", "--run", "r")
    )
    missing = ["search", "--space", "toy", "--table", table, "--metric", METRIC, "--run", "r"]
    assert "model" in one_line(run(*missing, "--method", "latent-bo"))
    assert "model" in one_line(run(*missing, "--method", "random", "--model", "fit"))
    assert not (tmp_path / "r").exists()


def test_a_missing_package_is_one_line_with_the_command_that_installs_it(
    run, table, fit, monkeypatch
):
    monkeypatch.delitem(sys.modules, "netwright.surrogates.gp", raising=False)
    monkeypatch.setitem(sys.modules, "gpytorch.kernels", None)
    message = one_line(run(*command(table, fit, "--quiet")), code=1)
    assert "pip install 'netwright[bo]'" in message


def test_the_global_random_state_is_not_touched(run, table, fit):
    before = torch.get_rng_state()
    run(*command(table, fit, "--budget", 7), "--quiet")
    assert torch.equal(before, torch.get_rng_state())
