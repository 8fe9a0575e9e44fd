"""Searches of RandWire cells by training, and what methods answer with."""

from dataclasses import replace

import pytest
import torch

from netwright.graphs import dag
from netwright.reproductions.wirings import (
    answer,
    fully_connected,
    ground,
    methods,
    search,
)
from netwright.rng import stream
from netwright.searchers.random_graphs import RandomGraphSearch
from netwright.spaces.randwire import RandWire


def silent(_):
    pass


@pytest.fixture(scope="module")
def smoke():
    return ground("smoke", device="cpu")


def test_grounds(smoke):
    assert smoke.space.nodes == 4
    few = smoke.regimes["low data"]
    assert few.train_fraction == 0.25
    assert smoke.regimes["early stopping"].train_fraction == 0.8
    assert smoke.final.train_fraction == 0.8
    with pytest.raises(ValueError, match="give --data tiny-imagenet:PATH"):
        ground("paper")


def test_the_papers_scale_is_the_papers():
    found = ground("paper", "digits", device="cpu")
    recipe = found.regimes["low data"].recipe
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (300, 256, 0.1)
    assert (recipe.weight_decay, recipe.last_epochs) == (1e-4, 3)
    assert (found.evaluations, found.batch_size, found.samples) == (320, 8, 4)
    assert found.space.nodes == 32
    assert found.final.data.resize == 224
    (graphpnas,) = [m for m in methods("paper", 320) if m.label == "GraphPNAS"]
    settings = graphpnas.settings
    assert settings["epsilon"] == {"name": "step", "start": 0.6, "factor": 0.2, "over": 80}
    assert (settings["epochs"], settings["batch_size"], settings["learning_rate"]) == (
        2000,
        16,
        1e-4,
    )
    assert settings["hidden"] == 128


LABELS = ["ER-TopK", "WS-TopK", "ER-BEST", "WS-BEST", "RNN", "GraphPNAS"]


def test_the_methods_of_table_1():
    assert sorted(m.label for m in methods("laptop", 48)) == sorted(LABELS)


@pytest.mark.parametrize(
    "label",
    [
        pytest.param(label, marks=[] if label in ("ER-TopK", "WS-BEST") else [pytest.mark.slow])
        for label in LABELS
    ],
)
def test_a_search_and_its_answer(smoke, tmp_path, label):
    (method,) = [m for m in methods("smoke", 8) if m.label == label]
    lines = []
    run, searcher = search(smoke, method, 0, tmp_path, regime="low data", tell=lines.append)
    assert run.ledger.count() == 8
    assert lines[-1] == f"{label}, low data, seed 0: 8/8"
    found = answer(smoke, run, searcher, 2, seed=0)
    assert len(set(found)) == 2
    assert smoke.space.is_valid(smoke.space.parse(found)).all()
    again = search(smoke, method, 0, tmp_path, regime="low data", tell=lines.append)
    assert answer(smoke, *again, 2, seed=0) == found  # resumed from what is on the disk
    assert run.ledger.count() == 8
    rows = [row for row in run.ledger.rows() if row.score is not None]
    if label.endswith("TopK"):
        scores = {row.arch: row.score for row in rows}
        assert scores[found[0]] == max(scores.values())
    if label.endswith("BEST"):
        model = searcher.best_model()
        assert model.model == label[:2].lower()


def test_another_setting_is_refused(smoke, tmp_path):
    (method,) = [m for m in methods("smoke", 8) if m.label == "ER-TopK"]
    search(smoke, method, 0, tmp_path, regime="low data", tell=silent)
    other = replace(smoke, evaluations=12)
    with pytest.raises(ValueError, match="is a search of another setting"):
        search(other, method, 0, tmp_path, regime="low data", tell=silent)
    search(smoke, method, 0, tmp_path, regime="early stopping", tell=silent)  # has its own folder
    assert len(list(tmp_path.iterdir())) == 2


def test_the_fully_connected_cell():
    for space in (RandWire(5), RandWire(3, 2)):
        archs = space.parse([fully_connected(space)])
        assert int(archs.num_edges[0]) == space.cells * space.nodes * (space.nodes - 1) // 2
        full, _ = space.with_ends(archs)
        assert int(dag.longest_path(full)[0]) == space.cells * (space.nodes + 1)


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
