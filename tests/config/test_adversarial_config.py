"""What an adversarial fit is: presets, what wins over them, data, recipes, what fits together."""

import dataclasses

import pytest
import torch

from netwright.config.adversarial import (
    ADVERSARIES,
    PRESETS,
    AdversarialConfig,
    adversary_layout,
    alike,
    labelled,
    load_adversary,
    load_valuer,
    make_adversarial_fit,
    make_adversarial_recipe,
    make_adversary,
    parse_fit,
    read_split,
)
from netwright.config.base import read_toml
from netwright.config.fits import FitConfig
from netwright.generators.relaxed import Relaxed
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.toy import Toy
from netwright.tables.format import Column, Rows, Table

METRIC = "cifar10/test@108"
SMALL = {
    "gnn2gnn": {"hidden": 8},
    "molgan": {"latent_size": 4, "widths": [8], "features": 8},
    "rnn": {"latent_size": 4, "hidden": 8},
}
SPACE = NASBench101(max_nodes=5)
ALONE = {"name": "nasbench101", "max_nodes": 5}


def parse(preset="best", method="gnn2gnn", *, table="t", metric=METRIC, data=None, **changes):
    data = {"table": str(table), "metric": metric, **(data or {})}
    described = {"space": ALONE, "method": method, "data": data, "preset": preset}
    return AdversarialConfig.parse(described | changes)


def small(table, method="gnn2gnn", *, recipe=None, seed=0, options=None, **more):
    name = {"name": method, **SMALL[method], **(options or {})}
    recipe = {"graphs": 64, "batch_size": 16, **(recipe or {})}
    return parse(method=name, table=table, recipe=recipe, seed=seed, **more)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """200 cells, every tenth without a label."""
    path = tmp_path_factory.mktemp("tables") / "t.safetensors"
    archs = SPACE.enumerate()[::12][:200]
    score = 0.5 + torch.arange(200) / 1000
    score[::10] = torch.nan
    columns = {METRIC: Column(score), "nothing": Column(torch.full((200,), torch.nan))}
    Table.write(path, SPACE, Rows(archs, columns, "made", "none"))
    return path


class TestPresets:
    def test_paper_is_its_text_with_adam(self):
        config = parse("paper")
        recipe = make_adversarial_recipe(config, 100)
        assert not config.edge_limit
        assert config.method.options == {}
        assert (recipe.graphs, recipe.batch_size) == (2000, 32)  # 20 epochs
        assert (recipe.balance, recipe.warmup, recipe.strong) == (0.1, 0.5, 0.5)
        three_way = recipe.three_way
        assert (three_way.gan_loss, three_way.edge_gradient) == ("saturating", True)
        assert (three_way.optimiser, three_way.learning_rate) == ("adam", 1e-3)
        assert (three_way.valuer, three_way.entropy) == ("classification", 0)

    def test_released_is_its_code(self):
        config = parse("released")
        three_way = make_adversarial_recipe(config, 100).three_way
        assert not config.edge_limit
        assert config.method.options == {"variant": "released"}
        assert (three_way.gan_loss, three_way.edge_gradient) == ("non-saturating", False)
        for other in ("molgan", "rnn"):
            assert parse("released", other).method.options == {}

    def test_best_is_the_default(self):
        described = parse("best").resolved()
        given = {name: described[name] for name in described.keys() - {"preset"}}
        assert AdversarialConfig.parse(given) == parse("best")
        config = parse("best")
        assert config.edge_limit
        assert config.method.options["edge_bound"] == 2.0
        for name, value in PRESETS["best"]["recipe"].items():
            assert getattr(config.recipe, name) == value
        assert parse("best", "rnn").method.options == {}

    @pytest.mark.parametrize("method", ADVERSARIES)
    @pytest.mark.parametrize("preset", PRESETS)
    def test_survive_a_file(self, preset, method, tmp_path):
        changes = {"recipe": {"epochs": 2.5, "entropy": 0.25}, "edge_limit": preset != "best"}
        config = parse(preset, {"name": method, "tau": 0.5}, **changes)
        run = FitRun.create(tmp_path / "r", config.resolved())
        assert parse_fit(FitRun.open(run.folder).config) == config

    @pytest.mark.parametrize("preset", PRESETS)
    def test_what_is_given_wins(self, preset):
        own = {
            "balance": 0.3, "warmup": 0.2, "strong": 0.4, "schedule": "cosine", "batch_size": 7,
        }  # fmt: skip
        of_steps = {
            "learning_rate": 0.02, "generator_rate": 0.03, "optimiser": "sgd",
            "weight_decay": 0.5, "gan_loss": "saturating", "valuer": "regression",
            "edge_gradient": preset == "released", "discriminator_widths": (3, 4),
            "valuer_widths": (5,), "discriminator_pool": "sum", "valuer_pool": "mean",
            "both_ways": True, "dropout": 0.1, "entropy": 0.7,
        }  # fmt: skip
        given = {"graphs": 700, "period": 9, **own, **of_steps}
        recipe = make_adversarial_recipe(parse(preset, recipe=given, edge_limit=True), 100)
        assert (recipe.graphs, recipe.period) == (700, 9)
        assert {name: getattr(recipe, name) for name in own} == own
        assert {name: getattr(recipe.three_way, name) for name in of_steps} == of_steps

    def test_options_are_laid_over_those_of_the_preset(self):
        method = {"name": "gnn2gnn", "edge_bound": 1.5, "layers": 1, "tau": 0.25, "hidden": 6}
        config = parse("best", method)
        assert config.method.options["op_bound"] == 3.0
        generator = make_adversary(config.method, SPACE.layout, rng=stream(0, "g"))
        assert (generator.edge_bound, generator.op_bound) == (1.5, 3.0)
        assert (len(generator.convolutions), generator.hidden) == (1, 6)
        assert float(generator.tau) == 0.25

    @pytest.mark.parametrize(
        ("preset", "recipe", "graphs"),
        [
            ("best", {"epochs": 2}, 200),
            ("best", {"epochs": 0.125}, 13),
            ("best", {"graphs": 50}, 50),
            ("best", {"strong": 0.2}, PRESETS["best"]["recipe"]["graphs"]),
            ("best", None, PRESETS["best"]["recipe"]["graphs"]),
            ("paper", {"epochs": 3}, 300),
            ("paper", {"graphs": 50}, 50),
            ("paper", None, 2000),
        ],
        ids=str,
    )
    def test_length(self, preset, recipe, graphs):
        config = parse(preset, **({} if recipe is None else {"recipe": recipe}))
        assert make_adversarial_recipe(config, 100).graphs == graphs
        if preset == "best":
            assert config.recipe.gan_loss == "non-saturating"  # the rest of the preset stays

    def test_fifty_records_of_a_batch_at_least(self):
        assert make_adversarial_recipe(parse(recipe={"graphs": 5000}), 100).period == 100
        assert make_adversarial_recipe(parse(recipe={"graphs": 500}), 100).period == 32

    def test_limit_of_edges(self):
        assert adversary_layout(parse("best"), SPACE).max_edges == 9
        for preset in ("paper", "released"):
            layout = adversary_layout(parse(preset), SPACE)
            assert layout.max_edges is None
            assert layout.max_nodes == 5


class TestKind:
    @pytest.mark.parametrize("method", ADVERSARIES)
    def test_adversaries(self, method):
        data = {"table": "t", "metric": METRIC}
        for name in (method, {"name": method}):
            found = parse_fit({"space": "toy", "method": name, "data": data})
            assert isinstance(found, AdversarialConfig)
            assert found.method.name == method

    @pytest.mark.parametrize("method", ["svge", {"name": "dvae"}, "own.py:gnn2gnn"], ids=str)
    def test_others(self, method):
        assert isinstance(parse_fit({"space": "toy", "method": method}), FitConfig)

    @pytest.mark.parametrize("method", [None, 5, {}, {"name": 5}], ids=str)
    def test_neither(self, method):
        with pytest.raises(ValueError, match=r"^method") as error:
            parse_fit({"space": "toy"} | ({} if method is None else {"method": method}))
        assert "\n" not in str(error.value)


class TestData:
    def test_labels_that_are_missing_are_left_out(self, table):
        data = {"hold_out_top": 0.1, "hold_out_random": 0.25}
        split = read_split(parse(table=table, data=data), SPACE)
        sizes = [len(rows) for rows in (split.top_rows, split.random_rows, split.train_rows)]
        assert sizes == [18, 40, 122]  # of 180
        assert bool(split.scores.isfinite().all())
        assert float(split.scores.max()) < float(
            Table.open(table).column(METRIC).nan_to_num().max()
        )
        assert len(labelled(split)) == 122

    def test_seed_of_the_data_is_its_own(self, table):
        def rows(seed, of_data):
            config = parse(table=table, data={"seed": of_data}, seed=seed)
            return read_split(config, SPACE).train_rows.tolist()

        assert rows(0, 1) == rows(5, 1)
        assert rows(0, 1) != rows(0, 2)

    def test_limit(self, table):
        whole = read_split(parse(table=table), SPACE).train_rows
        some = read_split(parse(table=table, data={"limit": 30}), SPACE).train_rows
        assert some.tolist() == whole[:30].tolist()

    def test_held_out_labels_are_refused(self, table):
        split = read_split(parse(table=table), SPACE)
        leaky = dataclasses.replace(split, held_out_keys=split.train_keys[:3])
        with pytest.raises(ValueError, match="3 of 122 labels are of held-out architectures"):
            labelled(leaky)


WRONG = [
    ({"preset": "fast"}, r"preset: .*'best', 'paper' or 'released' \(given: 'fast'\)"),
    ({"method": {"name": "gnn2gnn", "width": 3}}, "method.width: there is no such setting of gnn"),
    ({"method": {"name": "molgan", "layers": 3}}, "method.layers: there is no such setting of mol"),
    ({"method": {"name": "gnn2gnn", "tau": 0.0}}, "tau must be above 0, not 0.0"),
    ({"method": {"name": "gnn2gnn", "variant": "x"}}, "'paper' or 'released'"),
    ({"method": {"name": "molgan", "widths": []}}, "widths one or more"),
    ({"device": "abacus"}, "device: there is no 'abacus', use cpu or cuda"),
    ({"recipe": {"epochs": 1, "graphs": 2}}, "recipe: give epochs or graphs, not both"),
    ({"recipe": {"epochs": 0}}, "recipe.epochs: .*greater than 0"),
    ({"recipe": {"balance": 1.1}}, "recipe.balance: .*less than or equal to 1"),
    ({"recipe": {"strong": 1}}, "recipe.strong: .*less than 1"),
    ({"recipe": {"steps": 1}}, "recipe.steps: there is no such setting"),
    ({"recipe": {"learning_rate": float("nan")}}, "recipe.learning_rate: .*finite number"),
    ({"recipe": {"valuer_widths": []}}, "widths must be one or more sizes of at least 1"),
    ({"recipe": {"discriminator_widths": [4, 0]}}, "widths must be one or more sizes of at least"),
    (
        {"recipe": {"batch_size": 500}},
        "122 training cells are fewer than a batch of 500: hold less",
    ),
    ({"data": {"hold_out_top": 1}}, "data.hold_out_top: .*less than 1"),
    ({"data": {"limit": 0}}, "data.limit: .*greater than or equal to 1"),
    ({"data": {"hold_out_top": 0.9999}}, "1 training cells are fewer than a batch of 16"),
    ({"metric": "x"}, f"no metric 'x' in .*: choose from {METRIC}, nothing"),
    ({"metric": "nothing"}, "nothing has no value in any row of .*: choose another metric"),
    ({"space": "toy"}, r"is a table of .*nasbench101.* not of .*toy"),
    ({"table": "none"}, "no table at none: make it with `netwright table import`"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=[str(case[0]) for case in WRONG])
def test_a_wrong_setting_is_one_line_with_the_remedy(table, changes, message):
    changes = dict(changes)
    recipe = changes.pop("recipe", {})
    recipe = {"batch_size": 16} | recipe | ({} if "epochs" in recipe else {"graphs": 64})
    given = {"table": table, "method": {"name": "gnn2gnn", "hidden": 4}, "recipe": recipe}
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        make_adversarial_fit([parse(**(given | changes))])
    assert "\n" not in str(error.value)


def test_an_unknown_generator_names_those_there_are():
    method = parse().method.model_copy(update={"name": "svge"})
    with pytest.raises(ValueError, match=r"^unknown generator 'svge': use one of gnn2gnn, molgan,"):
        make_adversary(method, SPACE.layout, rng=stream(0, "g"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there(table):
    with pytest.raises(ValueError, match="device: there is no cuda here, use cpu"):
        make_adversarial_fit([small(table, device="cuda")])


SAME = [
    {"seed": 3},
    {"data": {"seed": 1, "hold_out_top": 0.3}},
    {"options": {"tau": 0.7}},
    {"recipe": {"balance": 0.9}},
]
OTHER = [
    {"options": {"layers": 1}},
    {"recipe": {"entropy": 0.3}},
    {"recipe": {"graphs": 80}},
    {"edge_limit": False},
    {"space": {"name": "nasbench101", "max_nodes": 6}},
    {"method": "rnn"},
]


class TestTogether:
    @pytest.mark.parametrize("changes", SAME, ids=str)
    def test_alike(self, table, changes):
        assert alike(small(table, **changes)) == alike(small(table))
        assert small(table, **changes) != small(table)

    @pytest.mark.parametrize("changes", OTHER, ids=str)
    def test_not_alike(self, table, changes):
        assert alike(small(table, **changes)) != alike(small(table))
        with pytest.raises(
            ValueError, match=r"may differ in seed, data, recipe\.balance and method"
        ):
            make_adversarial_fit([small(table), small(table, **changes)])

    def test_alike_whatever_the_preset_that_led_there(self, table):
        described = small(table).resolved()
        assert alike(AdversarialConfig.parse(described | {"preset": "paper"})) == alike(
            small(table)
        )

    def test_each_keeps_what_is_its_own(self, table):
        changes = [{}, *SAME]
        configs = [small(table, **change) for change in changes]
        fit = make_adversarial_fit(configs)
        assert fit.seeds == [0, 3, 0, 0, 0]
        assert fit.model.generator.tau.tolist() == pytest.approx([0.1, 0.1, 0.1, 0.7, 0.1])
        sizes = [122, 122, 95, 122, 122]
        assert [len(data) for data in fit.data] == sizes
        calls = []
        step = fit.model.step
        fit.model.step = lambda *args, **words: calls.append(args[2]) or step(*args, **words)
        list(fit.run())
        assert calls[-1].tolist() == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.9])

    def test_not_for_different_times(self, table):
        """20 epochs of fewer cells are fewer graphs."""
        recipe = {"epochs": 1, "batch_size": 16}
        configs = [
            parse(method={"name": "gnn2gnn", "hidden": 4}, table=table, recipe=recipe, data=data)
            for data in ({}, {"hold_out_top": 0.5})
        ]
        with pytest.raises(ValueError, match=r"must see equally many graphs: give recipe\.graphs"):
            make_adversarial_fit(configs)
        assert make_adversarial_fit(configs[1:]).recipe.graphs == 68


@pytest.mark.parametrize("method", ADVERSARIES)
def test_networks_come_back_as_they_stand(table, method):
    configs = [small(table, method, seed=seed) for seed in (0, 1)]
    fit = make_adversarial_fit(configs)
    list(fit.run())
    state = fit.state_dict()
    rngs = [stream(seed, "draw") for seed in (0, 1)]
    graphs = fit.model.generator.eval().draw(5, rngs=rngs).archs()
    cells = SPACE.sample(6, rng=stream(0, "cells")).pad(5)
    seen = Relaxed.of([cells, cells], SPACE.layout.num_ops)
    with torch.no_grad():
        values = fit.model.valuer(seen)
    for i, config in enumerate(configs):
        generator = load_adversary(config, state, i)
        assert not generator.training
        found = generator.sample(5, rng=stream(i, "draw"))
        assert SPACE.to_text(found) == SPACE.to_text(graphs[5 * i : 5 * i + 5])
        valuer = load_valuer(config, state, i)
        with torch.no_grad():
            again = valuer(Relaxed.of([cells], SPACE.layout.num_ops))[0]
        assert torch.allclose(again, values[i], atol=1e-5)
    assert not torch.allclose(values[0], values[1], atol=1e-3)


def test_a_file_of_settings(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(
        f'space = "toy"\nmethod = "rnn"\n[data]\ntable = "t"\nmetric = "{METRIC}"\n'
        "[recipe]\nvaluer_widths = [4, 5]\n"
    )
    config = parse_fit(read_toml(path))
    assert config.recipe.valuer_widths == (4, 5)
    assert config.space.name == Toy.name
    assert config.preset == "best"
