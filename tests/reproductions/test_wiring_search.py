"""Searches of RandWire cells by training, what methods answer with, and the rows of tables."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from netwright.config.objects import make_evaluator
from netwright.config.schema import RunConfig
from netwright.reproductions import wiring_items, wiring_rows, wiring_search
from netwright.reproductions.trials import Trial
from netwright.reproductions.wiring_search import DENSE, RESNET, Job, read, work
from netwright.rng import stream
from netwright.runs.run import Run
from netwright.searchers.random_graphs import RandomGraphSearch
from netwright.spaces.randwire import RandWire

LABELS = ["ER-TopK", "WS-TopK", "ER-BEST", "WS-BEST", "RNN", "GraphPNAS"]


def job(folder, label="GraphPNAS", **more):
    return Job(folder, label, 0, "smoke", device="cpu", **more)


def came(jobs):
    return sum(event.number for event in work(jobs))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    one = job(tmp_path_factory.mktemp("wirings"), "ER-TopK", again=True)
    assert one.size == 8 + 2 * 2 + 2
    events = list(work([one]))
    assert sum(event.number for event in events if event.fresh) == one.size
    assert sum(event.number for event in events) == one.size + 1  # the best one's first training
    return one


def refuse(*_, **__):
    raise AssertionError("done again")


def check_answer(one, monkeypatch):
    found = read(one)
    space = one.ground.space
    assert len(set(found.archs)) == 3
    assert space.is_valid(space.parse(found.archs)).all()
    assert (len(found.few), len(found.more)) == (2, 2)
    assert len(found.rows) == 8
    if one.label.endswith("TopK"):
        scores = {row.arch: row.score for row in found.rows}
        assert scores[found.archs[0]] == max(scores.values())
    monkeypatch.setattr("netwright.reproductions.trials.train_once", refuse)
    again = read(one)
    assert (again.archs, again.more, again.few) == (found.archs, found.more, found.few)
    assert found.said(0).shape == (40, 10)
    assert torch.allclose(found.said(0).exp().sum(dim=1), torch.ones(()))


def test_what_was_there_is_not_fresh(searched):
    events = [event for event in work([searched]) if event.number]
    assert sum(event.number for event in events) == searched.size + 1
    assert not any(event.fresh for event in events)


def test_a_search_and_its_answer(searched, monkeypatch):
    check_answer(searched, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("label", LABELS[1:])
def test_every_search_and_its_answer(tmp_path, label, monkeypatch):
    one = job(tmp_path, label)
    assert came([one]) == one.size
    check_answer(one, monkeypatch)


def test_the_best_network_again_and_larger(searched):
    found = read(searched)
    best = max(found.more, key=lambda trial: trial.valid)
    assert found.best[0] == best
    assert found.best[1] != best
    assert len(found.large) == 1
    assert found.large[0].parameters > best.parameters


def test_a_run_folder_says_how_to_go_on(searched):
    run = Run.open(searched.place / "search")
    stored = {name: run.config[name] for name in RunConfig.model_fields if name in run.config}
    config = RunConfig.parse(stored)
    assert config.evaluator.name == "netwright.reproductions.wirings:candidates"
    options = {"scale": "smoke", "data": "digits", "cells": 1, "regime": "low data"}
    assert config.evaluator.options == options
    evaluator = make_evaluator(config.evaluator, searched.ground.space)
    assert evaluator.recipe == searched.ground.regimes["low data"].recipe
    assert run.config["training"]["train_fraction"] == 0.5


def test_another_setting_is_refused(searched, monkeypatch):
    other = replace(searched.ground, evaluations=12)
    monkeypatch.setattr(wiring_search, "_ground", lambda *_: other)
    with pytest.raises(ValueError, match="is a search of another setting"):
        read(searched)


def test_yardsticks(tmp_path):
    for label in (DENSE, RESNET):
        one = job(tmp_path, label)
        assert came([one]) == one.size == 1
        (trial,) = read(one).more
        assert trial.error is None


def test_the_fixed_model_does_not_search(tmp_path):
    one = job(tmp_path, "RANG-D", cells=3)
    assert came([one]) == one.size
    found = read(one)
    assert found.rows == []
    assert not (one.place / "search").exists()
    assert len(found.more) == one.ground.samples


def test_the_best_model_has_the_best_mean():
    space = RandWire(12)
    found = RandomGraphSearch(
        space, model="er", estimator="best", settings=4, repeats=4, rng=stream(0, "init")
    )
    rng = stream(0, "search")
    with pytest.raises(ValueError, match="no setting has a score"):
        found.best_model()
    for _ in range(8):
        proposals = found.ask(4, rng=rng)
        found.tell(proposals.archs, proposals.archs.num_edges.float(), rng=rng)
    assert found.best_model().p == pytest.approx(float(found._settings.p.max()))
    edges = found.best_model().sample(300, rng=rng).num_edges.double().mean()
    assert float(edges) == pytest.approx(66 * found.best_model().p, abs=2)
    assert torch.equal(found.graphs.layout.free, found.best_model().layout.free)


# Rows


def test_an_ensemble_averages_probabilities():
    one = torch.tensor([[0.6, 0.4], [0.9, 0.1]]).log()
    other = torch.tensor([[0.1, 0.9], [0.7, 0.3]]).log()
    mean = wiring_rows.ensemble([one, other]).exp()
    assert mean.tolist() == [pytest.approx([0.35, 0.65]), pytest.approx([0.8, 0.2])]


def trial(valid, test, parameters=100.0, error=None):
    return Trial(valid, test, parameters, 1.0, error)


def made(label, tests, *, seed=0, **more):
    trials = [trial(valid=1 - t, test=t) for t in tests]
    fields = {"few": trials, "best": [], "large": [], "rows": [], "archs": []} | more
    one = replace(job(Path("nowhere"), label), seed=seed)
    return wiring_search.Done(job=one, more=trials, plans=[], **fields)


def test_rows_of_samples(monkeypatch):
    monkeypatch.setattr(wiring_rows, "_ensemble", lambda _: 0.5)
    groups = {
        "RNN": [made("RNN", [0.2, 0.4]), made("RNN", [0.3, 0.3], seed=1)],
        "GraphPNAS": [made("GraphPNAS", [0.5, 0.6]), made("GraphPNAS", [0.6, 0.6], seed=1)],
    }
    rows = {(row.metric, row.method): row for row in wiring_rows.samples_rows(groups)}
    mean = rows["test accuracy, mean of the samples", "RNN"]
    assert (mean.mean, mean.sd, mean.n) == (pytest.approx(30), pytest.approx(0, abs=1e-6), 2)
    spread = rows["test accuracy, sd of the samples", "RNN"]
    assert spread.mean == pytest.approx(100 * math.sqrt(0.02) / 2, rel=1e-5)
    assert (mean.low, mean.high) != (None, None) == (spread.low, spread.high)
    best = rows["test accuracy, best of the samples", "GraphPNAS"]
    assert best.mean == pytest.approx(55)  # best by validation is worst in the test here
    assert ("search cost (minutes of training)", "RNN") not in rows  # nothing was searched
    (difference,) = wiring_rows.against(groups, "GraphPNAS")
    assert (difference.method, difference.n) == ("RNN", 2)
    assert difference.mean == pytest.approx(-27.5)
    assert wiring_rows.against(groups, "WS-TopK") == []


def test_failed_trainings_are_left_out():
    nan = math.nan
    failed = trial(nan, nan, nan, error="out of memory")
    mixed = made("RNN", [0.4])._replace(more=[failed, trial(0.5, 0.4)])
    rows = wiring_rows.best_rows({"RNN": [mixed._replace(best=[], large=[])]})
    assert rows == []
    assert wiring_rows._mean(mixed.more, "test") == 0.4
    assert wiring_rows._best(mixed.more) == 0.4
    assert wiring_rows._best([failed]) != wiring_rows._best([failed])


@pytest.mark.slow
def test_what_generators_proposed_late(tmp_path):
    found = read(job(tmp_path))
    points = wiring_rows.late_points("GraphPNAS", [found])
    late = [row for row in found.rows if row.origin == "generator" and row.index >= 4.375]
    assert [point.score for point in points] == [100 * row.score for row in late]
    space = found.job.ground.space
    edges = space.parse([row.arch for row in late]).num_edges
    assert [point.density for point in points] == [pytest.approx(n / 6) for n in edges.tolist()]
    rows = wiring_rows.topology_rows("here", points)
    assert {row.n for row in rows} == {len(late)}


@pytest.mark.slow
@pytest.mark.parametrize("item", wiring_items.ITEMS)
def test_items(tmp_path, item):
    todo = wiring_items.jobs(item, job(tmp_path), [0, 1])
    assert came(todo) >= len(todo)
    page = wiring_items.page(item, [read(one) for one in todo])
    assert page.outcome.chart.startswith("<svg")
    assert all(math.isfinite(row.mean) for row in page.outcome.rows)
    here = [row for row in page.outcome.rows if row.preset != "quoted"]
    quoted = [row for row in page.outcome.rows if row.preset == "quoted"]
    assert bool(quoted) == item.startswith("table")
    assert bool(page.differences) == (item in ("table1", "table6"))
    assert here
