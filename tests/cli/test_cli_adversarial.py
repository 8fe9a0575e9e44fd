"""What `netwright report` and `netwright sample` do with an adversarial fit, as a user types it."""

import json

import pytest
import torch

from netwright.graphs import hashing
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.toy import Toy
from netwright.tables.format import Column, Rows, Table

SPACE = NASBench101()
METRIC, OTHER = "cifar10/test@108", "cifar10/valid@108"
SMALL = ["--set", "recipe.graphs=64", "--set", "recipe.batch_size=16", "--set", "method.hidden=8"]


def cells(path, *names):
    archs = SPACE.sample(300, rng=stream(0, "cells"))
    archs = archs[hashing.first_of_each(SPACE.keys(archs))]
    score = 0.6 + 0.05 * (archs.ops == 2).sum(dim=1) + torch.arange(len(archs)) / 1e5
    columns = {name: Column(score if name == METRIC else 1 - score) for name in names}
    columns["parameters"] = Column(torch.arange(len(archs)).double(), "count")
    Table.write(path, SPACE, Rows(archs, columns, "made", "none"))


@pytest.fixture
def fitted(run, tmp_path):
    cells(tmp_path / "t.safetensors", METRIC, OTHER)
    table = ["--table", "t.safetensors", "--metric", METRIC]
    code, _, err = run("fit", "gnn2gnn", *table, *SMALL, "--run", "r", "--quiet")
    assert code == 0, err
    return "r"


def one_line(answer, *words):
    code, out, err = answer
    assert (code in (1, 2), out) == (True, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err


def test_samples_are_members_and_follow_seed_and_temperature(run, fitted):
    code, out, err = run("sample", fitted, "-n", 12)
    assert code == 0, err
    texts = out.splitlines()
    assert len(texts) == 12
    assert bool(SPACE.is_valid(SPACE.parse(texts)).all())
    assert json.loads(run("sample", fitted, "-n", 12, "--json")[1])["archs"] == texts
    assert run("sample", fitted, "-n", 12, "--temperature", 1)[1] == out
    assert run("sample", fitted, "-n", 12, "--seed", 1)[1] != out
    assert run("sample", fitted, "-n", 12, "--temperature", 9)[1] != out
    one_line(run("sample", fitted, "--temperature", 0), "temperature must be positive, not 0.0")


def test_the_page(run, fitted, tmp_path):
    assert run("report", fitted) == (0, "wrote r/report.html\n", "")
    page = (tmp_path / "r" / "report.html").read_text()
    assert "What GNN2GNN generates on NAS-Bench-101" in page
    assert f"with their {METRIC}" in page
    assert f"among the best 5, 10 and 50 % of the table by {METRIC}" in page
    for word in ("NaN", "undefined", "Infinity"):
        assert word not in page.split("<script")[0]
    code, out, err = run("report", fitted, "--metric", OTHER, "-o", "p.html", "--json")
    assert code == 0, err
    assert json.loads(out) == {"report": "p.html"}
    assert f"50 % of the table by {OTHER}" in (tmp_path / "p.html").read_text()


def test_another_table_of_the_same_space_is_compared_with(run, fitted, tmp_path):
    cells(tmp_path / "other.safetensors", "mine/valid@1")
    code, _, err = run("report", fitted, "--table", "other.safetensors", "--metric", "mine/valid@1")
    assert code == 0, err
    assert "of the table by mine/valid@1" in (tmp_path / "r" / "report.html").read_text()
    one_line(run("report", fitted, "--table", "other.safetensors"), METRIC, "mine/valid@1")
    toys = Toy().enumerate()
    values = {METRIC: Column(torch.rand(len(toys), generator=stream(0, "toy")))}
    Table.write(tmp_path / "toy.safetensors", Toy(), Rows(toys, values, "", ""))
    one_line(run("report", fitted, "--table", "toy.safetensors"), "space toy, not of nasbench101")


def test_what_is_missing_is_one_line(run, fitted, tmp_path):
    one_line(run("report", fitted, "--metric", "parameters"), "choose an accuracy")
    one_line(run("report", fitted, "--metric", "nope"), "no metric 'nope'")
    (tmp_path / "t.safetensors").rename(tmp_path / "gone.safetensors")
    one_line(run("report", fitted), "no table at", "t.safetensors")
    assert run("sample", fitted, "-n", 2)[0] == 0  # needs no table
    (tmp_path / "r" / "fit.safetensors").unlink()
    for command in ("report", "sample"):
        expected = "error: r holds no parameters yet: go on with its fit\n"
        assert run(command, fitted) == (2, "", expected)


def test_a_temperature_is_for_adversarial_fits(run):
    expected = "--temperature is for fits of gnn2gnn, molgan, rnn: leave it out for others"
    tiny = ["--set", "method.hidden=8", "--set", "method.latent_size=3", "--epochs", 1]
    assert run("fit", "svge", "--space", "toy", *tiny, "--run", "s", "--quiet")[0] == 0
    assert run("sample", "s", "--temperature", 2) == (2, "", f"error: {expected}\n")
    assert run("sample", "nowhere", "--temperature", 2) == (2, "", f"error: {expected}\n")
