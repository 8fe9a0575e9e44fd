"""[GraphPNAS] section 4.2: macro networks found with weights that all of them share.

What Table 3 and Fig. 7 have in common: what is searched, how shared weights and networks are
trained, and by which methods. See `netwright.reproductions.shared_search` for the searches
themselves.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from netwright.config.objects import make_data
from netwright.evaluators.supernet import SupernetEvaluator, SupernetRecipe
from netwright.evaluators.train import ENAS_FINAL_RECIPE
from netwright.evaluators.training import Recipe
from netwright.images.data import ImageData
from netwright.images.reduce import halved, reduced
from netwright.networks.enas import PRESETS, ENASSkeleton, enas_network
from netwright.networks.enas_supernet import CHANNELS, ENASSupernet
from netwright.reproductions.trials import Setting
from netwright.reproductions.wirings import FASHION, Scale
from netwright.rng import stream
from netwright.spaces.base import SearchSpace
from netwright.spaces.enas import ENAS

#: Of skip connections in random architectures, as the paper's explorer has it.
DENSITY = 0.4


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
        recipe = SupernetRecipe(
            epochs=40, epochs_per_step=1, batch_size=100, crop_padding=2, valid_batch_size=250
        )
        sizes = {"evaluations": 800, "batch_size": 20, "channels": 16}
        how = Recipe(batch_size=64, nesterov=True, label_smoothing=0.1, crop_padding=2)
        recipes, share = (replace(how, epochs=5), replace(how, epochs=10)), 0.8
        skeletons = (_small(8), _small(16))
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
        "explorer": {"model": "er", "p": DENSITY},
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
