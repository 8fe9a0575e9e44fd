"""[GraphPNAS] tables 1, 2, 6 and 9 and Figs. 3 and 6: which searches each takes, and its page."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from netwright.graphs import dag
from netwright.reproductions import wiring_charts as charts
from netwright.reproductions import wiring_rows as rows_of
from netwright.reproductions.extrapolation_charts import cells_svg
from netwright.reproductions.outcome import Outcome
from netwright.reproductions.wiring_rows import Groups
from netwright.reproductions.wiring_search import YARDSTICKS, Done, Job, best_rows, methods_of
from netwright.reproductions.wirings import Regime
from netwright.results import Difference

OURS = "GraphPNAS"
#: Rows of table 2: best networks of random search, and of the learned generators.
_BEST = ("ER-TopK", "WS-TopK", "RNN", OURS)
_REGIMES: tuple[Regime, ...] = ("early stopping", "low data")
_DRAWN = 3  # best cells of each method

TITLES = {
    "table1": "GraphPNAS, Table 1: searches of RandWire cells by training on few images",
    "table2": "GraphPNAS, Table 2: the best networks of RandWire cells",
    "table6": "GraphPNAS, Table 6: a RandWire cell for each stage",
    "table9": "GraphPNAS, Table 9: candidates scored in low data and by stopping early",
    "fig3": "GraphPNAS, Figure 3: clustering and path length of what generators propose",
    "fig6": "GraphPNAS, Figure 6: the best RandWire cells of each method",
}
_HOW = (
    "At laptop scale images are halved in size, and networks have {networks} of 16 nodes; a search "
    "takes 40 candidates, each trained for 5 epochs on 1,000 images and validated on 2,000 others. "
    "The cells that a method answers with are trained anew in the same way (low data), and for 6 "
    "epochs on 4,500 images, validated on 500 and tested on 5,000 (test accuracy). The published "
    "rows are of {published}, and do not compare; `--scale paper` has these settings. "
)
_GROUND = _HOW.format(
    networks="two stages, of 16 and 32 channels, of a cell",
    published="Tiny-ImageNet at 224 x 224, 32 nodes and 320 candidates of 300 epochs",
)
_STAGES = _HOW.format(
    networks="three stages, of 8, 16 and 32 channels, each with a cell",
    published="CIFAR-10, 32 nodes and 600 candidates of 100 epochs",
)
_SEEDS = (
    "A value is that of a search, so that means, standard deviations and 95 % intervals are over "
    "seeds. "
)
NOTES = {
    "table1": _GROUND + _SEEDS + "TopK answers with the best cells of its search, the others with "
    "samples: of the generator, or of the random graph model with the best mean. *Best of the "
    "samples*: by validation. *Ensemble*: the mean of the probabilities of all sampled networks.",
    "table2": _GROUND + _SEEDS + "Trained several times is, of the sampled networks of Table 1, "
    "that with the best validation accuracy on more data, and once a larger network of the same "
    "cell. FC: a cell in which every node takes all before it. ResNet-18-like: ResNet-18 with 8 "
    "channels in the first stage at laptop scale.",
    "table6": _STAGES + _SEEDS + "Every stage has a cell of its own, and GraphPNAS a "
    "generator for each, whose log-probabilities add. RANG-D: Watts-Strogatz graphs with k = 4, p "
    "= 0.75, without a search. RANG-BO: Bayesian optimisation of k and p of each stage by expected "
    "improvement, where [Ru2020] has BOHB and multi-objective optimisation.",
    "table9": _GROUND + _SEEDS + "Early stopping trains every candidate for 2 epochs on 2,400 "
    "images and validates it on 600, about as many steps as low data. Paths are those from input "
    "to output, of 8 cells drawn from the generator.",
    "fig3": _GROUND + "Shown is what the generators, not the explorer, proposed in the last 3/8 of "
    "the searches of Table 1 (the paper: 15 of 40 steps). Statistics are of the undirected graph "
    "with input and output; n counts graphs.",
    "fig6": _GROUND + "The best cells by validation accuracy in the search. The share of dense "
    "graphs is that among what the generators proposed in the last 3/8 of the searches.",
}  # fmt: skip


class Item(NamedTuple):
    """What came of an item: its page."""

    outcome: Outcome
    differences: list[Difference]


def jobs(item: str, base: Job, seeds: Sequence[int]) -> list[Job]:
    """Return all that an item takes, methods in the order of its rows.

    Args:
        item: Which.
        base: Scale, data, device and folder.
        seeds: Of the searches.
    """
    base = replace(base, cells=3) if item == "table6" else base
    names = [method.label for method in methods_of(base)]
    if item == "table2":
        made = [replace(base, label=label, again=True) for label in names if label in _BEST]
        made = [*(replace(base, label=label) for label in YARDSTICKS), *made]
    elif item == "table9":
        made = [replace(base, label=OURS, regime=regime) for regime in _REGIMES]
    elif item == "fig3":
        made = [replace(base, label=label) for label in (OURS, "RNN")]
    else:
        made = [replace(base, label=label) for label in names]
    return [replace(job, seed=seed) for job in made for seed in seeds]


def label_of(item: str, job: Job) -> str:
    """Name the row of a job."""
    return job.regime if item == "table9" else job.label


def page(item: str, done: Sequence[Done]) -> Item:
    """Return the rows and the picture of an item."""
    groups: Groups = {}
    for one in done:
        groups.setdefault(label_of(item, one.job), []).append(one)
    outcome = _PAGES[item](groups)
    quoted = rows_of.quoted_rows(item)
    outcome = outcome._replace(rows=[*outcome.rows, *quoted])
    compared = item in ("table1", "table6")
    return Item(outcome, rows_of.against(groups, OURS) if compared else [])


def _name(groups: Groups) -> str:
    return next(iter(groups.values()))[0].job.ground.name


def _samples(groups: Groups) -> Outcome:
    dots = [
        charts.Dot(label, one.job.seed, 100 * trial.test)
        for label, found in groups.items()
        for one in found
        for trial in one.more
        if math.isfinite(trial.test)
    ]
    chart = charts.dots_svg(dots, title=_name(groups), quantity="test accuracy (%)")
    caption = "Test accuracy of every sampled network; the line is the mean"
    return Outcome(rows_of.samples_rows(groups), chart, caption)


def _table2(groups: Groups) -> Outcome:
    dots = []
    for label, found in groups.items():
        name = label.replace("TopK", "Top1")
        for one in found:
            both = [(name, trial) for trial in one.best]
            both += [(f"{name}, large", trial) for trial in one.large]
            dots += [
                charts.Dot(who, one.job.seed, 100 * trial.test)
                for who, trial in both
                if math.isfinite(trial.test)
            ]
    chart = charts.dots_svg(dots, title=_name(groups), quantity="test accuracy (%)")
    caption = "Test accuracy of every training; the line is the mean"
    return Outcome(rows_of.best_rows(groups), chart, caption)


def _table9(groups: Groups) -> Outcome:
    points = []
    for label, found in groups.items():
        for one in found:
            space = one.job.ground.space
            full, _ = space.with_ends(space.parse(one.archs[: len(one.more)]))
            longest = dag.longest_path(full).tolist()
            points += [
                charts.Longest(label, path, 100 * trial.test)
                for path, trial in zip(longest, one.more, strict=True)
                if math.isfinite(trial.test)
            ]
    chart = charts.paths_svg(points, title=_name(groups))
    caption = "Test accuracy of every sampled network against the longest path of its cell"
    return Outcome(rows_of.regime_rows(groups), chart, caption)


def _points(groups: Groups) -> list[rows_of.Point]:
    return [point for label, found in groups.items() for point in rows_of.late_points(label, found)]


def _fig3(groups: Groups) -> Outcome:
    points, name = _points(groups), _name(groups)
    chart = charts.topology_svg(points, title=name) if points else None
    caption = "Graphs proposed late in the searches, coloured by validation accuracy"
    return Outcome(rows_of.topology_rows(name, points), chart, caption)


def _fig6(groups: Groups) -> Outcome:
    """Draw the best cells of every method, a method in a row."""
    space = next(iter(groups.values()))[0].job.ground.space
    best: list[str] = []
    titles = []
    for label, found in groups.items():
        searched = [row for one in found for row in one.rows]
        score = {row.arch: row.score for row in searched if row.score is not None}
        for i, text in enumerate(list(best_rows(searched))[:_DRAWN]):
            edges = int(space.parse([text]).num_edges[0])
            titles.append(
                [f"{label}, #{i + 1}", f"{score[text]:.2%} in low data", f"{edges} edges"]
            )
            best.append(text)
    full, names = space.with_ends(space.parse(best))
    points, name = _points(groups), _name(groups)
    rows = [row for row in rows_of.topology_rows(name, points) if "dens" in row.metric]
    chart = cells_svg(full, titles, names, columns=_DRAWN) if best else None
    return Outcome(rows, chart, "The three cells of each method that validated best in low data")


_PAGES: dict[str, Callable[[Groups], Outcome]] = {
    "table1": _samples,
    "table2": _table2,
    "table6": _samples,
    "table9": _table9,
    "fig3": _fig3,
    "fig6": _fig6,
}
ITEMS = tuple(_PAGES)
