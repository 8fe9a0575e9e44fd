"""Training chosen cells from scratch: what each gave is on disk before the next one starts.

A search trains an architecture once; here one may be trained several times, from different random
streams, and every network is tested too. So these are not runs: a trial is one training, and its
result one small file; what the network says of every test image may stand beside it.
"""

import json
import math
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save
from torch import Tensor, nn

from netwright.evaluators.train import TrainEvaluator
from netwright.evaluators.training import Recipe, log_probabilities, resolve_device
from netwright.files import locked, write_atomic
from netwright.graphs.batch import ArchitectureBatch
from netwright.graphs.hashing import labelled_keys, to_hex
from netwright.images.data import ImageData
from netwright.networks.enas import ENASSkeleton
from netwright.networks.nasbench101 import nasbench101_network
from netwright.networks.randwire import RandWireSkeleton
from netwright.networks.resnet import ResNetSkeleton
from netwright.networks.skeleton import Skeleton
from netwright.reproductions.processes import Came
from netwright.rng import stream
from netwright.spaces.base import SearchSpace


@dataclass(frozen=True, eq=False)
class Setting:
    """How cells are trained and tested.

    Attributes:
        name: Of the data and the network, for readers.
        data: What they learn.
        train_fraction: Share of the training images to train on; the rest is for validation.
        skeleton: What surrounds the cells; the ``preset`` of ``network``.
        recipe: Of the training.
        device: "cpu", "cuda" or "auto".
        network: Builds the network of a cell.
    """

    name: str
    data: ImageData
    train_fraction: float
    skeleton: Skeleton | RandWireSkeleton | ENASSkeleton | ResNetSkeleton
    recipe: Recipe
    device: str = "auto"
    network: Callable[..., nn.Module] = nasbench101_network

    def facts(self) -> dict[str, Any]:
        """Return what decides results, as JSON values: trials of other facts are others."""
        sizes = [len(self.data.train_labels), len(self.data.test_labels)]
        return {
            "data": [self.data.name, *self.data.train_images.shape[1:], *sizes],
            "train_fraction": self.train_fraction,
            "skeleton": asdict(self.skeleton),
            "recipe": asdict(self.recipe),
        }


class Plan(NamedTuple):
    """One training to be carried out.

    Attributes:
        group: What the cell stands for.
        arch: The cell, in the space's notation.
        seed: Of the experiment.
        repeat: Number of the training among those of this cell and seed.
    """

    group: str
    arch: str
    seed: int
    repeat: int = 0


@dataclass(frozen=True)
class Trial:
    """What a training gave.

    Attributes:
        valid: Validation accuracy, a fraction: the mean of the last epochs. NaN if it failed.
        test: Test accuracy of the trained network, a fraction.
        parameters: Of the network.
        seconds: Spent.
        error: Why it failed.
    """

    valid: float
    test: float
    parameters: float
    seconds: float
    error: str | None = None


class _Keeping:
    """Builds cells' networks, and keeps the one built last: what is trained in place is tested."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.model: nn.Module | None = None

    def __call__(self, arch: ArchitectureBatch, *, in_channels: int, num_classes: int) -> nn.Module:
        self.model = self._setting.network(
            arch, in_channels=in_channels, num_classes=num_classes, preset=self._setting.skeleton
        )
        return self.model


class Trained(NamedTuple):
    """What a training gave, and what the network says of the test images.

    Attributes:
        trial: Accuracies and cost.
        says: Log-probabilities of the classes; None if the training failed.
    """

    trial: Trial
    says: Float[Tensor, "image class"] | None


def train_once(setting: Setting, arch: ArchitectureBatch, *, rng: torch.Generator) -> Trained:
    """Train a single cell by `TrainEvaluator`, which validates it, and test what was trained."""
    build = _Keeping(setting)
    evaluator = TrainEvaluator(
        build,
        setting.data,
        setting.recipe,
        train_fraction=setting.train_fraction,
        device=setting.device,
    )
    found = evaluator.evaluate(arch, rng=rng)
    valid, seconds = float(found.score[0]), float(found.cost[0])
    if found.error[0] is not None or build.model is None:
        return Trained(Trial(math.nan, math.nan, math.nan, seconds, found.error[0]), None)
    data = setting.data.to(resolve_device(setting.device))
    says = log_probabilities(
        build.model, data, data.test_images, precision=setting.recipe.precision
    ).cpu()
    trial = Trial(valid, share_right(says, setting), float(found.extras["parameters"][0]), seconds)
    return Trained(trial, says)


def share_right(says: Float[Tensor, "image class"], setting: Setting, *, among: int = 1) -> float:
    """Return the share of test images whose class is ``among`` the most likely ones.

    It is NaN if a probability is not finite.
    """
    if not says.isfinite().all():
        return math.nan
    likely = says.topk(min(among, says.shape[1]), dim=1).indices
    truth = setting.data.test_labels.to(says.device)
    return float((likely == truth[:, None]).any(dim=1).double().mean())


def carry_out(
    plans: Sequence[Plan],
    setting: Setting,
    space: SearchSpace,
    folder: Path,
    *,
    tell: Callable[[str], None],
    keep: bool = False,
) -> list[Trial]:
    """Carry out the trainings that are not on disk yet; return all, in the order of the plans.

    Args:
        plans: As in `carried`.
        setting: As in `carried`.
        space: As in `carried`.
        folder: As in `carried`.
        tell: Called with a line for each training.
        keep: As in `carried`.

    Raises:
        BlockingIOError: As `carried`, like the next ones.
        OSError: If a result cannot be written.
        ValueError: If the folder holds results of another setting, or a file is damaged.
    """
    found = []
    events = carried(plans, setting, space, folder, keep=keep)
    for i, (plan, (trial, fresh)) in enumerate(zip(plans, events, strict=True), start=1):
        if fresh:
            outcome = trial.error or f"test accuracy {trial.test:.2%}"
            tell(f"{i}/{len(plans)} {plan.group}: {outcome}, {trial.seconds:.0f} s")
        found.append(trial)
    return found


def carried(
    plans: Sequence[Plan],
    setting: Setting,
    space: SearchSpace,
    folder: Path,
    *,
    keep: bool = False,
) -> Iterator[tuple[Trial, bool]]:
    """Carry out trainings, in the order of the plans, those on disk excepted.

    A training draws from a stream of its own, named after the cell and the repeat, whatever the
    order. Plans of the same cell, seed and repeat are one training, whatever their groups.

    Args:
        plans: What to train.
        setting: How.
        space: Of the cells.
        folder: Where the results are, and go.
        keep: Whether to keep what networks say of the test images too: see `said`.

    Yields:
        For each plan its result, and whether it was trained just now.

    Raises:
        BlockingIOError: If another process trains in the folder.
        OSError: If a result cannot be written; those before it stay.
        ValueError: If the folder holds results of another setting, or a file is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock"):
        _insist(folder / "setting.json", setting)
        for plan in plans:
            path = folder / f"{_name(plan, space)}.json"
            fresh = not path.exists()
            if fresh:
                arch = space.parse([plan.arch])
                rng = stream(plan.seed, f"trial/{_name(plan, space)}")
                trial, says = train_once(setting, arch, rng=rng)
                if keep and says is not None:
                    content = save({"log_probabilities": says})
                    write_atomic(path.with_suffix(".safetensors"), content)
                write_atomic(path, json.dumps(_plain(asdict(trial) | {"arch": plan.arch})) + "\n")
            yield _read(path), fresh


def counted(
    plans: Sequence[Plan],
    setting: Setting,
    space: SearchSpace,
    folder: Path,
    *,
    keep: bool = False,
) -> Generator[Came, None, list[Trial]]:
    """Carry out trainings as `carried` does; yield that each came, and return what came of all."""
    found = []
    for trial, fresh in carried(plans, setting, space, folder, keep=keep):
        found.append(trial)
        yield Came(1, fresh)
    return found


def said(plan: Plan, space: SearchSpace, folder: Path) -> Float[Tensor, "image class"]:
    """Return what the network of a training says of the test images, in log-probabilities.

    Raises:
        FileNotFoundError: If that was not kept, or the training failed.
    """
    path = folder / f"{_name(plan, space)}.safetensors"
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}: remove the .json beside it to train anew")
    return load_file(path)["log_probabilities"]


def _name(plan: Plan, space: SearchSpace) -> str:
    """Name a training: by the stored form of the cell, as the order of nodes decides channels."""
    key = to_hex(labelled_keys(space.from_text([plan.arch])))[0]
    return f"{key}-seed-{plan.seed}-repeat-{plan.repeat}"


def _insist(path: Path, setting: Setting) -> None:
    """Note the setting in the folder, or make sure that it is the one noted.

    Raises:
        ValueError: If it is not.
    """
    facts = json.loads(json.dumps(setting.facts()))
    if not path.exists():
        write_atomic(path, json.dumps(facts, indent=1) + "\n")
    elif _with_defaults(_parse(path)) != facts:
        raise ValueError(
            f"{path.parent} holds trainings of another setting ({path.name}): name another folder"
        )


def _with_defaults(facts: dict[str, Any]) -> dict[str, Any]:
    """Fill in what recipes did not have yet when the facts were noted."""
    with suppress(KeyError, TypeError, ValueError):  # of another kind: it differs anyway
        return facts | {"recipe": asdict(Recipe(**facts["recipe"]))}
    return facts


def _read(path: Path) -> Trial:
    found = _parse(path)

    def number(name: str) -> float:
        return math.nan if found[name] is None else float(found[name])

    try:
        valid, test, parameters = map(number, ("valid", "test", "parameters"))
        return Trial(valid, test, parameters, number("seconds"), found["error"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from None


def _parse(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(path, error) from None
    if not isinstance(found, dict):
        raise _damaged(path, "no JSON object")
    return found


def _damaged(path: Path, reason: object) -> ValueError:
    return ValueError(f"{path} is damaged ({reason}): remove it to train anew")


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Replace NaN, for which JSON has no word."""
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in values.items()
    }
