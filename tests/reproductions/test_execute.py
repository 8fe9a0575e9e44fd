import pytest
import torch
from toy_experiment import SPACE, described, write_table

import netwright.reproductions.execute as execution
from netwright.config.objects import make_evaluator
from netwright.config.searchers import make_searcher
from netwright.evaluators.table import TableEvaluator
from netwright.files import locked
from netwright.reproductions.execute import carry_out
from netwright.reproductions.experiment import Experiment, run_config, run_folder
from netwright.reproductions.outcomes import differences_of, read_outcomes, rows_of
from netwright.rng import stream
from netwright.runs.run import Run
from netwright.searchers.random import RandomSearch
from netwright.tables.format import Column, Rows, Table


def _ledgers(experiment, folder):
    """What every run evaluated, in order, with its scores."""
    return {
        (cell.method.label, seed): [
            (row.index, row.arch, row.score, row.extras)
            for row in Run.open(run_folder(folder, cell, seed)).ledger.rows()
        ]
        for cell in experiment.cells
        for seed in experiment.seed_list
    }


@pytest.fixture
def tables(tmp_path):
    write_table(tmp_path / "tables")
    return tmp_path / "tables"


def test_every_run_is_the_search_it_would_be_alone(tmp_path, tables):
    experiment = Experiment.parse(described())
    events = list(carry_out(experiment, tmp_path / "e", tables=tables))
    assert events[-1].done == events[-1].total == 2 * 3 * 12
    table = write_table(tmp_path / "again")
    for seed in experiment.seed_list:
        alone = Run.create(tmp_path / f"alone-{seed}")
        evaluator = TableEvaluator(table, SPACE, "mine/valid@1", ("mine/test@1",))
        list(
            alone.execute(SPACE, RandomSearch(SPACE), evaluator, budget=12, batch_size=3, seed=seed)
        )
        mine = Run.open(run_folder(tmp_path / "e", experiment.cells[0], seed))
        assert [r.arch for r in mine.ledger.rows()] == [r.arch for r in alone.ledger.rows()]


def test_what_is_trained_starts_from_its_own_seed(tmp_path, tables):
    tiny = {"hidden": 4, "rounds": 1, "mixtures": 1, "epochs": 1, "epsilon": {"over": 1}}
    method = {"method": {"name": "graphpnas", **tiny}, "batch_size": 4}
    experiment = Experiment.parse(described(methods=[method]))
    list(carry_out(experiment, tmp_path / "e", tables=tables))
    for seed in experiment.seed_list:
        folder = run_folder(tmp_path / "e", experiment.cells[0], seed)
        config = run_config(experiment.cells[0], seed, tables)
        searcher = make_searcher(config.method, SPACE, rng=stream(seed, "searcher/init"))
        evaluator = make_evaluator(config.evaluator, SPACE)
        alone = Run.create(tmp_path / f"alone-{seed}")
        list(alone.execute(SPACE, searcher, evaluator, budget=8, batch_size=4, seed=seed))
        mine = [row.arch for row in Run.open(folder).ledger.rows()][:8]  # before an update
        assert mine == [row.arch for row in alone.ledger.rows()]


def test_what_is_finished_is_not_run_again(tmp_path, tables, monkeypatch):
    experiment = Experiment.parse(described())
    list(carry_out(experiment, tmp_path / "e", tables=tables))
    before = _ledgers(experiment, tmp_path / "e")
    monkeypatch.setattr(execution, "_opened", None)  # nothing may be opened for searching
    events = list(carry_out(experiment, tmp_path / "e", tables=tables))
    assert {event.done for event in events} == {72}
    assert _ledgers(experiment, tmp_path / "e") == before


@pytest.mark.parametrize("stop", [2, 25])
def test_interrupted_it_goes_on_and_ends_as_if_it_had_not_been(tmp_path, tables, stop):
    experiment = Experiment.parse(described())
    list(carry_out(experiment, tmp_path / "whole", tables=tables))
    events = carry_out(experiment, tmp_path / "cut", tables=tables)
    for _ in range(stop):
        next(events)
    events.close()
    events = list(carry_out(experiment, tmp_path / "cut", tables=tables))
    assert events[-1].done == events[-1].total
    assert _ledgers(experiment, tmp_path / "cut") == _ledgers(experiment, tmp_path / "whole")


def test_more_seeds_and_a_larger_budget_continue_what_is_there(tmp_path, tables):
    short = Experiment.parse(described())
    list(carry_out(short, tmp_path / "e", tables=tables))
    before = _ledgers(short, tmp_path / "e")
    budgets = [{**described()["benchmarks"][0], "budgets": [4, 18]}]
    longer = Experiment.parse(described(seeds=4, benchmarks=budgets))
    events = list(carry_out(longer, tmp_path / "e", tables=tables))
    assert (events[0].done, events[-1].done) == (72, 2 * 4 * 18)
    after = _ledgers(longer, tmp_path / "e")
    assert all(after[key][:12] == rows for key, rows in before.items())


def test_a_run_with_another_setting_is_refused_before_anything_runs(tmp_path, tables):
    list(carry_out(Experiment.parse(described()), tmp_path / "e", tables=tables))
    methods = [
        {"method": "random", "batch_size": 3, "preset": "new"},
        {"name": "local search", "method": {"name": "local", "initial": 3}, "batch_size": 2},
    ]
    changed = Experiment.parse(described(methods=methods))
    with pytest.raises(ValueError, match=r"seed-0 was made with method\.initial = 2, not 3"):
        list(carry_out(changed, tmp_path / "e", tables=tables))
    assert not (tmp_path / "e" / "toy-mine" / "random-new").exists()


def test_a_table_with_other_numbers_is_refused(tmp_path, tables):
    experiment = Experiment.parse(described())
    list(carry_out(experiment, tmp_path / "e", tables=tables))
    moved = tmp_path / "moved"
    tables.rename(moved)
    list(carry_out(experiment, tmp_path / "e", tables=moved))  # the same one elsewhere will do
    from netwright.tables.format import Column, Rows, Table

    archs = SPACE.enumerate()
    columns = {name: Column(torch.zeros(27)) for name in ("mine/valid@1", "mine/test@1")}
    Table.write(moved / "toy.safetensors", SPACE, Rows(archs, columns, "made", "none"))
    with pytest.raises(ValueError, match="belongs to a search with table"):
        list(carry_out(experiment, tmp_path / "e", tables=moved))


def test_a_second_process_is_kept_out(tmp_path, tables):
    experiment = Experiment.parse(described())
    folder = run_folder(tmp_path / "e", experiment.cells[0], 1)
    events = carry_out(experiment, tmp_path / "e", tables=tables)
    next(events), next(events)
    events.close()
    with (
        locked(folder / ".lock"),
        pytest.raises(BlockingIOError, match=r"another process is using .*seed-1"),
    ):
        list(carry_out(experiment, tmp_path / "e", tables=tables))
    list(carry_out(experiment, tmp_path / "e", tables=tables))  # no lock was left behind


def test_an_unknown_column_stops_it_before_anything_runs(tmp_path, tables):
    wrong = [{**described()["benchmarks"][0], "report": {"test error": "mine/test@2"}}]
    with pytest.raises((ValueError, LookupError), match="mine/test@2"):
        list(
            carry_out(Experiment.parse(described(benchmarks=wrong)), tmp_path / "e", tables=tables)
        )
    assert not (tmp_path / "e").exists()


def test_seeds_advance_together_and_are_offered_for_training_together(
    tmp_path, tables, monkeypatch
):
    offered = []

    def record(searchers):
        offered.append(len(searchers))

    monkeypatch.setattr(execution, "train_together", record)
    experiment = Experiment.parse(described(methods=[{"method": "random", "batch_size": 3}]))
    list(carry_out(experiment, tmp_path / "e", tables=tables))
    assert offered[:4] == [3, 3, 3, 3], "all three seeds after each of four steps"


def test_a_space_smaller_than_the_budget_is_searched_to_its_end(tmp_path, tables):
    small = [{**described()["benchmarks"][0], "budgets": [100]}]
    experiment = Experiment.parse(described(benchmarks=small))
    events = list(carry_out(experiment, tmp_path / "e", tables=tables))
    assert events[-1].done == events[-1].total == 2 * 3 * 27


def test_the_number_of_threads_is_as_it_was(tmp_path, tables):
    before = torch.get_num_threads()
    list(carry_out(Experiment.parse(described()), tmp_path / "e", tables=tables))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("named", [False, True])
def test_a_method_may_have_fewer_seeds_than_others(tmp_path, tables, named):
    by_benchmark = {described()["benchmarks"][0]["name"]: 2} if named else 2
    methods = [{"method": "random"}, {"name": "few", "method": "random", "seeds": by_benchmark}]
    experiment = Experiment.parse(described(methods=methods, seeds=3, baseline="random"))
    events = list(carry_out(experiment, tmp_path / "e", tables=tables))
    assert events[-1].done == events[-1].total == (3 + 2) * 12
    outcomes = read_outcomes(experiment, tmp_path / "e", tables=tables)
    assert [len(o.at("valid accuracy", 12)) for o in outcomes] == [3, 2]
    assert {d.n for d in differences_of(outcomes, "random")} == {2}


def test_a_method_may_have_a_smaller_budget_than_others(tmp_path, tables):
    methods = [{"method": "random"}, {"name": "short", "method": "random", "budget": 5}]
    experiment = Experiment.parse(described(methods=methods, baseline="random"))
    assert [cell.budgets for cell in experiment.cells] == [(4, 12), (4,)]
    events = list(carry_out(experiment, tmp_path / "e", tables=tables))
    assert events[-1].done == events[-1].total == 3 * (12 + 4)
    outcomes = read_outcomes(experiment, tmp_path / "e", tables=tables)
    assert {(r.method, r.budget) for r in rows_of(outcomes, ())} == {
        ("random", 4), ("random", 12), ("short", 4),
    }  # fmt: skip
    assert {d.budget for d in differences_of(outcomes, "random")} == {4}
    none = [{"method": "random"}, {"name": "none", "method": "random", "budget": 3}]
    assert len(Experiment.parse(described(methods=none, baseline="random")).cells) == 1


def test_a_setting_that_came_later_than_the_run_counts_as_its_default(tmp_path, tables):
    experiment = Experiment.parse(described())
    list(carry_out(experiment, tmp_path / "e", tables=tables))
    for path in (tmp_path / "e").glob("*/local*/seed-0/config.toml"):
        text = path.read_text()
        assert 'neighbourhood = "first"\n' in text
        path.write_text(text.replace('neighbourhood = "first"\n', ""))
    events = list(carry_out(experiment, tmp_path / "e", tables=tables))
    assert {event.done for event in events} == {72}


def test_a_method_may_start_with_the_scores_of_a_share_of_the_table(tmp_path, tables):
    methods = [{"method": "random", "initial": 0.5, "name": "informed"}]
    experiment = Experiment.parse(described(methods=methods, baseline=None))
    events = list(carry_out(experiment, tmp_path / "e", tables=tables))
    assert events[-1].done == events[-1].total == 3 * 12
    known = set()
    for seed in experiment.seed_list:
        rows = Run.open(run_folder(tmp_path / "e", experiment.cells[0], seed)).ledger.rows()
        told = [row.key for row in rows if row.status == "initial"]
        new = [row.key for row in rows if row.status == "evaluated"]
        assert len(told) == round(0.5 * SPACE.size)
        assert len(new) == 12
        assert not set(told) & set(new)
        known.add(tuple(told))
    assert len(known) == 3  # each seed knows others
    again = list(carry_out(experiment, tmp_path / "e", tables=tables))
    assert again[0].done == again[0].total


def test_a_space_may_be_cut_down_to_what_a_table_knows(tmp_path, tables):
    whole = SPACE.enumerate()
    known = whole[torch.arange(14)]
    columns = {"mine/valid@1": Column(torch.rand(14)), "mine/test@1": Column(torch.rand(14))}
    Table.write(tables / "part.safetensors", SPACE, Rows(known, columns, "made", "none"))
    values = described(methods=[{"method": "random"}, {"method": "local"}], baseline=None)
    cut = {"space": {"name": "toy", "known": "part.safetensors"}, "table": "part.safetensors"}
    values["benchmarks"] = [{**values["benchmarks"][0], **cut, "budgets": [14]}]
    experiment = Experiment.parse(values)
    list(carry_out(experiment, tmp_path / "e", tables=tables))
    for rows in _ledgers(experiment, tmp_path / "e").values():
        assert sorted(arch for _, arch, *_ in rows) == sorted(SPACE.to_text(known))


def test_a_design_is_the_same_for_all_methods_of_a_seed(tmp_path, tables):
    experiment = Experiment.parse(described(design=5))
    list(carry_out(experiment, tmp_path / "e", tables=tables))
    first = {
        name: [arch for _, arch, *_ in sorted(rows)[:5]]
        for name, rows in _ledgers(experiment, tmp_path / "e").items()
    }
    for seed in experiment.seed_list:
        assert first["random", seed] == first["local search", seed]
    assert len({tuple(archs) for archs in first.values()}) == len(experiment.seed_list)
    with pytest.raises(ValueError, match="made with design = 5, not 0"):
        list(carry_out(Experiment.parse(described()), tmp_path / "e", tables=tables))


def test_processes_change_no_result(tmp_path, tables):
    experiment = Experiment.parse(described())
    list(carry_out(experiment, tmp_path / "one", tables=tables))
    events = list(carry_out(experiment, tmp_path / "two", tables=tables, workers=2))
    assert events[-1].done == events[-1].total == 2 * 3 * 12
    assert _ledgers(experiment, tmp_path / "two") == _ledgers(experiment, tmp_path / "one")
    again = list(carry_out(experiment, tmp_path / "two", tables=tables, workers=2))
    assert [event.done for event in again] == [72]
