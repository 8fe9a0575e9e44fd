"""The folder of a fit: made, opened, trained in, killed, damaged, gone on with."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from netwright import files
from netwright.files import load_state
from netwright.generators.fit import Fit, Recipe
from netwright.generators.svge import SVGe
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.runs.run import Run
from netwright.spaces.toy import Toy

CONFIG = {"space": {"name": "toy"}, "method": {"name": "svge"}, "seed": 0, "note": "Grüße"}
SPACE = Toy()


@pytest.fixture
def run(tmp_path):
    return FitRun.create(tmp_path / "fit", CONFIG)


def make(*, hidden=8, graphs=70, count=23, period=21):
    generator = SVGe(SPACE.layout, hidden=hidden, latent_size=3, rounds=1, rng=stream(0, "init"))
    recipe = Recipe(graphs, batch_size=7, learning_rate=0.01, period=period)
    archs = SPACE.enumerate()
    return Fit(generator, archs[:count], archs[23:], recipe, seed=0)


def assert_ends_alike(left, right):
    """Two states are the same, bit for bit, but for the seconds they took."""
    for state in (left, right):
        for record in state["history"]:
            record["seconds"] = 0
        state["sums"][1] = 0
    parts = [flat(state) for state in (left, right)]
    assert parts[0].keys() == parts[1].keys()
    for name, value in parts[0].items():
        other = parts[1][name]
        same = torch.equal(value, other) if isinstance(value, torch.Tensor) else value == other
        assert same, name


def flat(state, prefix=""):
    found = {}
    for name, value in state.items():
        inner = isinstance(value, dict)
        found |= flat(value, f"{prefix}{name}/") if inner else {prefix + name: value}
    return found


# The folder


def test_a_fit_remembers_its_configuration_and_versions(run):
    opened = FitRun.open(str(run.folder))
    assert opened == run
    assert opened.config == CONFIG
    assert opened.versions["torch"] == torch.__version__
    assert opened.state() is None
    assert not opened.checkpoint.exists()


def test_a_folder_with_something_in_it_is_refused(run, tmp_path):
    with pytest.raises(FileExistsError, match="is not empty"):
        FitRun.create(run.folder, CONFIG)
    with pytest.raises(ValueError, match="cannot be written as TOML"):
        FitRun.create(tmp_path / "new", {"table": None})
    assert not (tmp_path / "new").exists()
    (tmp_path / "empty").mkdir()
    assert FitRun.create(tmp_path / "empty", {}).config == {}


def test_a_fit_is_told_from_a_search_and_from_nothing(run, tmp_path):
    search = Run.create(tmp_path / "search", {"seed": 0}).folder
    (tmp_path / "empty").mkdir()
    broken = FitRun.create(tmp_path / "broken", CONFIG).folder
    (broken / "config.toml").write_text("fit = ")
    odd = tmp_path / "odd"
    (odd / "config.toml").mkdir(parents=True)
    assert FitRun.is_one(run.folder)
    assert FitRun.is_one(str(run.folder))
    others = (search, tmp_path / "empty", tmp_path / "none", broken, odd, broken / "config.toml")
    assert not any(FitRun.is_one(folder) for folder in others)
    with pytest.raises(ValueError, match="is the folder of a search, not of a fit"):
        FitRun.open(search)
    with pytest.raises(ValueError, match="is the folder of a fit, not of a search"):
        Run.open(run.folder)
    with pytest.raises(ValueError, match=r"is not a run folder: it has no config\.toml"):
        FitRun.open(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"config\.toml is damaged"):
        FitRun.open(broken)


# Training


def test_a_fit_in_a_folder_is_the_fit(run):
    events = list(run.execute(fit := make()))
    alone = make()
    assert [event is not None for event in events] == [record is not None for record in alone.run()]
    assert fit.finished
    assert_ends_alike(run.state(), load(alone, run))
    assert list(run.execute(make())) == []  # it is finished


def load(fit, run):
    """The state of a fit as it comes back from a file."""
    files.save_state(run.folder / "other", fit.state_dict())
    return load_state(run.folder / "other")


@pytest.mark.parametrize("stops", [[1], [3], [2, 1, 4], [1] * 11])
def test_a_fit_that_is_left_goes_on(run, stops, tmp_path):
    undisturbed = FitRun.create(tmp_path / "calm", CONFIG)
    list(undisturbed.execute(make()))
    seen = 0
    for steps in stops:
        events = run.execute(fit := make(), checkpoint_every=1e9)
        for _ in range(steps):
            next(events)
        assert fit.graphs > seen
        seen = fit.graphs
        events.close()
        assert run.state()["counters"][0] == seen  # nothing is lost by leaving
    list(run.execute(make()))
    assert_ends_alike(run.state(), undisturbed.state())


def test_the_state_is_saved_at_records_and_every_so_often(run):
    saved = []
    for event in run.execute(fit := make(), checkpoint_every=1e9):
        known = run.state()
        saved.append((event is not None, known is not None and known["counters"][0] == fit.graphs))
    assert [record for record, _ in saved].count(True) > 2
    assert all(record == up_to_date for record, up_to_date in saved)
    often = FitRun.create(run.folder.with_name("often"), CONFIG)
    for _ in often.execute(fit := make(), checkpoint_every=0.0):
        assert often.state()["counters"][0] == fit.graphs


def test_a_loss_that_is_not_finite_leaves_the_last_state(run):
    fit = make(graphs=700)
    events = run.execute(fit, checkpoint_every=0.0)
    for _ in range(4):
        next(events)
    with torch.no_grad():
        next(fit.generator.parameters()).fill_(torch.nan)
    with pytest.raises(RuntimeError, match="try a smaller learning rate"):
        list(events)
    state = run.state()
    assert state["counters"][0] == 23
    assert all(bool(value.isfinite().all()) for value in state["generator"].values())
    assert next(iter(run.execute(make()))) is None  # the lock is free


# What goes wrong


@pytest.mark.slow
def test_a_second_process_is_kept_out(run):
    events = run.execute(make())
    next(events)
    with pytest.raises(BlockingIOError, match=f"another process is using {run.folder}"):
        next(run.execute(make()))
    code = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_fits import FitRun, make
try:
    next(FitRun.open({str(run.folder)!r}).execute(make()))
except BlockingIOError as error:
    print(error)
"""
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout == f"another process is using {run.folder}\n"
    events.close()
    assert len(list(run.execute(make()))) > 1


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda _: b""])
def test_a_truncated_state_is_named(run, damage):
    list(run.execute(make()))
    run.checkpoint.write_bytes(damage(run.checkpoint.read_bytes()))
    for attempt in (run.state, lambda: next(run.execute(make()))):
        with pytest.raises(ValueError, match=r"fit\.safetensors is damaged") as error:
            attempt()
        assert str(run.folder) in str(error.value)
        assert "\n" not in str(error.value)


def test_an_altered_state_is_named(run):
    list(run.execute(make()))
    data = bytearray(run.checkpoint.read_bytes())
    data[-1] ^= 1
    run.checkpoint.write_bytes(data)
    with pytest.raises(ValueError, match=r"fit\.safetensors is damaged .*checksum is wrong"):
        run.state()


def test_the_state_of_another_generator_or_of_other_data_is_refused(run):
    list(run.execute(make()))
    with pytest.raises(ValueError, match="of other sizes or operations"):
        next(run.execute(make(hidden=12)))
    with pytest.raises(ValueError, match="that fit had 23 training graphs, now there are 20"):
        next(run.execute(make(count=20)))


LIMITED = """
import resource, signal, sys
sys.path.insert(0, sys.argv[1])
from test_fits import FitRun, make
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
run = FitRun.open(sys.argv[2])
events = run.execute(make(), checkpoint_every=0.0)
for _ in range(4):
    next(events)
size = run.checkpoint.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, resource.RLIM_INFINITY))
try:
    next(events)
except OSError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are POSIX")
def test_a_full_disk_leaves_the_old_state(run, tmp_path):
    """Files of the process cannot grow, so writing fails in the middle of the new state."""
    words = [sys.executable, "-c", LIMITED, str(Path(__file__).parent), str(run.folder)]
    child = subprocess.run(words, capture_output=True, text=True, check=True)
    assert child.stdout.startswith(f"cannot write {run.checkpoint} (")
    assert child.stdout.endswith("free some space or allow writing, and go on with the fit\n")
    assert run.state()["counters"][0] == 23
    assert not list(run.folder.glob(".*.partial"))
    list(run.execute(make()))
    undisturbed = FitRun.create(tmp_path / "calm", CONFIG)
    list(undisturbed.execute(make()))
    assert_ends_alike(run.state(), undisturbed.state())


def test_what_a_killed_process_was_writing_is_removed(run):
    leftover = run.folder / ".fit.safetensors.123.partial"
    leftover.write_bytes(b"half")
    next(events := run.execute(make(), checkpoint_every=0.0))
    events.close()
    assert not leftover.exists()


# Killed


CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from test_fits import FitRun, make
run = FitRun.open(sys.argv[2])
for _ in run.execute(make(graphs=1400, period=50), checkpoint_every=0.02):
    pass
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_fit_that_is_killed_again_and_again_ends_as_one_that_is_left_alone(tmp_path):
    calm = FitRun.create(tmp_path / "calm", CONFIG)
    list(calm.execute(make(graphs=1400, period=50)))
    hunted = FitRun.create(tmp_path / "hunted", CONFIG)
    words = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(hunted.folder)]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    kills, seen = 0, 0
    for _ in range(3):
        versions = set()  # of the state: it is replaced again and again
        with subprocess.Popen(words, env=environment) as child:
            deadline = time.monotonic() + 120
            while child.poll() is None and len(versions) < 4 and time.monotonic() < deadline:
                if hunted.checkpoint.exists():
                    versions.add(hunted.checkpoint.stat().st_mtime_ns)
                time.sleep(0.005)
            child.kill()
            kills += child.wait() == -signal.SIGKILL
        reached = hunted.state()["counters"][0]
        assert reached > seen
        seen = reached
    assert kills == 3
    assert seen < 1400
    list(hunted.execute(make(graphs=1400, period=50)))
    assert_ends_alike(hunted.state(), calm.state())
