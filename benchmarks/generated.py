"""Generated architectures: what comparing them with a whole benchmark costs.

    python benchmarks/generated.py

Measures 1,000 cells as [GNN2GNN] section 4.3 does, against all of NAS-Bench-101 and the training
rows of the split of section 4.2, on one thread; compiles the table, and splits it. Writes
docs/results/generated-speed.json and .md. Needs the table nasbench101 in `$NETWRIGHT_TABLES`.
"""

import time
from functools import partial

import torch
from common import publish, show, timed

from netwright.config.adversarial import labelled
from netwright.graphs import hashing
from netwright.reproductions.experiment import default_tables
from netwright.reproductions.generated import Yardstick, measure, on_paths
from netwright.results import Row
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.tables.format import Table
from netwright.tables.splits import nested, split

REPETITIONS = 5  # of what is done once for a table
MEASURED = 50
GRAPHS = 1000
METRIC = "cifar10/test@108"
AIM = 50  # milliseconds for all measures, keys of the generated graphs included

wall = partial(timed, time.perf_counter)


def milliseconds(repetitions, call, *args, **options):
    """Of each repetition but the first, and the last result."""
    found = [wall(call, *args, **options) for _ in range(repetitions + 1)]
    return [1000 * seconds for _, seconds in found[1:]], found[-1][0]


def drawn_split(table):
    """The published split, the same each time."""
    return split(table, METRIC, rng=stream(0, "split"))


def drawn_again(outer):
    """A split of its training rows."""
    return nested(outer, rng=stream(0, "nested"))


def rows(space, table):
    """Yield the rows of the results."""
    row = partial(Row.of, space.name)
    for method, call, argument in (
        ("compile the table", partial(Yardstick.of, parameters="parameters", metric=METRIC), table),
        ("split the table", drawn_split, table),
        ("training labels of the split, and that they are apart", labelled, drawn_split(table)),
        ("split its training rows", drawn_again, drawn_split(table)),
        ("compile its training rows", Yardstick.within, drawn_split(table)),
    ):
        found, _ = milliseconds(REPETITIONS, call, argument)
        yield row("milliseconds", found, method=method, budget=len(table))
    yardstick, train_keys = Yardstick.of(table, METRIC, "parameters"), drawn_split(table).train_keys
    archs = space.sample(GRAPHS, rng=stream(0, "generated"))
    keys = space.keys(archs)
    for method, call, arguments in (
        ("keys", space.keys, (archs,)),
        ("validity", space.is_valid, (archs,)),
        ("DAGs on paths", partial(on_paths, space), (archs,)),
        ("look-up in the table", yardstick.look_up, (keys,)),
        ("look-up among the training cells", hashing.find, (train_keys, keys)),
    ):
        found, _ = milliseconds(MEASURED, call, *arguments)
        yield row("milliseconds", found, method=method, budget=GRAPHS)
    found, measured = milliseconds(MEASURED, measure, archs, space, yardstick, train_keys)
    if not measured.in_table == measured.validity == 1:
        raise SystemExit("a cell of the space is not in its table")
    method = "all measures, keys included"
    yield row("milliseconds", found, method=method, budget=GRAPHS, reference=AIM)


if __name__ == "__main__":
    torch.set_num_threads(1)
    path = default_tables() / "nasbench101.safetensors"
    if not path.exists():
        print(f"skipped: no {path}; name the folder of tables in NETWRIGHT_TABLES")
        raise SystemExit
    publish(
        "generated-speed",
        show(rows(NASBench101(), Table.open(path))),
        title="Generated architectures: what measuring them costs",
        seeds=[0],
        note="Budget: rows of the table, or graphs measured; n: repetitions. Reference: the aim.",
    )
