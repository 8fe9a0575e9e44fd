"""[GraphPNAS] section 4.1: RandWire cells, found by training each candidate on few images.

What Tables 1, 2 and 9 and Figs. 3 and 6 have in common: what is searched and how, and what a method
answers with. A search is a run like any other; the cells it answers with are trained again by
`netwright.reproductions.trials`, on as few images and on more.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from netwright.config.objects import make_data
from netwright.config.schema import MethodConfig, RunConfig
from netwright.config.searchers import make_searcher
from netwright.evaluators.train import EARLY_STOPPING, LOW_DATA, PAPER_RECIPE, TrainEvaluator
from netwright.evaluators.training import Recipe
from netwright.graphs.batch import ArchitectureBatch
from netwright.images.data import ImageData
from netwright.images.reduce import halved, reduced
from netwright.networks.randwire import PRESETS, RandWireSkeleton, randwire_network
from netwright.progress import Chunk
from netwright.reproductions.trials import Setting
from netwright.rng import stream
from netwright.runs.run import Run
from netwright.searchers.base import Fresh, Proposals, Searcher
from netwright.searchers.graph_parameters import ParameterSearch
from netwright.searchers.random_graphs import RandomGraphSearch
from netwright.searchers.reinforce import Reinforce
from netwright.spaces.randwire import RandWire

Scale = Literal["smoke", "laptop", "paper"]
Regime = Literal["low data", "early stopping"]
Tell = Callable[[str], None]

#: Where the Debian package puts it.
FASHION = "idx:/usr/share/datasets/fashion-mnist"


@dataclass(frozen=True, eq=False)
class Ground:
    """What is searched, and how candidates and finalists are trained.

    Attributes:
        name: Of the images and the size of the cells, for readers.
        space: Of the cells.
        regimes: How candidates are trained.
        final: How finalists are trained and tested.
        large: What surrounds scaled-up finalists.
        evaluations: Of a search.
        batch_size: Candidates of a step.
        samples: Networks that a method answers with.
        repeats: Trainings of the best of them.
    """

    name: str
    space: RandWire
    regimes: dict[Regime, Setting]
    final: Setting
    large: RandWireSkeleton
    evaluations: int
    batch_size: int
    samples: int = 4
    repeats: int = 3


def ground(scale: Scale, data: str | None = None, *, device: str = "auto") -> Ground:
    """Return what is searched at a scale.

    Args:
        scale: "paper": Tiny-ImageNet at 224 x 224, 320 evaluations of 300 epochs, for days on
            GPUs. "laptop": images of half the size, 16 nodes and few channels. "smoke": seconds.
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
                             "tiny-imagenet:PATH")  # fmt: skip
        whole = replace(make_data(data), resize=224)
        return _ground(
            f"randwire-32/{whole.name}", RandWire(32), whole, whole, PRESETS["official"], device,
            recipe=PAPER_RECIPE, early=replace(PAPER_RECIPE, epochs=37), final=PAPER_RECIPE,
            shares=(LOW_DATA, 0.9), large=PRESETS["large"], evaluations=320, batch_size=8,
        )  # fmt: skip
    if scale == "smoke":
        some = reduced(make_data(data or "digits"), train=120, test=40, rng=stream(0, "reduced"))
        skeleton = RandWireSkeleton(((4, 1),), ((4,), (8,)), (1, 2), head=8)
        recipe = Recipe(epochs=1, batch_size=32, crop_padding=1)
        found = _ground(
            f"randwire-4/{some.name}", RandWire(4), some, some, skeleton, device,
            recipe=recipe, early=recipe, final=recipe, shares=(0.25, 0.8),
            large=replace(skeleton, stages=((8,), (8, 16))), evaluations=8, batch_size=4,
        )  # fmt: skip
        return replace(found, samples=2, repeats=1)
    whole = make_data(data or FASHION)
    more = reduced(whole, train=10_000, test=5_000, rng=stream(0, "reduced"))
    more = halved(more) if min(more.train_images.shape[-2:]) >= 28 else more
    few = reduced(more, train=4_000, test=1_000, rng=stream(0, "few"))
    skeleton = RandWireSkeleton(((8, 1),), ((8,), (16,), (32,)), (1, 2, 2), head=64)
    recipe = Recipe(epochs=10, batch_size=64, nesterov=True, label_smoothing=0.1, crop_padding=2)
    height, width = more.train_images.shape[-2:]
    return _ground(
        f"randwire-16/{more.name} ({height}x{width})", RandWire(16), few, more, skeleton, device,
        recipe=recipe, early=replace(recipe, epochs=3), final=replace(recipe, epochs=15),
        shares=(0.25, 0.9), large=replace(skeleton, stages=((16,), (24, 32), (64,))),
        evaluations=48, batch_size=8,
    )  # fmt: skip


def _ground(
    name: str,
    space: RandWire,
    few: ImageData,
    more: ImageData,
    skeleton: RandWireSkeleton,
    device: str,
    *,
    recipe: Recipe,
    early: Recipe,
    final: Recipe,
    shares: tuple[float, float],
    **sizes: Any,
) -> Ground:
    def setting(what: str, data: ImageData, share: float, how: Recipe) -> Setting:
        return Setting(f"{name}, {what}", data, share, skeleton, how, device, randwire_network)

    regimes: dict[Regime, Setting] = {
        "low data": setting("low data", few, shares[0], recipe),
        "early stopping": setting("early stopping", few, EARLY_STOPPING, early),
    }
    return Ground(name, space, regimes, setting("all data", more, shares[1], final), **sizes)


@dataclass(frozen=True)
class Method:
    """A way to search.

    Attributes:
        label: For readers, as in the paper.
        settings: Of the method, as in a configuration.
    """

    label: str
    settings: dict[str, Any]


def methods(scale: Scale, evaluations: int) -> list[Method]:
    """Return the methods of Table 1.

    At the paper's scale, GraphPNAS and its rival have the settings of table 8 and section 4.1; else
    those found best on tabular benchmarks, with the explorer and the buffer of section 4.1.
    """
    explorer = {"model": "ws", "p": [0.2, 0.8], "k": [2, 6]}
    loop: dict[str, Any] = {
        "explorer": explorer,
        "epsilon": {"name": "step", "start": 0.6, "factor": 0.2, "over": max(1, evaluations // 4)},
        "share": {"name": "linear", "start": 0.3, "end": 0.1, "over": evaluations},
    }
    if scale == "paper":
        loop |= {"update_every": 8, "epochs": 2000, "batch_size": 16, "learning_rate": 1e-4}
        sizes: dict[str, Any] = {"hidden": 128}
    else:
        quick = {"refit": True, "batch_size": 5, "epochs": 40, "learning_rate": 5e-3}
        loop |= {"update_every": 8, **quick}
        sizes = {"hidden": 24}
    if scale == "smoke":
        loop |= {"epochs": 1, "update_every": 4}
        sizes = {"hidden": 8, "rounds": 1, "mixtures": 2}
    settings = max(2, evaluations // 8)
    random = [
        Method(
            f"{graphs.upper()}-{name}",
            {"name": "random-graph", "graphs": graphs, "estimator": estimator}
            | ({"settings": settings, "repeats": 3} if estimator == "best" else {}),
        )
        for estimator, name in (("topk", "TopK"), ("best", "BEST"))
        for graphs in ("er", "ws")
    ]
    rnn = {"name": "rnn", **loop} | ({"hidden": 8} if scale == "smoke" else {})
    return [
        *random,
        Method("RNN", rnn),
        Method("GraphPNAS", {"name": "graphpnas", **loop, **sizes}),
    ]


def search(
    ground: Ground, method: Method, seed: int, folder: Path, *, regime: Regime, tell: Tell
) -> tuple[Run, Searcher]:
    """Search, or go on, until the evaluations are spent; return the run and what has learned.

    Raises:
        ValueError: If the folder has a run of another setting.
        BlockingIOError: If another process searches in it.
    """
    setting = ground.regimes[regime]
    facts = setting.facts() | {"regime": regime, "method": method.settings}
    sizes = {"nodes": ground.space.nodes, "evaluations": ground.evaluations, "seed": seed}
    wanted = {"wirings": _plain(facts | sizes | {"batch_size": ground.batch_size})}
    place = folder / f"{method.label}-{regime}-seed-{seed}".replace(" ", "-")
    if (place / "config.toml").exists():
        run = Run.open(place)
        if run.config != wanted:
            raise ValueError(f"{place} is a search of another setting: name another folder")
    else:
        run = Run.create(place, wanted)
    searcher = make_searcher(_config(method), ground.space, rng=stream(seed, "searcher/init"))
    evaluator = TrainEvaluator(
        partial(setting.network, preset=setting.skeleton),
        setting.data,
        setting.recipe,
        train_fraction=setting.train_fraction,
        device=setting.device,
    )
    done = run.ledger.count()
    events = run.execute(
        ground.space,
        searcher,
        evaluator,
        budget=ground.evaluations,
        batch_size=ground.batch_size,
        seed=seed,
    )
    with closing(events):
        for event in events:
            if isinstance(event, Chunk) and event.status == "evaluated":
                done += len(event)
                tell(f"{method.label}, {regime}, seed {seed}: {done}/{ground.evaluations}")
    return run, searcher


def _config(method: Method) -> MethodConfig:
    parsed = RunConfig.parse({"space": "randwire", "method": method.settings, "evaluator": "train"})
    return parsed.method


def answer(ground: Ground, run: Run, searcher: Searcher, n: int, *, seed: int) -> list[str]:
    """Return the ``n`` cells that a method answers with, each another.

    A generator, or the best random graph model, is sampled, as for table 1; a method that only
    keeps what it found, "TopK", answers with the best of that.
    """
    rng = stream(seed, "answer")

    def drawn(sample: Callable[[int], ArchitectureBatch]) -> list[str]:
        found = Fresh(ground.space).fill(n, lambda m: Proposals.of(sample(m), "generator"))
        return ground.space.to_text(found.archs)

    if isinstance(searcher, Reinforce):
        policy = searcher.policy
        return drawn(lambda m: policy.sample(m, rng=rng))
    if isinstance(searcher, RandomGraphSearch) and searcher.estimator == "best":
        model = searcher.best_model()
        return drawn(lambda m: model.sample(m, rng=rng))
    if isinstance(searcher, ParameterSearch):
        best = searcher.best(rng=rng)
        return drawn(lambda m: searcher.draw(best.expand(m, -1), rng=rng))
    return list(_best_rows(run))[:n]


def _best_rows(run: Run) -> Iterator[str]:
    """Yield the architectures of a run, best first, each once."""
    rows = [row for row in run.ledger.rows() if row.score is not None]
    yield from dict.fromkeys(
        row.arch for row in sorted(rows, key=lambda r: (-(r.score or 0), r.id))
    )


def fully_connected(space: RandWire) -> str:
    """Return the cell in which every node takes all before it: FC in table 2."""
    pairs = ",".join(f"{i}-{j}" for i in range(space.nodes) for j in range(i + 1, space.nodes))
    return ";".join([f"{space.nodes}:{pairs}"] * space.cells)


def _plain(value: Any) -> Any:
    """Return what TOML can express, as it comes back from it."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
