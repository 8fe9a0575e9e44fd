"""What a fit is: settings, data, recipes, generators, and parameters in another space."""

import re

import pytest
import torch
from torch import nn

from netwright.config.fits import (
    GENERATORS,
    DataConfig,
    FitConfig,
    layout_of,
    load_generator,
    make_fit,
    make_generator,
    make_recipe,
    read_graphs,
)
from netwright.config.objects import make_space
from netwright.graphs import hashing
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy
from netwright.tables.format import Column, Rows, Table

SMALL = {
    "svge": {"hidden": 8, "latent_size": 3, "rounds": 1},
    "dgmg": {"hidden": 8, "latent_size": 3, "rounds": 1},
    "dvae": {"hidden": 6, "latent_size": 3},
    "arch2vec": {"hidden": 8, "node_latent": 2, "layers": 2},
    "graphpnas": {"hidden": 8, "rounds": 1, "mixtures": 2},
}
OWN = """
from netwright.generators.dgmg import dgmg
from netwright.spaces.toy import Toy

def mine(layout, *, width, rng):
    return dgmg(layout, hidden=width, latent_size=2, rounds=1, rng=rng)

def no_generator(layout, *, rng):
    return 7

space = Toy
"""


def parse(**changes):
    return FitConfig.parse({"space": "toy", "method": "svge"} | changes)


def small(method="svge", **changes):
    return parse(method={"name": method, **SMALL[method]}, **changes)


def recipe(graphs=1000, **changes):
    return make_recipe(parse(**changes), graphs)


@pytest.fixture
def table(tmp_path):
    """Half of the toy space."""
    space = Toy()
    archs = space.enumerate()[::2]
    columns = {"mine/valid@1": Column(torch.rand(len(archs), generator=stream(0, "scores")))}
    Table.write(tmp_path / "toy.safetensors", space, Rows(archs, columns, "made", "none"))
    return tmp_path / "toy.safetensors"


# Settings


WRONG = [
    ({"space": "nowhere"}, "unknown space 'nowhere': use one of toy, .*file.py:NAME"),
    ({"method": "vae"}, "unknown generator 'vae': use one of svge, dgmg, dvae, .*file.py:NAME"),
    ({"method": "none.py:vae"}, "none.py:vae: there is no file none.py"),
    ({"method": {"hidden": 8}}, "method.name: Field required"),
    ({"method": {"name": "svge", "size": 8}}, "method.size: there is no such setting of svge, use"),
    ({"method": {"name": "svge", "hidden": "a"}}, r"method.hidden: .* valid integer.*given: 'a'"),
    ({"method": {"name": "svge", "hidden": 0}}, r"method.hidden: .* at least 1 \(given: 0\)"),
    ({"method": {"name": "svge", "hidden": 7}}, "the size of node states must be even, not 7"),
    ({"method": {"name": "dgmg", "variant": "x"}}, "method.variant: .*'paper' or 'released'"),
    ({"method": {"name": "dgmg", "backward": "none"}}, "generator dgmg: .*backward"),
    ({"method": {"name": "svge", "propagation": "x"}}, "method.propagation: .*'two-way' or"),
    ({"method": {"name": "dvae", "noise": float("nan")}}, "method.noise: give a finite number"),
    ({"method": {"name": "arch2vec", "layers": -1}}, "method.layers: .* at least 1"),
    ({"data": {"sample": 10, "table": "a"}}, "data: give a table or the size of a sample, not"),
    ({"data": {"sample": 1}}, r"data.sample: .*greater than or equal to 2 \(given: 1\)"),
    ({"data": {"sample": 100}}, "toy hardly has 100 architectures: .* take a smaller data.sample"),
    ({"data": {"table": "none"}}, "no table at none: make it with `netwright table import`"),
    ({"data": {"held_out": 1}}, "data.held_out: .*less than 1"),
    ({"data": {"held_out": 0.001}}, "27 graphs are too few to hold 0% out"),
    ({"data": {"limit": 0}}, "data.limit: .*greater than or equal to 1"),
    ({"data": 5}, r"data: .*\(given: 5\)"),
    ({"layout": "tight"}, r"layout: .*'free' or 'space' \(given: 'tight'\)"),
    ({"recipe": {"epochs": 2, "graphs": 3}}, "recipe: give epochs or graphs, not both"),
    ({"recipe": {"preset": "slow"}}, "recipe.preset: .*'fast' or 'paper'"),
    ({"recipe": {"epochs": 0}}, "recipe.epochs: .*greater than 0"),
    ({"recipe": {"learning_rate": float("inf")}}, "recipe.learning_rate: .*finite number"),
    ({"recipe": {"factor": 1}}, "recipe.factor: .*less than 1"),
    ({"recipe": {"batchsize": 4}}, "recipe.batchsize: there is no such setting"),
    ({"recipe": {"precision": "bf16"}}, "recipe.precision: bf16 needs a GPU: set device to cuda"),
    ({"device": "abacus"}, "device: there is no 'abacus', use cpu or cuda"),
    ({"seed": "a"}, "seed: .*valid integer"),
    ({"epochs": 3}, "epochs: there is no such setting"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[str(case[0]) for case in WRONG])
def test_a_wrong_setting_is_one_line_with_the_remedy(changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        make_fit(parse(**changes))
    assert "\n" not in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there():
    with pytest.raises(ValueError, match="device: there is no cuda here, use cpu"):
        make_fit(small(device="cuda"))


def test_names_may_stand_for_tables_and_a_configuration_survives_a_file(tmp_path):
    config = small(data={"sample": 9}, recipe={"epochs": 2.5, "clip": 1.0}, layout="space")
    assert FitConfig.parse(config.resolved()) == config
    run = FitRun.create(tmp_path / "fit", config.resolved())
    assert FitConfig.parse(FitRun.open(run.folder).config) == config
    path = tmp_path / "fit.toml"
    path.write_text('space = "toy"\nmethod = "dvae"\n[recipe]\nepochs = 3\nclip = 1\n')
    loaded = FitConfig.load(path, {"recipe": {"clip": 2}})
    assert (loaded.method.name, loaded.recipe.epochs, loaded.recipe.clip) == ("dvae", 3, 2)


# Data


def test_a_space_is_split_once_by_its_seed():
    splits = [read_graphs(parse(data={"seed": seed}), Toy()) for seed in (0, 0, 1)]
    texts = [[Toy().to_text(part) for part in split] for split in splits]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]
    assert [len(part) for part in texts[0]] == [24, 3]
    assert sorted(texts[0][0] + texts[0][1]) == sorted(Toy().to_text(Toy().enumerate()))
    assert texts[0][0] != sorted(texts[0][0])
    seeds = [read_graphs(parse(seed=seed), Toy()) for seed in (0, 1)]  # not the data's
    assert Toy().to_text(seeds[0].train) == Toy().to_text(seeds[1].train)


def test_held_out_graphs_and_a_limit():
    train, held_out = read_graphs(parse(data={"held_out": 0.5, "limit": 5}), Toy())
    assert (len(train), len(held_out)) == (5, 14)
    more, same = read_graphs(parse(data={"held_out": 0.5}), Toy())
    assert Toy().to_text(more)[:5] == Toy().to_text(train)
    assert Toy().to_text(same) == Toy().to_text(held_out)


def test_the_graphs_of_a_table(table):
    train, held_out = read_graphs(parse(data={"table": str(table)}), Toy())
    texts = Toy().to_text(train) + Toy().to_text(held_out)
    assert sorted(texts) == sorted(Toy().to_text(Toy().enumerate()[::2]))


def test_a_table_of_another_space_is_refused(table):
    config = parse(space="nasbench201", data={"table": str(table)})
    with pytest.raises(ValueError, match=r"toy\.safetensors .*toy.*nasbench201"):
        make_fit(config)


def test_a_sample_is_distinct_and_valid_up_to_isomorphism():
    space = NASBench101()
    config = parse(space="nasbench101", data={"sample": 60})
    train, held_out = read_graphs(config, space)
    assert (len(train), len(held_out)) == (54, 6)
    keys = torch.cat([space.keys(train), space.keys(held_out)])
    assert len(hashing.distinct(keys)) == 60
    assert bool(space.is_valid(train).all())
    again = read_graphs(config, space).train
    assert space.to_text(again) == space.to_text(train)


def test_a_space_too_large_to_list_names_the_ways_out():
    config = parse(space="enas")
    with pytest.raises(ValueError, match=r"too many to list: .*give a table or data\.sample"):
        read_graphs(config, make_space(config.space))


# The layout


def test_a_free_layout_keeps_sizes_vocabulary_and_ends():
    space = NASBench201()
    free, fixed = (
        layout_of(parse(space="nasbench201", layout=name), space) for name in ("free", "space")
    )
    assert fixed is space.layout
    assert (free.max_nodes, free.num_ops) == (fixed.max_nodes, fixed.num_ops)
    assert int(fixed.free.sum()) == 0
    assert int(free.free.sum()) == 8 * 7 // 2
    assert free.allowed_ops[0].tolist() == fixed.allowed_ops[0].tolist()


# Recipes


def test_the_fast_preset():
    found = recipe(1000)
    assert (found.graphs, found.batch_size, found.learning_rate) == (20_000, 32, 2e-3)
    assert (found.schedule, found.warmup, found.clip) == ("cosine", 2000, 5.0)


@pytest.mark.parametrize(
    ("space", "method", "epochs", "batch", "rate", "schedule", "clip"),
    [
        ("nasbench101", "svge", 300, 128, 1e-4, "plateau", None),
        ("nasbench101", "dgmg", 300, 128, 1e-4, "plateau", None),
        ("nasbench101", "dvae", 300, 32, 1e-4, "plateau", None),
        ("nasbench101", "arch2vec", 8, 32, 1e-3, "constant", 5.0),
        ("nasbench201", "svge", 300, 32, 1e-4, "plateau", None),
        ("nasbench201", "arch2vec", 10, 32, 1e-3, "constant", 5.0),
        ("enas", "svge", 300, 32, 1e-4, "plateau", None),
    ],
)
def test_the_published_presets(space, method, epochs, batch, rate, schedule, clip):
    found = recipe(1000, space=space, method=method, recipe={"preset": "paper"})
    assert found.graphs == 1000 * epochs
    assert (found.batch_size, found.learning_rate, found.clip) == (batch, rate, clip)
    assert (found.schedule, found.factor, found.patience) == (schedule, 0.1, 10)
    assert found.warmup == 0


def test_what_is_given_wins_over_the_preset():
    given = {
        "batch_size": 5, "learning_rate": 0.5, "schedule": "constant", "warmup": 0, "clip": 2.0,
        "period": 9, "valid_graphs": 0, "stop_after": 4, "factor": 0.2, "patience": 0,
    }  # fmt: skip
    for preset in ("fast", "paper"):
        found = recipe(recipe={"preset": preset, **given})
        assert {name: getattr(found, name) for name in given} == given
    assert recipe(10, recipe={"epochs": 2.5}).graphs == 25
    assert recipe(10, recipe={"graphs": 7}).graphs == 7
    assert recipe(10, recipe={"epochs": 1e-6}).graphs == 1  # a fit has a step


# Generators


@pytest.mark.parametrize("method", SMALL)
def test_every_generator_by_name_fits(method):
    assert SMALL.keys() == GENERATORS.keys()
    fits = [make_fit(small(method, recipe={"graphs": 40}, seed=seed)) for seed in (0, 0, 1)]
    starts = [nn.utils.parameters_to_vector(fit.generator.parameters()).detach() for fit in fits]
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])
    records = [record for record in fits[0].run() if record]
    assert records[-1].graphs == 48


def test_a_generator_of_ones_own_fits(tmp_path, monkeypatch):
    (tmp_path / "own_generator.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    name = "own_generator.py:mine"
    config = parse(
        space="own_generator.py:space", method={"name": name, "width": 8}, recipe={"graphs": 40}
    )
    run = FitRun.create(tmp_path / "fit", config.resolved())
    fit = make_fit(config)
    list(run.execute(fit))
    again = load_generator(run)
    archs = Toy().enumerate()
    assert torch.equal(again.encode(archs)[0], fit.generator.encode(archs)[0])
    with pytest.raises(ValueError, match=r"generator own_generator\.py:mine: .*width"):
        make_fit(parse(method=name))
    with pytest.raises(ValueError, match=r"no_generator made int, not a Generator"):
        make_fit(parse(method="own_generator.py:no_generator"))


def fitted(folder, method, *, nodes=4, graphs=64):
    config = FitConfig.parse(
        {
            "space": {"name": "nasbench101", "max_nodes": nodes},
            "method": {"name": method, **SMALL[method]},
            "recipe": {"graphs": graphs},
        }
    )
    run = FitRun.create(folder, config.resolved())
    list(run.execute(fit := make_fit(config)))
    return run, fit.generator


def test_a_generator_comes_back_as_it_stands(tmp_path):
    run, generator = fitted(tmp_path / "fit", "svge")
    again = load_generator(run)
    assert not again.training
    for name, value in generator.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


@pytest.mark.parametrize("method", ["svge", "dgmg", "arch2vec"])
def test_parameters_for_any_size_fit_a_larger_space(tmp_path, method):
    run, generator = fitted(tmp_path / "fit", method)
    larger = load_generator(run, space=NASBench101(max_nodes=6))
    assert larger.layout.max_nodes == 6
    archs = NASBench101(max_nodes=4).enumerate()
    if method != "arch2vec":  # which encodes padding too
        assert torch.allclose(larger.encode(archs)[0], generator.encode(archs)[0], atol=1e-5)
    drawn = larger.sample(20, rng=stream(0, "sample"))
    assert drawn.max_nodes == 6


@pytest.mark.parametrize("method", ["dvae", "graphpnas"])
def test_parameters_for_one_size_do_not(tmp_path, method):
    run, _ = fitted(tmp_path / "fit", method)
    with pytest.raises(ValueError, match=f"a {method} fitted to 4 nodes cannot take 5"):
        load_generator(run, space=NASBench101(max_nodes=5))


def test_a_space_of_other_operations_is_refused(tmp_path):
    run, _ = fitted(tmp_path / "fit", "svge")
    message = f"{re.escape(str(run.folder))} knows the operations input, .* toy has identity, "
    with pytest.raises(ValueError, match=message):
        load_generator(run, space=Toy())


def test_a_fit_without_parameters_is_refused(tmp_path):
    run = FitRun.create(tmp_path / "fit", small().resolved())
    with pytest.raises(ValueError, match="holds no parameters yet: go on with its fit"):
        load_generator(run)


def test_defaults():
    assert DataConfig().held_out == 0.1
    generator = make_generator(parse().method, Toy().layout, rng=stream(0, "init"))
    assert (generator.latent_size, generator.training) == (56, False)
