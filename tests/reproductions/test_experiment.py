import pytest
from toy_experiment import described

from netwright.reproductions.experiment import (
    Cell,
    Experiment,
    default_tables,
    run_config,
    run_folder,
)


def test_what_is_left_out_has_a_default():
    found = Experiment.parse(described())
    assert [method.label for method in found.methods] == ["random", "local search"]
    assert list(found.seed_list) == [0, 1, 2]
    assert found.benchmarks[0].budgets[-1] == 12
    assert found.benchmarks[0].drawn == "valid accuracy"
    assert len(found.cells) == 2


def test_a_run_sees_the_metric_and_reports_the_other_columns(tmp_path):
    (tmp_path / "toy.safetensors").touch()
    found = Experiment.parse(described())
    config = run_config(found.cells[1], 7, tmp_path)
    assert config.evaluator.metric == "mine/valid@1"
    assert config.evaluator.extras == ("mine/test@1",)
    assert (config.seed, config.budget, config.batch_size) == (7, 12, 2)
    assert config.method.initial == 2


def test_a_method_may_run_on_some_benchmarks_only():
    other = {**described()["benchmarks"][0], "name": "toy/other"}
    methods = [{"method": "random"}, {"method": "local", "benchmarks": ["toy/other"]}]
    found = Experiment.parse(
        described(benchmarks=[*described()["benchmarks"], other], methods=methods)
    )
    names = [(cell.benchmark.name, cell.method.label) for cell in found.cells]
    assert names == [("toy/mine", "random"), ("toy/other", "random"), ("toy/other", "local")]


def test_run_folders_are_named_for_every_system(tmp_path):
    found = Experiment.parse(described(methods=[{"method": "random", "preset": "A: b/../c"}]))
    folder = run_folder(tmp_path, found.cells[0], 3)
    assert folder == tmp_path / "toy-mine" / "random-a-b-..-c" / "seed-3"


def _benchmark(**changes):
    return {"benchmarks": [{**described()["benchmarks"][0], **changes}]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 0}, "seeds: "),
        ({"sedes": 3}, "sedes: there is no such setting"),
        (_benchmark(budgets=[0]), "a budget must be at least 1"),
        (_benchmark(report={"test score": "x"}), "'test score' must end with one of the words acc"),
        (_benchmark(curve="test"), "curve: 'test' is not in report: valid accuracy, test error"),
        ({"baseline": "lokal"}, "baseline: no method 'lokal' among random; local search"),
        ({"methods": [{"method": "random"}] * 2}, "methods: 'random' is there twice"),
        ({"methods": [{"method": "random", "benchmarks": ["x"]}]}, "there is no benchmark 'x'"),
    ],
)
def test_wrong_settings_are_named_in_one_line(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        Experiment.parse(described(**changes))
    assert "\n" not in str(caught.value)


def test_a_missing_table_names_the_command_that_makes_it(tmp_path):
    found = Experiment.parse(described())
    with pytest.raises(FileNotFoundError, match="netwright table import FILE --space toy --out"):
        run_config(found.cells[0], 0, tmp_path)


def test_a_wrong_method_is_named_with_its_benchmark(tmp_path):
    (tmp_path / "toy.safetensors").touch()
    found = Experiment.parse(described(methods=[{"method": {"name": "local", "initial": 0}}]))
    with pytest.raises(ValueError, match=r"local on toy/mine: method\.initial"):
        run_config(Cell(found.benchmarks[0], found.methods[0]), 0, tmp_path)


def test_files_are_read_and_named_when_they_are_no_toml(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("seeds = ")
    with pytest.raises(ValueError, match=r"mine\.toml is not valid TOML"):
        Experiment.load(path)


def test_the_folder_of_tables_can_be_set(monkeypatch):
    monkeypatch.delenv("NETWRIGHT_TABLES", raising=False)
    assert str(default_tables()) == "tables"
    monkeypatch.setenv("NETWRIGHT_TABLES", "/data/tables")
    assert str(default_tables()) == "/data/tables"
