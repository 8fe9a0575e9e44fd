"""`netwright compare` as a user types it, in this process."""

import json
import shutil

import pytest

from netwright.tables.embedded import embedded_path

SEARCH = ["search", "--space", "toy", "--evaluator", "toys.py:Scores", "--batch-size", "3"]
SCORES = """
import torch
from netwright.evaluation import Evaluation

class Scores:
    chunk = 100
    def __init__(self, space):
        pass
    def __call__(self, archs, *, rngs):
        score = (archs.ops[:, :3] == 2).double().mean(dim=1)
        return Evaluation(score, torch.full_like(score, 1800.0))
"""


@pytest.fixture
def runs(run, tmp_path):
    (tmp_path / "toys.py").write_text(SCORES)
    for method in ("random", "local"):
        for seed in range(3):
            where = ["--run", f"runs/{method}-{seed}", "--seed", str(seed), "--method", method]
            code, _, err = run(*SEARCH, *where, "--budget", "8" if seed else "9", "--quiet")
            assert code == 0, err


@pytest.mark.usefixtures("runs")
def test_runs_are_compared_by_method(run, tmp_path):
    code, out, err = run("compare", "runs", "--baseline", "Random search", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    rows = [row for row in found["rows"] if "accuracy" in row["metric"]]
    assert [(row["method"], row["n"], row["budget"]) for row in rows] == [
        ("Local search", 3, 8),
        ("Random search", 3, 8),
    ]
    assert {row["mean"] for row in found["rows"] if row["metric"] == "simulated hours"} == {4.0}
    [difference] = found["differences"]
    assert (difference["method"], difference["n"]) == ("Local search", 3)
    assert difference["mean"] == pytest.approx(rows[0]["mean"] - rows[1]["mean"], abs=1e-3)
    for suffix in ("json", "md", "svg", "html"):
        assert (tmp_path / f"comparison.{suffix}").stat().st_size > 1000


@pytest.mark.usefixtures("runs")
def test_a_budget_can_be_asked_for(run):
    code, out, _ = run("compare", "runs/random-0", "runs/local-0", "-b", "2", "-b", "9", "--json")
    assert code == 0
    rows = [row for row in json.loads(out)["rows"] if "accuracy" in row["metric"]]
    assert [row["budget"] for row in rows] == [2, 2, 9, 9]


@pytest.mark.usefixtures("runs")
def test_pairs_are_of_one_seed_in_whatever_order_runs_are_given(run):
    found = []
    for seeds in ("012", "201"):
        random, local = ([f"runs/{m}-{s}" for s in seeds] for m in ("random", "local"))
        words = ["compare", *random, *reversed(local), "-b", "2", "--baseline", "Random search"]
        code, out, _ = run(*words, "--json")
        assert code == 0
        [difference] = json.loads(out)["differences"]
        found.append(difference)
    assert found[0] == found[1]


@pytest.mark.usefixtures("runs")
def test_what_cannot_be_compared_is_one_line(run, tmp_path):
    (tmp_path / "empty").mkdir()
    for words, reason in (
        (["empty"], "holds none"),
        (["runs", "--baseline", "nobody"], "no method 'nobody' among Local search; Random search"),
        (["runs/local-0", "runs/local-0"], "are the same search"),
    ):
        code, _, err = run("compare", *words)
        assert (code, err.count("\n")) == (2, 1)
        assert reason in err


class TestOfTables:
    def search(self, run, where, *words, table="nasbench101-digits"):
        given = ["search", "--table", table, "--metric", "digits/valid@12", "--method", "random"]
        code, _, err = run(*given, "--budget", "10", "--run", where, "--quiet", *words)
        assert code == 0, err

    def compared(self, run, *words):
        code, out, err = run("compare", *words, "--json")
        assert code == 0, err
        rows = json.loads(out)["rows"]
        return [(row["method"], row["column"]) for row in rows if "accuracy" in row["metric"]]

    def test_what_only_some_report_is_left_out(self, run):
        extra = ["--extra", "digits/test@12"]
        self.search(run, "one", *extra)
        self.search(run, "other", *extra, "--seed", "1")
        self.search(run, "bare", "--seed", "2")
        random = "Random search"
        valid, test = "digits/valid@12", "digits/test@12"
        assert self.compared(run, "one", "other") == [(random, valid), (random, test)]
        assert self.compared(run, "one", "other", "bare") == [(random, valid)]

    def test_another_size_of_batch_is_another_method(self, run):
        self.search(run, "one", "--batch-size", "5")
        self.search(run, "other", "--batch-size", "2")
        assert len({method for method, _ in self.compared(run, "one", "other")}) == 2

    def test_a_table_is_the_same_wherever_it_lies(self, run, tmp_path):
        for i, place in enumerate(("here", "there")):
            (tmp_path / place).mkdir()
            shutil.copy(embedded_path(), tmp_path / place / "mine.safetensors")
            self.search(run, f"run-{i}", "--seed", i, table=f"{place}/mine.safetensors")
        assert len(self.compared(run, "run-0", "run-1")) == 1
