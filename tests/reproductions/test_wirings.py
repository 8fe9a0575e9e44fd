"""What is searched in tables of RandWire cells, and by which methods."""

import pytest

from netwright.graphs import dag
from netwright.networks.cost import count_parameters
from netwright.networks.resnet import ResNetSkeleton, resnet_network
from netwright.reproductions.wirings import fully_connected, ground, methods
from netwright.rng import stream
from netwright.spaces.randwire import RandWire

LABELS = ["ER-TopK", "WS-TopK", "ER-BEST", "WS-BEST", "RNN", "GraphPNAS"]


def test_grounds():
    smoke = ground("smoke", device="cpu")
    assert smoke.space.nodes == 4
    few = smoke.regimes["low data"]
    assert few.train_fraction == 0.5
    assert smoke.regimes["early stopping"].train_fraction == 0.8
    assert smoke.final.train_fraction == 0.8
    evaluator = smoke.evaluator("early stopping")
    assert evaluator.recipe == smoke.regimes["early stopping"].recipe
    assert len(evaluator.train_index) + len(evaluator.valid_index) == 120
    stages = ground("smoke", cells=3, device="cpu")
    assert stages.space.cells == len(stages.final.skeleton.stages) == 3
    assert stages.name == "randwire-4-3/digits (8x8)"
    with pytest.raises(ValueError, match="give --data tiny-imagenet:PATH"):
        ground("paper")
    with pytest.raises(ValueError, match="give --data cifar10:PATH"):
        ground("paper", cells=3)


def test_the_papers_scale_is_the_papers():
    found = ground("paper", "digits", device="cpu")
    recipe = found.regimes["low data"].recipe
    assert (recipe.epochs, recipe.batch_size, recipe.learning_rate) == (300, 256, 0.1)
    assert (recipe.weight_decay, recipe.last_epochs) == (1e-4, 3)
    assert (found.evaluations, found.batch_size, found.samples) == (320, 8, 4)
    assert found.regimes["low data"].train_fraction == 0.1
    assert found.space.nodes == 32
    assert found.final.data.resize == 224
    (graphpnas,) = [m for m in methods("paper", 320) if m.label == "GraphPNAS"]
    settings = graphpnas.settings
    assert settings["epsilon"] == {"name": "step", "start": 0.6, "factor": 0.2, "over": 80}
    named = ("epochs", "batch_size", "learning_rate", "hidden")
    assert [settings[name] for name in named] == [2000, 16, 1e-4, 128]


def test_a_cell_for_each_stage_at_the_papers_scale():
    found = ground("paper", "digits", cells=3, device="cpu")
    assert found.regimes["low data"].recipe.epochs == 100
    assert (found.evaluations, found.samples, found.final.recipe.epochs) == (600, 8, 600)
    arch = found.space.sample(1, rng=stream(0, "arch"))
    for setting in (found.final, found.large):
        network = setting.network(arch, in_channels=3, num_classes=10, preset=setting.skeleton)
        assert count_parameters(network) > 3e6


def test_the_methods_of_the_tables():
    assert [m.label for m in methods("laptop", 48)] == LABELS
    assert [m.label for m in methods("laptop", 48, cells=3)] == ["RANG-D", "RANG-BO", "GraphPNAS"]
    assert methods("laptop", 48, cells=3)[-1].settings["per_cell"]


def test_a_yardstick_is_the_same_for_all_cells():
    archs = RandWire(4).sample(2, rng=stream(0, "archs"))
    preset = ResNetSkeleton(4, large_images=False)
    sizes = [
        count_parameters(resnet_network(archs[i : i + 1], in_channels=1, num_classes=10, preset=p))
        for i, p in ((0, preset), (1, preset), (0, ResNetSkeleton(8, large_images=False)))
    ]
    assert sizes[0] == sizes[1] < sizes[2] / 3


def test_the_fully_connected_cell():
    for space in (RandWire(5), RandWire(3, 2)):
        archs = space.parse([fully_connected(space)])
        assert int(archs.num_edges[0]) == space.cells * space.nodes * (space.nodes - 1) // 2
        full, _ = space.with_ends(archs)
        assert int(dag.longest_path(full)[0]) == space.cells * (space.nodes + 1)
