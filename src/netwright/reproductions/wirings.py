"""[GraphPNAS] section 4.1 and appendix B: RandWire cells, found by training every candidate.

What Tables 1, 2, 6 and 9 and Figs. 3 and 6 have in common: what is searched, how candidates and
finalists are trained, and by which methods. See `netwright.reproductions.wiring_search` for the
searches themselves.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

from netwright.config.objects import make_data
from netwright.evaluators.train import (
    EARLY_STOPPING,
    ENAS_FINAL_RECIPE,
    LOW_DATA,
    PAPER_RECIPE,
    TrainEvaluator,
)
from netwright.evaluators.training import Recipe
from netwright.images.data import ImageData
from netwright.images.reduce import halved, reduced
from netwright.networks.randwire import PRESETS, RandWireSkeleton, randwire_network
from netwright.networks.resnet import ResNetSkeleton, resnet_network
from netwright.reproductions.trials import Setting
from netwright.rng import stream
from netwright.spaces.base import SearchSpace
from netwright.spaces.randwire import RandWire

Scale = Literal["smoke", "laptop", "paper"]
Regime = Literal["low data", "early stopping"]

#: Where the Debian package puts it.
FASHION = "idx:/usr/share/datasets/fashion-mnist"


@dataclass(frozen=True, eq=False)
class Ground:
    """What is searched, and how candidates and finalists are trained.

    Attributes:
        name: Of the images and the size of the cells, for readers.
        scale: Which one it is.
        data: The images, as `make_data` takes them.
        space: Of the cells.
        regimes: How candidates are trained.
        final: How finalists are trained and tested.
        large: What surrounds scaled-up finalists.
        resnet: What is trained and tested beside them.
        evaluations: Of a search.
        batch_size: Candidates of a step.
        drawn: Cells that a method answers with.
        samples: How many of them are trained.
        repeats: Trainings of the best of them.
    """

    name: str
    scale: Scale
    data: str
    space: RandWire
    regimes: dict[Regime, Setting]
    final: Setting
    large: Setting
    resnet: Setting
    evaluations: int
    batch_size: int
    drawn: int = 8
    samples: int = 4
    repeats: int = 3

    def evaluator(self, regime: Regime) -> TrainEvaluator:
        """Return what scores the candidates of a search."""
        setting = self.regimes[regime]
        return TrainEvaluator(
            partial(setting.network, preset=setting.skeleton),
            setting.data,
            setting.recipe,
            train_fraction=setting.train_fraction,
            device=setting.device,
        )


class _Recipes(NamedTuple):
    """Of candidates in low data and with early stopping, and of finalists."""

    search: Recipe
    early: Recipe
    final: Recipe


class _Skeletons(NamedTuple):
    """What surrounds the cells, the cells of larger networks, and ResNet's size."""

    base: RandWireSkeleton
    large: RandWireSkeleton
    resnet: ResNetSkeleton


def candidates(
    space: SearchSpace, *, scale: Scale, data: str, regime: Regime, cells: int, device: str = "auto"
) -> TrainEvaluator:
    """Return what scores the candidates of a search, as its run folder names it."""
    del space
    return ground(scale, data, cells=cells, device=device).evaluator(regime)


def ground(
    scale: Scale, data: str | None = None, *, cells: int = 1, device: str = "auto"
) -> Ground:
    """Return what is searched at a scale.

    Args:
        scale: "paper": Tiny-ImageNet at 224 x 224, 320 evaluations of 300 epochs, for days on
            GPUs; with a cell for each stage CIFAR-10, 600 evaluations of 100 epochs. "laptop":
            images of half the size, 16 nodes, two stages (or three), few channels. "smoke":
            seconds.
        data: The images, as `make_data` takes them; Fashion-MNIST where its Debian package puts it
            if None, the digits at smoke scale.
        cells: 1, shared by all stages, or 3, one for each.
        device: Where networks are trained.

    Raises:
        ValueError: If the paper's images are not named, or cannot be read.
        FileNotFoundError: If they are missing.
    """
    if scale == "paper":
        return _papers(data, cells, device)
    return (_smoke if scale == "smoke" else _laptop)(data, cells, device)


def _papers(data: str | None, cells: int, device: str) -> Ground:
    if data is None:
        usual = "tiny-imagenet:PATH" if cells == 1 else "cifar10:PATH"
        raise ValueError(f"the paper's images are not part of the package: give --data {usual}")
    whole = make_data(data)
    base, large = PRESETS["official"], PRESETS["large"]
    if cells == 1:
        whole = replace(whole, resize=224)
        early = replace(PAPER_RECIPE, epochs=37)  # as many steps as on a tenth of the images
        recipes, evaluations = _Recipes(PAPER_RECIPE, early, PAPER_RECIPE), 320
        resnet = ResNetSkeleton(64, large_images=True)
    else:  # appendix B says no more than 100 epochs; retrained as the best networks of table 3
        recipe = replace(PAPER_RECIPE, epochs=100)
        recipes = _Recipes(recipe, replace(PAPER_RECIPE, epochs=12), ENAS_FINAL_RECIPE)
        evaluations, resnet = 600, ResNetSkeleton(64, large_images=False)
        base = replace(base, stem=((32, 1), (64, 1)), strides=(1, 2, 2))
        large = replace(large, stem=((48, 1), (96, 1)), strides=(1, 2, 2))
    found = _ground(
        "paper", data, RandWire(32, cells), (whole, whole), device, recipes=recipes,
        shares=(LOW_DATA if cells == 1 else 0.9, 0.9), around=_Skeletons(base, large, resnet),
        evaluations=evaluations, batch_size=8,
    )  # fmt: skip
    return replace(found, samples=4 if cells == 1 else 8)


def _smoke(data: str | None, cells: int, device: str) -> Ground:
    named = data or "digits"
    some = reduced(make_data(named), train=120, test=40, rng=stream(0, "reduced"))
    skeleton = RandWireSkeleton(((4, 1),), ((4,), (8,)), (1, 2), head=8)
    if cells > 1:
        skeleton = replace(skeleton, stages=((4,),) * cells, strides=(1,) * cells)
    recipe = Recipe(epochs=2, batch_size=20, crop_padding=1)
    around = _Skeletons(skeleton, replace(skeleton, head=16), ResNetSkeleton(2, large_images=False))
    found = _ground(
        "smoke", named, RandWire(4, cells), (some, some), device,
        recipes=_Recipes(recipe, replace(recipe, epochs=1), recipe), shares=(0.5, 0.8),
        around=around, evaluations=8, batch_size=4,
    )  # fmt: skip
    return replace(found, drawn=3, samples=2, repeats=2)


def _laptop(data: str | None, cells: int, device: str) -> Ground:
    named = data or FASHION
    more = reduced(make_data(named), train=5_000, test=5_000, rng=stream(0, "reduced"))
    more = halved(more) if min(more.train_images.shape[-2:]) >= 28 else more
    few = reduced(more, train=3_000, test=1_000, rng=stream(0, "few"))
    # Small steps, few nodes: on a CPU the time goes into starting operations.
    stages = ((16,), (32,)) if cells == 1 else ((8,), (16,), (32,))
    skeleton = RandWireSkeleton(((8, 1),), stages, (2,) * len(stages), head=64)
    recipe = Recipe(5, 50, nesterov=True, label_smoothing=0.1, crop_padding=2, last_epochs=2)
    large = replace(skeleton, stages=(*((2 * n,) for (n,) in stages[:-1]), (48, 64)))
    found = _ground(
        "laptop", named, RandWire(16, cells), (few, more), device, shares=(1 / 3, 0.9),
        recipes=_Recipes(recipe, replace(recipe, epochs=2), replace(recipe, epochs=6)),
        around=_Skeletons(skeleton, large, ResNetSkeleton(8, large_images=False)),
        evaluations=40, batch_size=8,
    )  # fmt: skip
    return replace(found, samples=4 if cells == 1 else 8)


def _ground(
    scale: Scale,
    named: str,
    space: RandWire,
    images: tuple[ImageData, ImageData],
    device: str,
    *,
    recipes: _Recipes,
    shares: tuple[float, float],
    around: _Skeletons,
    evaluations: int,
    batch_size: int,
) -> Ground:
    more = images[1]
    height, width = more.train_images.shape[-2:]
    size = f"{more.resize}x{more.resize}" if more.resize else f"{height}x{width}"
    stages = f"-{space.cells}" if space.cells > 1 else ""
    name = f"randwire-{space.nodes}{stages}/{more.name} ({size})"

    def setting(
        what: str, data: ImageData, share: float, how: Recipe, base: Any = around.base
    ) -> Setting:
        network = resnet_network if base is around.resnet else randwire_network
        return Setting(f"{name}, {what}", data, share, base, how, device, network)

    regimes: dict[Regime, Setting] = {
        "low data": setting("low data", images[0], shares[0], recipes.search),
        "early stopping": setting("early stopping", images[0], EARLY_STOPPING, recipes.early),
    }
    return Ground(
        name,
        scale,
        named,
        space,
        regimes,
        final=setting("more data", more, shares[1], recipes.final),
        large=setting("more data, large", more, shares[1], recipes.final, around.large),
        resnet=setting("more data, ResNet", more, shares[1], recipes.final, around.resnet),
        evaluations=evaluations,
        batch_size=batch_size,
    )


@dataclass(frozen=True)
class Method:
    """A way to search.

    Attributes:
        label: For readers, as in the paper.
        settings: Of the method, as in a configuration; None if it does not search.
    """

    label: str
    settings: dict[str, Any] | None


#: What draws graphs of one kind, always ([Xie2019]'s best), and is the first row of table 6.
FIXED = Method("RANG-D", None)


def methods(scale: Scale, evaluations: int, *, cells: int = 1) -> list[Method]:
    """Return the methods of Table 1; with a cell for each stage, those of Table 6.

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
    if cells > 1:
        sizes["per_cell"] = True
    if scale == "smoke":
        loop |= {"epochs": 1, "update_every": 4}
        sizes = {"hidden": 8, "rounds": 1, "mixtures": 2}
    ours = Method("GraphPNAS", {"name": "graphpnas", **loop, **sizes})
    if cells > 1:
        nago = {"name": "nago", "graphs": "ws", "initial": max(2, evaluations // 4)}
        return [FIXED, Method("RANG-BO", nago), ours]
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
        ours,
    ]


def fully_connected(space: RandWire) -> str:
    """Return the cell in which every node takes all before it: FC in table 2."""
    pairs = ",".join(f"{i}-{j}" for i in range(space.nodes) for j in range(i + 1, space.nodes))
    return ";".join([f"{space.nodes}:{pairs}"] * space.cells)
