"""Atomic writes, state trees and the lock between processes."""

import json
import math
import os
import signal
import subprocess
import sys
import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.files import load_state, locked, save_state, write_atomic

DTYPES = [
    getattr(torch, name)
    for name in (
        "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64",
        "float16", "bfloat16", "float32", "float64", "complex64", "float8_e4m3fn", "float8_e5m2",
    )
]  # fmt: skip


class Crash(BaseException):
    """What kills the program in the middle of a write."""


def crash(*_):
    raise Crash


# Atomic writes


def test_text_and_bytes(tmp_path):
    write_atomic(tmp_path / "text", "Grüße\n")
    write_atomic(tmp_path / "bytes", b"\x00\xff")
    assert (tmp_path / "text").read_bytes() == "Grüße\n".encode()
    assert (tmp_path / "bytes").read_bytes() == b"\x00\xff"
    write_atomic(tmp_path / "bytes", b"")
    assert (tmp_path / "bytes").read_bytes() == b""
    assert {p.name for p in tmp_path.iterdir()} == {"text", "bytes"}


@pytest.mark.parametrize("moment", ["os.fsync", "pathlib.Path.replace"])
def test_a_crash_before_the_end_leaves_the_old_file(tmp_path, monkeypatch, moment):
    path = tmp_path / "file"
    write_atomic(path, "old")
    monkeypatch.setattr(moment, crash)
    with pytest.raises(Crash):
        write_atomic(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_the_name_changes(tmp_path, monkeypatch):
    events = []
    real_fsync, real_replace = os.fsync, type(tmp_path).replace

    def fsync(fd):
        size = os.fstat(fd).st_size
        events.append("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else f"{size} bytes")
        real_fsync(fd)

    def replace(self, target):
        events.append("replace")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(type(tmp_path), "replace", replace)
    write_atomic(tmp_path / "file", "12345")
    assert events == ["5 bytes", "replace", "folder"]


def test_killed_at_any_moment_a_file_is_old_or_new(tmp_path):
    path = tmp_path / "file"
    program = (
        "import sys; from pathlib import Path; from netwright.files import write_atomic\n"
        "n = 0\n"
        "while True:\n"
        "    write_atomic(Path(sys.argv[1]), str(n % 10) * 300_000); n += 1\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)]) as process:
        while not path.exists():
            assert process.poll() is None
        for _ in range(50):
            assert len(text := path.read_text()) == 300_000
            assert len(set(text)) == 1
        process.kill()
    assert len(text := path.read_text()) == 300_000
    assert len(set(text)) == 1


# State trees


def same(a, b):
    if isinstance(a, torch.Tensor):
        bits = [x.contiguous().reshape(-1).view(torch.uint8) for x in (a, b)]
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(*bits)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    return type(a) is type(b) and a == b


def round_trip(folder, state):
    save_state(folder / "state", state)
    return load_state(folder / "state")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 2), (2, 3)], ids=str)
def test_tensors_of_every_type(tmp_path, dtype, shape):
    numbers = torch.arange(math.prod(shape)).reshape(shape).to(dtype)
    assert same(round_trip(tmp_path, {"x": numbers}), {"x": numbers})


def test_special_numbers_views_and_parameters(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    state = {
        "special": torch.tensor([math.nan, math.inf, -math.inf, -0.0, 1e-45]),
        "transposed": base.T,
        "strided": base[:, ::2],
        "shared": [base, base[0], base],
        "expanded": torch.zeros(1).expand(5),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "conjugate": torch.tensor([1 + 2j]).conj(),
        "numbers": [math.nan, math.inf, -math.inf, -0.0, 2**80, 0.1, True, None, "ü"],
    }
    back = round_trip(tmp_path, state)
    state["parameter"] = state["parameter"].detach()
    state["conjugate"] = state["conjugate"].resolve_conj()
    assert same(state, back)
    assert not back["parameter"].requires_grad


def test_names_that_could_collide(tmp_path):
    one, two, three = torch.ones(1), torch.ones(2), torch.ones(3)
    state = {"a/b": one, "a": {"b": two, "": three}, "": {"a": one}, "ключ 🗝": [two], "0": three}
    assert same(round_trip(tmp_path, state), state)


def test_tuples_come_back_as_lists_and_an_empty_state_is_one(tmp_path):
    assert round_trip(tmp_path, {"x": (1, (2,)), "none": {}, "empty": []}) == {
        "x": [1, [2]], "none": {}, "empty": [],
    }  # fmt: skip
    assert round_trip(tmp_path, {}) == {}


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.lists(st.floats(width=32), max_size=3).map(torch.tensor)
)
keys = st.text().filter(lambda key: key != "__tensor__")
trees = st.recursive(leaves, lambda t: st.lists(t, max_size=3) | st.dictionaries(keys, t))


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(keys, trees, max_size=4))
def test_any_tree_survives(tmp_path_factory, state):
    assert same(round_trip(tmp_path_factory.mktemp("state"), state), state)


@pytest.mark.parametrize(
    "state",
    [
        {"x": {1, 2}}, {"x": object()}, {"x": b"bytes"}, {0: "x"}, {"x": [{None: 1}]},
        {"x": {"__tensor__": "0"}}, {"x": torch.zeros(1, dtype=torch.complex128)},
        {"x": __import__("numpy").float32(1)},
    ],
    ids=["set", "object", "bytes", "integer key", "None key", "reserved key", "complex", "numpy"],
)  # fmt: skip
def test_what_cannot_be_stored_is_refused_and_the_old_file_kept(tmp_path, state):
    save_state(tmp_path / "state", {"old": 1})
    with pytest.raises(TypeError):
        save_state(tmp_path / "state", state)
    assert load_state(tmp_path / "state") == {"old": 1}


def test_damage_anywhere_is_noticed(tmp_path):
    path = tmp_path / "state"
    save_state(path, {"x": torch.arange(5), "step": 12, "name": ["a", "b"]})
    whole = path.read_bytes()
    for size in [*range(0, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="is damaged or is not a state file"):
            load_state(path)
    harmless = 0
    for position in range(8, len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        try:
            state = load_state(path)
        except ValueError:
            continue
        assert same(state, {"x": torch.arange(5), "step": 12, "name": ["a", "b"]})
        harmless += 1
    assert harmless <= 2  # padding
    path.write_bytes(b"not a state")
    with pytest.raises(ValueError, match="is damaged or is not a state file"):
        load_state(path)
    from safetensors.torch import save

    for metadata in (None, {"tree": "{}"}, {"tree": "[1", "checksum": "0"}):
        path.write_bytes(save({"x": torch.ones(1)}, metadata=metadata))
        with pytest.raises(ValueError, match="is damaged or is not a state file"):
            load_state(path)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        load_state(tmp_path / "none")


def test_loaded_tensors_are_free_of_the_file(tmp_path):
    path = tmp_path / "state"
    save_state(path, {"x": torch.zeros(1000)})
    loaded = load_state(path)["x"]
    loaded += 1
    assert load_state(path)["x"].sum() == 0
    save_state(path, {"x": torch.full((1000,), 2.0)})
    assert loaded.sum() == 1000


def test_saving_freezes_the_moment(tmp_path):
    x = torch.zeros(3)
    save_state(tmp_path / "state", {"x": x})
    x += 1
    assert load_state(tmp_path / "state")["x"].sum() == 0


# The lock

HOLD = (
    "import sys, time; from pathlib import Path; from netwright.files import locked\n"
    "with locked(Path(sys.argv[1])):\n"
    "    print('held', flush=True); time.sleep(60)\n"
)


def test_the_lock_keeps_others_out_until_its_process_dies(tmp_path):
    path = tmp_path / "run" / "lock"
    path.parent.mkdir()
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(BlockingIOError, match=f"another process is using {path.parent}"),
            locked(path),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with locked(path):
        pass


def test_the_lock_is_exclusive_in_one_process_too_and_is_released(tmp_path):
    path = tmp_path / "lock"
    for _ in range(2):
        with locked(path), pytest.raises(BlockingIOError), locked(path):
            pass
    with pytest.raises(Crash), locked(path):
        raise Crash
    with locked(path):
        pass


def test_another_thread_may_release_the_lock(tmp_path):
    lock = locked(tmp_path / "lock")
    lock.__enter__()
    thread = threading.Thread(target=lock.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    with locked(tmp_path / "lock"):
        pass


def test_state_files_are_ordinary_safetensors(tmp_path):
    save_state(tmp_path / "state", {"weights": {"w": torch.ones(2)}, "step": 3})
    data = (tmp_path / "state").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert json.loads(header["__metadata__"]["tree"])["step"] == 3
