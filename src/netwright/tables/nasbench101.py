"""The official files of NAS-Bench-101 [Ying2019], read without TensorFlow.

``nasbench_only108.tfrecord`` and ``nasbench_full.tfrecord`` hold one record per training: 423,624
cells, three trainings (repeats) each, of 108 epochs or of 4, 12, 36 and 108. From the benchmark's
own reader (github.com/google-research/nasbench, ``api.py`` and ``model_metrics.proto``):

* a record is a JSON list ``[module_hash, epochs, adjacency, operations, metrics]``: the hash as
  hexadecimal digits, the row-major adjacency matrix as a string of 0 and 1, the operations joined
  by commas, and the metrics as a base64 string;
* the metrics are a protocol buffer ``ModelMetrics`` with three evaluations: before training (not
  used), halfway, and at the end. Each has the accuracy on 10,000 images of the training set, on
  the 10,000 validation images and on the 10,000 test images, and the seconds of training so far;
* the k-th record of a cell and a number of epochs is its k-th repeat. The repeats of the official
  ``get_metrics_from_spec`` stand in that order, and ``query`` draws one of them.

Metrics of the table, for every number of epochs E in the file:

==================================  ========================================================
``parameters``                      trainable parameters
``cifar10/valid@E`` (test, train)   accuracy at the end, mean of the repeats
``cifar10/train-seconds@E``         seconds of training, mean of the repeats
``cifar10/repeats@E``               number of repeats: 3 in the official files
==================================  ========================================================

With all runs, also ``-half`` (halfway through the E epochs) and ``-run1`` to ``-run3`` (single
repeats) of each, as in ``cifar10/valid-half@108``, ``cifar10/test-run2@108`` and
``cifar10/train-seconds-half-run3@36``.

A cell is stored with its nodes in the file's order: the number of parameters depends on it.
"""

import base64
import binascii
import json
import math
from array import array
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from netwright.graphs.batch import ArchitectureBatch
from netwright.spaces.nasbench101 import NASBench101
from netwright.tables.format import Column, Rows, Unit
from netwright.tables.reading import Progress, no_progress, read_graphs
from netwright.tables.tfrecord import read_records

#: Trainings of a cell for a number of epochs.
REPEATS: Final = 3

#: Records between two reports of progress.
REPORT = 1 << 14

_QUANTITIES: Final[dict[str, Unit]] = {
    "train": "fraction",
    "valid": "fraction",
    "test": "fraction",
    "train-seconds": "seconds",
}
_CELLS = 1 << 14


def import_nasbench101(
    path: Path | str,
    *,
    source: str,
    licence: str = "Apache-2.0",
    all_runs: bool = False,
    progress: Progress = no_progress,
) -> Rows:
    """Read ``nasbench_only108.tfrecord`` or ``nasbench_full.tfrecord``.

    Args:
        path: The file.
        source: Where the measurements come from.
        licence: Theirs.
        all_runs: Whether to keep single repeats and the halfway evaluations too.
        progress: Told the number of records read so far.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is truncated, altered, or holds what an official file does not; the
            message names the record, numbered from 1.
        ImportError: If protobuf or google-crc32c is missing.
    """
    parse = metrics_message().FromString
    trainings = _Trainings(2 if all_runs else 1)
    number = 0
    for number, (data, share) in enumerate(read_records(path), 1):
        try:
            trainings.add(data, parse, number)
        except (ValueError, TypeError, LookupError, RecursionError) as error:
            raise ValueError(f"{path}, record {number}: {error}") from error
        if number % REPORT == 0:
            progress(number, share)
    if not number:
        raise ValueError(f"{path} is empty: download it again")
    progress(number, 1.0)
    archs = trainings.architectures(str(path))
    return Rows(archs, trainings.columns(all_runs), source, licence)


@cache
def metrics_message() -> Any:
    """Return the class of the benchmark's ``ModelMetrics``, made from its fields.

    Raises:
        ImportError: If protobuf is missing.
    """
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as missing:
        raise ImportError(
            "reading NAS-Bench-101's records needs protobuf: pip install 'netwright[data]'"
        ) from missing
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="netwright/model_metrics.proto", package="nasbench", syntax="proto2"
    )

    def message(name: str, *fields: tuple[str, int]) -> None:
        made = file.message_type.add(name=name)
        for number, (label, kind) in enumerate(fields, 1):
            one = made.field.add(name=label, number=number, label=field.LABEL_OPTIONAL)
            one.type = kind  # type: ignore[assignment]  # an enumeration, an int at run time
            if kind == field.TYPE_DOUBLE:
                one.default_value = "nan"  # what is missing is not zero

    message(
        "ModelMetrics",
        ("evaluation_data", field.TYPE_MESSAGE),
        ("trainable_parameters", field.TYPE_INT32),
        ("total_time", field.TYPE_DOUBLE),
    )
    evaluations = file.message_type[0].field[0]
    evaluations.label = field.LABEL_REPEATED
    evaluations.type_name = ".nasbench.EvaluationData"
    message(
        "EvaluationData",
        ("current_epoch", field.TYPE_DOUBLE),
        ("training_time", field.TYPE_DOUBLE),
        ("train_accuracy", field.TYPE_DOUBLE),
        ("validation_accuracy", field.TYPE_DOUBLE),
        ("test_accuracy", field.TYPE_DOUBLE),
        ("checkpoint_path", field.TYPE_STRING),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("nasbench.ModelMetrics"))


class _Trainings:
    """What the records say, gathered cell by cell, in the order of the cells' first records."""

    def __init__(self, evaluations: int) -> None:
        self.evaluations = evaluations  # the last one only, or halfway too
        self.rows: dict[bytes, int] = {}
        self.texts: list[str] = []
        self.first: list[int] = []  # number of the cell's first record
        self.parameters: list[int] = []
        # By number of epochs: cell after cell, repeat, evaluation and quantity.
        self.results: dict[int, array[float]] = {}
        self.repeats: dict[int, bytearray] = {}
        self.blank = array("f", [math.nan]) * (REPEATS * evaluations * len(_QUANTITIES))

    def add(self, data: bytes, parse: Callable[[bytes], Any], number: int) -> None:
        """Read one record.

        Raises:
            ValueError: If it is not what an official record is.
        """
        module_hash, epochs, adjacency, operations, encoded = _fields(json.loads(data.decode()))
        text = f"{operations}:{adjacency}"
        metrics = _decode(encoded, parse)
        key = bytes.fromhex(module_hash)
        row = self.rows.setdefault(key, len(self.texts))
        if row == len(self.texts):
            self.texts.append(text)
            self.first.append(number)
            self.parameters.append(metrics.trainable_parameters)
        elif (text, metrics.trainable_parameters) != (self.texts[row], self.parameters[row]):
            raise ValueError(
                f"module {module_hash} is another cell than in record {self.first[row]}"
            )
        results, repeats = self._room(epochs, row)
        if repeats[row] == REPEATS:
            raise ValueError(
                f"a fourth training of module {module_hash} for {epochs} epochs, where official "
                f"files have {REPEATS}"
            )
        values = _values(metrics, self.evaluations)
        start = (REPEATS * row + repeats[row]) * len(values)
        results[start : start + len(values)] = values
        repeats[row] += 1

    def _room(self, epochs: int, row: int) -> tuple["array[float]", bytearray]:
        """Return results and numbers of repeats for so many epochs, with room for ``row``."""
        if epochs not in self.results:
            if not 0 < epochs < 10_000 or len(self.results) == 16:
                raise ValueError(f"{epochs} is no number of epochs of an official file")
            self.results[epochs], self.repeats[epochs] = array("f"), bytearray()
        results, repeats = self.results[epochs], self.repeats[epochs]
        while len(repeats) <= row:
            repeats.append(0)
            results.extend(self.blank)
        return results, repeats

    def architectures(self, path: str) -> ArchitectureBatch:
        """Return the cells, their nodes in the file's order."""
        space = NASBench101()
        chunks = []
        for start in range(0, len(self.texts), _CELLS):
            texts = self.texts[start : start + _CELLS]
            names = self.first[start : start + _CELLS]
            chunks.append(
                read_graphs(
                    texts,
                    space,
                    name=lambda i, names=names: f"{path}, record {names[i]}",  # type: ignore[misc]
                )
            )
        return ArchitectureBatch.cat(chunks)

    def columns(self, all_runs: bool) -> dict[str, Column]:
        """Return every metric."""
        made = {"parameters": Column(torch.tensor(self.parameters, dtype=torch.float64), "count")}
        for epochs in sorted(self.results):
            flat, repeats = self._room(epochs, len(self.texts) - 1)
            shape = (-1, REPEATS, self.evaluations, len(_QUANTITIES))
            results = np.frombuffer(flat, np.float32).reshape(shape)
            trained = torch.tensor(list(repeats), dtype=torch.float64)
            made[f"cifar10/repeats@{epochs}"] = Column(trained, "count")
            for place, evaluation in enumerate(("-half", "")[-self.evaluations :]):
                for i, (quantity, unit) in enumerate(_QUANTITIES.items()):
                    runs = results[:, :, place, i]
                    name = f"cifar10/{quantity}{evaluation}"
                    made[f"{name}@{epochs}"] = Column(_mean(runs), unit)
                    if all_runs:
                        for k in range(REPEATS):
                            run = torch.from_numpy(runs[:, k].copy())
                            made[f"{name}-run{k + 1}@{epochs}"] = Column(run, unit)
        return made


def _fields(record: Any) -> tuple[str, int, str, str, str]:
    expected = (str, int, str, str, str)
    if not isinstance(record, list) or tuple(map(type, record)) != expected:
        raise ValueError("it is no list of hash, epochs, adjacency, operations and metrics")
    module_hash, epochs, adjacency, operations, encoded = record
    return module_hash, epochs, adjacency, operations, encoded


def _decode(encoded: str, parse: Callable[[bytes], Any]) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return parse(base64.b64decode(encoded, validate=True))
    except (binascii.Error, DecodeError) as error:
        raise ValueError(f"its metrics are unreadable ({error})") from error


def _values(metrics: Any, evaluations: int) -> "array[float]":
    """Return the last evaluations, each in the order of `_QUANTITIES`."""
    if len(metrics.evaluation_data) != 3 or metrics.trainable_parameters < 1:
        raise ValueError(
            f"it has {len(metrics.evaluation_data)} evaluations and "
            f"{metrics.trainable_parameters} parameters, where official records have 3 and some"
        )
    values = array("f")
    for evaluation in metrics.evaluation_data[-evaluations:]:
        train, valid = evaluation.train_accuracy, evaluation.validation_accuracy
        test, seconds = evaluation.test_accuracy, evaluation.training_time
        if not (0 <= train <= 1 and 0 <= valid <= 1 and 0 <= test <= 1 and 0 <= seconds < math.inf):
            raise ValueError(f"its evaluation is {' '.join(str(evaluation).split())}: damaged")
        values.extend((train, valid, test, seconds))
    return values


def _mean(runs: NDArray[np.float32]) -> torch.Tensor:
    """The mean over the repeats that there are; NaN where there is none."""
    measured = ~np.isnan(runs)
    total = np.where(measured, runs, 0).sum(axis=1, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(total / measured.sum(axis=1))
