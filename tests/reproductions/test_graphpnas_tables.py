"""The papers' items are described right; that they run is shown at the smoke scale."""

from pathlib import Path

import pytest
import torch

from netwright.config.objects import make_space
from netwright.config.schema import RunConfig
from netwright.config.searchers import make_searcher
from netwright.reproductions.execute import carry_out
from netwright.reproductions.experiment import Experiment
from netwright.reproductions.graphpnas import ITEMS, SCALES, reproduction
from netwright.reproductions.graphpnas_fits import fit_config
from netwright.reproductions.graphpnas_methods import PRESETS, methods_of
from netwright.reproductions.outcomes import read_outcomes, rows_of
from netwright.rng import stream
from netwright.spaces.nasbench201 import NASBench201
from netwright.tables.format import Column, Rows, Table


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("item", ITEMS)
def test_every_item_is_an_experiment(item, scale):
    experiment = Experiment.parse(reproduction(item, scale))
    assert experiment.baseline == "GraphPNAS, best"
    assert experiment.seeds == (2 if scale == "smoke" else 50)


@pytest.mark.parametrize("item", ITEMS)
def test_a_laptop_runs_a_part_of_what_the_paper_scale_has(item):
    def cells(scale):
        experiment = Experiment.parse(reproduction(item, scale))
        return {
            (cell.method.label, cell.benchmark.name, seed)
            for cell in experiment.cells
            for seed in experiment.seeds_of(cell)
        }

    laptop, paper = cells("laptop"), cells("paper")
    assert laptop <= paper
    assert (laptop < paper) == (item != "fig2")
    for label in ("GraphPNAS, best", "random search", "local search"):
        assert {c for c in laptop if c[0] == label} == {c for c in paper if c[0] == label}


@pytest.mark.parametrize("space", PRESETS)
def test_presets_are_settings_of_graphpnas(space):
    for settings, batch_size in PRESETS[space].values():
        values = {"name": "graphpnas", **settings}
        evaluator = {"name": "table", "path": "x", "metric": "y"}
        config = RunConfig.parse({"space": space, "method": values, "evaluator": evaluator})
        make_searcher(config.method, make_space(config.space), rng=stream(0, "x"))
        assert batch_size >= 1


def test_an_unknown_item_is_refused():
    with pytest.raises(ValueError, match="GraphPNAS has no 'table9' here: use one of table4"):
        reproduction("table9")


def test_emulated_and_test_signals_are_named():
    for benchmark in Experiment.parse(reproduction("table4")).benchmarks:
        assert ("emulated" in benchmark.name) == ("emulated" in benchmark.metric)
        assert ("test-as-signal" in benchmark.name) == ("/test@" in benchmark.metric)


def test_searches_see_validation_and_report_the_test_of_full_training():
    for benchmark in Experiment.parse(reproduction("table5")).benchmarks:
        assert "/valid@" in benchmark.metric
        assert benchmark.report["valid accuracy"].endswith("/valid@200")
        assert ("12-epoch" in benchmark.name) == benchmark.metric.endswith("@12")
    test = {b.report["test accuracy"] for b in Experiment.parse(reproduction("table5")).benchmarks}
    assert test == {"cifar10/test@200", "cifar100/test@200"}


def test_published_values_belong_to_rows_where_the_budgets_agree():
    said = Experiment.parse(reproduction("table5")).published
    mine = {(p.benchmark, p.metric): (p.mean, p.sd) for p in said if p.method == "GraphPNAS"}
    assert mine["nasbench201/cifar10", "test accuracy"] == (94.34, 0.04)
    assert mine["nasbench201/cifar100", "valid accuracy"] == (73.41, 0.09)
    assert mine["nasbench201-12-epoch-signal/cifar10", "valid accuracy"] == (91.50, 0.09)
    said = Experiment.parse(reproduction("table4")).published
    mine = {(p.method, p.budget): p.mean for p in said}
    assert mine["GraphPNAS", 150] == 5.930
    assert mine["GraphPNAS", 300] == 5.807
    assert mine["local search", 300] == 5.879


@pytest.mark.slow
def test_table_5_runs_at_the_smoke_scale(tmp_path):
    archs = NASBench201().enumerate()
    good = (archs.ops == 4).sum(dim=1) / 10 + torch.arange(len(archs)) / 1e6
    names = (
        "cifar10-valid/valid@12", "cifar10-valid/valid@200", "cifar10/test@200",
        "cifar100/valid@12", "cifar100/valid@200", "cifar100/test@200",
    )  # fmt: skip
    rows = Rows(archs, {name: Column(good) for name in names}, "made", "none")
    Table.write(tmp_path / "nasbench201.safetensors", NASBench201(), rows)
    values = reproduction("table5", "smoke") | {"seeds": 1}
    fitted = [m for m in values["methods"] if "model" in m["method"]]
    values["methods"] = [m for m in values["methods"] if m not in fitted]
    assert {m["name"] for m in fitted} == {"Arch2Vec", "AG-Net-like"}
    experiment = Experiment.parse(values)
    events = list(carry_out(experiment, tmp_path / "e", tables=tmp_path))
    assert events[-1].done == events[-1].total == sum(c.proposals for c in experiment.cells)
    outcomes = read_outcomes(experiment, tmp_path / "e", tables=tmp_path)
    found = rows_of(outcomes, experiment.published)
    measured = [row for row in found if row.preset != "quoted"]
    assert {(row.method, row.benchmark) for row in measured} == {
        (method["name"], benchmark.name)
        for benchmark in experiment.benchmarks
        for method in values["methods"]
        if benchmark.name in method.get("benchmarks", (benchmark.name,))
    }
    assert {row.preset for row in measured if row.method == "GraphPNAS"} == {
        *PRESETS["nasbench201"], *(f"{name}, without none" for name in PRESETS["nasbench201"]),
    }  # fmt: skip
    [rungs] = {row.n for row in measured if row.method == "BOHB-like"}
    assert rungs == 1


@pytest.mark.parametrize("space", ["nasbench101", "nasbench201"])
def test_every_method_is_one_of_the_space(space, tmp_path):
    evaluator = {"name": "table", "path": "x", "metric": "y"}
    for entry in methods_of(space, tmp_path):
        values = {"space": space, "method": entry["method"], "evaluator": evaluator}
        config = RunConfig.parse(values)
        if getattr(config.method, "model", None) is None:
            make_searcher(config.method, make_space(config.space), rng=stream(0, "x"))
        else:
            name = Path(entry["method"]["model"]).name.removesuffix("-{space}")
            assert fit_config(name, "nasbench201", tmp_path).space.name == "nasbench201"
