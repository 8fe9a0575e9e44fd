"""Run folders: made, opened, searched in, stopped, damaged, resumed."""

import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from sensitive import ALL, SPACE, Noisy, Sensitive

import netwright
from netwright import files
from netwright.files import load_state, locked, save_state
from netwright.progress import Chunk, Step
from netwright.rng import stream
from netwright.runs.ledger import Ledger
from netwright.runs.run import RESERVE, Run
from netwright.spaces.nasbench101 import NASBench101

CONFIG = {"seed": 0, "space": {"name": "toy", "sizes": [1, 2]}, "note": "Grüße"}
OPTIONS = {"budget": 20, "batch_size": 4, "seed": 0}


@pytest.fixture
def run(tmp_path):
    return Run.create(tmp_path / "run", CONFIG)


def go(run, *, searcher=None, evaluator=None, until=None, **options):
    """Search until so many events have come, then walk away."""
    searcher = searcher or Sensitive(fresh=False)
    events = run.execute(SPACE, searcher, evaluator or Noisy(), **(OPTIONS | options))
    found = []
    for event in events:
        found.append(event)
        if len(found) == until:
            break
    events.close()
    return found


def table(run, *, drop=("finished",)):
    """The ledger without times."""
    rows = [asdict(row) for row in run.ledger.rows()]
    kept = [{k: repr(v) for k, v in row.items() if k not in drop} for row in rows]
    steps = [(s.step, s.evaluations, repr(s.stats)) for s in run.ledger.steps()]
    return kept, steps


def by_number(run):
    rows, _ = table(run, drop=("finished", "id"))
    return sorted(rows, key=lambda row: (row["step"], row["status"], row["index"]))


def seeds(numbers):
    return {stream(0, f"evaluation/{i}").initial_seed() for i in numbers}


def memory(run):
    return load_state(run.checkpoint)["searcher"]["memory"]


# The folder


def test_a_run_remembers_its_configuration_and_versions(run):
    opened = Run.open(run.folder)
    assert opened == run
    assert opened.config == CONFIG
    assert opened.versions["netwright"] == netwright.__version__
    assert opened.versions["torch"] == torch.__version__
    assert opened.versions["python"] == sys.version.split()[0]
    assert opened.versions["threads"] == torch.get_num_threads()
    assert opened.versions["platform"]
    assert tomllib.loads((run.folder / "config.toml").read_text("utf-8"))["note"] == "Grüße"
    assert run.ledger.rows() == []


def test_folders_may_be_text_new_deep_or_empty(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("empty", "deep/er"):
        assert Run.open(str(Run.create(str(tmp_path / name), {}).folder)).config == {}


def test_a_folder_with_something_in_it_is_refused(run, tmp_path):
    with pytest.raises(FileExistsError, match="is not empty: resume the run in it, delete it, or"):
        Run.create(run.folder, CONFIG)
    with pytest.raises(FileExistsError, match="is not empty"):
        Run.create(run.folder / "config.toml", CONFIG)
    assert Run.open(run.folder) == run
    with pytest.raises(ValueError, match=r"cannot be written as TOML: .*NoneType"):
        Run.create(tmp_path / "new", {"timeout": None})
    with pytest.raises(ValueError, match="'versions'"):
        Run.create(tmp_path / "new", {"versions": {}})
    assert not (tmp_path / "new").exists()


def test_what_is_no_run_is_refused(tmp_path, run):
    for folder in (tmp_path, tmp_path / "none", run.folder / "config.toml"):
        with pytest.raises(ValueError, match=r"is not a run folder: it has no config\.toml"):
            Run.open(folder)
    path = run.folder / "config.toml"
    for text in (b"seed = ", b"\xff\xfe", b"seed = 1"):
        path.write_bytes(text)
        with pytest.raises(ValueError, match=r"config\.toml is damaged"):
            Run.open(run.folder)


# Searching


@pytest.mark.parametrize("mode", ["batch", "asynchronous"])
@pytest.mark.parametrize("workers", [1, 3])
def test_every_chunk_is_in_the_ledger_when_it_is_yielded(run, mode, workers):
    evaluator, count = Noisy(), 0
    events = run.execute(
        SPACE, Sensitive(fresh=False), evaluator, workers=workers, mode=mode, **OPTIONS
    )
    for event in events:
        if isinstance(event, Step):
            last = run.ledger.steps()[-1]
            assert (last.step, last.evaluations) == (event.step, event.evaluations)
            assert last.stats == event.stats
            continue
        rows = run.ledger.rows()
        texts = SPACE.to_text(event.proposals.archs)
        for i, row in enumerate(rows[count:]):
            assert (row.arch, row.index, row.key) == (texts[i], event.index[i], event.key[i])
            assert (row.status, row.step, row.origin) == (event.status, event.step, "sensitive")
            score = float(event.evaluation.score[i])
            assert row.score == score or (row.score is None and score != score)
            assert row.extras == {"noise": float(event.evaluation.extras["noise"][i])}
            assert row.error == event.evaluation.error[i]
        assert len(rows) == count + len(event)
        count = len(rows)
        if workers == 1:
            assert run.ledger.count() == len(evaluator.paid), "the next one has not started"
    assert run.ledger.count() == 20


def test_the_folder_holds_nothing_else_at_the_end(run):
    go(run)
    names = {str(p.relative_to(run.folder)) for p in run.folder.rglob("*") if p.is_file()}
    assert names == {"config.toml", "ledger.sqlite", ".lock", "checkpoint/state.safetensors"}
    state = load_state(run.checkpoint)
    assert state["last_row"] == len(run.ledger.rows())
    assert state["progress"]["step"] == len(run.ledger.steps())


@pytest.mark.parametrize("checkpoint_every", [0.0, 1000.0])
@pytest.mark.parametrize("workers", [(1, 1, 1), (3, 1, 2)])
def test_a_run_stopped_anywhere_ends_as_an_undisturbed_one(tmp_path, checkpoint_every, workers):
    calm = Run.create(tmp_path / "calm", CONFIG)
    length = len(go(calm))
    for until in range(1 + workers[0], length, 7):
        stopped, evaluator = Run.create(tmp_path / f"stopped-{until}", CONFIG), Noisy()
        for leg, end in zip(workers, (until, 3, None), strict=True):
            go(
                stopped, evaluator=evaluator, until=end, workers=leg,
                checkpoint_every=checkpoint_every,
            )  # fmt: skip
        if workers == (1, 1, 1):
            assert table(stopped) == table(calm)
        else:  # the order of completion may differ
            assert by_number(stopped) == by_number(calm)
            assert table(stopped)[1] == table(calm)[1]
        assert stopped.ledger.best().arch == calm.ledger.best().arch
        assert torch.equal(memory(stopped), memory(calm))
        assert set(evaluator.paid) == seeds(range(20))
        in_flight = sum(leg - 1 for leg in workers)
        assert len(evaluator.paid) <= 20 + in_flight, "only what was cut off is done again"


def test_what_was_committed_is_never_evaluated_again(run):
    evaluator = Noisy()
    for until in (2, 5, 9, 1, None):
        before, known = len(evaluator.paid), run.ledger.rows()
        go(run, evaluator=evaluator, until=until, checkpoint_every=1000.0)
        paid = seeds(row.index for row in known if row.status == "evaluated")
        assert not paid & set(evaluator.paid[before:])
        assert run.ledger.rows()[: len(known)] == known
    assert len(evaluator.paid) == len(set(evaluator.paid)) == 20


def test_a_finished_run_has_nothing_left_to_do_but_more(run):
    go(run)
    before = table(run)
    evaluator = Noisy()
    assert go(run, evaluator=evaluator) == []
    assert evaluator.calls == []
    assert table(run) == before
    go(run, evaluator=evaluator, budget=25)
    assert [row.index for row in run.ledger.rows() if row.status == "evaluated"] == list(range(25))
    assert len(evaluator.paid) == 5


@pytest.mark.parametrize("until", [1, 2, 4, None])
def test_initial_labels_are_kept_with_the_run(run, tmp_path, until):
    labels = ALL[:3], torch.tensor([0.5, torch.nan, 0.1])
    calm = Run.create(tmp_path / "calm", CONFIG)
    go(calm, initial=labels)
    go(run, initial=labels, until=until, checkpoint_every=1000.0)
    go(run, until=2)
    go(run, initial=(ALL[5:6], torch.tensor([0.9])))  # those in the ledger count
    assert table(run) == table(calm)
    assert torch.equal(memory(run), memory(calm))
    initial = [row for row in run.ledger.rows() if row.status == "initial"]
    assert [(row.arch, row.score) for row in initial] == list(
        zip(SPACE.to_text(ALL[:3]), [0.5, None, initial[2].score], strict=True)
    )
    assert run.ledger.count() == 20


@pytest.mark.parametrize("checkpoint", ["kept", "deleted"])
def test_asynchronous_runs_lose_nothing(run, checkpoint):
    slow = {"delay": lambda noise: float(0.01 * noise.sum())}
    searcher = None
    for until in (9, 4, 11, None):
        known = run.ledger.rows()
        if checkpoint == "deleted":
            run.checkpoint.unlink(missing_ok=True)
        searcher, evaluator = Sensitive(), Noisy(**slow)
        options = {"mode": "asynchronous", "workers": 3, "checkpoint_every": 0.0}
        go(run, searcher=searcher, evaluator=evaluator, until=until, **options)
        rows = run.ledger.rows()
        assert rows[: len(known)] == known
        paid = [row for row in known if row.status == "evaluated"]
        assert not seeds(row.index for row in paid) & set(evaluator.paid)
        if checkpoint == "deleted" and until is None:
            # The ledger alone gives the searcher back: it hears everything, in that order.
            assert [text for text, _ in searcher.told[: len(paid)]] == [row.arch for row in paid]
    paid = [row for row in run.ledger.rows() if row.status == "evaluated"]
    assert sorted(row.index for row in paid) == list(range(20))
    assert len({row.key for row in paid}) == 20


def test_a_searcher_gets_back_what_it_had_learned(run):
    searcher = Sensitive()
    with pytest.raises(ValueError, match="has no checkpoint yet: resume the run"):
        run.restore(searcher)
    go(run, searcher=searcher)
    back = Sensitive()
    run.restore(back)
    assert torch.equal(back.memory, searcher.memory)
    assert back.memory.tolist() != Sensitive().memory.tolist()


def test_checkpoints_are_written_now_and_then(run):
    saved = []
    for event in run.execute(SPACE, Sensitive(), Noisy(), checkpoint_every=0.0, **OPTIONS):
        if isinstance(event, Step):
            saved.append(load_state(run.checkpoint)["progress"]["step"])
    assert saved == [1, 2, 3, 4, 5]
    run.checkpoint.unlink()
    go(run, until=3)
    assert not run.checkpoint.exists(), "ten seconds have not passed"


# Damage


@pytest.mark.parametrize("how", ["truncated", "empty", "old format", "ahead of the ledger"])
def test_a_damaged_checkpoint_costs_nothing_but_time(run, tmp_path, how):
    calm = Run.create(tmp_path / "calm", CONFIG)
    go(calm)
    evaluator = Noisy()
    go(run, evaluator=evaluator, until=13, checkpoint_every=0.0)
    data = run.checkpoint.read_bytes()
    state = load_state(run.checkpoint)
    match how:
        case "truncated":
            run.checkpoint.write_bytes(data[:-50])
        case "empty":
            run.checkpoint.write_bytes(b"")
        case "old format":
            save_state(run.checkpoint, state | {"format": 0})
        case "ahead of the ledger":
            save_state(run.checkpoint, state | {"last_row": 1000})
    with pytest.warns(UserWarning, match="from its start instead, without evaluating anything"):
        go(run, evaluator=evaluator)
    assert table(run) == table(calm)
    assert torch.equal(memory(run), memory(calm))
    assert len(evaluator.paid) == 20


def test_a_kill_while_a_checkpoint_is_written_leaves_the_last_one(run, tmp_path, monkeypatch):
    calm = Run.create(tmp_path / "calm", CONFIG)
    go(calm)
    go(run, until=8, checkpoint_every=0.0)
    state = run.checkpoint.read_bytes()
    leftover = run.checkpoint.with_name(".state.safetensors.123.partial")
    leftover.write_bytes(state[:100])

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    monkeypatch.setattr(Path, "replace", kill)
    with pytest.raises(Killed):
        go(run, checkpoint_every=0.0)
    monkeypatch.undo()
    assert run.checkpoint.read_bytes() == state
    go(run)
    assert table(run) == table(calm)
    assert not leftover.exists()


def test_a_damaged_ledger_is_one_clear_error(run):
    go(run)
    path = run.folder / "ledger.sqlite"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"ledger\.sqlite is damaged .*restore it from a backup"):
        go(run)
    path.unlink()
    with pytest.raises(ValueError, match=r"ledger\.sqlite is missing"):
        go(run)


def test_a_row_whose_text_was_altered_is_noticed(run):
    import sqlite3

    go(run, until=9)
    with sqlite3.connect(run.folder / "ledger.sqlite") as db:
        db.execute("UPDATE evaluations SET arch = 'conv3x3,conv3x3,conv3x3' WHERE id = 2")
    db.close()
    with pytest.raises(ValueError, match="row 2 of the ledger has the key of another architecture"):
        go(run)


def test_another_seed_or_space_is_refused(run):
    go(run, until=9)
    with pytest.raises(ValueError, match="search with seed 0, not 1"):
        go(run, seed=1)
    with pytest.raises(ValueError, match="search with space toy, not nasbench101"):
        next(run.execute(NASBench101(), Sensitive(), Noisy(), **OPTIONS))
    go(run)
    assert run.ledger.count() == 20


# A full disk


def full_after(monkeypatch, appends):
    """Let the disk be full after so many commits, until the reserve is given up."""
    real, count = Ledger.append, [0]

    def append(self, chunk, texts):
        count[0] += 1
        if count[0] > appends and (self.path.parent / ".reserve").exists():
            raise OSError(f"the disk of {self.path} is full")
        real(self, chunk, texts)

    monkeypatch.setattr(Ledger, "append", append)


def test_the_result_in_hand_is_saved_on_a_full_disk(run, monkeypatch):
    evaluator = Noisy()
    full_after(monkeypatch, 6)
    with pytest.raises(OSError, match="is full"):
        go(run, searcher=Sensitive(), evaluator=evaluator)
    assert run.ledger.count() == len(evaluator.paid) == 7
    monkeypatch.undo()
    go(run, searcher=Sensitive(), evaluator=evaluator)
    assert len(evaluator.paid) == len(set(evaluator.paid)) == 20


def test_space_is_set_aside_while_searching_only(run):
    events = run.execute(SPACE, Sensitive(), Noisy(), **OPTIONS)
    next(events)
    assert (run.folder / ".reserve").stat().st_size == RESERVE
    events.close()
    assert not (run.folder / ".reserve").exists()


def test_a_disk_that_is_full_from_the_start_is_said_before_anything_is_paid_for(run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    evaluator = Noisy()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device\): free some space"):
        go(run, evaluator=evaluator)
    assert evaluator.calls == []


def test_a_checkpoint_that_does_not_fit_is_one_clear_error(run, monkeypatch):
    real = files.write_atomic

    def full(path, data):
        if path.suffix == ".safetensors":
            raise OSError(28, "No space left on device")
        real(path, data)

    monkeypatch.setattr(files, "write_atomic", full)
    with pytest.raises(OSError, match="every evaluation is safe in the ledger; free some space"):
        go(run)
    assert run.ledger.count() == 20


@pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or not shutil.which("mount"), reason="needs root"
)
def test_on_a_small_disk(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        run, evaluator = Run.create(small / "run", CONFIG), Noisy()
        filler = small / "filler"

        class Filling(Noisy):
            def __call__(self, archs, *, rngs):
                if len(self.calls) == 9:
                    fill(filler)
                return super().__call__(archs, rngs=rngs)

        evaluator = Filling()
        with pytest.raises(OSError, match="full") as raised:
            go(run, evaluator=evaluator, budget=27)
        assert "\n" not in str(raised.value)
        run.ledger.check()
        assert run.ledger.count() == len(evaluator.paid)
        with pytest.raises(OSError, match=r"(is full|No space left).* free some space"):
            go(run, evaluator=Noisy())
        filler.unlink()
        calm = Run.create(small / "calm", CONFIG)
        go(calm)
        more = Noisy()
        go(run, evaluator=more)
        assert table(run) == table(calm)
        assert not set(more.paid) & set(evaluator.paid)
    finally:
        subprocess.run(["umount", str(small)], check=True)


def fill(path):
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


# Others


def test_a_second_process_is_kept_out_and_readers_are_not(run):
    with (
        locked(run.folder / ".lock"),
        pytest.raises(BlockingIOError, match=f"another process is using {run.folder}"),
    ):
        go(run)
    assert run.ledger.rows() == []
    first = run.execute(SPACE, Sensitive(fresh=False), Noisy(), **OPTIONS)
    for _ in range(6):
        next(first)
    with pytest.raises(BlockingIOError):
        go(run)
    assert Run.open(run.folder).ledger.count() >= 4
    first.close()
    go(run)
    assert run.ledger.count() == 20


PROGRAM = """
import signal
import sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs us with "&"
sys.path.insert(0, sys.argv[2])
from netwright.runs.run import Run
from sensitive import SPACE, Noisy, Sensitive
run = Run.open(Path(sys.argv[1]))
slow = Noisy(delay=lambda _: 0.0 if len(slow.calls) <= 6 else 2.0)
options = {"budget": 20, "batch_size": 4, "seed": 0, "workers": int(sys.argv[3])}
try:
    for _ in run.execute(SPACE, Sensitive(fresh=False), slow, **options):
        print("event", flush=True)
except KeyboardInterrupt:
    sys.exit(7)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_stops_cleanly(run, tmp_path, workers):
    tests = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-c", PROGRAM, str(run.folder), str(tests), str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(5):
            assert process.stdout.readline() == "event\n"
        with pytest.raises(BlockingIOError, match="another process is using"):
            go(run)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 7
        assert time.monotonic() - begun < 10
    assert not (run.folder / ".reserve").exists()
    known = run.ledger.rows()
    assert len(known) >= 4
    calm = Run.create(tmp_path / "calm", CONFIG)
    go(calm)
    go(run)
    assert run.ledger.rows()[: len(known)] == known
    if workers == 1:
        assert table(run) == table(calm)


def test_events_are_those_of_the_search(run):
    first = go(run, until=12)
    again = go(run, until=None)
    assert {type(event) for event in first} == {Chunk, Step}
    recalled = [e for e in again if isinstance(e, Chunk) and e.status == "recalled"]
    known = {i for e in first if isinstance(e, Chunk) and e.status == "evaluated" for i in e.index}
    assert {i for e in recalled for i in e.index} == known
    assert all(float(e.evaluation.cost.sum()) == 0 for e in recalled)
