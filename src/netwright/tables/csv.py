"""Import of tabular benchmarks from CSV files, plain or gzipped.

A row is one architecture. It stands in a column ``arch``, in the space's text form; or in the two
columns ``adjacency`` (row-major bits) and ``operations`` (names joined by commas) of
NAS-Bench-101; or in the two columns ``ops`` and ``skips``, the halves of the text form, of ENAS.
The other columns hold numbers; an empty cell is a missing value. A row that says again what an
earlier one says, architecture and numbers, counts once.

Which metric a column is, and in which unit, is either said explicitly (`parse_column`) or known
for the three files in `PROFILES`:

* ``nasbench201``: ``DATASET_SPLIT_EPOCHS``, accuracies in percent, as ``dataset/split@epochs``
  (``cifar10-valid_valid_200`` becomes ``cifar10-valid/valid@200``);
* ``nasbench101``: ``QUANTITY_EPOCHS``, accuracies as fractions, as ``cifar10/quantity@epochs``
  (``test_mean_108`` becomes ``cifar10/test@108``; ``valid_emulated_108``, which is an estimate
  and no measurement, ``cifar10/valid-emulated@108``; it is below 0 for 20 cells at chance level);
* ``enas``: ``weight_sharing_accuracy``, a fraction, as ``cifar10/weight-sharing``: the validation
  accuracy with the weights of one trained supernet.

Accuracies are stored as fractions: a column in percent is divided by 100.
"""

import csv
import gzip
import io
import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Literal, cast, get_args

import numpy as np
import torch
from jaxtyping import Float64, Int
from torch import Tensor

from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.spaces.base import SearchSpace
from netwright.tables.format import Column, Rows, Unit
from netwright.tables.reading import Progress, no_progress, read_graphs, read_texts

#: What a column of a CSV file may be written in. ``percent`` becomes a fraction. An ``estimate``
#: is a fraction that a model predicted: it is kept as it is, even where it leaves [0, 1].
Written = Literal["fraction", "percent", "estimate", "seconds", "count", "number"]

#: Smallest and largest value of each; negative or larger ones are errors.
LIMITS: dict[Written, tuple[float, float]] = {
    "fraction": (0.0, 1.0),
    "percent": (0.0, 100.0),
    "estimate": (-0.5, 1.5),
    "seconds": (0.0, math.inf),
    "count": (0.0, math.inf),
    "number": (-math.inf, math.inf),
}

#: Rows read at a time.
CHUNK = 1 << 14

_GZIP = b"\x1f\x8b"

#: The columns that an architecture may stand in; the first that a file has are read.
_FORMS = (("arch",), ("adjacency", "operations"), ("ops", "skips"))


@dataclass(frozen=True)
class Metric:
    """What a column of a CSV file means.

    Attributes:
        name: The metric, as `netwright.tables.format.Rows` wants it.
        unit: The unit in which the column is written.
    """

    name: str
    unit: Written = "fraction"


#: The columns of the known files, by search space.
PROFILES: dict[str, dict[str, Metric]] = {
    "nasbench201": {
        "trainable_parameters": Metric("parameters", "count"),
        "cifar10-valid_valid_200": Metric("cifar10-valid/valid@200", "percent"),
        "cifar10-valid_test_200": Metric("cifar10-valid/test@200", "percent"),
        "cifar10_test_200": Metric("cifar10/test@200", "percent"),
        "cifar100_valid_200": Metric("cifar100/valid@200", "percent"),
        "cifar100_test_200": Metric("cifar100/test@200", "percent"),
        "cifar10-valid_valid_12": Metric("cifar10-valid/valid@12", "percent"),
        "cifar100_valid_12": Metric("cifar100/valid@12", "percent"),
    },
    "nasbench101": {
        "trainable_parameters": Metric("parameters", "count"),
        "test_mean_108": Metric("cifar10/test@108"),
        "valid_emulated_108": Metric("cifar10/valid-emulated@108", "estimate"),
        "valid_run_4": Metric("cifar10/valid-run@4"),
        "valid_run_12": Metric("cifar10/valid-run@12"),
        "valid_run_36": Metric("cifar10/valid-run@36"),
        "valid_run_108": Metric("cifar10/valid-run@108"),
        "train_seconds_108": Metric("cifar10/train-seconds@108", "seconds"),
    },
    "enas": {"weight_sharing_accuracy": Metric("cifar10/weight-sharing")},
}


def parse_column(text: str) -> tuple[str, Metric]:
    """Read ``COLUMN=METRIC`` or ``COLUMN=METRIC:UNIT``, as given on the command line.

    Without a unit, ``parameters`` is a count, ``.../...seconds@...`` is in seconds, and anything
    else is an accuracy as a fraction: ``acc=mydata/valid@100:percent`` is one in percent.

    Raises:
        ValueError: If the text is not of that form or the unit is unknown.
    """
    column, _, rest = text.rpartition("=")
    name, _, unit = rest.partition(":")
    if not column or not name:
        raise ValueError(
            f"{text!r}: write COLUMN=METRIC[:UNIT], as in acc=mydata/valid@100:percent"
        )
    if not unit:
        seconds = name.partition("@")[0].endswith("seconds")
        unit = "count" if name == "parameters" else "seconds" if seconds else "fraction"
    for known in get_args(Written):
        if unit == known:
            return column, Metric(name, known)
    raise ValueError(f"{text!r}: unknown unit {unit!r}, use {', '.join(get_args(Written))}")


def import_csv(
    path: Path | str,
    space: SearchSpace,
    *,
    source: str,
    licence: str,
    columns: Mapping[str, Metric] | None = None,
    progress: Progress = no_progress,
) -> Rows:
    """Read a benchmark, every architecture simplified and checked for membership.

    Rows are numbered from 1, the header not counted. A row that repeats an earlier one, in its
    architecture and all numbers read, is left out.

    Args:
        path: A CSV file with a header line, possibly gzipped.
        space: The search space of its architectures.
        source: Where the measurements come from.
        licence: Theirs.
        columns: What each column to import means; the profile of ``space`` if None.
        progress: Told the number of rows read so far.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, a column is missing or unknown, a row holds an
            architecture or a number that makes no sense, or two rows hold other numbers for the
            same architecture; the message names the row.
    """
    path = Path(path)
    archs: list[ArchitectureBatch] = []
    values: list[Float64[Tensor, "row column"]] = []
    size = max(path.stat().st_size, 1)
    with path.open("rb") as raw, _text(raw) as file:
        records = _records(path, file)
        header = next(records, [])
        read_archs = _arch_reader(path, header, space)
        chosen = _chosen(path, header, space, columns)
        places = [header.index(name) for name in chosen]
        done = 0
        while chunk := list(islice(records, CHUNK)):
            by_column = list(zip(*chunk, strict=True))
            archs.append(read_archs(by_column, done))
            parsed = [_numbers(by_column[p], header[p], done) for p in places]
            values.append(torch.stack(parsed, dim=1))
            done += len(chunk)
            progress(done, raw.tell() / size)
    if not done:
        raise ValueError(f"{path} has a header but no rows")
    everything, table = ArchitectureBatch.cat(archs), torch.cat(values)
    converted = [_convert(table[:, i], *column) for i, column in enumerate(chosen.items())]
    kept = _without_repeats(space, everything, table)
    columns_kept = {
        metric.name: Column(column.values[kept], column.unit)
        for metric, column in zip(chosen.values(), converted, strict=True)
    }
    return Rows(everything[kept], columns_kept, source, licence)


def _text(raw: io.BufferedReader) -> io.TextIOWrapper:
    zipped = raw.peek(2)[:2] == _GZIP
    # utf-8-sig: spreadsheets write a byte order mark
    file = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if zipped else raw
    return io.TextIOWrapper(file, encoding="utf-8-sig", newline="")


def _records(path: Path, file: io.TextIOWrapper) -> Iterator[list[str]]:
    """Yield the header and the rows, all of one length; blank lines are skipped."""
    width, row = None, 0
    try:
        for record in csv.reader(file, strict=True):
            if not record:
                continue
            width = len(record) if width is None else width
            if len(record) != width:
                raise ValueError(f"{path}, row {row}: {len(record)} fields, the header has {width}")
            yield record
            row += 1
    except (csv.Error, EOFError, OSError, UnicodeDecodeError, zlib.error) as error:
        raise ValueError(f"{path} is damaged after row {row - 1}: {error}") from error


def _chosen(
    path: Path, header: Sequence[str], space: SearchSpace, columns: Mapping[str, Metric] | None
) -> dict[str, Metric]:
    """The columns to import: those asked for, or all that the space's profile knows."""
    if len(set(header)) != len(header):
        raise ValueError(f"{path}: two columns have the same name, rename one")
    architecture = {name for form in _forms(header) for name in form}
    numbers = [name for name in header if name not in architecture]
    hint = "name columns as in acc=mydata/valid@100:percent"
    if columns is None:
        profile = PROFILES.get(space.name, {})
        if strangers := [name for name in numbers if name not in profile]:
            raise ValueError(
                f"{path}: column {strangers[0]!r} is not known for {space.name}, {hint}"
            )
        columns = {name: profile[name] for name in numbers}
    for name in columns:
        if name not in numbers:
            raise ValueError(f"{path} has no column {name!r}: choose from {', '.join(numbers)}")
    if not columns:
        raise ValueError(f"{path}: no column to import, {hint}")
    if len({metric.name for metric in columns.values()}) != len(columns):
        raise ValueError(f"{path}: two columns are to become the same metric, rename one")
    return dict(columns)


def _arch_reader(
    path: Path, header: Sequence[str], space: SearchSpace
) -> Callable[[Sequence[Sequence[str]], int], ArchitectureBatch]:
    """Return what reads the architectures of a chunk, given its columns and first row."""
    forms = _forms(header)
    if not forms:
        raise ValueError(
            f"{path} needs a column 'arch', or 'adjacency' and 'operations', or 'ops' and 'skips'"
        )
    places = [header.index(name) for name in forms[0]]

    def parse(by_column: Sequence[Sequence[str]], start: int) -> ArchitectureBatch:
        def name(i: int) -> str:
            return f"row {start + i + 1}"

        cells = [by_column[place] for place in places]
        match forms[0]:
            case ("adjacency", "operations"):
                graphs = [f"{labels}:{bits}" for bits, labels in zip(*cells, strict=True)]
                return read_graphs(graphs, space, name=name)
            case _:  # the text form, whole or in halves
                return read_texts(
                    [";".join(row) for row in zip(*cells, strict=True)], space, name=name
                )

    return parse


def _forms(header: Sequence[str]) -> list[tuple[str, ...]]:
    """The ways in which architectures stand in a file."""
    return [form for form in _FORMS if set(form) <= set(header)]


def _without_repeats(
    space: SearchSpace, archs: ArchitectureBatch, values: Float64[Tensor, "row column"]
) -> Int[Tensor, " kept"]:
    """The rows less those that repeat an earlier one; D-VAE's file of ENAS has five of them."""
    key = space.keys(archs)
    first, known = hashing.first_of_each(key), hashing.distinct(key)
    earliest = torch.empty_like(first)
    earliest[hashing.find(known, key[first])] = first
    earliest = earliest[hashing.find(known, key)]
    earlier = values[earliest]
    agree = (values == earlier) | (values.isnan() & earlier.isnan())
    for row in (~agree.all(dim=1)).nonzero()[:, 0].tolist():
        text = space.to_text(archs[row : row + 1])[0]
        raise ValueError(
            f"rows {int(earliest[row]) + 1} and {row + 1} hold other numbers for the same "
            f"architecture, {text}: keep one"
        )
    return first


def _numbers(cells: Sequence[str], name: str, start: int) -> Float64[Tensor, " row"]:
    """Read one column of a chunk; an empty cell is NaN."""
    texts = [cell.strip() or "nan" for cell in cells]
    try:
        numbers = np.array(texts).astype(np.float64)
    except ValueError:
        for i, text in enumerate(texts):  # which one was it?
            try:
                float(text)
            except ValueError:
                raise ValueError(
                    f"row {start + i + 1}: {name} is {text!r}, which is not a number"
                ) from None
        raise
    return torch.from_numpy(numbers)


def _convert(values: Float64[Tensor, " row"], name: str, metric: Metric) -> Column:
    """Check one column and bring it into the table's unit."""
    unit: Unit
    match metric.unit:
        case "percent" | "estimate":
            unit = "fraction"
        case "fraction" | "seconds" | "count" | "number":
            unit = metric.unit
    smallest, largest = LIMITS[metric.unit]
    wrong = values.isinf() | (values < smallest) | (values > largest)
    if metric.unit == "count":
        wrong |= ~values.isnan() & (values != values.round())
    if wrong.any():
        row = int(wrong.nonzero()[0])
        reason = f"row {row + 1}: {name} is {values[row]:g}, which is no {metric.unit}"
        if metric.unit == "fraction" and values[row] > 1.5:
            reason += f": if it is in percent, write {name}={metric.name}:percent"
        raise ValueError(reason)
    if metric.unit == "percent":
        measured = values[~values.isnan()]
        if len(measured) and float(measured.max()) <= 1.0:
            raise ValueError(
                f"{name} never exceeds 1 %: if it holds fractions, write {name}={metric.name}"
            )
        values = values / 100
    return Column(values, unit)
