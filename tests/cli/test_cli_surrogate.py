"""`netwright table surrogate`, as a user types it."""

import json

import pytest
import torch

from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.tables.format import Column, Rows, Table

OPTIONS = ("--set", "max_nodes=4", "--set", "max_edges=5")


@pytest.fixture
def part(tmp_path):
    space = NASBench101(4, 5)
    archs = space.enumerate()
    score = 0.8 + 0.02 * (archs.ops == 2).sum(dim=1) + 0.001 * archs.num_edges
    score += 0.001 * torch.randn(len(archs), generator=stream(0, "noise"))
    rows = Rows(archs, {"mine/valid@10": Column(score)}, "my lab", "MIT")
    return Table.write(tmp_path / "part.safetensors", space, rows).path


def test_it_writes_a_table_that_says_what_it_is(run, part):
    command = ("table", "surrogate", part, "-m", "mine/valid@10", "--rows", 50, "--runs", 1)
    code, out, err = run(*command, *OPTIONS)
    assert code == 0, err
    assert "wrote part-surrogate.safetensors: 82 architectures of nasbench101" in out
    assert "fitted on 50 rows" in out
    assert "held out         32 rows: Kendall's tau" in out
    code, out, _ = run("table", "info", "part-surrogate.safetensors", "--verify")
    assert code == 0
    assert "surrogate of my lab: boosted trees on graph invariants, seed 0" in out
    assert "mine/valid-run1@10" in out
    info = json.loads(run("table", "info", "part-surrogate.safetensors", "--json")[1])
    assert info["surrogate"]["metrics"]["mine/valid@10"]["held_out"]["rows"] == 32


def test_json_and_a_search_on_it(run, part):
    command = ("table", "surrogate", part, "-m", "mine/valid@10", "-o", "s.safetensors", "--json")
    code, out, err = run(*command, "--of", part, "--keep-measured", *OPTIONS, "--quiet")
    assert (code, err) == (0, "")
    info = json.loads(out)
    assert info["rows"] == 82
    assert info["surrogate"]["keeps_measured"] is True
    assert info["surrogate"]["metrics"]["mine/valid@10"]["held_out"] is None
    search = ("search", "--space", "nasbench101", "--set", "space.max_nodes=4")
    search += ("--set", "space.max_edges=5", "--method", "random", "--table", "s.safetensors")
    code, out, err = run(*search, "--metric", "mine/valid@10", "--budget", 10, "--json")
    assert code == 0, err
    assert json.loads(out.splitlines()[-1])["evaluations"] == 10


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (("-m", "mine/test@10"), "no metric 'mine/test@10'"),
        (("-m", "mine/valid@10", "--rows", "5"), "5 rows are too few"),
        (("-m", "mine/valid@10", "-o", "part.safetensors"), "give the new one another name"),
        (("-m", "mine/valid@10", "--of", "none.safetensors"), "no table at none.safetensors"),
    ],
    ids=["metric", "rows", "out", "of"],
)
def test_one_line_says_what_is_wrong(run, part, given, match):
    code, out, err = run("table", "surrogate", part, *given, *OPTIONS)
    assert code != 0
    assert out == ""
    assert match in err
    assert len(err.strip().splitlines()) == 1
