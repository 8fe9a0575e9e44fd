"""A tabular benchmark on disk: one memory-mapped file, looked up by architecture key.

The file is plain ``.safetensors``, so that other programs can read it too:

========================  ==========================================================
tensor                    what
========================  ==========================================================
``keys``                  ``int64[rows, 2]``: 128-bit architecture keys, sorted as
                          signed pairs (high, low)
``ops``                   ``uint8[rows, nodes]``: operation of each node
``edges``                 ``uint8[rows, bytes]``: upper triangle of the adjacency
                          matrix, one bit per edge (`netwright.tables.packing`)
``num_nodes``             ``uint8[rows]``: number of nodes
``metric:NAME``           ``float32[rows]``, NaN where nothing was measured;
                          ``float64`` for counts, which float32 would round above
                          16.7 million
========================  ==========================================================

The header's metadata are strings: ``format`` (its version), ``space``, ``parameters`` (of the
space, JSON), ``units`` (of each metric, JSON), ``source``, ``licence``, ``rows``, ``surrogate``
(how its values were predicted, JSON; only if they were: `netwright.tables.surrogate`) and
``checksum``: the SHA-256 of the header (as JSON with sorted keys, less the checksum itself) and of
all that follows it.
"""

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from netwright import files
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.spaces.base import SearchSpace
from netwright.tables import packing
from netwright.tables.embedded import located

#: Version of the file format. To be raised whenever `netwright.graphs.hashing` gives other keys.
FORMAT = "1"

#: What a metric is measured in. Accuracies are fractions.
Unit = Literal["fraction", "seconds", "count", "number"]

_METRIC = "metric:"
_WORD = r"[A-Za-z0-9._-]+"
_NAME = re.compile(rf"{_WORD}(/{_WORD}(@\d+)?)?")
_BLOCK = 1 << 20
_CHUNK = 1 << 16


def insist_on_name(metric: str) -> None:
    """Do nothing if a metric can be called that.

    Raises:
        ValueError: If it cannot.
    """
    if not _NAME.fullmatch(metric):
        raise ValueError(
            f"metric {metric!r}: write dataset/split@epochs, dataset/split or one word"
        )


@dataclass(frozen=True, eq=False)
class Column:
    """One metric of every row; NaN where nothing was measured."""

    values: Float[Tensor, " row"]
    unit: Unit = "fraction"


@dataclass(frozen=True, eq=False)
class Rows:
    """What a table is made of.

    Attributes:
        archs: One architecture per row, each once.
        columns: Metrics by name, ``dataset/split@epochs`` or one word (``parameters``).
        source: Where the measurements come from.
        licence: Theirs.
        surrogate: How the values were predicted, as JSON values; None if they were measured.
    """

    archs: ArchitectureBatch
    columns: Mapping[str, Column]
    source: str
    licence: str
    surrogate: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not len(self.archs):
            raise ValueError("a table needs at least one row")
        if not self.columns:
            raise ValueError("a table needs at least one metric: name its columns")
        for name, column in self.columns.items():
            insist_on_name(name)
            if len(column.values) != len(self.archs):
                raise ValueError(
                    f"{name} has {len(column.values)} values for {len(self.archs)} architectures"
                )
            if column.unit not in get_args(Unit):
                units = ", ".join(get_args(Unit))
                raise ValueError(f"unknown unit {column.unit!r} of {name}: use {units}")


@dataclass(frozen=True, eq=False)
class Table:
    """An open table. Nothing but its header is read before it is needed.

    Tensors are views of the mapped file; copy before changing one.

    Attributes:
        path: The file.
        space_name: Name of the search space.
        parameters: Parameters of the search space.
        units: Unit of each metric, by name.
        source: Where the measurements come from.
        licence: Theirs.
        checksum: What `verify` compares with.
        tensors: What the file holds, by name.
        surrogate: How its values were predicted; None if they were measured.
    """

    path: Path
    space_name: str
    parameters: dict[str, Any]
    units: dict[str, Unit]
    source: str
    licence: str
    checksum: str
    tensors: dict[str, Tensor]
    surrogate: dict[str, Any] | None = None

    @classmethod
    def open(cls, path: Path | str) -> "Table":
        """Map a table into memory.

        Args:
            path: The file, or the name of a table in the package (`netwright.tables.embedded`).

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is truncated, not a table, or of another format version.
        """
        path = located(path)
        if not path.is_file():
            raise FileNotFoundError(f"no table at {path}: make it with `netwright table import`")
        try:
            with safe_open(path, framework="pt") as file:
                meta = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        except SafetensorError as error:
            raise ValueError(f"{path} is truncated or not a table: {error}") from error
        if "format" not in meta:
            raise ValueError(f"{path} is a safetensors file but not a table")
        if meta["format"] != FORMAT:
            raise ValueError(
                f"{path} has table format {meta['format']}, this version of netwright reads "
                f"{FORMAT}: import it again"
            )
        try:
            units = json.loads(meta["units"])
            expected = {"keys", "ops", "edges", "num_nodes", *(_METRIC + name for name in units)}
            if tensors.keys() != expected:
                raise ValueError("its tensors are not those its header names")
            if {len(tensor) for tensor in tensors.values()} != {int(meta["rows"])}:
                raise ValueError("its number of rows is not that of its header")
            return cls(
                path,
                meta["space"],
                json.loads(meta["parameters"]),
                units,
                meta["source"],
                meta["licence"],
                meta["checksum"],
                tensors,
                json.loads(meta["surrogate"]) if "surrogate" in meta else None,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged ({error}): import it again") from error

    @classmethod
    def write(cls, path: Path | str, space: SearchSpace, rows: Rows) -> "Table":
        """Write a table atomically, open it, and verify what was written.

        Raises:
            ValueError: If an architecture stands in two rows (numbered from 1), or does not fit
                the format.
        """
        path = Path(path)
        keys = space.keys(rows.archs).cpu()
        order = packing.sorted_order(keys)
        keys = keys[order]
        same = (keys[1:] == keys[:-1]).all(dim=1).nonzero()[:, 0]
        if len(same):
            first, second = order[same[0]], order[same[0] + 1]  # the sort is stable
            text = space.to_text(rows.archs[first[None]])[0]
            raise ValueError(
                f"rows {first + 1} and {second + 1} hold the same architecture, {text}: keep one"
            )
        ops, edges, num_nodes = packing.pack(rows.archs[order])
        tensors = {"keys": keys, "ops": ops, "edges": edges, "num_nodes": num_nodes}
        for name, column in rows.columns.items():
            dtype = torch.float64 if column.unit == "count" else torch.float32
            tensors[_METRIC + name] = column.values.detach().cpu().to(dtype)[order]
        meta = {
            "format": FORMAT,
            "space": space.name,
            "parameters": json.dumps(space_parameters(space)),
            "units": json.dumps({name: column.unit for name, column in rows.columns.items()}),
            "source": rows.source,
            "licence": rows.licence,
            "rows": str(len(order)),
        }
        if rows.surrogate is not None:
            meta["surrogate"] = json.dumps(rows.surrogate)
        unsigned = save(tensors, metadata=meta)
        meta["checksum"] = _checksum(io.BytesIO(unsigned))
        files.write_atomic(path, save(tensors, metadata=meta))
        table = cls.open(path)
        table.verify()
        return table

    def __len__(self) -> int:
        return len(self.tensors["keys"])

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics."""
        return tuple(self.units)

    @property
    def keys(self) -> Int[Tensor, "row 2"]:
        """The sorted architecture keys."""
        return self.tensors["keys"]

    def column(self, name: str) -> Float[Tensor, " row"]:
        """Return one metric of every row.

        Raises:
            ValueError: If the table has no such metric; the message lists those it has.
        """
        if name not in self.units:
            raise ValueError(
                f"no metric {name!r} in {self.path}: choose from {', '.join(self.units)}"
            )
        return self.tensors[_METRIC + name]

    def archs(self, index: Int[Tensor, " batch"]) -> ArchitectureBatch:
        """Return the architectures of rows.

        Raises:
            ValueError: If a row number is negative (`lookup` did not find the architecture).
        """
        if len(index) and int(index.min()) < 0:
            raise ValueError("row -1 does not exist: the architecture is not in the table")
        parts = (self.tensors[name][index.cpu()] for name in ("ops", "edges", "num_nodes"))
        return packing.unpack(*parts).to(index.device)

    def lookup(self, keys: Int[Tensor, "batch 2"]) -> Int[Tensor, " batch"]:
        """Return the row of each key, -1 where the table has none.

        A binary search for all keys at once, which reads only the pages it passes: first on the
        high half, then on the low half among rows that share the high one.
        """
        order = keys[:, 0].argsort()  # neighbours in the query meet on the same pages
        wanted, table = keys[order].cpu().numpy(), self.keys.numpy()
        low, high = (np.searchsorted(table[:, 0], wanted[:, 0], side) for side in ("left", "right"))
        for _ in range(int((high - low).max(initial=0)).bit_length()):
            middle = (low + high) // 2
            less = (middle < high) & (table[middle.clip(max=len(self) - 1), 1] < wanted[:, 1])
            low, high = np.where(less, middle + 1, low), np.where(less, high, middle)
        present = (table[low.clip(max=len(self) - 1)] == wanted).all(axis=1)
        rows = torch.from_numpy(np.where(present, low, -1)).to(keys.device)
        return torch.empty_like(rows).scatter_(0, order, rows)

    def require(self, space: SearchSpace) -> None:
        """Insist that this is a table of ``space``, or of a larger version of it.

        Raises:
            ValueError: If it is not.
        """
        if space.name != self.space_name:
            raise ValueError(
                f"{self.path} is a table of the space {self.space_name}, not of {space.name}"
            )
        for name, wanted in space_parameters(space).items():
            have = self.parameters.get(name)
            if have is not None and (wanted is None or _exceeds(wanted, have)):
                raise ValueError(
                    f"{self.path} is a table of {self.space_name} with {name} {have}, "
                    f"the space has {wanted}"
                )

    def verify(self) -> None:
        """Read the whole file and check that it is what was written.

        Raises:
            ValueError: If the checksum differs, or a key is not that of its architecture.
        """
        with self.path.open("rb") as file:
            try:
                intact = _checksum(file) == self.checksum
            except (KeyError, ValueError):  # the header itself
                intact = False
        if not intact:
            raise ValueError(f"{self.path} was altered (its checksum differs): import it again")
        for start in range(0, len(self), _CHUNK):
            index = torch.arange(start, min(start + _CHUNK, len(self)))
            if not torch.equal(hashing.keys(self.archs(index)), self.keys[index]):
                raise ValueError(
                    f"{self.path} has keys of another version of netwright: import it again"
                )

    def info(self) -> dict[str, Any]:
        """Return what the table is, as JSON values."""
        columns = {name: self.column(name) for name in self.metrics}
        return {
            "path": str(self.path),
            "bytes": self.path.stat().st_size,
            "format": FORMAT,
            "space": self.space_name,
            "parameters": self.parameters,
            "rows": len(self),
            "metrics": list(self.metrics),
            "units": self.units,
            "measured": {name: int((~v.isnan()).sum()) for name, v in columns.items()},
            "source": self.source,
            "licence": self.licence,
            "surrogate": self.surrogate,
            "checksum": self.checksum,
        }


def space_parameters(space: SearchSpace) -> dict[str, Any]:
    """Return what the keys of a space's architectures depend on, as JSON values."""
    return {
        "operations": list(space.op_names),
        "max_nodes": space.layout.max_nodes,
        "max_edges": space.layout.max_edges,
    }


def _exceeds(wanted: int | list[str], have: int | list[str]) -> bool:
    """Whether a space with ``wanted`` has architectures that one with ``have`` lacks."""
    if isinstance(wanted, int) and isinstance(have, int):
        return wanted > have
    return wanted != have


def _checksum(file: io.BufferedIOBase) -> str:
    """SHA-256 of a safetensors file, less the checksum in its metadata."""
    header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header["__metadata__"].pop("checksum", None)
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    while block := file.read(_BLOCK):
        digest.update(block)
    return digest.hexdigest()
