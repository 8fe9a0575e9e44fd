import pytest

from netwright.config.base import merge
from netwright.config.methods.graphpnas import GraphPNASConfig
from netwright.config.schema import RunConfig, TableConfig, TrainConfig

TABLE = {"name": "table", "path": "t.safetensors", "metric": "a/valid@1"}


def test_names_choose_the_settings():
    config = RunConfig.parse({"space": "toy", "method": "graphpnas", "evaluator": TABLE})
    assert isinstance(config.method, GraphPNASConfig)
    assert isinstance(config.evaluator, TableConfig)
    assert config.space.name == "toy"


def test_the_resolved_configuration_reads_back_as_itself():
    config = RunConfig.parse(
        {
            "space": {"name": "nasbench101", "max_nodes": 5},
            "method": {"name": "graphpnas", "explorer": {"without": ["maxpool3x3"]}},
            "evaluator": {"name": "train", "epochs": 3},
        }
    )
    resolved = config.resolved()
    assert resolved["method"]["hidden"] == 128, "defaults must be written down"
    assert resolved["space"]["max_nodes"] == 5
    assert "timeout" not in resolved["evaluator"], "TOML has no null"
    assert RunConfig.parse(resolved) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"method": "anneal"},
            "unknown method 'anneal': use one of random, local, evolution, ",
        ),
        ({"evaluator": "guess"}, "unknown evaluator 'guess'"),
        ({"budget": 0}, "budget: .*greater than or equal to 1.*given: 0"),
        ({"bugdet": 3}, "bugdet: there is no such setting"),
        ({"method": {"name": "graphpnas", "hiden": 3}}, "method.*hiden: there is no such setting"),
        ({"evaluator": {"name": "table", "metric": "x"}}, "path: Field required"),
        ({"mode": "fast"}, "mode: .*'batch' or 'asynchronous'"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(values, message):
    good = {"space": "toy", "method": "random", "evaluator": "train"}
    with pytest.raises(ValueError, match=message) as error:
        RunConfig.parse(good | values)
    assert "\n" not in str(error.value)


def test_options_win_over_the_file(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text(
        'space = "toy"\nmethod = "random"\nbudget = 5\n[evaluator]\nname = "train"\nepochs = 2'
    )
    config = RunConfig.load(file, {"budget": 7, "evaluator": {"batch_size": 9}})
    assert config.budget == 7
    assert config.evaluator == TrainConfig(epochs=2, batch_size=9)


def test_another_name_replaces_the_whole_table():
    merged = merge({"evaluator": TABLE}, {"evaluator": {"name": "train"}})
    assert merged == {"evaluator": {"name": "train"}}
    assert merge({"space": "toy"}, {"space": {"size": 3}}) == {"space": {"name": "toy", "size": 3}}


def test_broken_toml_names_the_file(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text("space = ")
    with pytest.raises(ValueError, match=r"run\.toml is not valid TOML"):
        RunConfig.load(file)
