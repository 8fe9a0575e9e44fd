"""The fits of [SVGe] Table II: which there are, what they learn, and how each is carried out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from netwright import metrics
from netwright.config.fits import FitConfig, load_generator, read_graphs
from netwright.config.objects import make_space
from netwright.files import load_state, save_state
from netwright.graphs.batch import ArchitectureBatch
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.spaces.base import SearchSpace
from netwright.surrogates.latent import PRESETS, Joint, LatentPredictor
from netwright.surrogates.predictors import EncodingMLP, MeanPredictor, Predictor, TreePredictor
from netwright.tables.format import Table

Scale = Literal["smoke", "laptop", "paper"]
Tell = Callable[[str], None]

_SAVE_EVERY = 30.0  # seconds, within a fit


class Target(NamedTuple):
    """What is predicted: a column of the table, and how the results call it."""

    column: str
    benchmark: str


TEST = Target("cifar10/test@108", "nasbench101/test accuracy")
VALID = Target("cifar10/valid-run@108", "nasbench101/single-run validation accuracy")


@dataclass(frozen=True)
class Extent:
    """How much a scale carries out.

    Attributes:
        labels: To learn from, on test accuracy; on validation accuracy the first of them.
        test: Cells tested on, the first ones; all if None.
        paper: Epochs of preset "paper", for each number of labels.
        best: Epochs of preset "best", likewise.
        trees: Of the forest.
    """

    labels: tuple[int, ...]
    test: int | None
    paper: tuple[int, ...]
    best: tuple[int, ...]
    trees: int = 200


EXTENTS: dict[Scale, Extent] = {
    "smoke": Extent((30, 60), 100, (1, 1), (2, 1), trees=10),
    "laptop": Extent((1000, 10_000), 10_000, (20, 3), (20, 10)),
    "paper": Extent((1000, 10_000, 100_000), None, (100, 100, 100), (20, 10, 10)),
}


class Job(NamedTuple):
    """A predictor, fitted to so many labels of a target."""

    target: Target
    labels: int
    method: str
    preset: str | None

    @property
    def name(self) -> str:
        """Like ``test/1000/svge/best``."""
        target = "test" if self.target == TEST else "valid"
        preset = f"/{self.preset}" if self.preset else ""
        return f"{target}/{self.labels}/{self.method}{preset}"


class Examples(NamedTuple):
    """Architectures and scores to learn from and to test on."""

    train: ArchitectureBatch
    train_score: Float[Tensor, " label"]
    test: ArchitectureBatch
    test_score: Float[Tensor, " cell"]


class Result(NamedTuple):
    """Predictions of a fitted predictor beside the truth, and the seconds the fit took."""

    predicted: Float[Tensor, " cell"]
    actual: Float[Tensor, " cell"]
    seconds: float


class Bench:
    """The cells and scores of one reproduction, and the generators that predict."""

    def __init__(self, fits: Sequence[FitRun], tables: Path, scale: Scale) -> None:
        configs = [FitConfig.parse(fit.config) for fit in fits]
        for fit, config in zip(fits, configs, strict=True):
            if config.space.name != "nasbench101":
                raise ValueError(f"{fit.folder} is a fit to {config.space.name}, not nasbench101")
            same = config.data.held_out, config.data.seed
            if same != (configs[0].data.held_out, configs[0].data.seed):
                raise ValueError(f"{fit.folder} holds out other cells than {fits[0].folder}")
        self.fits = {config.method.name: fit for fit, config in zip(fits, configs, strict=True)}
        self.scale, self.extent = scale, EXTENTS[scale]
        path = tables / "nasbench101.safetensors"
        self.space: SearchSpace = make_space(configs[0].space)
        self.table = Table.open(path)
        # The labels come from all training cells, even where a fit was limited to a few.
        data = configs[0].data.model_copy(update={"table": path, "limit": None})
        self.split = read_graphs(configs[0].model_copy(update={"data": data}), self.space)

    @cached_property
    def rows(self) -> tuple[Tensor, Tensor]:
        """Rows of the table of training and of held-out cells."""
        train, held_out = (self.table.lookup(self.space.keys(archs)) for archs in self.split)
        return train, held_out

    def examples(self, job: Job, seed: int) -> Examples:
        """Draw labels; those of a seed are the first of its larger draws."""
        column = self.table.column(job.target.column)
        train, held_out = (column[rows] for rows in self.rows)
        known = (~train.isnan()).nonzero()[:, 0]
        order = torch.randperm(len(known), generator=stream(seed, "prediction/labels"))
        drawn, rest = known[order[: job.labels]], known[order[job.labels :]]
        if len(drawn) < job.labels:
            raise ValueError(f"{self.table.path} has {len(drawn)} labels, not {job.labels}")
        tested = (~held_out.isnan()).nonzero()[:, 0]
        archs, score = self.split.held_out[tested], held_out[tested]
        if job.target == VALID:
            archs = ArchitectureBatch.cat([archs, self.split.train[rest]])
            score = torch.cat([score, train[rest]])
        some = slice(self.extent.test)
        return Examples(self.split.train[drawn], train[drawn], archs[some], score[some])

    def joint(self, job: Job) -> Joint:
        """Return how a generator is fine-tuned for a job."""
        assert job.preset is not None
        epochs = self.extent.paper if job.preset == "paper" else self.extent.best
        return PRESETS[job.preset].lasting(epochs[self.extent.labels.index(job.labels)])

    def settings(self, job: Job, seed: int) -> dict[str, Any]:
        """Return what a result depends on, as JSON values."""
        found: dict[str, Any] = {"job": job.name, "seed": seed, "test": self.extent.test}
        if job.preset is None:
            return found | {"trees": self.extent.trees}
        state = self.fits[job.method].state()
        graphs = 0 if state is None else state["counters"][0]
        return found | {"graphs": graphs, "joint": asdict(self.joint(job))}


def jobs(methods: Sequence[str], scale: Scale, only: Sequence[str] = ()) -> list[Job]:
    """Return the jobs of Table II, all or those whose name contains one of some words.

    Args:
        methods: Names of the generators there are fits of, the first being the one of both
            presets.
        scale: How much.
        only: The words.

    Raises:
        ValueError: If a word is in none.
    """
    ways: list[tuple[str, str | None]] = [(methods[0], "best"), ("trees", None), ("mlp", None)]
    ways += [("mean", None), (methods[0], "paper"), *((name, "best") for name in methods[1:])]
    labels = EXTENTS[scale].labels
    every = [Job(TEST, n, *way) for way in ways for n in labels]
    every += [Job(VALID, labels[0], *way) for way in ways[:4]]
    for word in only:
        if not any(word in job.name for job in every):
            raise ValueError(
                f"no row has {word!r} in its name: use {', '.join(job.name for job in every)}"
            )
    return [job for job in every if not only or any(word in job.name for word in only)]


def result_of(bench: Bench, job: Job, seed: int, folder: Path, tell: Tell) -> Result:
    """Read a result, or carry the job out and write it.

    Raises:
        ValueError: If the result is of other settings, or its file is damaged.
    """
    path = folder / job.name / f"seed-{seed}.safetensors"
    settings = bench.settings(job, seed)
    if path.exists():
        found = load_state(path)
        if found["settings"] != settings:
            raise ValueError(f"{path} is of other settings: delete it, or name another folder")
        return Result(found["predicted"], found["actual"], found["seconds"])
    path.parent.mkdir(parents=True, exist_ok=True)
    examples = bench.examples(job, seed)
    predictor, seconds = _fitted(bench, job, examples, seed, path.with_suffix(".part"), tell)
    result = Result(predictor.predict(examples.test), examples.test_score, seconds)
    save_state(path, {"settings": settings, **result._asdict()})
    path.with_suffix(".part").unlink(missing_ok=True)
    error = metrics.mse(result.predicted, result.actual)
    tell(f"{job.name}, seed {seed}: mse {error:.5f} after {seconds:.0f} s")
    return result


def _fitted(
    bench: Bench, job: Job, examples: Examples, seed: int, partial: Path, tell: Tell
) -> tuple[Predictor, float]:
    """Fit the predictor of a job; return it and the seconds that took."""
    rng = stream(seed, f"prediction/{job.name}")
    archs, score = examples.train, examples.train_score
    if job.preset is None:
        predictor = _baseline(job.method, bench)
        start = time.monotonic()
        predictor.fit(archs, score, rng=rng)
        return predictor, time.monotonic() - start
    latent = LatentPredictor(load_generator(bench.fits[job.method]), bench.joint(job))
    latent.begin(archs, score, rng=rng)
    if partial.exists():
        latent.load_state_dict(load_state(partial))
        tell(f"{job.name}, seed {seed}: goes on after {latent.seconds:.0f} s")
    saved = time.monotonic()
    for _ in latent.run():
        if time.monotonic() - saved >= _SAVE_EVERY:
            save_state(partial, latent.state_dict())
            saved = time.monotonic()
    return latent, latent.seconds


def _baseline(method: str, bench: Bench) -> Predictor:
    """Make a predictor that has no generator."""
    layout = bench.space.layout
    if method == "trees":
        return TreePredictor(layout, trees=bench.extent.trees)
    return EncodingMLP(layout) if method == "mlp" else MeanPredictor(layout)
