"""The official files of NATS-Bench's topology space and of NAS-Bench-201 [Dong2020, Dong2021].

Three forms hold the same: a folder ``NATS-tss-v1_0-3ffb9-simple`` (or ``-full``, with trained
weights, which are skipped) with ``meta.pickle.pbz2`` and one ``NNNNNN.pickle.pbz2`` for each of
the 15,625 cells; one file ``NATS-tss-v1_0-3ffb9.pickle.pbz2``; and, of the older benchmark,
``NAS-Bench-201-v1_1-096897.pth``. What they hold, from the benchmark's own readers and writers
(``api_utils.py``, ``api_topology.py`` of github.com/D-X-Y/NATS-Bench and ``tss-collect.py`` of
github.com/D-X-Y/AutoDL-Projects):

* pickles, compressed by bzip2, of dicts only. ``meta`` has ``meta_archs``, the list of the cells'
  texts; the i-th file is of the i-th cell. The one file has, beside ``meta_archs``, ``arch2infos``
  with the content of file i under i. A ``.pth`` is such a file as torch.save writes it (not
  compressed), where the two numbers of epochs are called ``less`` and ``full``;
* a cell's file maps the number of epochs, ``"12"`` and ``"200"``, to a dict with ``arch_str``,
  ``dataset_seed`` (data set to list of seeds) and ``all_results``, which maps ``(data set, seed)``
  to one training;
* a training has ``epochs``; ``train_acc1es`` and ``train_times`` by epoch, counted from 0;
  ``eval_acc1es`` and ``eval_times`` by ``"SET@EPOCH"``; ``params`` and ``flop`` in millions;
  ``latency``, a list of seconds. Accuracies are in percent. Sets that were evaluated only after
  the last epoch have only that one;
* the seeds are 111, 777, 888 and 999, and not all of them were used for every cell: of 200 epochs
  there are one to three trainings. The official ``get_more_info(is_random=False)`` is the mean of
  those there are, ``is_random=777`` is one of them;
* training and evaluation times were estimated by the authors from one data set, as they say.

Metrics of the table, for E = 12 and 200, each from trainings of its own (12 is not the twelfth
epoch of 200):

=====================================  =====================================================
``cifar10-valid/valid@E`` (``test``)   trained on half of CIFAR-10's training set, the other
                                       half is for validation; official ``x-valid``, ``ori-test``
``cifar10/test@E``                     trained on all of it; official ``ori-test``. No validation
``cifar100/valid@E`` (``test``,        trained on the training set; the official test set is cut
``valtest``)                           into ``x-valid`` and ``x-test``; ``valtest`` is both
                                       together, the official ``ori-test``
``ImageNet16-120/valid@E`` (...)       likewise
``DATASET/train@E``                    accuracy on the training set, during the last epoch
``DATASET/train-seconds@E``            seconds of the whole training
``DATASET/valid-seconds@E`` (...)      seconds of one evaluation
``DATASET/repeats@E``                  number of trainings (seeds)
``parameters``                         with 10 classes; ``cifar100/parameters`` and so on
``DATASET/megaflops``                  multiply-adds of one image, in millions
``DATASET/latency-seconds``            of a batch of 256
=====================================  =====================================================

With all runs, also ``-seed777`` and so on: ``cifar10-valid/valid-seed777@200``. At chosen epochs N
of the trainings of E, ``-ofE@N``: ``cifar10-valid/valid-of200@50`` is the validation accuracy after
50 of 200 epochs.
"""

import bz2
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from netwright.pickles import Limits, load
from netwright.spaces.nasbench201 import NASBench201
from netwright.tables.format import Column, Rows, Unit
from netwright.tables.reading import Progress, no_progress, read_texts

#: For each data set of the table, the official name of each split.
SPLITS: Final[dict[str, dict[str, str]]] = {
    "cifar10-valid": {"valid": "x-valid", "test": "ori-test"},
    "cifar10": {"test": "ori-test"},
    "cifar100": {"valid": "x-valid", "test": "x-test", "valtest": "ori-test"},
    "ImageNet16-120": {"valid": "x-valid", "test": "x-test", "valtest": "ori-test"},
}

_EPOCHS: Final = {"12": 12, "200": 200, "less": 12, "full": 200}

#: One cell with weights: 20 trainings of up to 1.5 million numbers.
_CELL = Limits()
#: All cells without weights, half a megabyte each.
_ALL = Limits(stream=1 << 35, opcodes=1 << 33)

Values = dict[str, float]


def import_natsbench(
    path: Path | str,
    *,
    source: str,
    licence: str = "MIT",
    all_runs: bool = False,
    at_epochs: Sequence[int] = (),
    progress: Progress = no_progress,
) -> Rows:
    """Read NATS-Bench's topology space (a folder or one file) or NAS-Bench-201's ``.pth``.

    The folder is read cell by cell. The one file takes about 2 GB of memory, and as long.

    Args:
        path: The folder or file.
        source: Where the measurements come from.
        licence: Theirs.
        all_runs: Whether to keep the trainings of single seeds too.
        at_epochs: Epochs (from 1) after which to keep the accuracies, beside the last.
        progress: Told the number of cells read so far.

    Raises:
        FileNotFoundError: If there is no such file, or the folder lacks that of a cell.
        ValueError: If one is truncated, damaged, too large, names what no benchmark file needs, or
            holds something else; the message names the file.
    """
    path = Path(path)
    for epoch in at_epochs:
        if not 1 <= epoch <= max(_EPOCHS.values()):
            raise ValueError(f"there is no epoch {epoch}: choose from 1 to 200")
    measure = _Measure(all_runs, tuple(sorted(set(at_epochs))))
    if path.is_dir():
        texts, cells = _folder(path, measure)
    else:
        texts, cells = _one_file(path, measure, progress)
    table = _Rows(len(texts))
    for row, (name, cell) in enumerate(cells):
        with _named(name):
            table.add(row, measure.cell(cell, texts[row]))
        if path.is_dir():
            progress(row + 1, (row + 1) / len(texts))
    archs = read_texts(texts, NASBench201(), name=lambda i: f"{path}, cell {i}")
    return Rows(archs, table.columns(), source, licence)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Let errors name what was read."""
    try:
        yield
    except (EOFError, zipfile.BadZipFile, ValueError) as error:
        raise ValueError(f"{name}: {error}") from error
    except OSError as error:
        if error.errno is not None:  # the disk's; without a number it is bzip2's
            raise
        raise ValueError(f"{name} is damaged: {error}") from error
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        missing = f"{type(error).__name__} {error}"
        raise ValueError(f"{name}: it lacks what an official file has ({missing})") from error


def _folder(path: Path, measure: "_Measure") -> tuple[list[str], Iterator[tuple[str, Any]]]:
    """Return the cells' texts, and their files one after another."""
    meta = path / "meta.pickle.pbz2"
    if not meta.is_file():
        raise FileNotFoundError(
            f"{path} has no meta.pickle.pbz2: name the folder of the archive, extracted"
        )
    with _named(str(meta)), bz2.open(meta) as file:
        texts = _texts(_load(file.read, _CELL, measure))
    found = {name.name for name in path.iterdir()}
    names = [_cell_file(i, found) for i in range(len(texts))]
    if absent := [i for i, name in enumerate(names) if name not in found]:
        raise FileNotFoundError(
            f"{path} lacks {names[absent[0]]} and {len(absent) - 1} more of {len(texts)}: "
            "extract the whole archive"
        )

    def cells() -> Iterator[tuple[str, Any]]:
        for name in names:
            with _named(str(path / name)), bz2.open(path / name) as file:
                cell = _load(file.read, _CELL, measure)
            yield str(path / name), cell

    return texts, cells()


def _cell_file(index: int, found: set[str]) -> str:
    short = f"{index}.pickle.pbz2"  # the official reader takes it too
    return short if short in found else f"{index:06}.pickle.pbz2"


def _one_file(
    path: Path, measure: "_Measure", progress: Progress
) -> tuple[list[str], Iterator[tuple[str, Any]]]:
    """Return the cells' texts, and the cells, all read before the first is yielded."""
    size = max(path.stat().st_size, 1)
    seen: set[int] = set()
    with _named(str(path)), path.open("rb") as raw:

        def filled(made: dict[Any, Any]) -> None:
            measure.trim(made)
            if "arch_index" in made and made["arch_index"] not in seen:
                seen.add(made["arch_index"])
                progress(len(seen), raw.tell() / size)

        content, skip = _content(raw)
        everything = load(content.read, _ALL, skip=skip, filled=filled)
        texts, infos = _texts(everything), everything["arch2infos"]
        if absent := [i for i in range(len(texts)) if i not in infos]:
            raise ValueError(f"cell {absent[0]} and {len(absent) - 1} more are not in it")
    return texts, ((f"{path}, cell {i}", infos[i]) for i in range(len(texts)))


def _content(raw: io.BufferedReader) -> tuple[Any, int]:
    """Return the stream of pickles in a file, and how many come before the one that counts."""
    head = raw.peek(4)[:4]
    if head.startswith(b"BZh"):
        return bz2.BZ2File(raw), 0
    if head.startswith(b"PK"):  # torch.save since 1.6
        archive = zipfile.ZipFile(raw)
        names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(names) != 1:
            raise ValueError("it has no data.pkl: no file of NAS-Bench-201")
        return archive.open(names[0]), 0
    return raw, 3  # torch.save before 1.6: magic number, version and machine first


def _load(read: Callable[[int], bytes], limits: Limits, measure: "_Measure") -> Any:
    return load(read, limits, filled=measure.trim)


def _texts(meta: Any) -> list[str]:
    texts = meta["meta_archs"]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError("its meta_archs are no list of cells")
    if ":" in texts[0]:
        raise ValueError(
            "this is the size search space (sss): only the topology space (tss) can be imported"
        )
    return list(texts)


@dataclass(frozen=True)
class _Measure:
    """Turns what the files say of a cell into named values.

    Attributes:
        all_runs: Whether to keep single seeds.
        at_epochs: Epochs to keep beside the last one, counted from 1.
    """

    all_runs: bool
    at_epochs: tuple[int, ...]

    def trim(self, made: dict[Any, Any]) -> None:
        """Replace a training by its values as soon as it was read: its series are long."""
        if "eval_acc1es" not in made or "train_acc1es" not in made:
            return
        values = self._training(made)
        for part in made.values():
            if isinstance(part, dict):
                part.clear()
        made.clear()
        made["values"] = values

    def _training(self, made: Mapping[str, Any]) -> Values:
        """The values of one training, by ``QUANTITY@EPOCH`` and ``QUANTITY-ofE@EPOCH``."""
        dataset, epochs = made["name"], made["epochs"]
        if dataset not in SPLITS or epochs not in _EPOCHS.values():
            raise ValueError(f"it has a training of {epochs} epochs on {dataset!r}")
        last = epochs - 1
        times, eval_times = made["train_times"] or {}, made["eval_times"] or {}
        values: Values = {}
        _keep(values, f"train@{epochs}", made["train_acc1es"][last], 100)
        if times:
            _keep(values, f"train-seconds@{epochs}", sum(times[i] for i in range(epochs)))
        for split, official in SPLITS[dataset].items():
            scores = made["eval_acc1es"]
            _keep(values, f"{split}@{epochs}", scores.get(f"{official}@{last}"), 100)
            _keep(values, f"{split}-seconds@{epochs}", eval_times.get(f"{official}@{last}"))
            for epoch in self.at_epochs:
                name = f"{split}-of{epochs}@{epoch}"
                _keep(values, name, scores.get(f"{official}@{epoch - 1}"), 100)
        for epoch in self.at_epochs:
            name = f"train-of{epochs}@{epoch}"
            _keep(values, name, made["train_acc1es"].get(epoch - 1), 100)
        _keep(values, "millions", made["params"])
        _keep(values, "megaflops", made["flop"])
        latency = made["latency"] or []
        if latency and sum(latency) > 0:
            _keep(values, "latency-seconds", sum(latency), len(latency))
        return values

    def cell(self, by_epochs: Mapping[str, Any], text: str) -> Values:
        """The values of one cell, by name of the metric."""
        values: Values = {}
        for key in sorted(by_epochs, key=lambda key: _EPOCHS[key]):
            info = by_epochs[key]
            if info["arch_str"] != text:
                raise ValueError(f"it is of the cell {info['arch_str']!r}, not {text!r}")
            for dataset, seeds in info["dataset_seed"].items():
                runs = {seed: info["all_results"][dataset, seed]["values"] for seed in seeds}
                if runs:
                    values |= self._dataset(dataset, _EPOCHS[key], runs)
        return values

    def _dataset(self, dataset: str, epochs: int, runs: Mapping[int, Values]) -> Values:
        values = {f"{dataset}/repeats@{epochs}": float(len(runs))}
        for name in {name for run in runs.values() for name in run}:
            measured = [run[name] for run in runs.values() if name in run]
            if name in ("millions", "megaflops"):
                values[f"{dataset}/{name}"] = _agreed(measured, runs, name)
            elif len(measured) == len(runs) or name == "latency-seconds":
                values[f"{dataset}/{name}"] = sum(measured) / len(measured)
            # else, as with the official reader: no mean of some of the trainings
        if self.all_runs:
            for seed, run in runs.items():
                for name, value in run.items():
                    quantity, at, epoch = name.partition("@")
                    if at:
                        values[f"{dataset}/{quantity}-seed{seed}@{epoch}"] = value
        return values


def _keep(values: Values, name: str, value: Any, per: int = 1) -> None:
    """Add a value, if there is one; percent are ``per`` 100."""
    if value is None:
        return
    if type(value) not in (int, float):
        raise ValueError(f"{name} is a {type(value).__name__}, not a number")
    values[name] = value / per


def _agreed(measured: Sequence[float], runs: Mapping[int, Values], name: str) -> float:
    """The size of a network: the same for all seeds, or, where files disagree, that of seed 888.

    So does the official reader ("legacy issue").
    """
    if len({f"{value:.5f}" for value in measured}) == 1:
        return measured[0]
    return runs[888][name] if 888 in runs else float("nan")


@dataclass
class _Rows:
    """Columns that appear as cells are added."""

    count: int
    made: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def add(self, row: int, values: Values) -> None:
        for name, value in values.items():
            if name not in self.made:
                self.made[name] = np.full(self.count, np.nan)
            self.made[name][row] = value

    def columns(self) -> dict[str, Column]:
        """Return every metric, checked, in an order that does not depend on the cells'."""
        made = dict(self.made)
        columns: dict[str, Column] = {}
        for dataset in SPLITS:
            millions = made.pop(f"{dataset}/millions", None)
            if millions is not None:
                ten = dataset in ("cifar10-valid", "cifar10")
                name = "parameters" if ten else f"{dataset}/parameters"
                counts = _counts(millions)
                if name in columns:
                    counts = torch.where(counts.isnan(), columns[name].values, counts)
                columns[name] = Column(counts, "count")
        for name in sorted(made, key=_order):
            values, unit = torch.from_numpy(made[name]), _unit(name)
            largest = 1.0 if unit == "fraction" else float("inf")
            wrong = values.isinf() | (values < 0) | (values > largest)
            if wrong.any():
                cell = int(wrong.nonzero()[0])
                raise ValueError(f"cell {cell}: {name} is {values[cell]:g}, which is no {unit}")
            columns[name] = Column(values, unit)
        return columns


def _unit(name: str) -> Unit:
    quantity = name.partition("/")[2].partition("@")[0].partition("-seed")[0]
    if quantity == "repeats":
        return "count"
    if quantity.endswith("seconds"):
        return "seconds"
    return "number" if quantity == "megaflops" else "fraction"


def _order(name: str) -> tuple[int, int, str]:
    dataset, _, rest = name.partition("/")
    quantity, _, epochs = rest.partition("@")
    return list(SPLITS).index(dataset), -int(epochs or 0), quantity


def _counts(millions: NDArray[np.float64]) -> torch.Tensor:
    """Parameters as whole numbers: a million is 10^6, or 2^20 in files of later tools."""
    for million in (10**6, 2**20):
        counts = millions * million
        whole = counts.round()
        if np.nan_to_num(np.abs(counts - whole)).max(initial=0) < 0.01:
            return torch.from_numpy(whole)
    raise ValueError("its numbers of parameters are not whole: damaged")
