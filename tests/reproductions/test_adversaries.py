"""Adversarial fits of many settings and seeds: groups, folders, interruptions, measures kept."""

import shutil

import pytest
import torch

from netwright.config.adversarial import AdversarialConfig, make_adversarial_fit
from netwright.files import load_state
from netwright.graphs import hashing
from netwright.reproductions.adversaries import (
    TOGETHER,
    Adversary,
    generate,
    remembered,
    train,
    valuer_tau,
)
from netwright.runs.fits import FitRun
from netwright.spaces.nasbench101 import NASBench101
from netwright.tables.format import Column, Rows, Table

METRIC = "cifar10/test@108"
SPACE = NASBench101(max_nodes=5)
SMALL = {"name": "gnn2gnn", "hidden": 8}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """200 cells; more 3x3 convolutions are better."""
    path = tmp_path_factory.mktemp("tables") / "t.safetensors"
    archs = SPACE.enumerate()[::12][:200]
    score = 0.5 + (archs.ops == 2).sum(dim=1) / 10 + torch.arange(200) / 1e5
    Table.write(path, SPACE, Rows(archs, {METRIC: Column(score)}, "made", "none"))
    return path


def adversary(table, name="one", *, method=SMALL, data=None, **recipe):
    length = {} if "epochs" in recipe else {"graphs": 96}
    recipe = {"batch_size": 16, "period": 32, **length, **recipe}
    settings = {
        "preset": "best",
        "space": {"name": "nasbench101", "max_nodes": 5},
        "method": method,
        "data": {"table": str(table), "metric": METRIC, **(data or {})},
        "recipe": recipe,
    }
    return Adversary(name, settings)


def three(table):
    """Two that train together, with different balance and tau, and one that does not."""
    return [
        adversary(table),
        adversary(table, "two", method={**SMALL, "tau": 0.5}, balance=0.7),
        adversary(table, "other", method={"name": "rnn", "hidden": 8, "latent_size": 4}),
    ]


def finish(adversaries, seeds, root):
    return list(train(adversaries, seeds, root))


def same(first, second, *, within=0.0):
    """Insist that two trees are equal, but for the seconds."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first.keys() - {"seconds"}:
            same(first[key], second[key], within=within)
    elif isinstance(first, list):
        assert len(first) == len(second)
        for a, b in zip(first, second, strict=True):
            same(a, b, within=within)
    elif isinstance(first, torch.Tensor):
        assert first.equal(second) if not within else torch.allclose(first, second, atol=within)
    elif isinstance(first, float) and within:
        assert first == pytest.approx(second, abs=within)
    else:
        assert first == second


def state(root, name, seed):
    return FitRun.open(root / name / f"seed-{seed}").state()


def counted(monkeypatch):
    """Note how many fits each group has."""
    groups = []

    def make(configs):
        groups.append([(config.method.name, config.seed) for config in configs])
        return make_adversarial_fit(configs)

    monkeypatch.setattr("netwright.reproductions.adversaries.make_adversarial_fit", make)
    return groups


class TestGroups:
    def test_alike_ones_train_together_and_are_split(self, table, tmp_path, monkeypatch):
        groups = counted(monkeypatch)
        events = finish(three(table), [0, 1], tmp_path)
        names = [("gnn2gnn", 0), ("gnn2gnn", 1)]
        assert groups == [[*names, *names], [("rnn", 0), ("rnn", 1)]]
        assert events[0] == (0, 6 * 96, "")
        assert [event.done for event in events[1:]] == [
            *(4 * 16 * i for i in range(1, 7)),
            *(4 * 96 + 2 * 16 * i for i in range(1, 7)),
        ]
        assert (events[1].what, events[-1].what) == ("1/2: 4 x one", "2/2: 2 x other")
        folders = sorted(str(p.parent.relative_to(tmp_path)) for p in tmp_path.glob("*/*/*.toml"))
        names = ("one", "other", "two")
        assert folders == [f"{name}/seed-{seed}" for name in names for seed in (0, 1)]
        assert list((tmp_path / "together").iterdir()) == []

    def test_no_more_than_pay(self, table, tmp_path, monkeypatch):
        groups = counted(monkeypatch)
        one = adversary(table, graphs=16)
        events = finish([one], range(TOGETHER + 2), tmp_path)
        assert [len(group) for group in groups] == [TOGETHER, 2]
        assert events[-1].done == events[0].total == 16 * (TOGETHER + 2)

    def test_last_batch_that_goes_beyond_counts_as_the_end(self, table, tmp_path):
        events = finish([adversary(table, graphs=20)], [0], tmp_path)
        assert [(event.done, event.total) for event in events] == [(0, 20), (16, 20), (20, 20)]

    def test_epochs_of_fewer_cells_train_apart(self, table, tmp_path, monkeypatch):
        groups = counted(monkeypatch)
        some = [
            adversary(table, "most", epochs=1),
            adversary(table, "half", epochs=1, data={"hold_out_top": 0.5}),
        ]
        events = finish(some, [0], tmp_path)
        assert len(groups) == 2
        assert events[0].total == 135 + 75
        assert state(tmp_path, "most", 0)["counters"][0] == 144
        assert state(tmp_path, "half", 0)["counters"][0] == 80

    def test_seed_is_also_that_of_the_split(self, table, tmp_path):
        one = adversary(table)
        finish([one], [0, 1], tmp_path)
        runs = [FitRun.open(one.folder(tmp_path, seed)) for seed in (0, 1)]
        splits = [generate(run, n=1).split for run in runs]
        assert splits[0].train_rows.tolist() != splits[1].train_rows.tolist()
        assert splits[0].top_rows.tolist() == splits[1].top_rows.tolist()


def test_each_is_what_it_would_be_alone(table, tmp_path):
    finish(three(table), [0, 1], tmp_path)
    for one in three(table):
        for seed in (0, 1):
            config = one.config(seed)
            run = FitRun.create(tmp_path / "alone" / one.name / str(seed), config.resolved())
            list(run.execute(make_adversarial_fit([config])))
            same(state(tmp_path, one.name, seed), run.state(), within=1e-5)
            together = FitRun.open(one.folder(tmp_path, seed))
            assert together.config == run.config
            drawn = [SPACE.to_text(generate(r, n=20).archs) for r in (run, together)]
            assert drawn[0] == drawn[1]
    assert SPACE.to_text(generate(together, n=20).archs) != SPACE.to_text(
        generate(FitRun.open(one.folder(tmp_path, 0)), n=20).archs
    )


class TestInterruption:
    @pytest.mark.parametrize("steps", [1, 5, 8, 12])
    def test_goes_on_bit_for_bit(self, table, tmp_path, steps):
        """In the first group, of 6 steps, at its end, and in the second one."""
        seeds = [0, 1]
        finish(three(table), seeds, tmp_path / "whole")
        events = train(three(table), seeds, tmp_path / "r")
        for _ in range(steps + 1):
            next(events)
        events.close()
        assert len(list((tmp_path / "r" / "together").iterdir())) == 1
        first = next(train(three(table), seeds, tmp_path / "r"))
        assert (first.done, first.total) == (0, (6 if steps < 7 else 2) * 96)
        again = finish(three(table), seeds, tmp_path / "r")
        begun = (4 if steps < 7 else 2) * 16  # what is done after a first step
        assert all(event.done > begun for event in again[1:2])  # not from the beginning
        for one in three(table):
            for seed in seeds:
                same(
                    state(tmp_path / "r", one.name, seed), state(tmp_path / "whole", one.name, seed)
                )
        assert list((tmp_path / "r" / "together").iterdir()) == []

    def test_killed_before_a_fit_had_its_state(self, table, tmp_path):
        one = adversary(table)
        finish([one], [0], tmp_path / "whole")
        FitRun.create(one.folder(tmp_path, 0), one.config(0).resolved())
        finish([one], [0], tmp_path)
        same(state(tmp_path, "one", 0), state(tmp_path / "whole", "one", 0))


class TestFinished:
    def test_is_not_trained_again(self, table, tmp_path, monkeypatch):
        finish([adversary(table)], [0], tmp_path)
        before = (tmp_path / "one" / "seed-0" / "fit.safetensors").stat().st_mtime_ns
        groups = counted(monkeypatch)
        assert finish([adversary(table)], [0], tmp_path) == [(0, 0, "")]
        assert groups == []
        finish(three(table)[:2], [0, 1], tmp_path)
        assert groups == [[("gnn2gnn", 1), ("gnn2gnn", 0), ("gnn2gnn", 1)]]
        assert (tmp_path / "one" / "seed-0" / "fit.safetensors").stat().st_mtime_ns == before

    @pytest.mark.parametrize("changes", [{"entropy": 0.5}, {"data": {"limit": 50}}], ids=str)
    def test_other_settings_are_refused(self, table, tmp_path, changes):
        finish([adversary(table)], [0], tmp_path)
        message = r"one.seed-0 holds a fit of other settings: remove it, or name another folder wi"
        with pytest.raises(ValueError, match=message):
            finish([adversary(table, **changes)], [0], tmp_path)

    def test_wrong_settings_are_found_before_anything_starts(self, table, tmp_path):
        with pytest.raises(ValueError, match=r"recipe\.speed: there is no such setting"):
            finish([adversary(table), adversary(table, "x", speed=1)], [0], tmp_path)
        assert list(tmp_path.iterdir()) == []


class TestMeasures:
    @pytest.fixture
    def run(self, table, tmp_path):
        one = adversary(table)
        finish([one], [0], tmp_path)
        return FitRun.open(one.folder(tmp_path, 0))

    def test_generate(self, run):
        made = generate(run, n=300)
        assert len(made.archs) == 300
        assert made.space.name == SPACE.name
        assert made.split.train_rows.tolist() == generate(run, n=1).split.train_rows.tolist()
        again = generate(run, n=300)
        assert made.archs.equal(again.archs).all()
        hot = generate(run, n=300, temperature=5.0)
        different = [len(hashing.distinct(hashing.keys(m.archs))) for m in (made, hot)]
        assert different[1] > different[0]

    def test_valuer_alone(self, run, table):
        """Of the cells held out at random: the share of pairs in the right order less the rest."""
        from netwright.config.adversarial import load_valuer, read_split
        from netwright.generators.relaxed import Relaxed

        config = AdversarialConfig.parse(run.config)
        split = read_split(config, SPACE)
        opened = Table.open(table)
        archs = opened.archs(split.random_rows).pad(5)
        with torch.no_grad():
            value = load_valuer(config, run.state())(Relaxed.of([archs], 5))[0]
        truth = opened.column(METRIC)[split.random_rows]
        pairs = (value[:, None] - value).sign() * (truth[:, None] - truth).sign()
        ties = (value[:, None] == value).sum() - len(value)
        if not int(ties):
            expected = float(pairs.sum()) / (len(value) * (len(value) - 1))
            assert valuer_tau(run) == pytest.approx(expected, abs=1e-6)
        assert -1 <= valuer_tau(run) <= 1

    def test_are_taken_once(self, run):
        taken = []

        def measure(value):
            def take():
                taken.append(value)
                return {"top-5": value, "acc": 0.1}

            return take

        assert remembered(run, "a", measure(1.5)) == {"top-5": 1.5, "acc": 0.1}
        assert remembered(run, "a", measure(2.5)) == {"top-5": 1.5, "acc": 0.1}
        assert remembered(run, "b", measure(3.5)) == {"top-5": 3.5, "acc": 0.1}
        assert taken == [1.5, 3.5]
        assert set(load_state(run.folder / "measures.safetensors")) == {"a", "b"}

    def test_without_a_state(self, run, tmp_path):
        shutil.copytree(run.folder, tmp_path / "bare")
        (tmp_path / "bare" / "fit.safetensors").unlink()
        with pytest.raises(ValueError, match="bare holds no parameters yet: go on with its fit"):
            generate(FitRun.open(tmp_path / "bare"))
