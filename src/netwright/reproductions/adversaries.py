"""Adversarial fits of many settings and seeds, trained side by side, and what they generate.

Fits that differ in seed, data, lambda and tau only are trained as one stacked model, up to
`TOGETHER` at a time. While it trains, its state is in ``FOLDER/together/...``; when it is done,
each fit gets a folder of its own, ``FOLDER/NAME/seed-N``, as if it had been trained alone: it can
be reported on, sampled from, and is not trained again.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch

from netwright.config.adversarial import (
    AdversarialConfig,
    alike,
    load_adversary,
    load_valuer,
    make_adversarial_fit,
    make_adversarial_recipe,
    read_split,
)
from netwright.config.objects import make_space
from netwright.files import load_state, save_state
from netwright.generators.relaxed import Relaxed
from netwright.graphs.batch import ArchitectureBatch
from netwright.metrics import kendall_tau
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.runs.folder import NAME as CONFIG_NAME
from netwright.spaces.base import SearchSpace
from netwright.tables.format import Table
from netwright.tables.splits import Split

#: Fits trained as one model: more do not pay.
TOGETHER = 10
#: Graphs generated for the measures ([GNN2GNN] section 4.3).
GENERATED = 1000
#: Held-out cells that the valuer ranks.
_RANKED = 2000


class Event(NamedTuple):
    """How far training has come."""

    done: int  # graphs seen, by all fits
    total: int
    what: str  # is trained now


@dataclass(frozen=True)
class Adversary:
    """A fit for each of several seeds.

    Attributes:
        name: Of its folder.
        settings: Of an `AdversarialConfig`, less the seeds.
    """

    name: str
    settings: dict[str, Any]

    def config(self, seed: int) -> AdversarialConfig:
        """Return the fit of a seed, which is also that of what is held out at random."""
        data = {**self.settings["data"], "seed": seed}
        return AdversarialConfig.parse({**self.settings, "data": data, "seed": seed})

    def folder(self, root: Path, seed: int) -> Path:
        """Return where the fit of a seed is."""
        return root / self.name / f"seed-{seed}"


def train(adversaries: Sequence[Adversary], seeds: Sequence[int], root: Path) -> Iterator[Event]:
    """Train what is not trained yet; the first event says how much that is.

    Raises:
        ValueError: If a setting is wrong, or a folder holds a fit of other settings.
        FileNotFoundError: If a table is missing.
        BlockingIOError: If another process trains the same.
    """
    groups: dict[str, list[tuple[Path, AdversarialConfig]]] = {}
    for adversary in adversaries:
        for seed in seeds:
            folder, config = adversary.folder(root, seed), adversary.config(seed)
            if not _trained(folder, config):
                same = _digest([alike(config), _length(config)])
                groups.setdefault(same, []).append((folder, config))
    batches = [
        group[i : i + TOGETHER] for group in groups.values() for i in range(0, len(group), TOGETHER)
    ]
    lengths = [_length(batch[0][1]) * len(batch) for batch in batches]
    done, total = 0, sum(lengths)
    yield Event(0, total, "")
    for i, batch in enumerate(batches):
        configs = [config for _, config in batch]
        fit = make_adversarial_fit(configs)
        together = root / "together" / _digest([config.resolved() for config in configs])
        replicas = {"replicas": [config.resolved() for config in configs]}
        run = _opened(together, replicas)
        what = f"{i + 1}/{len(batches)}: {len(batch)} x {batch[0][0].parent.name}"
        for _ in run.execute(fit):
            yield Event(done + min(fit.graphs * len(batch), lengths[i]), total, what)
        done += lengths[i]
        for j, (folder, config) in enumerate(batch):
            save_state(_opened(folder, config.resolved()).checkpoint, fit.state_of(j))
        shutil.rmtree(together)


class Made(NamedTuple):
    """What a fit generated.

    Attributes:
        archs: The graphs, as drawn.
        space: The space it was trained on.
        split: What it was trained on, and what was held out.
    """

    archs: ArchitectureBatch
    space: SearchSpace
    split: Split


def generate(run: FitRun, *, n: int = GENERATED, temperature: float = 1.0) -> Made:
    """Generate graphs with a fit.

    Raises:
        ValueError: If the fit has no parameters yet.
    """
    config, state = _config(run), _state(run)
    generator, space = load_adversary(config, state), make_space(config.space)
    options = {} if temperature == 1 else {"temperature": temperature}
    archs = generator.sample(n, rng=stream(config.seed, "generated"), **options)
    return Made(archs, space, read_split(config, space))


def valuer_tau(run: FitRun) -> float:
    """Return how well a fit's valuer alone ranks cells held out at random: Kendall's tau."""
    config = _config(run)
    space = make_space(config.space)
    rows = read_split(config, space).random_rows[:_RANKED]
    table = Table.open(config.data.table)
    archs = table.archs(rows).pad(space.layout.max_nodes)
    with torch.no_grad():
        value = load_valuer(config, _state(run))(Relaxed.of([archs], space.layout.num_ops))[0]
    return kendall_tau(value, table.column(config.data.metric)[rows])


def remembered(run: FitRun, name: str, measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    """Return the measures of that name kept in a fit's folder, taken now if there are none."""
    path = run.folder / "measures.safetensors"
    known = load_state(path) if path.exists() else {}
    if name not in known:
        known[name] = measure()
        save_state(path, known)
    found: dict[str, float] = known[name]
    return found


def _length(config: AdversarialConfig) -> int:
    """Return the graphs that a fit sees."""
    if config.recipe.graphs:
        return config.recipe.graphs
    cells = len(read_split(config, make_space(config.space)).train_rows)
    return make_adversarial_recipe(config, cells).graphs


def _opened(folder: Path, config: dict[str, Any]) -> FitRun:
    """Open the folder of a fit that was stopped, or make a new one."""
    made = (folder / CONFIG_NAME).exists()
    return FitRun.open(folder) if made else FitRun.create(folder, config)


def _trained(folder: Path, config: AdversarialConfig) -> bool:
    """Tell whether a fit is done.

    Raises:
        ValueError: If the folder holds a fit of other settings.
    """
    if not (folder / CONFIG_NAME).exists():
        return False
    run = FitRun.open(folder)
    if _config(run).resolved() != config.resolved():
        raise ValueError(
            f"{folder} holds a fit of other settings: remove it, or name another folder with --run"
        )
    return run.checkpoint.exists()


def _config(run: FitRun) -> AdversarialConfig:
    return AdversarialConfig.parse(run.config)


def _state(run: FitRun) -> dict[str, Any]:
    state = run.state()
    if state is None:
        raise ValueError(f"{run.folder} holds no parameters yet: go on with its fit")
    return state


def _digest(settings: Any) -> str:
    """Name settings by a few letters."""
    text = json.dumps(settings, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
