"""[GraphPNAS] section 4.2: macro networks found with weights that all of them share.

Table 3 and Fig. 7: a generator is searched with while a supernet is trained with its samples; then
samples are trained by themselves, shortly, and the best of them fully. All that belongs to a method
and a seed is in one folder, ``METHOD-seed-N``: the run (``search``), what the generator answers
with and what the shared weights say (``answer.json``), and the trainings (``short``, ``full``,
``large``).
"""

import json
import statistics
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from netwright.config.objects import make_data
from netwright.config.schema import RunConfig
from netwright.config.searchers import make_searcher
from netwright.evaluators.supernet import SupernetEvaluator, SupernetRecipe
from netwright.evaluators.train import ENAS_FINAL_RECIPE
from netwright.evaluators.training import Recipe
from netwright.files import write_atomic
from netwright.generators.random_graph import RandomGraph
from netwright.graphs.batch import ArchitectureBatch
from netwright.images.data import ImageData
from netwright.images.reduce import halved, reduced
from netwright.networks.enas import PRESETS, ENASSkeleton, enas_network
from netwright.networks.enas_supernet import CHANNELS, ENASSupernet
from netwright.progress import Chunk
from netwright.reproductions.experiment import slug
from netwright.reproductions.trials import Plan, Setting, Trial, carried
from netwright.reproductions.wirings import FASHION, Scale
from netwright.rng import stream
from netwright.runs.ledger import Row
from netwright.runs.run import Run
from netwright.searchers.base import Fresh, Proposals
from netwright.searchers.reinforce import Reinforce
from netwright.spaces.base import SearchSpace
from netwright.spaces.enas import ENAS

#: The random architectures that are trained by themselves, to see what shared weights say of them.
RANDOM = "random architectures"
_DENSITY = 0.4  # of skip connections in random architectures, as the paper's explorer has it


@dataclass(frozen=True, eq=False)
class Ground:
    """What is searched, and how shared weights and networks are trained.

    Attributes:
        name: Of the images and the space, for readers.
        scale: Which one it is.
        data: The images, as `make_data` takes them.
        space: Of the architectures.
        images: What shared weights learn.
        recipe: How.
        channels: Of the shared weights.
        train_fraction: Share of the images that they are trained on.
        short: How samples are trained first.
        full: How the best of them are.
        large: With more channels.
        evaluations: Of a search.
        batch_size: Architectures that are scored in a step.
        samples: Of the generator.
        finalists: The best of them.
        random: Architectures trained by themselves, to compare with what shared weights say.
    """

    name: str
    scale: Scale
    data: str
    space: ENAS
    images: ImageData
    recipe: SupernetRecipe
    channels: int
    train_fraction: float
    short: Setting
    full: Setting
    large: Setting
    evaluations: int
    batch_size: int
    samples: int = 8
    finalists: int = 4
    random: int = 30

    def evaluator(self, device: str) -> SupernetEvaluator:
        """Return what scores the candidates of a search."""
        make = partial(ENASSupernet, layers_of(self.space), channels=self.channels)
        share = self.train_fraction
        return SupernetEvaluator(
            make, self.images, self.recipe, train_fraction=share, device=device
        )


def layers_of(space: ENAS) -> int:
    """Return the number of layers, without input and output."""
    return space.layout.max_nodes - 2


def supernet(
    space: SearchSpace, *, scale: Scale, data: str, device: str = "auto"
) -> SupernetEvaluator:
    """Return what scores the candidates of a search, as its run folder names it."""
    del space
    return ground(scale, data, device=device).evaluator(device)


def ground(scale: Scale, data: str | None = None, *, device: str = "auto") -> Ground:
    """Return what is searched at a scale.

    Args:
        scale: "paper": CIFAR-10, 300 steps of 5 epochs and 100 scores, full trainings of 600
            epochs, for days on a GPU. "laptop": images of half the size, 40 steps of one epoch and
            20 scores. "smoke": seconds.
        data: The images, as `make_data` takes them; Fashion-MNIST where its Debian package puts it
            if None, the digits at smoke scale.
        device: Where networks are trained.

    Raises:
        ValueError: If the paper's images are not named, or cannot be read.
        FileNotFoundError: If they are missing.
    """
    if scale == "paper":
        if data is None:
            raise ValueError("the paper's images are not part of the package: give --data "
                             "cifar10:PATH")  # fmt: skip
        named, space, images = data, ENAS(12), make_data(data)
        recipe = SupernetRecipe(epochs=1500)
        sizes: dict[str, Any] = {"evaluations": 30_000, "batch_size": 100, "channels": CHANNELS}
        short = replace(ENAS_FINAL_RECIPE, epochs=100)
        recipes, share = (short, ENAS_FINAL_RECIPE), 0.9
        skeletons = (PRESETS["official"], PRESETS["large"])
    elif scale == "laptop":
        named, space = data or FASHION, ENAS(12)
        images = reduced(make_data(named), train=5_000, test=5_000, rng=stream(0, "reduced"))
        images = halved(images) if min(images.train_images.shape[-2:]) >= 28 else images
        recipe = SupernetRecipe(epochs=40, epochs_per_step=1, batch_size=100, crop_padding=2)
        sizes = {"evaluations": 800, "batch_size": 20, "channels": 12}
        how = Recipe(batch_size=64, nesterov=True, label_smoothing=0.1, crop_padding=2)
        recipes, share = (replace(how, epochs=5), replace(how, epochs=15)), 0.8
        skeletons = (_small(8), _small(12))
    else:
        named, space = data or "digits", ENAS(3)
        images = reduced(make_data(named), train=120, test=40, rng=stream(0, "reduced"))
        recipe = SupernetRecipe(epochs=2, epochs_per_step=1, batch_size=32, crop_padding=1)
        sizes = {"evaluations": 8, "batch_size": 4, "channels": 4}
        sizes |= {"samples": 3, "finalists": 2, "random": 4}
        how = Recipe(epochs=2, batch_size=16, crop_padding=1)
        recipes, share = (how, how), 0.8
        skeletons = (_small(4), _small(6))
    height, width = images.train_images.shape[-2:]
    name = f"enas-{layers_of(space)}/{images.name} ({height}x{width})"

    def setting(what: str, how: Recipe, skeleton: ENASSkeleton) -> Setting:
        title = f"{name}, {what}"
        return Setting(title, images, share, skeleton, how, device, enas_network)

    return Ground(
        name, scale, named, space, images, recipe, train_fraction=share,
        short=setting("short training", recipes[0], skeletons[0]),
        full=setting("full training", recipes[1], skeletons[0]),
        large=setting("full training, large", recipes[1], skeletons[1]), **sizes,
    )  # fmt: skip


def _small(channels: int) -> ENASSkeleton:
    return ENASSkeleton(channels, separable=True, dropout=0.0)


def methods(scale: Scale, on: Ground) -> dict[str, dict[str, Any]]:
    """Return the settings of each method: the loop of GraphPNAS around its generator and a rival's.

    At the paper's scale they are those of section 4.2 and appendix D. At others the explorer and
    the buffer are the same, and the updates those found best on tabular benchmarks.
    """
    third = on.evaluations // 3
    loop: dict[str, Any] = {
        "explorer": {"model": "er", "p": _DENSITY},
        "epsilon": {"name": "linear", "start": 1.0, "end": 0.0, "over": third},
        "share": {"name": "linear", "start": 0.2, "end": 0.2, "over": on.evaluations},
        "update_every": on.batch_size,
    }
    sizes: dict[str, Any] = {}
    if scale == "paper":
        loop |= {"epochs": 2000, "batch_size": 32, "learning_rate": 1e-4}
    elif scale == "laptop":
        loop |= {"refit": True, "batch_size": 5, "epochs": 20, "learning_rate": 5e-3}
        sizes = {"hidden": 24}
    else:
        loop |= {"epochs": 1}
        sizes = {"hidden": 8}
    small = {"rounds": 1, "mixtures": 2} if scale == "smoke" else {}
    return {
        "RNN": {"name": "rnn", **loop, **sizes},
        "GraphPNAS": {"name": "graphpnas", **loop, **sizes, **small},
    }


@dataclass(frozen=True)
class Job:
    """All that belongs to a method and a seed, or `RANDOM`; it can be pickled.

    Attributes:
        folder: Where the folders of methods and seeds are.
        label: Of the method.
        seed: Of the search and all trainings.
        scale: As `ground` takes it, like the next ones.
        data: The images.
        device: Where networks are trained.
        large: Whether the finalists are trained with more channels too.
    """

    folder: Path
    label: str
    seed: int
    scale: Scale
    data: str | None = None
    device: str = "auto"
    large: bool = True

    @property
    def ground(self) -> Ground:
        """What is searched."""
        return _ground(self.scale, self.data, self.device)

    @property
    def place(self) -> Path:
        """The folder of this method and seed."""
        return self.folder / slug(self.ground.name) / slug(f"{self.label}-seed-{self.seed}")

    @property
    def size(self) -> int:
        """Number of scores and trainings."""
        on = self.ground
        if self.label == RANDOM:
            return on.random
        return on.evaluations + on.samples + (1 + self.large) * on.finalists


@cache  # it reads images
def _ground(scale: Scale, data: str | None, device: str) -> Ground:
    return ground(scale, data, device=device)


class Answer(NamedTuple):
    """What a generator answers with, and what the weights it shared say in the end.

    Attributes:
        archs: Its samples.
        random: The scores of the random architectures.
        bias: Mean scores of samples before and after the weights were trained with some of them:
            of those, "trained", and of as many "others".
    """

    archs: list[str]
    random: list[float]
    bias: dict[str, list[float]]


class Done(NamedTuple):
    """What came of a job.

    Attributes:
        job: Which.
        rows: Scores of the search, repeats too.
        answer: Of the generator; its samples alone for `RANDOM`.
        short: Trainings of the samples.
        finalists: The best of them.
        full: Their trainings.
        large: Those with more channels, if there are any.
    """

    job: Job
    rows: list[Row]
    answer: Answer
    short: list[Trial]
    finalists: list[str]
    full: list[Trial]
    large: list[Trial]


def jobs(base: Job, seeds: Any) -> list[Job]:
    """Return the random architectures, and each method with each seed."""
    names = methods(base.scale, base.ground)
    random = replace(base, label=RANDOM, seed=0)
    return [random, *(replace(base, label=name, seed=seed) for name in names for seed in seeds)]


def work(todo: list[Job]) -> Iterator[int]:
    """Do all that jobs take, as far as it is not on disk; yield 1 for each score and training.

    Raises:
        ValueError: If a folder holds work of another setting.
        BlockingIOError: If another process is at work in it.
    """
    for job in todo:
        with closing(_done(job)) as events:
            yield from events


def read(job: Job) -> Done:
    """Return what came of a job; what is missing is made up for."""
    events = _done(job)
    try:
        while True:
            next(events)
    except StopIteration as end:
        found: Done = end.value
        return found


def _done(job: Job) -> Generator[int, None, Done]:
    on = job.ground

    def trained(setting: Setting, name: str, archs: list[str]) -> Generator[int, None, list[Trial]]:
        plans = [Plan(job.label, arch, job.seed) for arch in archs]
        found = []
        for trial, _ in carried(plans, setting, on.space, job.place / name):
            found.append(trial)
            yield 1
        return found

    if job.label == RANDOM:
        archs = on.space.to_text(random_architectures(on))
        short = yield from trained(on.short, "short", archs)
        return Done(job, [], Answer(archs, [], {}), short, [], [], [])
    given, rows = yield from _answered(job)
    short = yield from trained(on.short, "short", given.archs)
    known = [i for i, trial in enumerate(short) if trial.error is None]
    best = sorted(known, key=lambda i: -short[i].valid)[: on.finalists]
    finalists = [given.archs[i] for i in best]
    full = yield from trained(on.full, "full", finalists)
    large = (yield from trained(on.large, "large", finalists)) if job.large else []
    return Done(job, rows, given, short, finalists, full, large)


def random_architectures(on: Ground) -> ArchitectureBatch:
    """Return the random architectures, the same for all methods and seeds."""
    model = RandomGraph(on.space.layout, p=_DENSITY)
    rng = stream(0, "random architectures")
    drawn = Fresh(on.space).fill(
        on.random, lambda n: Proposals.of(model.sample(n, rng=rng), "random")
    )
    return drawn.archs


def _answered(job: Job) -> Generator[int, None, tuple[Answer, list[Row]]]:
    """Search, or go on; return the answer, as given before if it was, and the scores."""
    on, path = job.ground, job.place / "answer.json"
    options = {"scale": on.scale, "data": on.data}
    config = RunConfig.parse(
        {
            "space": {"name": "enas", "layers": layers_of(on.space)},
            "method": methods(job.scale, on)[job.label],
            "evaluator": {"name": "netwright.reproductions.shared_weights:supernet", **options},
            "budget": on.evaluations,
            "batch_size": on.batch_size,
            "seed": job.seed,
        }
    )
    place, wanted = job.place / "search", json.loads(json.dumps(config.resolved()))
    if (place / "config.toml").exists():
        run = Run.open(place)
        if run.config != wanted:
            raise ValueError(f"{place} is a search of another setting: name another folder")
    else:
        run = Run.create(place, wanted)
    if path.exists():
        yield on.evaluations
        return Answer(**json.loads(path.read_text(encoding="utf-8"))), run.ledger.rows()
    searcher = make_searcher(config.method, on.space, rng=stream(job.seed, "searcher/init"))
    assert isinstance(searcher, Reinforce)
    evaluator = on.evaluator(job.device)
    yield run.ledger.count()
    events = run.execute(
        on.space,
        searcher,
        evaluator,
        budget=on.evaluations,
        batch_size=on.batch_size,
        seed=job.seed,
    )
    with closing(events):
        for event in events:
            if isinstance(event, Chunk) and event.status == "evaluated":
                yield len(event)
    found = _answer(on, searcher, evaluator, seed=job.seed)
    write_atomic(path, json.dumps(found._asdict(), indent=1) + "\n")
    return found, run.ledger.rows()


def _answer(on: Ground, searcher: Reinforce, evaluator: SupernetEvaluator, *, seed: int) -> Answer:
    rng, policy = stream(seed, "answer"), searcher.policy

    def samples(n: int) -> ArchitectureBatch:
        fresh = Fresh(on.space)
        return fresh.fill(n, lambda m: Proposals.of(policy.sample(m, rng=rng), "generator")).archs

    def scores(archs: ArchitectureBatch) -> list[float]:
        rngs = [stream(seed, "answer/score")] * len(archs)  # nothing is random in a score
        return [float(score) for score in evaluator(archs, rngs=rngs).score]

    archs = on.space.to_text(samples(on.samples))
    random = scores(random_architectures(on))
    both = samples(2 * on.batch_size)
    half = len(both) // 2
    groups = {"trained": both[:half], "others": both[half:]}
    before = {name: statistics.fmean(scores(group)) for name, group in groups.items()}
    order = torch.arange(evaluator.train_size) % max(1, half)
    evaluator.train(groups["trained"][order], rng=stream(seed, "answer/train"))
    bias = {name: [before[name], statistics.fmean(scores(group))] for name, group in groups.items()}
    return Answer(archs, random, bias)
