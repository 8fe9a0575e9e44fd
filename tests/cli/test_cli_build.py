"""`netwright table build`: a table of one's own measurements, as a user makes it."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch

from netwright.runs.ledger import Ledger
from netwright.runs.run import Run
from netwright.tables.format import Table

OWN = """
import torch
from netwright.evaluation import Evaluation

class Count:
    \"\"\"Counts operations, with noise; fails on a chain without any.\"\"\"
    chunk = 4

    def __call__(self, archs, *, rngs):
        with open("calls", "a") as file:
            file.write("x" * len(archs))
        total = archs.ops.sum(dim=1)
        noise = torch.stack([torch.rand(1, generator=rng)[0] for rng in rngs])
        score = (total + 0.1 * noise).masked_fill(total == 0, torch.nan)
        error = tuple("nothing" if t == 0 else None for t in total.tolist())
        return Evaluation(score, torch.zeros(len(archs)), {"double_score": 2 * score}, error)

def count(space, **options):
    return Count()
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    return ("table", "build", "--space", "toy", "-e", "own.py:count", "--out", "t.safetensors")


def test_a_whole_space_with_two_seeds(run, own, tmp_path):
    code, out, err = run(*own, "--seeds", 2, "--licence", "MIT", "--source", "me", "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert (facts["space"], facts["rows"], facts["failed"]) == ("toy", 27, 2)
    assert (facts["licence"], facts["source"]) == ("MIT", "me")
    assert facts["metrics"] == ["score", "score-seed0", "score-seed1", "double-score"]
    assert facts["measured"]["score"] == 26
    assert facts["agreement"]["score"]["pairs"] == [[0, 1]]
    assert facts["agreement"]["score"]["kendall_tau"][0] > 0.7
    assert "27 architectures of toy, 2 of each -> t.runs" in err
    assert "failed: nothing" in err
    table = Table.open(tmp_path / "t.safetensors")
    table.verify()
    both = (table.column("score-seed0") + table.column("score-seed1")) / 2
    torch.testing.assert_close(table.column("score"), both, equal_nan=True)
    _, shown, _ = run("table", "info", "t.safetensors", "--json")
    assert json.loads(shown)["agreement"] == facts["agreement"]
    _, shown, _ = run("table", "info", "t.safetensors")
    assert "score: two seeds agree with Kendall's tau" in shown
    code, shown, err = run("search", "-s", "toy", "-m", "random", "--table", "t.safetensors",
                           "--metric", "score", "--budget", 5, "--json")  # fmt: skip
    assert code == 0, err
    assert json.loads(shown.splitlines()[-1])["best"]["score"] > 1


def test_the_same_command_goes_on_and_pays_for_nothing_twice(run, own, tmp_path):
    run(*own, "--seeds", 2)
    whole = Table.open(tmp_path / "t.safetensors").checksum
    ledger = tmp_path / "t.runs" / "seed-1" / "ledger.sqlite"
    rows = Ledger(ledger).rows()
    shutil.rmtree(tmp_path / "t.runs" / "seed-1")
    (tmp_path / "calls").write_text("")
    code, out, err = run(*own, "--seeds", 2)
    assert code == 0, err
    assert "2 of 54 evaluations failed: NaN in the table" in out
    assert len((tmp_path / "calls").read_text()) == 27  # those of seed 1 only
    assert Table.open(tmp_path / "t.safetensors").checksum == whole
    assert [row.score for row in Ledger(ledger).rows()] == [row.score for row in rows]
    (tmp_path / "calls").write_text("")
    run(*own, "--seeds", 3)  # one more
    assert len((tmp_path / "calls").read_text()) == 27


def test_another_measurement_in_its_folder_is_refused(run, own):
    run(*own)
    code, _, err = run(*own, "--set", "evaluator.factor=2")
    assert code == 2
    assert "was made with build.evaluator.factor = None, not 2: use another folder" in err
    code, _, err = run(*own, "--set", "evaluator.factor=2", "--run", "other")
    assert code == 0, err


def test_a_setting_that_came_later_counts_as_its_default(run, tmp_path):
    command = ("table", "build", "--space", "toy", "--sample", 1, "--set", "evaluator.epochs=1")
    assert run(*command)[0] == 0
    config = tmp_path / "toy-train.runs" / "seed-0" / "config.toml"
    text = config.read_text()
    config.write_text(text.replace('clock = "wall"\n', ""))
    assert config.read_text() != text
    code, _, err = run(*command)
    assert code == 0, err
    code, _, err = run(*command, "--set", "evaluator.clock=processor")
    assert "made with build.evaluator.clock = 'wall', not 'processor'" in err


def test_a_sample(run, own, tmp_path):
    for seed, name in ((0, "a"), (0, "b"), (1, "c")):
        code, _, err = run(*own[:-1], f"{name}.safetensors", "--sample", 5, "--sample-seed", seed)
        assert code == 0, err
    a, b, c = (Table.open(tmp_path / f"{name}.safetensors") for name in "abc")
    assert len(a) == len(c) == 5
    assert torch.equal(a.keys, b.keys)
    assert not torch.equal(a.keys, c.keys)
    assert (Run.open(tmp_path / "c.runs" / "seed-0").config["build"]["sample"]) == {
        "size": 5,
        "seed": 1,
    }


def test_trained_networks_have_a_test_accuracy(run):
    code, out, err = run("table", "build", "--space", "toy", "--sample", 2, "--json",
                         "--set", "evaluator.epochs=2")  # fmt: skip
    assert code == 0, err
    facts = json.loads(out)
    assert facts["path"] == "toy-train.safetensors"
    assert facts["units"] == {
        "digits/valid@2": "fraction",
        "parameters": "count",
        "digits/train-loss@2": "number",
        "digits/test@2": "fraction",
        "digits/train-seconds@2": "seconds",
    }
    assert facts["measured"]["digits/test@2"] == 2


def test_zero_cost_scores(run):
    code, out, err = run("table", "build", "--space", "toy", "--sample", 3, "-e", "zero-cost",
                         "--set", "evaluator.score=synflow", "--json", "-q")  # fmt: skip
    assert code == 0, err
    assert err == ""
    facts = json.loads(out)
    assert facts["metrics"] == ["digits/synflow", "parameters", "digits/synflow-seconds"]
    code, out, err = run("search", "--space", "toy", "-m", "random", "-e", "zero-cost", "--json",
                         "--budget", 4, "--set", "evaluator.score=snip")  # fmt: skip
    assert code == 0, err
    assert "snip on digits" in err
    assert json.loads(out.splitlines()[-1])["evaluations"] == 4


def test_a_table_without_a_single_measurement_can_be_described(run, tmp_path):
    (tmp_path / "bad.py").write_text(
        OWN.replace("total == 0", "total < 99").replace("t == 0", "t < 99")
    )
    code, out, err = run("table", "build", "-s", "toy", "-e", "bad.py:count", "-q")
    assert code == 0, err
    assert "27 of 27 evaluations failed" in out
    code, out, err = run("table", "info", "toy-bad.safetensors")
    assert code == 0, err
    assert re.search(r"score +0 measured\n", out)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--metric", "mine/valid@3:fraction"), None),
        (("--metric", "a b"), "metric 'a b': write dataset/split@epochs"),
        (("--metric", "mine:metres"), "unknown unit 'metres', use fraction, seconds, count"),
        (("--sample", "28"), "toy has 27 architectures, not 28"),
        (("--set", "space.max_nodes=3"), "space toy: "),
    ],
    ids=["metric", "no metric", "no unit", "too many", "no option"],
)
def test_options(run, own, more, message):
    code, out, err = run(*own, *more, "--json")
    assert Path("calls").exists() == (message is None), "what is wrong is said before all work"
    if message is None:
        assert code == 0, err
        assert json.loads(out)["units"]["mine/valid@3"] == "fraction"
        return
    assert code == 2
    assert message in err.splitlines()[-1]
