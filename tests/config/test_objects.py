import pickle

import pytest
import torch

from netwright.config.base import CustomConfig, SpaceConfig
from netwright.config.methods.graphpnas import GraphPNASConfig
from netwright.config.methods.local import LocalConfig
from netwright.config.methods.parts import ExplorerConfig, ScheduleConfig
from netwright.config.methods.random import RandomConfig
from netwright.config.objects import (
    load_object,
    make_build,
    make_data,
    make_evaluator,
    make_initial,
    make_recipe,
    make_space,
    space_of,
    training_data,
)
from netwright.config.schema import InitialConfig, TrainConfig
from netwright.config.searchers import make_searcher
from netwright.evaluators.isolated import Isolated
from netwright.evaluators.train import DIGITS_RECIPE
from netwright.rng import stream
from netwright.searchers.local import LocalSearch
from netwright.searchers.random import RandomSearch
from netwright.searchers.reinforce import Reinforce, ReinforceOptions
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.nasbenchgraph import NASBenchGraph
from netwright.spaces.toy import Toy
from netwright.tables.format import Column, Rows, Table


@pytest.mark.parametrize("name", ["toy", "nasbench101", "nasbench201", "enas", "randwire"])
def test_every_space_can_be_searched_and_built(name):
    space = make_space(SpaceConfig(name=name))
    assert space.name == name
    build = make_build(space)
    arch = space.sample(1, rng=stream(0, "arch"))
    images = torch.zeros(2, 1, 8, 8)
    assert build(arch, in_channels=1, num_classes=10)(images).shape == (2, 10)
    assert pickle.loads(pickle.dumps(build)), "worker processes need it"


def test_options_reach_the_space():
    space = make_space(SpaceConfig(name="nasbench101", max_nodes=4, max_edges=5))
    assert (space.layout.max_nodes, space.layout.max_edges) == (4, 5)
    with pytest.raises(ValueError, match=r"space nasbench101: .*depth"):
        make_space(SpaceConfig(name="nasbench101", depth=4))
    with pytest.raises(ValueError, match="unknown space 'darts': use one of toy"):
        make_space(SpaceConfig(name="darts"))


def test_every_graphpnas_setting_arrives():
    config = GraphPNASConfig(
        hidden=12, rounds=2, mixtures=3, capacity=4, update_every=5, epochs=6, batch_size=7,
        learning_rate=0.5, clip=0.25, beta=0.125, reward="rank", refit=True,
        epsilon=ScheduleConfig(over=8),
        probability="per_decision", likelihood="normalised", coin="step", temperature=0.5,
        train_on="raw", variant="released", gate="scalar", feedback=True,
        explorer=ExplorerConfig(without=("none",)),
    )  # fmt: skip
    searcher = make_searcher(config, NASBench201(), rng=stream(0, "init"))
    assert isinstance(searcher, Reinforce)
    options, fit = searcher.options, searcher.options.fit
    assert (options.capacity, options.update_every, options.refit) == (4, 5, True)
    assert (fit.epochs, fit.batch_size, fit.learning_rate) == (6, 7, 0.5)
    assert (fit.clip, fit.beta, fit.reward) == (0.25, 0.125, "rank")
    assert (fit.probability, fit.likelihood) == ("per_decision", "normalised")
    assert (options.coin, options.temperature, options.train_on) == ("step", 0.5, "raw")
    assert [options.epsilon(told) for told in (0, 4, 8)] == [1.0, 0.5, 0.0]
    shapes = {name: tuple(p.shape) for name, p in searcher.policy.state_dict().items()}
    assert shapes["initial"] == (1, 8, 12)
    assert shapes["propagate.of_state"] == (1, 2, 12, 60), "weights of its own for each round"
    assert shapes["propagate.attention_out"] == (1, 2, 12, 1)
    assert shapes["edge_head.theta.weight"] == (1, 12, 3)
    archs = searcher.ask(50, rng=stream(0, "ask")).archs
    assert not (archs.ops == NASBench201.op_names.index("none")).any()


def test_no_limit_and_shares():
    config = GraphPNASConfig(clip=0.0, share=ScheduleConfig(start=0.3, end=0.1, over=100))
    options = make_searcher(config, Toy(), rng=stream(0, "init")).options
    assert options.fit.clip is None
    assert [options.share(told) for told in (0, 50, 100)] == pytest.approx([0.3, 0.2, 0.1])


@pytest.mark.parametrize(
    ("schedule", "values"),
    [
        ({"name": "linear", "start": 0.8, "end": 0.2, "over": 20}, [0.8, 0.5, 0.2]),
        ({"name": "step", "start": 0.6, "factor": 0.2, "over": 10}, [0.6, 0.12, 0.024]),
        ({"name": "exponential", "start": 0.8, "over": 10}, [0.8, 0.4, 0.2]),
        ({"name": "constant", "start": 0.3}, [0.3, 0.3, 0.3]),
    ],
)
def test_every_schedule_of_the_explorer(schedule, values):
    config = GraphPNASConfig(epsilon=ScheduleConfig(**schedule))
    epsilon = make_searcher(config, Toy(), rng=stream(0, "init")).options.epsilon
    assert [epsilon(told) for told in (0, 10, 20)] == pytest.approx(values)


def test_the_presets_are_the_papers_and_the_released_codes():
    paper = make_searcher(GraphPNASConfig(), NASBench101(), rng=stream(0, "init"))
    assert paper.options == ReinforceOptions()
    released = GraphPNASConfig(preset="released")
    searcher = make_searcher(released, NASBench101(), rng=stream(0, "init"))
    options = searcher.options
    assert (options.capacity, options.refit, options.coin) == (15, True, "step")
    assert [options.epsilon(told) for told in (0, 29, 30)] == [1.0, 1.0, 0.0]
    assert (options.fit.reward, options.fit.likelihood, options.fit.clip) == (
        "rank",
        "normalised",
        None,
    )
    assert searcher.explorer.sizes == [3, 4, 5, 6, 7]
    assert searcher.explorer.p == 0.25
    assert searcher.policy.variant == "released"
    assert searcher.policy.propagate.hidden == 24


def test_what_is_given_wins_over_the_preset():
    given = {"preset": "released", "hidden": 10, "explorer": {"p": 0.5}}
    config = GraphPNASConfig(**given)
    assert (config.hidden, config.capacity) == (10, 15)
    assert (config.explorer.p, config.explorer.sizes) == (0.5, "uniform")
    again = GraphPNASConfig(**config.model_dump(exclude_none=True))
    assert again == config, "a stored configuration is read back as it was"


def test_random_search_without_operations():
    searcher = make_searcher(RandomConfig(without=("none",)), NASBench201(), rng=stream(0, "init"))
    archs = searcher.ask(50, rng=stream(0, "ask")).archs
    assert not (archs.ops == NASBench201.op_names.index("none")).any()
    with pytest.raises(ValueError, match=r"method\.without: no operation 'pool' among input"):
        make_searcher(RandomConfig(without=("pool",)), NASBench201(), rng=stream(0, "init"))


def test_local_search_is_a_method():
    config = LocalConfig(initial=3, neighbourhood="full")
    searcher = make_searcher(config, NASBench201(), rng=stream(0, "init"))
    assert isinstance(searcher, LocalSearch)
    assert (searcher.initial, searcher.neighbourhood) == (3, "full")


def test_an_unknown_operation_of_the_explorer_is_named():
    config = GraphPNASConfig(explorer=ExplorerConfig(without=("conv9x9",)))
    with pytest.raises(ValueError, match="no operation 'conv9x9' among input"):
        make_searcher(config, NASBench201(), rng=stream(0, "init"))


def test_random_search_needs_no_settings():
    assert isinstance(make_searcher(RandomConfig(), Toy(), rng=stream(0, "init")), RandomSearch)


def test_training_runs_in_processes_of_its_own_where_that_is_of_use():
    assert not isinstance(make_evaluator(TrainConfig(), Toy()), Isolated)
    with make_evaluator(TrainConfig(timeout=5.0), Toy()) as isolated:
        assert isinstance(isolated, Isolated)
    with make_evaluator(TrainConfig(), Toy(), workers=2) as isolated:
        assert isinstance(isolated, Isolated)


def test_settings_override_the_recipe():
    recipe = make_recipe(TrainConfig(epochs=3, weight_decay=0.0), make_data("digits"))
    assert (recipe.epochs, recipe.weight_decay) == (3, 0.0)
    assert recipe.batch_size == make_recipe(TrainConfig(), make_data("digits")).batch_size


def test_recipes_of_the_papers():
    def made(**settings):
        config = TrainConfig(**settings)
        return make_recipe(config, training_data(config))

    assert made() == DIGITS_RECIPE
    paper = made(recipe="graphpnas")
    assert (paper.epochs, paper.batch_size, paper.learning_rate) == (300, 256, 0.1)
    assert (paper.weight_decay, paper.gradient_clip, paper.crop_padding) == (1e-4, 0.0, 1)
    final = made(recipe="graphpnas-final", epochs=3, precision="bfloat16", compile=True)
    assert (final.epochs, final.weight_decay, final.cutout, final.cutout_chance) == (
        3,
        2e-4,
        16,
        0.4,
    )
    assert (final.precision, final.compile) == ("bfloat16", True)
    assert made(cutout=2).cutout == 2
    assert training_data(TrainConfig(resize=20)).resize == 20


def test_unknown_data_sets_and_folders():
    known = "unknown data set 'cifar': use digits, folder:PATH, .* or huggingface:PATH"
    with pytest.raises(ValueError, match=known):
        make_data("cifar")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        make_data("folder:nowhere")


OWN = """
import torch
from netwright.evaluation import Evaluation
from netwright.searchers.local import LocalSearch
from netwright.searchers.random import RandomSearch
from netwright.spaces.toy import Toy as Space

def method(space, *, rng):
    return RandomSearch(space)

class Scorer:
    chunk = 4
    def __init__(self, space, factor=1.0):
        self.factor = factor
    def __call__(self, archs, *, rngs):
        return Evaluation(archs.ops.sum(dim=1) * self.factor, torch.zeros(len(archs)))

nonsense = 3
"""


def test_objects_of_ones_own(tmp_path):
    file = tmp_path / "own_objects.py"
    file.write_text(OWN)
    space = make_space(SpaceConfig(name=f"{file}:Space"))
    assert isinstance(space, Toy)
    config = CustomConfig(name=f"{file}:method")
    assert isinstance(make_searcher(config, space, rng=stream(0, "x")), RandomSearch)
    scorer = make_evaluator(CustomConfig(name=f"{file}:Scorer", factor=0.5), space)
    assert scorer.factor == 0.5
    with pytest.raises(ValueError, match="nonsense is int, not a SearchSpace"):
        make_space(SpaceConfig(name=f"{file}:nonsense"))
    with pytest.raises(ValueError, match="defines no Absent"):
        load_object(f"{file}:Absent")
    with pytest.raises(ValueError, match="there is no file"):
        load_object("nowhere.py:Thing")


def test_a_space_without_a_network_says_what_is_missing():
    class Bare(NASBench201.__base__):
        name, op_names, layout = "bare", Toy.op_names, Toy().layout
        sample = neighbours = to_text = from_text = None

    with pytest.raises(ValueError, match="cannot be trained: give the space a method"):
        make_build(Bare())


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_generator_on_a_device_that_is_not_there_is_refused():
    config = GraphPNASConfig(device="cuda")
    with pytest.raises(ValueError, match=r"method\.device: there is no cuda here, use cpu"):
        make_searcher(config, Toy(), rng=stream(0, "init"))


def test_known_scores_are_a_share_of_a_table_by_the_seed(tmp_path):
    space = Toy()
    score = torch.linspace(0, 1, 27)
    score[::9] = torch.nan
    path = tmp_path / "toy.safetensors"
    rows = Rows(space.enumerate(), {"mine/valid@1": Column(score)}, "made", "none")
    Table.write(path, space, rows)

    def known(share, seed=0):
        config = InitialConfig(table=path, metric="mine/valid@1", share=share)
        return make_initial(config, space, seed=seed)

    archs, found = known(1.0)
    assert len(archs) == 24  # three have no score
    text = dict(zip(space.to_text(space.enumerate()), score.tolist(), strict=True))
    assert [text[one] for one in space.to_text(archs)] == found.tolist()
    assert len(known(0.25)[0]) == 6
    assert len(known(1e-9)[0]) == 1
    assert space.to_text(known(0.5)[0]) == space.to_text(known(0.5)[0])
    assert space.to_text(known(0.5)[0]) != space.to_text(known(0.5, seed=1)[0])
    assert make_initial(None, space, seed=0) is None
    with pytest.raises(ValueError, match="toy"):
        make_initial(InitialConfig(table=path, metric="mine/valid@1"), NASBench201(), seed=0)


def test_a_space_cut_down_to_a_table(tmp_path):
    path = tmp_path / "toy.safetensors"
    some = Toy().enumerate()[5:9]
    Table.write(path, Toy(), Rows(some, {"mine/valid@1": Column(torch.rand(4))}, "made", "none"))
    space = make_space(SpaceConfig(name="toy", known=path))
    assert space.size == 4
    assert sorted(space.to_text(space.enumerate())) == sorted(Toy().to_text(some))
    with pytest.raises(FileNotFoundError, match="no table at"):
        make_space(SpaceConfig(name="toy", known=tmp_path / "none"))


class TestSpaceOfATable:
    """What is not named is searched in the space of the table."""

    def table(self, path, space):
        archs = space.sample(1, rng=stream(0, "archs"))
        columns = {"mine/valid@1": Column(torch.ones(1))}
        Table.write(path, space, Rows(archs, columns, "made", "none"))
        return Table.open(path)

    @pytest.mark.parametrize(
        "space", [NASBench101(), NASBench101(max_nodes=5, max_edges=7), NASBench201(), Toy()]
    )
    def test_is_the_one_it_was_made_of(self, tmp_path, space):
        table = self.table(tmp_path / "x.safetensors", space)
        found = make_space(SpaceConfig.model_validate(space_of(table)))
        assert type(found) is type(space)
        assert found.layout.max_nodes == space.layout.max_nodes
        assert found.layout.max_edges == space.layout.max_edges

    def test_of_another_name_or_another_shape_must_be_named(self, tmp_path):
        class Mine(Toy):
            name = "mine"

        with pytest.raises(ValueError, match="table of the space mine: name its file with --space"):
            space_of(self.table(tmp_path / "mine.safetensors", Mine()))
        with pytest.raises(ValueError, match="operations"):
            space_of(self.table(tmp_path / "proteins.safetensors", NASBenchGraph(proteins=True)))
