"""[SVGe] Table III as an experiment."""

from pathlib import Path

import pytest

from netwright.config.methods.latent import LatentConfig
from netwright.reproductions.experiment import Experiment, run_config
from netwright.reproductions.svge_search import spaces_of, table3

SCALES = ("smoke", "laptop", "paper")


def experiment(scale="laptop", **more):
    return Experiment.parse(table3(scale, Path("fits"), **more))


@pytest.fixture
def tables(tmp_path):
    """Files by the names of the tables; nothing here reads them."""
    for name in ("nasbench101", "nasbench201", "enas"):
        (tmp_path / f"{name}.safetensors").touch()
    return tmp_path


@pytest.mark.parametrize("scale", SCALES)
def test_every_search_has_a_configuration(scale, tables):
    configs = {
        (cell.benchmark.name, cell.method.label): run_config(cell, 0, tables)
        for cell in experiment(scale).cells
    }
    for (_, label), config in configs.items():
        if not isinstance(config.method, LatentConfig):
            continue
        space = config.space.name
        assert config.method.model == Path("fits") / space / "svge" / "seed-0"
        assert (config.space.known is not None) == (space == "enas")
        assert config.initial is not None or config.method.initial <= config.budget
        if scale != "smoke":
            assert config.method.initial == (
                10 if label == "SVGe + BO, best" or "10 first" in label else 1000
            )
            assert config.batch_size == (5 if label == "SVGe + BO, best" else 50)
    names = {label for _, label in configs}
    assert {"SVGe + BO, paper", "SVGe + BO, best", "random search", "local search"} <= names


def test_the_published_setting_is_that_of_the_paper(tables):
    for cell in experiment().cells:
        if cell.method.label == "SVGe + BO, paper":
            config = run_config(cell, 0, tables)
            method = config.method
            assert (config.budget, config.batch_size, method.initial) == (1500, 50, 1000)
            assert (method.inducing, method.draws, method.pool) == (500, 500, 10_000)
            assert (method.candidates, method.acquisition) == ("box", "log-ei")
            assert (method.warp, method.within) == ("none", False)
            break
    else:
        pytest.fail("Table III lacks the paper's own setting")


def test_random_points_are_decoded_like_chosen_ones(tables):
    by_label = {
        (cell.method.name, cell.benchmark.name): run_config(cell, 0, tables).method
        for cell in experiment().cells
        if isinstance(cell.method.method, dict) and "preset" in cell.method.method
    }
    large = "nasbench101-emulated-1500/cifar10"
    box, chosen = by_label["random in the box", large], by_label["SVGe + BO", large]
    assert box.acquisition == "random"
    assert (box.draws, box.candidates, box.within) == (
        chosen.draws,
        chosen.candidates,
        chosen.within,
    )


def test_spaces_are_those_that_a_latent_search_is_made_in():
    assert spaces_of(experiment()) == ["nasbench101", "nasbench201", "enas"]
    few = table3("laptop", Path("fits"))
    few |= {"methods": [m for m in few["methods"] if m.get("preset") == "known"], "baseline": None}
    assert spaces_of(Experiment.parse(few)) == ["enas"]


def test_the_number_of_trials_is_said():
    assert experiment(trials=3).seeds == 3
    assert "; 3 trials" in experiment(trials=3).note
