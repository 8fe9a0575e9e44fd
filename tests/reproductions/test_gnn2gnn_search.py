"""GNN2GNN in an online search, compared with other searches."""

import os
from pathlib import Path

import pytest

from netwright.config.methods.adversarial import AdversarialSearchConfig
from netwright.config.methods.graphpnas import GraphPNASConfig
from netwright.reproductions.execute import carry_out
from netwright.reproductions.experiment import Experiment, run_config
from netwright.reproductions.gnn2gnn_search import comparison
from netwright.reproductions.graphpnas_methods import PRESETS


@pytest.fixture
def tables(tmp_path):
    """Files by the names of the tables; nothing here reads them."""
    for name in ("nasbench101", "nasbench201"):
        (tmp_path / f"{name}.safetensors").touch()
    return tmp_path


@pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
def test_every_benchmark_has_every_method_at_one_budget(scale, tables):
    experiment = Experiment.parse(comparison(scale))
    budgets = {}
    for cell in experiment.cells:
        config = run_config(cell, 0, tables)
        budgets.setdefault(cell.benchmark.name, {})[cell.method.name] = config.budget
        assert config.evaluator.metric == cell.benchmark.metric
        assert "test" not in config.evaluator.metric
    assert len(budgets) == 3
    for of_methods in budgets.values():
        assert set(of_methods) == {"GNN2GNN", "GraphPNAS", "local search", "random search"}
        assert len(set(of_methods.values())) == 1
    assert experiment.seeds == {"smoke": 2, "laptop": 5, "paper": 10}[scale]


def test_settings_are_the_methods_own(tables):
    for cell in Experiment.parse(comparison("laptop")).cells:
        config = run_config(cell, 0, tables)
        if cell.method.name == "GNN2GNN":
            assert config.method == AdversarialSearchConfig()
            assert config.batch_size == config.method.update_every
        if cell.method.name == "GraphPNAS":
            settings, size = PRESETS[cell.benchmark.space]["best"]
            assert config.method == GraphPNASConfig(**settings)
            assert config.batch_size == size


@pytest.mark.skipif("NETWRIGHT_TABLES" not in os.environ, reason="needs NETWRIGHT_TABLES")
def test_the_smallest_scale_is_carried_out(tmp_path):
    experiment = Experiment.parse(comparison("smoke") | {"seeds": 1})
    tables = Path(os.environ["NETWRIGHT_TABLES"])
    *_, last = carry_out(experiment, tmp_path, tables=tables)
    assert last.done == last.total == 3 * 4 * 12
