"""Pickles read as plain data: what pickle.loads gives, and nothing for the hostile."""

import collections
import io
import os
import pickle
import struct
import subprocess

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netwright.pickles import KNOWN, Limits, load

PROTOCOLS = [2, 3, 4]


def read(raw, limits=Limits(), **options):  # noqa: B008 (frozen)
    return load(io.BytesIO(raw).read, limits, **options)


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(min_size=1, max_size=64)
)
keys = scalars | st.tuples(st.text(max_size=5), st.integers())
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(keys, inner)
        | st.tuples(scalars, scalars, scalars, scalars)
        | st.sets(st.integers() | st.text(max_size=4))
    ),
)


def typed(value):
    """The value with the types of its parts: 1, 1.0 and True differ, the order of dicts counts."""
    match value:
        case dict():
            return dict, [(typed(k), typed(v)) for k, v in value.items()]
        case set():
            return set, frozenset(map(typed, value))
        case list() | tuple():
            return type(value), [typed(v) for v in value]
    return type(value), value


@settings(max_examples=200, deadline=None)
@given(values, st.sampled_from(PROTOCOLS))
@example({f"x-valid@{i}": i / 7 for i in range(5000)}, 4)
@example(list(range(5000)), 2)
@example({"shared": [shared := {"a": 1}, shared]}, 4)
@example("a" * 300, 4)
def test_what_pickle_reads(value, protocol):
    found = read(pickle.dumps(value, protocol=protocol))
    assert typed(found) == typed(value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_known_objects_become_plain(protocol):
    value = collections.OrderedDict(
        double=np.float64(1.25), single=np.float32(0.5), long=np.int64(-7), int=np.int32(9)
    )
    found = read(pickle.dumps(value, protocol=protocol))
    assert found == {"double": 1.25, "single": 0.5, "long": -7, "int": 9}
    assert type(found) is dict
    assert {type(v) for v in found.values()} == {float, int}


@pytest.mark.parametrize("protocol", [3, 4])
def test_weights_are_not_kept(protocol):
    state = torch.nn.Linear(300, 300).state_dict()
    raw = pickle.dumps({"net": state, "after": 3}, protocol=protocol)
    assert len(raw) > 300_000
    assert read(raw) == {"net": {"weight": None, "bias": None}, "after": 3}


def test_pieces_of_any_size():
    value = {"a": [1.5, "x" * 1000, b"y" * 60], "b": list(range(3000))}
    raw = pickle.dumps(value, protocol=4)
    for size in (1, 7, 100):
        stream = io.BytesIO(raw)
        assert load(lambda n, s=size, f=stream: f.read(min(n, s))) == value


def test_texts_that_begin_like_others():
    """A text cut by the end of a piece must not be taken for a shorter one read before."""
    value = ["a" * n for n in range(60)]
    raw = pickle.dumps(value, protocol=4)
    for size in range(1, 60):
        stream = io.BytesIO(raw)
        assert load(lambda n, s=size, f=stream: f.read(min(n, s))) == value


def test_filled_sees_each_dict_once_it_has_items():
    seen = []
    read(pickle.dumps({"a": {"b": 1}, "c": {}}), filled=lambda d: seen.append(dict(d)))
    assert seen == [{"b": 1}, {"a": {"b": 1}, "c": {}}]


def test_pickles_before_it_are_skipped():
    raw = b"".join(pickle.dumps(value) for value in (1, ["x"], {"a": 2}))
    assert read(raw, skip=2) == {"a": 2}


def _calls(target, *arguments):
    class Attack:
        def __reduce__(self):
            return target, arguments

    return Attack()


class TestHostile:
    """Nothing runs, and the message says what the file wanted."""

    @pytest.mark.parametrize("protocol", PROTOCOLS)
    @pytest.mark.parametrize(
        ("target", "arguments", "name"),
        [
            (os.system, ("touch owned",), r"(posix|nt)\.system"),
            (eval, ("open('owned', 'w')",), r"(builtins|__builtin__)\.eval"),
            (subprocess.Popen, (["touch", "owned"],), r"(subprocess|commands)\.Popen"),
            (getattr, (1, "real"), r"(builtins|__builtin__)\.getattr"),
            (torch.load, ("owned",), r"torch.serialization\.load"),
            (pickle.loads, (b"",), r"c?_?[pP]ickle\.loads"),
        ],
    )
    def test_a_call(self, tmp_path, monkeypatch, protocol, target, arguments, name):
        monkeypatch.chdir(tmp_path)
        raw = pickle.dumps({"12": [_calls(target, *arguments)]}, protocol=protocol)
        with pytest.raises(ValueError, match=f"it names {name}, which no benchmark file needs"):
            read(raw)
        assert not list(tmp_path.iterdir())

    def test_names_are_exact(self):
        """No attribute of a known module, and no way through one (protocol 4's dotted names)."""
        for module, name in KNOWN:
            for other in (f"{name}.__init__", f"{name}.__class__", name.upper(), ""):
                with pytest.raises(ValueError, match="which no benchmark file needs"):
                    read(b"\x80\x04\x8c" + _short(module) + b"\x8c" + _short(other) + b"\x93.")

    def test_instances_of_known_classes_only_as_calls(self):
        """NEWOBJ, INST, OBJ, persistent and extension codes are unknown."""
        for opcode in (0x81, 0x92, ord("i"), ord("o"), ord("P"), ord("Q"), 0x82, 0x83, 0x84):
            raw = b"\x80\x02ccollections\nOrderedDict\n)" + bytes([opcode]) + b"."
            with pytest.raises(ValueError, match=f"the opcode {opcode:#04x}, which no plain data"):
                read(raw)

    @pytest.mark.parametrize("opcode", [b"0", b"1", b"2", b"I1\n", b"S'a'\n", b"\x96", b"\x97"])
    def test_opcodes_that_picklers_of_data_never_write(self, opcode):
        with pytest.raises(ValueError, match="which no plain data needs"):
            read(b"\x80\x04]" + opcode + b".")

    @pytest.mark.parametrize(
        "raw",
        [
            b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".",
            b"\x80\x04" + b"(" * 100_000 + b"]" * 100_000,
            b"\x80\x04" + b"}" * 50_000 + b".",
        ],
    )
    def test_deep_nesting(self, raw):
        with pytest.raises(ValueError, match="nest too deeply"):
            read(raw)

    @pytest.mark.parametrize("opcode", [b"\x85", b"\x94h\x00\x86", b"h\x00h\x00\x87"])
    def test_deep_tuples(self, opcode):
        """Their hash is computed by recursion: a deep one would overflow the stack."""
        with pytest.raises(ValueError, match="tuples nest deeper than 4"):
            read(b"\x80\x04)\x94" + opcode * 1_000_000 + b".")

    def test_a_key_that_holds_a_list(self):
        with pytest.raises(ValueError, match=r"damaged .*unhashable"):
            read(b"\x80\x04}]K\x01s.")

    @pytest.mark.parametrize(
        "raw",
        [
            b"\x80\x04K\x01r\xff\xff\xff\xff.",  # a memo of 4 billion places
            b"\x80\x04K\x01q\x05.",
        ],
    )
    def test_a_memo_with_gaps(self, raw):
        with pytest.raises(ValueError, match="memo is out of order"):
            read(raw)

    @pytest.mark.parametrize(
        ("raw", "match"),
        [
            (b"\x80\x04X" + struct.pack("<I", 1 << 31), "text of 2,147,483,648 bytes"),
            (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60), "ends too early"),
            (b"\x80\x04B" + struct.pack("<I", 1 << 31), "ends too early"),
            (b"\x80\x04c" + b"a" * 1000, "more than 255 letters"),
            (b"\x80\x05K\x01.", "protocol 5"),
            (b"\x80\x00K\x01.", "protocol 0"),
        ],
    )
    def test_lengths_that_lie(self, raw, match):
        with pytest.raises(ValueError, match=match):
            read(raw)

    def test_limits(self):
        raw = pickle.dumps(list(range(10_000)))
        with pytest.raises(ValueError, match="more than 500 opcodes"):
            read(raw, Limits(opcodes=500))
        big = pickle.dumps([float(i) for i in range(100_000)])
        with pytest.raises(ValueError, match="larger than 300,000 bytes, decompressed"):
            read(big, Limits(stream=300_000))

    @pytest.mark.parametrize(
        "raw",
        [
            b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00O8\x85R.",
            b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.",
            b"\x80\x02cnumpy.core.multiarray\nscalar\nK\x01K\x02\x86R.",
            b"\x80\x02K\x01)R.",
            b"\x80\x02]K\x01b.",
            b"\x80\x02}K\x01a.",
            b"\x80\x02](K\x01K\x02u.",
            b"\x80\x02}(K\x01u.",
            b"\x80\x02.",
            b"\x80\x02K\x01K\x02.",
            b"\x80\x02h\x05.",
            b"\x80\x02a.",
            b"\x80\x02t.",
            b"\x80\x02\x8c\x01\xff.",
        ],
    )
    def test_nonsense(self, raw):
        with pytest.raises(ValueError, match="it "):
            read(raw)

    def test_numbers_with_the_highest_byte_first(self):
        with pytest.raises(ValueError, match="the highest byte first"):
            read(pickle.dumps([np.dtype(">f8")]))

    @settings(max_examples=300, deadline=None)
    @given(st.binary(max_size=200))
    def test_random_bytes_never_raise_anything_else(self, raw):
        for start in (b"", b"\x80\x04", b"\x80\x04}](]"):
            try:
                read(start + raw, Limits(opcodes=10_000))
            except ValueError:
                continue

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_every_truncation_is_noticed(self, data):
        raw = pickle.dumps({"12": {"a": [1.5, "text", (1, "x")], 7: {1, 2}}}, protocol=4)
        with pytest.raises(ValueError, match="it "):
            read(raw[: data.draw(st.integers(0, len(raw) - 1))])


def _short(text):
    return bytes([len(text)]) + text.encode()
