"""What generated architectures are worth ([GNN2GNN] section 4.3).

Architectures are recognised up to isomorphism. The released code compares them as they are stored,
so that there another order of the same nodes is a new architecture, which is in no table.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from netwright import metrics
from netwright.graphs import hashing
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.dag import on_path
from netwright.spaces.base import SearchSpace
from netwright.tables.format import Table
from netwright.tables.splits import Split


@dataclass(frozen=True, eq=False)
class Looked:
    """What a yardstick says of each architecture.

    Attributes:
        rows: Its row; -1 where there is none.
        accuracy: NaN where there is none, as in the next ones.
        percentile: Share of all architectures that are at least as good (`metrics.percentiles`).
        parameters: Number of weights; NaN everywhere if the yardstick does not know.
    """

    rows: Int[Tensor, " batch"]
    accuracy: Float[Tensor, " batch"]
    percentile: Float[Tensor, " batch"]
    parameters: Float[Tensor, " batch"]


@dataclass(frozen=True, eq=False)
class Yardstick:
    """All architectures that generated ones are compared with, ready for look-up.

    Attributes:
        space_name: Name of their search space.
        metric: What their accuracy is.
        keys: Their keys, ascending.
        accuracy: A fraction; NaN where it was not measured.
        percentile: Share of all architectures that are at least as good (`metrics.percentiles`).
        parameters: Number of weights; None if unknown.
    """

    space_name: str
    metric: str
    keys: Int[Tensor, "row 2"]
    accuracy: Float[Tensor, " row"]
    percentile: Float[Tensor, " row"]
    parameters: Float[Tensor, " row"] | None = None

    @classmethod
    def of(cls, table: Table, metric: str, parameters: str | None = None) -> "Yardstick":
        """Compare with a whole table.

        Args:
            table: The table.
            metric: The column that is the accuracy.
            parameters: The column that is the number of weights, if any.

        Raises:
            ValueError: If the table lacks a column, or the metric is no fraction or nowhere known.
        """
        accuracy = table.column(metric)
        if table.units[metric] != "fraction":
            raise ValueError(
                f"{metric} of {table.path} is measured in {table.units[metric]}: choose an "
                "accuracy, which is a fraction"
            )
        if bool(accuracy.isnan().all()):
            raise ValueError(f"{metric} has no value in any row of {table.path}: choose another")
        return cls(
            table.space_name,
            metric,
            table.keys,
            accuracy,
            metrics.percentiles(accuracy),
            None if parameters is None else table.column(parameters),
        )

    @classmethod
    def among(
        cls,
        space_name: str,
        metric: str,
        keys: Int[Tensor, "row 2"],
        accuracy: Float[Tensor, " row"],
        parameters: Float[Tensor, " row"] | None = None,
    ) -> "Yardstick":
        """Compare with architectures of which these are the keys, ascending, and the accuracies."""
        return cls(space_name, metric, keys, accuracy, metrics.percentiles(accuracy), parameters)

    @classmethod
    def within(cls, split: Split) -> "Yardstick":
        """Compare with the training rows of a split, and know nothing of any other.

        For choosing settings: learn from the `netwright.tables.splits.nested` split of it.
        """
        accuracy = split.scores[split.train_rows.argsort()]
        percentile = metrics.percentiles(accuracy)
        return cls(split.space_name, split.metric, split.train_keys, accuracy, percentile)

    def look_up(self, keys: Int[Tensor, "batch 2"]) -> Looked:
        """Find architectures by key."""
        keys = keys.to(self.keys.device)
        rows = hashing.find(self.keys, keys)
        columns = (self.accuracy, self.percentile, self.parameters)
        unknown = torch.full(rows.shape, torch.nan, dtype=torch.double, device=rows.device)
        found = (
            unknown if column is None else torch.where(rows < 0, torch.nan, column[rows])
            for column in columns
        )
        return Looked(rows, *found)


@dataclass(frozen=True)
class Generated:
    """Measures of a batch of generated graphs. Shares are fractions; NaN where undefined.

    A graph is *known* if the yardstick has its accuracy.

    Attributes:
        novelty: Share of all graphs that are DAGs on paths (`on_paths`) and no training graph. A
            graph counts each time it came up, and whether or not it is a member of the space: all
            that the table lacks is new, as in the released code.
        top_5: Share of all graphs that are among the best 5 % of the yardstick's architectures.
        top_10: Among the best 10 %.
        top_50: Among the best 50 %.
        threshold: The accuracy of the next measure.
        above: Share of the known graphs with a greater accuracy, Acc_n.
        mean_accuracy: Of the known graphs.
        distinct: Number of different graphs that are known, over that of all graphs.
        validity: Share of all graphs that are members of the space, its limit on edges included.
        uniqueness: Share of the DAGs on paths that came up once, as in the released code
            (`metrics.unrepeated`).
        in_table: Share of all graphs that are known.
        mean_parameters: Of the known graphs; NaN if the yardstick does not say.
        best_accuracy: Of the known graphs.
        on_paths: Share of all graphs that are DAGs on paths, what the released code calls valid.
        different: Number of different DAGs on paths over that of all (`metrics.uniqueness`).
    """

    novelty: float
    top_5: float
    top_10: float
    top_50: float
    threshold: float
    above: float
    mean_accuracy: float
    distinct: float
    validity: float
    uniqueness: float
    in_table: float
    mean_parameters: float
    best_accuracy: float
    on_paths: float
    different: float

    def percent(self) -> dict[str, float]:
        """Return the measures by the names they have in results, in percent.

        Except for ``distinct``, in 1,000 generated graphs, and ``mean parameters``, a number.
        """
        return {
            "novelty": 100 * self.novelty,
            "top-5": 100 * self.top_5,
            "top-10": 100 * self.top_10,
            "top-50": 100 * self.top_50,
            f"acc_{100 * self.threshold:.6g}": 100 * self.above,
            "mean accuracy": 100 * self.mean_accuracy,
            "distinct": 1000 * self.distinct,
            "validity": 100 * self.validity,
            "uniqueness": 100 * self.uniqueness,
            "in table": 100 * self.in_table,
            "mean parameters": self.mean_parameters,
            "best accuracy": 100 * self.best_accuracy,
        }


def measure(
    archs: ArchitectureBatch,
    space: SearchSpace,
    yardstick: Yardstick,
    train_keys: Int[Tensor, "train 2"],
    *,
    threshold: float = 0.9,
) -> Generated:
    """Measure generated graphs, as they were drawn (refined, where the generator does so).

    Args:
        archs: The graphs; the paper has 1,000.
        space: The space they should be members of.
        yardstick: What to compare with.
        train_keys: Keys of the training graphs, ascending, each once: ``Split.train_keys``.
        threshold: Of Acc_n, a fraction.

    Raises:
        ValueError: If there are no graphs, the yardstick is of another space, or ``train_keys`` are
            not in that order.
    """
    if not len(archs):
        raise ValueError("no graphs were generated: nothing can be measured")
    if space.name != yardstick.space_name:
        raise ValueError(
            f"graphs of {space.name} cannot be compared with those of {yardstick.space_name}: "
            "choose a table of their space"
        )
    keys = space.keys(archs).to(yardstick.keys.device)
    paths = on_paths(space, archs).to(keys.device)
    looked = yardstick.look_up(keys)
    known = ~looked.accuracy.isnan()
    share = metrics.validity(paths)
    novel = metrics.novelty(keys, paths, train_keys.to(keys.device))
    top_5, top_10, top_50 = (metrics.top_share(looked.percentile, n / 100) for n in (5, 10, 50))
    return Generated(
        novelty=share * novel if share else 0.0,
        top_5=top_5,
        top_10=top_10,
        top_50=top_50,
        threshold=threshold,
        above=metrics.share_above(looked.accuracy, threshold),
        mean_accuracy=metrics.known_mean(looked.accuracy),
        distinct=metrics.distinct(keys, known) / len(keys),
        validity=metrics.validity(space.is_valid(archs)),
        uniqueness=metrics.unrepeated(keys, paths),
        in_table=float(known.double().mean()),
        mean_parameters=metrics.known_mean(torch.where(known, looked.parameters, torch.nan)),
        best_accuracy=metrics.known_max(looked.accuracy),
        on_paths=share,
        different=metrics.uniqueness(keys, paths),
    )


def on_paths(space: SearchSpace, archs: ArchitectureBatch) -> Bool[Tensor, " batch"]:
    """Tell which graphs are DAGs from an input to an output with every node on a path between.

    This is what refinement achieves, and what the released code of [GNN2GNN] calls valid: the
    first node, and only that, is the input, the last one the output (of spaces that name them). A
    limit on edges is not part of it.
    """
    place = torch.arange(archs.max_nodes, device=archs.device)
    sound = on_path(archs)
    for name, end in (
        ("input", torch.zeros_like(archs.num_nodes)),
        ("output", archs.num_nodes - 1),
    ):
        if name in space.op_names:
            sound &= (archs.ops == space.op_names.index(name)) == (place == end[:, None])
    return (archs.num_nodes > 1) & (sound | ~archs.node_mask).all(dim=1)
