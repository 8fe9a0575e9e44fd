"""[GraphPNAS] Table 3 and Fig. 7: the rows and pictures of searches with shared weights."""

import math
import statistics
from collections.abc import Sequence

import torch

from netwright.metrics import kendall_tau
from netwright.reproductions.extrapolation_charts import cells_svg
from netwright.reproductions.outcome import Outcome
from netwright.reproductions.shared_search import RANDOM, Done
from netwright.reproductions.trials import Trial
from netwright.reproductions.wiring_charts import Dot, dots_svg
from netwright.reproductions.wiring_rows import summary
from netwright.results import Row

TITLES = {
    "table3": "GraphPNAS, Table 3: macro networks found with shared weights",
    "fig7": "GraphPNAS, Figure 7: the best macro network of each method",
}
_HOW = (
    "Macro networks of 12 layers. At laptop scale images are halved in size, the shared weights "
    "have 16 channels and learn 4,000 images for 40 epochs, each followed by scores of 20 "
    "architectures on 1,000 others; networks have 8 channels (large: 16) and separable "
    "convolutions. Of 8 samples of the generator, trained for 5 epochs by themselves, the 4 with "
    "the best validation accuracy are trained for 10 and tested on 5,000 images. Both generators "
    "have the loop, the explorer and the buffer (best 20 %) of GraphPNAS. Deviations from the "
    "paper, whose published rows do not compare with laptop scale: scores and choices are by "
    "validation images, not by the test set. `--scale paper` has the paper's settings. "
)
NOTES = {
    "table3": _HOW + "A value is that of a search, so that means, standard deviations and 95 % "
    "intervals are over seeds. *Best*: by validation after the full training. *Kendall tau*: "
    "between what the shared weights of a search say in the end of 30 random architectures and "
    "their validation accuracy when trained by themselves; the limit is that between the latter "
    "and test accuracy. *Bias*: how many points more the mean score of sampled architectures rises "
    "than that of as many others, when the weights are trained for one more step with those "
    "alone, at the learning rate of the middle of the search.",
    "fig7": _HOW + "Drawn is, of all seeds, the network with the best validation accuracy after "
    "the full training.",
}  # fmt: skip
_PUBLISHED = {  # million parameters; error: best, mean and sd of the samples; days
    "RNN": (19.64, 4.18, 4.47, 0.282, 0.9),
    "RNN, large": (36.92, 4.00, 4.16, 0.089, 0.9),
    "GraphPNAS": (20.47, 3.73, 3.93, 0.098, 0.5),
    "GraphPNAS, large": (37.71, 3.55, 3.62, 0.050, 0.5),
}
_BEST, _MEAN, _SD = (f"test error, {what}" for what in ("best", "mean of the best samples", "sd"))


def table3(done: Sequence[Done]) -> Outcome:
    """Return the rows of table 3, and every fully trained network as a dot."""
    random = next(one for one in done if one.job.label == RANDOM)
    searched = [one for one in done if one.job.label != RANDOM]
    benchmark = random.job.ground.name
    groups: dict[str, list[list[Trial]]] = {}
    dots = []
    for suffix in ("", ", large"):
        for one in searched:
            trials = one.large if suffix else one.full
            label = one.job.label + suffix
            groups.setdefault(label, []).append(trials)
            dots += [Dot(label, one.job.seed, e) for e in _errors(trials)]
    rows = []
    for metric, measure in ((_BEST, _best), (_MEAN, _mean), (_SD, _sd), ("parameters", _size)):
        for label, found in groups.items():
            rows += summary(benchmark, metric, label, [measure(trials) for trials in found])
    for label in dict.fromkeys(one.job.label for one in searched):
        mine = [one for one in searched if one.job.label == label]
        for metric, values in (
            ("kendall tau of shared weights, 30 random architectures", [
                _tau(one, random) for one in mine
            ]),
            ("bias of what was just trained with (points)", [_bias(one) for one in mine]),
            ("test error of all samples, short training, mean", [_mean(one.short) for one in mine]),
            ("search cost (minutes)", [
                sum(row.cost for row in one.rows if row.status != "initial") / 60 for one in mine
            ]),
        ):  # fmt: skip
            n = random.job.ground.random
            rows += summary(benchmark, metric.replace("30", str(n)), label, values)
    alone = [(trial.valid, trial.test) for trial in random.short]
    limit = f"kendall tau of validation and test, {len(alone)} random architectures"
    rows += summary(benchmark, limit, RANDOM, [_agreement(alone)])
    rows += summary(
        benchmark, "test error of all samples, short training, mean", RANDOM, _errors(random.short)
    )
    chart = dots_svg(dots, title=benchmark, quantity="test error (%)") if dots else None
    caption = "Test error of every fully trained network; the line is the mean"
    return Outcome([*rows, *_quoted()], chart, caption)


def fig7(done: Sequence[Done]) -> Outcome:
    """Draw the best network of each method."""
    texts, titles, rows = [], [], []
    searched = [one for one in done if one.job.label != RANDOM]
    space, benchmark = done[0].job.ground.space, done[0].job.ground.name
    for label in dict.fromkeys(one.job.label for one in searched):
        found = [
            (trial, arch)
            for one in searched
            if one.job.label == label
            for trial, arch in zip(one.full, one.finalists, strict=True)
            if trial.error is None
        ]
        if not found:
            continue
        trial, arch = max(found, key=lambda both: both[0].valid)
        texts.append(arch)
        edges = int(space.parse([arch]).num_edges[0])
        skips = edges - (space.layout.max_nodes - 1)
        titles.append([label, f"test error {1 - trial.test:.2%}", f"{skips} skip connections"])
        rows += summary(benchmark, "test error", label, [100 * (1 - trial.test)])
        rows += summary(benchmark, "skip connections", label, [float(skips)])
        rows += summary(benchmark, "parameters", label, [trial.parameters])
    chart = cells_svg(space.parse(texts), titles, space.op_names) if texts else None
    return Outcome(rows, chart, "The network of each method that validated best")


def _quoted() -> list[Row]:
    rows = []
    for label, (size, best, mean, sd, days) in _PUBLISHED.items():
        for metric, value in (
            (_BEST, best),
            (_MEAN, mean),
            (_SD, sd),
            ("parameters", size * 1e6),
            ("search cost (GPU days)", days),
        ):
            where = "enas-12/cifar10, published"
            rows.append(Row(where, metric, value, None, method=label, preset="quoted", paper=value))
    return rows


def _errors(trials: Sequence[Trial]) -> list[float]:
    return [100 * (1 - trial.test) for trial in trials if math.isfinite(trial.test)]


def _best(trials: Sequence[Trial]) -> float:
    """Return the test error of the network that is best in validation."""
    known = [trial for trial in trials if trial.error is None]
    return 100 * (1 - max(known, key=lambda trial: trial.valid).test) if known else math.nan


def _mean(trials: Sequence[Trial]) -> float:
    return statistics.fmean(_errors(trials)) if _errors(trials) else math.nan


def _sd(trials: Sequence[Trial]) -> float:
    return statistics.stdev(_errors(trials)) if len(_errors(trials)) > 1 else math.nan


def _size(trials: Sequence[Trial]) -> float:
    known = [trial.parameters for trial in trials if trial.error is None]
    return statistics.fmean(known) if known else math.nan


def _tau(one: Done, random: Done) -> float:
    """Return how well shared weights order architectures that were trained by themselves."""
    alone = [trial.valid for trial in random.short]
    return _agreement(list(zip(one.answer.random, alone, strict=True)))


def _agreement(pairs: Sequence[tuple[float, float]]) -> float:
    known = [pair for pair in pairs if all(map(math.isfinite, pair))]
    return kendall_tau(*torch.tensor(known, dtype=torch.double).T) if len(known) > 1 else math.nan


def _bias(one: Done) -> float:
    gains = {name: after - before for name, (before, after) in one.answer.bias.items()}
    return 100 * (gains["trained"] - gains["others"])
