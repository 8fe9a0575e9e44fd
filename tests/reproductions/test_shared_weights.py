"""Searches with shared weights, and what networks come to that are trained by themselves."""

import math
from dataclasses import replace

import pytest
import torch

from netwright.graphs.hashing import to_pairs
from netwright.reproductions import shared_rows, shared_search, shared_weights
from netwright.reproductions.shared_search import RANDOM, Answer, Done, Job, read, work
from netwright.reproductions.trials import Trial
from netwright.runs.run import Run


def job(folder, label="GraphPNAS", **more):
    return Job(folder, label, 0, "smoke", device="cpu", **more)


def came(jobs):
    return sum(event.number for event in work(jobs))


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    one = job(folder)
    assert came([one]) == one.size == 8 + 3 + 2 * 2
    return one


def test_a_search_its_samples_and_the_best_of_them(searched, monkeypatch):
    found = read(searched)
    on = searched.ground
    assert len(set(found.answer.archs)) == 3
    assert on.space.is_valid(on.space.parse(found.answer.archs)).all()
    assert len(found.answer.random) == on.random
    order = sorted(zip(found.short, found.answer.archs, strict=True), key=lambda b: -b[0].valid)
    assert found.finalists == [arch for _, arch in order[:2]]
    assert len(found.full) == len(found.large) == 2
    assert all(a.parameters < b.parameters for a, b in zip(found.full, found.large, strict=True))

    def refuse(*_, **__):
        raise AssertionError("done again")

    monkeypatch.setattr("netwright.reproductions.trials.train_once", refuse)
    monkeypatch.setattr("netwright.runs.run.Run.execute", refuse)
    assert read(searched).answer == found.answer
    assert not any(event.fresh for event in work([searched]))


def test_the_run_is_one_with_a_supernet(searched):
    run = Run.open(searched.place / "search")
    assert run.config["evaluator"]["name"] == "netwright.reproductions.shared_weights:supernet"
    rows = run.ledger.rows()
    assert sum(row.status == "evaluated" for row in rows) == 8
    assert all("trained_lately" in row.extras for row in rows)


def test_an_answer_survives_what_comes_after_it(searched):
    """Killed between search and answer: the weights are those of the run's checkpoint."""
    found = read(searched)
    path = searched.place / "answer.json"
    before = path.read_text()
    path.unlink()
    assert read(searched).answer == found.answer
    assert path.read_text() == before


def test_another_setting_is_refused(searched, monkeypatch):
    other = replace(searched.ground, batch_size=2)
    monkeypatch.setattr(shared_search, "_ground", lambda *_: other)
    with pytest.raises(ValueError, match="is a search of another setting"):
        read(searched)


def test_random_architectures_are_the_same_for_all(tmp_path):
    on = job(tmp_path).ground
    one, other = (shared_search.random_architectures(on) for _ in range(2))
    assert torch.equal(on.space.keys(one), on.space.keys(other))
    assert len(set(to_pairs(on.space.keys(one)))) == on.random
    random = job(tmp_path, RANDOM)
    assert came([random]) == random.size == 4
    assert read(random).answer.archs == on.space.to_text(one)


def test_the_papers_scale_is_the_papers():
    on = shared_weights.ground("paper", "digits", device="cpu")
    assert (on.evaluations, on.batch_size) == (300 * 100, 100)
    assert (on.recipe.epochs, on.recipe.epochs_per_step) == (1500, 5)
    assert (on.short.recipe.epochs, on.full.recipe.epochs) == (100, 600)
    assert (on.full.recipe.learning_rate, on.full.recipe.batch_size) == (0.1, 256)
    assert (on.full.recipe.weight_decay, on.full.recipe.cutout_chance) == (2e-4, 0.4)
    assert (on.samples, on.finalists, on.random) == (8, 4, 30)
    assert shared_weights.layers_of(on.space) == 12
    ours = shared_weights.methods("paper", on)["GraphPNAS"]
    assert ours["explorer"] == {"model": "er", "p": 0.4}
    assert ours["epsilon"] == {"name": "linear", "start": 1.0, "end": 0.0, "over": 100 * 100}
    assert [ours[name] for name in ("epochs", "batch_size", "update_every")] == [2000, 32, 100]
    with pytest.raises(ValueError, match="give --data cifar10:PATH"):
        shared_weights.ground("paper")


# Rows


def trial(valid, test):
    return Trial(valid, test, 100.0, 1.0)


def done(folder, label, tests, random=(), bias=(0.0, 0.0)):
    trials = [trial(valid=t, test=t) for t in tests]
    gains = {"trained": [0.5, 0.5 + bias[0]], "others": [0.5, 0.5 + bias[1]]}
    answer = Answer([], list(random), gains)
    return Done(job(folder, label), [], answer, trials, [], trials, [])


def test_rows_of_table3(tmp_path):
    random = done(tmp_path, RANDOM, [0.1, 0.2, 0.3, 0.4])
    rnn = done(tmp_path, "RNN", [0.7, 0.9], random=[0.4, 0.3, 0.2, 0.1], bias=(0.04, 0.01))
    ours = done(tmp_path, "GraphPNAS", [0.8, 0.8], random=[0.1, 0.2, 0.3, 0.4])
    outcome = shared_rows.table3([random, rnn, ours])
    rows = {(row.metric, row.method): row.mean for row in outcome.rows if row.preset is None}
    assert rows["test error, best", "RNN"] == pytest.approx(10)
    assert rows["test error, mean of the best samples", "RNN"] == pytest.approx(20)
    assert rows["test error, sd", "RNN"] == pytest.approx(100 * math.sqrt(0.02), rel=1e-5)
    tau = "kendall tau of shared weights, 4 random architectures"
    assert (rows[tau, "RNN"], rows[tau, "GraphPNAS"]) == (-1, 1)
    limit = "kendall tau of validation and test, 4 random architectures"
    assert rows[limit, RANDOM] == 1
    bias = "bias of what was just trained with (points)"
    assert rows[bias, "RNN"] == pytest.approx(3)
    assert rows[bias, "GraphPNAS"] == 0
    assert ("test error, best", "RNN, large") not in rows
    quoted = {(r.metric, r.method): r.paper for r in outcome.rows if r.preset == "quoted"}
    assert quoted["test error, best", "GraphPNAS, large"] == 3.55


def test_pages(searched):
    random = job(searched.folder, RANDOM)
    both = [read(random), read(searched)]
    table, figure = shared_rows.table3(both), shared_rows.fig7(both)
    for outcome in (table, figure):
        assert outcome.chart.startswith("<svg")
    rows = {row.metric: row.mean for row in figure.rows}
    arch = max(zip(both[1].full, both[1].finalists, strict=True), key=lambda b: b[0].valid)[1]
    assert rows["skip connections"] == arch.partition(";")[2].count("1")
