"""Pickle files read as plain data: nothing is imported, nothing of the file's choice is called.

Python's own `pickle` can run any code that a file names. This reader knows only the opcodes that
dicts, lists, tuples, sets, texts, bytes, numbers, booleans and None are made of (protocols 2 to
4), and of the objects that a file may name it knows those in `KNOWN`, by their exact names; each
becomes plain data through a function of this module. Any other name, or opcode, is an error.
Texts of Python 2 are bytes; an array of numpy's becomes a `PickledArray`.

A stream is read piece by piece, and what a file can make this reader do is bounded (`Limits`):
the bytes read after decompression, the values made, how many of them wait to be put into a
container, and how deep tuples nest (whose hash is computed by recursion). There are no opcodes
to drop a value from the stack, so nested containers, too, wait there one by one.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

#: Reads up to so many bytes; none at the end.
Read = Callable[[int], bytes]

_BLOCK: Final = 1 << 18
_MARGIN: Final = 16  # no opcode with an argument of fixed length is longer
_double = struct.Struct(">d").unpack_from
_int4 = struct.Struct("<i").unpack_from
_uint2 = struct.Struct("<H").unpack_from
_uint4 = struct.Struct("<I").unpack_from
_uint8 = struct.Struct("<Q").unpack_from


@dataclass(frozen=True)
class Limits:
    """What one file may cost.

    Attributes:
        stream: Bytes, after decompression.
        opcodes: Opcodes, and so values made.
        waiting: Values not yet in a container, and so, too, containers within containers.
        tuples: Tuples within tuples.
        text: Bytes of one text.
        kept: Bytes of one sequence of bytes; a longer one becomes an empty one. In the files of
            benchmarks these are weights, which nobody asks for.
    """

    stream: int = 1 << 30
    opcodes: int = 1 << 25
    waiting: int = 1 << 14
    tuples: int = 4
    text: int = 1 << 16
    kept: int = 64


@dataclass
class PickledArray:
    """An array of numbers that a file holds.

    Attributes:
        shape: Its sizes.
        code: Type of its numbers, such as "|u1", as numpy writes it.
        column_major: Whether the first index runs fastest.
        raw: The numbers' bytes; empty if they were more than `Limits.kept`.
    """

    shape: tuple[int, ...] = (0,)
    code: str = ""
    column_major: bool = False
    raw: bytes = b""


def load(
    read: Read,
    limits: Limits = Limits(),
    *,
    skip: int = 0,
    filled: Callable[[dict[Any, Any]], None] = lambda _: None,
) -> Any:
    """Read one pickle.

    Args:
        read: Where it comes from.
        limits: What it may cost.
        skip: Number of pickles before it.
        filled: Called with each dict whenever items were put into it; may take some out again,
            so that what nobody needs is not kept.

    Raises:
        ValueError: If it is truncated, damaged, too large, or holds anything but plain data and
            the objects in `KNOWN`.
    """
    try:
        reader = _Reader(read, limits, filled)
        for _ in range(skip):
            reader.run([])
        return reader.run([])
    except (AttributeError, LookupError, TypeError, UnicodeError, struct.error) as error:
        raise ValueError(f"it is damaged ({type(error).__name__}: {error})") from error


class _Reader:
    def __init__(
        self, read: Read, limits: Limits, filled: Callable[[dict[Any, Any]], None]
    ) -> None:
        self._read, self._limits, self._filled = read, limits, filled
        self._data, self._place, self._left = b"", 0, limits.stream
        self._memo: list[Any] = []
        self._marks: list[int] = []
        self._texts: dict[bytes, str] = {}
        self._rare = {code: getattr(self, f"_{name}") for name, code in _RARE.items()}

    def run(self, stack: list[Any]) -> Any:
        """Obey the opcodes. The frequent ones are spelt out here: a file has billions of them."""
        memo, limits, rare = self._memo, self._limits, self._rare
        memo.clear()
        texts, waiting = self._texts, limits.waiting
        data, place, end = self._data, self._place, len(self._data) - _MARGIN
        for _ in range(limits.opcodes):
            if place > end:
                self._data, self._place = data, place
                self._refill()
                data, place, end = self._data, 0, len(self._data) - _MARGIN
                if end < 0 and place >= len(data):
                    raise ValueError("it ends too early: the file is incomplete")
            code = data[place]
            place += 1
            if code == 0x94:  # MEMOIZE
                memo.append(stack[-1])
            elif code == 0x47:  # BINFLOAT
                stack.append(_double(data, place)[0])
                place += 8
            elif code == 0x4B:  # BININT1
                stack.append(data[place])
                place += 1
            elif code == 0x68:  # BINGET
                stack.append(memo[data[place]])
                place += 1
            elif code == 0x6A:  # LONG_BINGET
                stack.append(memo[_uint4(data, place)[0]])
                place += 4
            elif (  # SHORT_BINUNICODE, a text that was there before
                code == 0x8C
                and (raw := data[place + 1 : place + 1 + data[place]]) in texts
                and len(raw) == data[place]
            ):
                stack.append(texts[raw])
                place += 1 + len(raw)
            elif code == 0x2E:  # STOP
                self._data, self._place = data, place
                if len(stack) != 1:
                    raise ValueError(f"it ends with {len(stack)} values: damaged")
                return stack[0]
            else:
                if len(stack) > waiting:
                    raise ValueError(f"its values nest too deeply (more than {waiting} wait)")
                self._data, self._place = data, place
                if code not in rare:
                    raise ValueError(f"it has the opcode {code:#04x}, which no plain data needs")
                rare[code](stack)
                data, place, end = self._data, self._place, len(self._data) - _MARGIN
        raise ValueError(f"it has more than {limits.opcodes:,} opcodes: no such benchmark file")

    def _refill(self) -> None:
        if self._left <= 0:
            raise ValueError(f"it is larger than {self._limits.stream:,} bytes, decompressed")
        kept = self._data[self._place :]
        while more := self._read(min(_BLOCK, self._left)):
            kept += more
            self._left -= len(more)
            if len(kept) >= _MARGIN:
                break
        self._data, self._place = kept, 0

    def _take(self, count: int) -> bytes:
        """Return the next ``count`` bytes."""
        while len(self._data) - self._place < count:
            before = len(self._data) - self._place
            self._refill()
            if len(self._data) == before:
                raise ValueError("it ends too early: the file is incomplete")
        start = self._place
        self._place += count
        return self._data[start : start + count]

    def _skip(self, count: int) -> None:
        while count:
            self._place += (step := min(count, len(self._data) - self._place))
            count -= step
            if count and not step:
                before = len(self._data) - self._place
                self._refill()
                if len(self._data) == before:
                    raise ValueError("it ends too early: the file is incomplete")

    # Opcodes ---------------------------------------------------------------------------------

    def _proto(self, _: list[Any]) -> None:
        version = self._take(1)[0]
        if not 2 <= version <= 4:
            raise ValueError(f"it has pickle protocol {version}, where benchmark files have 2 to 4")

    def _frame(self, _: list[Any]) -> None:
        self._take(8)

    def _mark(self, stack: list[Any]) -> None:
        self._marks.append(len(stack))

    def _since_mark(self, stack: list[Any]) -> list[Any]:
        start = self._marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    def _none(self, stack: list[Any]) -> None:
        stack.append(None)

    def _true(self, stack: list[Any]) -> None:
        stack.append(True)

    def _false(self, stack: list[Any]) -> None:
        stack.append(False)

    def _int2(self, stack: list[Any]) -> None:
        stack.append(_uint2(self._take(2))[0])

    def _int4(self, stack: list[Any]) -> None:
        stack.append(_int4(self._take(4))[0])

    def _long(self, stack: list[Any]) -> None:
        stack.append(int.from_bytes(self._take(self._take(1)[0]), "little", signed=True))

    def _short_text(self, stack: list[Any]) -> None:
        raw = self._take(self._take(1)[0])
        text = self._texts.get(raw)
        if text is None:  # equal texts are one object
            text = raw.decode()
            if len(self._texts) < self._limits.text:
                self._texts[raw] = text
        stack.append(text)

    def _text(self, stack: list[Any]) -> None:
        length = _uint4(self._take(4))[0]
        if length > self._limits.text:
            raise ValueError(f"it has a text of {length:,} bytes: no such benchmark file")
        stack.append(self._take(length).decode())

    def _short_bytes(self, stack: list[Any]) -> None:
        self._bytes_of(self._take(1)[0], stack)

    def _bytes4(self, stack: list[Any]) -> None:
        self._bytes_of(_uint4(self._take(4))[0], stack)

    def _bytes8(self, stack: list[Any]) -> None:
        self._bytes_of(_uint8(self._take(8))[0], stack)

    def _bytes_of(self, length: int, stack: list[Any]) -> None:
        if length <= self._limits.kept:
            stack.append(self._take(length))
        else:
            self._skip(length)
            stack.append(b"")

    def _old_text1(self, stack: list[Any]) -> None:
        self._bytes_of(self._take(1)[0], stack)

    def _old_text4(self, stack: list[Any]) -> None:
        self._bytes_of(_uint4(self._take(4))[0], stack)

    def _dict(self, stack: list[Any]) -> None:
        stack.append({})

    def _list(self, stack: list[Any]) -> None:
        stack.append([])

    def _set(self, stack: list[Any]) -> None:
        stack.append(set())

    def _tuple0(self, stack: list[Any]) -> None:
        stack.append(())

    def _tuple1(self, stack: list[Any]) -> None:
        stack[-1:] = [self._tuple_of(stack[-1:])]

    def _tuple2(self, stack: list[Any]) -> None:
        stack[-2:] = [self._tuple_of(stack[-2:])]

    def _tuple3(self, stack: list[Any]) -> None:
        stack[-3:] = [self._tuple_of(stack[-3:])]

    def _tuple(self, stack: list[Any]) -> None:
        stack.append(self._tuple_of(self._since_mark(stack)))

    def _tuple_of(self, items: Sequence[Any]) -> tuple[Any, ...]:
        made = tuple(items)
        if _depth(made) > self._limits.tuples:
            raise ValueError(f"its tuples nest deeper than {self._limits.tuples}")
        return made

    def _append(self, stack: list[Any]) -> None:
        item = stack.pop()
        _insist(stack[-1], list).append(item)

    def _appends(self, stack: list[Any]) -> None:
        items = self._since_mark(stack)
        _insist(stack[-1], list).extend(items)

    def _additems(self, stack: list[Any]) -> None:
        items = self._since_mark(stack)
        _insist(stack[-1], set).update(items)

    def _setitem(self, stack: list[Any]) -> None:
        value, key = stack.pop(), stack.pop()
        _insist(stack[-1], dict)[key] = value
        self._filled(stack[-1])

    def _setitems(self, stack: list[Any]) -> None:
        items = self._since_mark(stack)
        if len(items) % 2:
            raise ValueError("it has a key without a value: damaged")
        _insist(stack[-1], dict).update(zip(items[::2], items[1::2], strict=True))
        self._filled(stack[-1])

    def _put1(self, stack: list[Any]) -> None:
        self._put(self._take(1)[0], stack)

    def _put4(self, stack: list[Any]) -> None:
        self._put(_uint4(self._take(4))[0], stack)

    def _put(self, index: int, stack: list[Any]) -> None:
        if index == 1 and not self._memo:
            self._memo.append(None)  # the faster pickler of Python 2 counts from 1
        if index != len(self._memo):  # as every other counts; a gap would have to be filled
            raise ValueError("its memo is out of order: damaged")
        self._memo.append(stack[-1])

    def _global(self, stack: list[Any]) -> None:
        module, name = self._line(), self._line()
        stack.append(_known(module, name))

    def _line(self) -> str:
        raw = bytearray()
        while (one := self._take(1)) != b"\n":
            raw += one
            if len(raw) > 255:
                raise ValueError("it names something with more than 255 letters")
        return raw.decode()

    def _stack_global(self, stack: list[Any]) -> None:
        name, module = stack.pop(), stack.pop()
        stack.append(_known(module, name))

    def _reduce(self, stack: list[Any]) -> None:
        arguments, known = stack.pop(), stack.pop()
        stack.append(_insist(known, _Known).make(*_insist(arguments, tuple)))

    def _build(self, stack: list[Any]) -> None:
        state = stack.pop()
        if isinstance(stack[-1], _Dtype):
            if _text(state[1]) not in ("<", "|"):
                raise ValueError("it has numbers with the highest byte first")
        elif isinstance(stack[-1], PickledArray):
            _fill(stack[-1], *_insist(state, tuple))
        else:  # an OrderedDict of weights remembers the versions of their layers
            _insist(stack[-1], dict)


_RARE: Final = {
    "proto": 0x80, "frame": 0x95, "mark": 0x28, "none": 0x4E, "true": 0x88, "false": 0x89,
    "int2": 0x4D, "int4": 0x4A, "long": 0x8A, "short_text": 0x8C, "text": 0x58,
    "short_bytes": 0x43, "bytes4": 0x42, "bytes8": 0x8E, "old_text1": 0x55,
    "old_text4": 0x54, "dict": 0x7D, "list": 0x5D, "set": 0x8F,
    "tuple0": 0x29, "tuple1": 0x85, "tuple2": 0x86, "tuple3": 0x87, "tuple": 0x74,
    "append": 0x61, "appends": 0x65, "additems": 0x90, "setitem": 0x73, "setitems": 0x75,
    "put1": 0x71, "put4": 0x72, "global": 0x63, "stack_global": 0x93, "reduce": 0x52,
    "build": 0x62,
}  # fmt: skip


@dataclass(frozen=True)
class _Known:
    """An object that a file may name, and what becomes of a call of it."""

    make: Callable[..., Any]


@dataclass(frozen=True)
class _Dtype:
    """A type of numpy's numbers, little-endian: as numpy writes it, and as `struct` does."""

    name: str
    code: str


def _text(value: Any) -> Any:
    """Return a text; those of Python 2 were read as bytes."""
    return value.decode("ascii") if isinstance(value, bytes) else value


def _dtype(name: Any, *_: object) -> _Dtype:
    codes = {"f8": "d", "f4": "f", "i8": "q", "i4": "i", "u1": "B"}
    name = _text(name)
    if name not in codes:
        raise ValueError(f"it has numpy numbers of type {name!r}, not {', '.join(codes)}")
    return _Dtype("<" + name, "<" + codes[name])


def _scalar(dtype: Any, raw: Any) -> Any:
    return struct.unpack(_insist(dtype, _Dtype).code, raw)[0]


def _array(kind: Any, *_: object) -> PickledArray:
    _insist(kind, _Ndarray)
    return PickledArray()


def _fill(array: PickledArray, _: object, shape: Any, dtype: Any, order: Any, raw: Any) -> None:
    array.shape = tuple(_insist(size, int) for size in _insist(shape, tuple))
    array.code, array.column_major = _insist(dtype, _Dtype).name, bool(order)
    array.raw = _insist(raw, bytes)


def _latin1(text: Any, encoding: Any) -> Any:
    if encoding != "latin1":
        raise ValueError(f"it has bytes in the encoding {encoding!r}")
    return text.encode("latin1")


def _ordered(items: Any = ()) -> Any:
    return dict((key, value) for key, value in items)


def _weights(*_: object) -> None:
    """A tensor, or its storage: nobody asks for it."""


class _Ndarray:
    """The name of numpy's class of arrays."""


#: What a file may name, and what becomes of it. The numpy names: a number of parameters is a numpy
#: number in the official files. The torch names: trained weights, which are not read.
KNOWN: Final = {
    ("collections", "OrderedDict"): _Known(_ordered),
    ("__builtin__", "set"): _Known(set[Any]),
    ("builtins", "set"): _Known(set[Any]),
    ("_codecs", "encode"): _Known(_latin1),
    ("numpy", "dtype"): _Known(_dtype),
    ("numpy.core.multiarray", "scalar"): _Known(_scalar),
    ("numpy._core.multiarray", "scalar"): _Known(_scalar),
    ("numpy.core.multiarray", "_reconstruct"): _Known(_array),
    ("numpy._core.multiarray", "_reconstruct"): _Known(_array),
    ("numpy", "ndarray"): _Ndarray(),
    ("torch._utils", "_rebuild_tensor_v2"): _Known(_weights),
    ("torch.storage", "_load_from_bytes"): _Known(_weights),
}


def _known(module: Any, name: Any) -> Any:
    found = KNOWN.get((module, name))
    if found is None:
        raise ValueError(
            f"it names {module}.{name}, which no benchmark file needs: do not trust this file"
        )
    return found


def _insist(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise ValueError(
            f"it is damaged (a {type(value).__name__} where a {kind.__name__} was due)"
        )
    return value


def _depth(made: tuple[Any, ...]) -> int:
    return 1 + max((_depth(item) for item in made if type(item) is tuple), default=0)
