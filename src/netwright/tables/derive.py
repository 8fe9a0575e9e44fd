"""Tables made from tables: NAS-Bench-201's measurements, one row for each pruned graph [GNN2GNN].

The row is of the graph itself, in the space `NATSPruned`, or of a cell that is pruned to it, in
NAS-Bench-201's own form with its fixed edges.

Deviation: the released code keeps of all cells with one graph the one that has the lowest test
accuracy, with its other measurements; ``keep="worst"`` keeps the lowest of each metric by itself.
"""

from pathlib import Path
from typing import Final, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from netwright.graphs import hashing
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.nats_pruned import NATSPruned, pruned
from netwright.tables.format import Column, Rows, Table

#: What is kept of the values that meet in one row: their mean or the lowest.
Keep = Literal["mean", "worst"]

#: Spaces that the rows of a derived table can be of.
SPACES: Final = (NATSPruned.name, NASBench201.name)
_WORDS: Final[dict[Keep, str]] = {"mean": "mean", "worst": "lowest"}
_REDUCE: Final[dict[Keep, str]] = {"mean": "mean", "worst": "amin"}


def derive(
    table: Table, *, space: str = NATSPruned.name, keep: Keep = "mean", out: Path | str
) -> Table:
    """Write a table with one row for each graph that cells of NAS-Bench-201 are pruned to.

    Every metric, whatever its unit, is merged over the cells that are pruned to the same graph,
    those without a measurement left out. ``parameters`` count the dangling operations of a cell,
    as the benchmark does. Cells whose input and output no path joins have no row.

    Args:
        table: A table of NAS-Bench-201, or of some of its cells.
        space: "nats_pruned", for the graphs; or "nasbench201", for the first cell in the table
            that is pruned to each.
        keep: The mean, or the lowest value of each metric (`merge`).
        out: The file to write.

    Raises:
        ValueError: If the table is of another space, would be overwritten, or no cell is left; if
            ``space`` is another one.
    """
    out = Path(out)
    if space not in SPACES:
        raise ValueError(f"no table is derived for {space!r}: use {' or '.join(SPACES)}")
    if table.space_name != NASBench201.name:
        raise ValueError(
            f"{table.path} is a table of {table.space_name}: {NATSPruned.name} is derived from a "
            f"table of {NASBench201.name}"
        )
    table.require(NASBench201())
    if out.resolve() == table.path.resolve():
        raise ValueError(f"{out} is the table to derive from: give the new one another name")
    graphs = pruned(table.archs(torch.arange(len(table))))
    joined = (graphs.num_edges > 0).nonzero()[:, 0]
    if not len(joined):
        raise ValueError(f"no cell in {table.path} joins its input and output: nothing is left")
    key = hashing.keys(graphs[joined])
    known = hashing.distinct(key)
    group = hashing.find(known, key)
    columns = {
        name: Column(merge(table.column(name)[joined], group, len(known), keep), unit)
        for name, unit in table.units.items()
    }
    note = f"{_WORDS[keep]} over the cells of {NASBench201.name} that are pruned to one graph"
    source = f"{table.source}; {note}"
    if space == NASBench201.name:
        first = hashing.first_of_each(key)
        archs = table.archs(joined[first[group[first].argsort()]])
        return Table.write(out, NASBench201(), Rows(archs, columns, source, table.licence))
    listed = NATSPruned().enumerate()  # as the space stores them, whichever cells the table has
    stored = hashing.find(known, hashing.keys(listed))
    present = (stored >= 0).nonzero()[:, 0]
    archs = listed[present[stored[present].argsort()]]
    return Table.write(out, NATSPruned(), Rows(archs, columns, source, table.licence))


def merge(
    values: Float[Tensor, " row"], group: Int[Tensor, " row"], groups: int, keep: Keep
) -> Float[Tensor, " group"]:
    """Merge the values of each group to their mean or the lowest, in float64.

    Args:
        values: NaN where nothing was measured; those do not count.
        group: Which group each value is of, from 0.
        groups: How many there are.
        keep: What to keep.

    Returns:
        NaN where a group has no value.
    """
    known = ~values.isnan()
    empty = torch.full((groups,), torch.nan, dtype=torch.float64, device=values.device)
    return empty.scatter_reduce(
        0, group[known], values[known].double(), _REDUCE[keep], include_self=False
    )
