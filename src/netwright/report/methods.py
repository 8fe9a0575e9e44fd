"""Which runs are the same method: those whose configurations differ in nothing but the seed."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from netwright.report.palette import paints
from netwright.report.summary import Summary

_NAMES = {
    "graphpnas": "GraphPNAS", "random": "Random search", "local": "Local search",
    "latent-bo": "Bayesian optimisation in a latent space", "toy": "the toy space",
    "nasbench101": "NAS-Bench-101", "nasbench201": "NAS-Bench-201",
    "gnn2gnn": "GNN2GNN", "svge": "SVGe", "dgmg": "DGMG", "dvae": "D-VAE", "enas": "ENAS",
}  # fmt: skip
_FREE = {"seed", "workers", "ray"}  # change which architectures are found by chance, or not at all


@dataclass(frozen=True)
class Method:
    """Runs that differ in their seeds.

    Attributes:
        label: What tells it from the other methods on the page.
        colour: Of all that is drawn of it.
        runs: At least one.
    """

    label: str
    colour: str
    runs: tuple[Summary, ...]


def methods(summaries: Sequence[Summary]) -> list[Method]:
    """Group runs by method, in the order of their first runs."""
    groups: dict[str, list[Summary]] = {}
    for summary in summaries:
        settings = {k: v for k, v in summary.config.items() if k not in _FREE}
        same = json.dumps(settings, sort_keys=True, default=str) if settings else summary.name
        groups.setdefault(same, []).append(summary)
    first = [runs[0] for runs in groups.values()]
    labels = _labels(first)
    kinds = [str(named(run.config.get("method")).get("name", run.name)) for run in first]
    # the first of a kind has its colour; other settings, which are dots too, need others
    names = [kind if i == kinds.index(kind) else labels[i] for i, kind in enumerate(kinds)]
    painted = paints([(name, None) for name in names])
    return [
        Method(label, paint.variable, tuple(runs))
        for label, paint, runs in zip(labels, painted, groups.values(), strict=True)
    ]


def named(entry: Any) -> dict[str, Any]:
    """Read what a configuration says of one part: a name with options, a bare name, or nothing."""
    return entry if isinstance(entry, dict) else {} if entry is None else {"name": str(entry)}


def name_of(entry: Any, missing: str) -> str:
    """Name a method or a space as people do."""
    name = str(named(entry).get("name", missing))
    return _NAMES.get(name, name)


def flat(values: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """List nested values as dotted names; those of a list in one line."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from flat(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list | tuple):
        yield name, ", ".join(map(str, values)) or "nothing"
    else:
        yield name, str(values)


def _labels(runs: Sequence[Summary]) -> list[str]:
    """Name each method; where names agree, add the settings in which they differ."""
    names = [name_of(run.config.get("method"), run.name) for run in runs]
    settings = [{k: v for k, v in flat(run.config) if k not in _FREE} for run in runs]
    labels = []
    for i, name in enumerate(names):
        alike = [s for s, other in zip(settings, names, strict=True) if other == name]
        differing = [
            key
            for key in dict.fromkeys(key for s in alike for key in s)
            if len({s.get(key) for s in alike}) > 1
        ]
        said = ", ".join(
            f"{key.split('.')[-1]} {settings[i].get(key, 'unset')}" for key in differing[:3]
        )
        labels.append(f"{name}, {said}" if said else name)
    # Where even that is not enough, the first run's folder tells.
    return [
        label if labels.count(label) == 1 else f"{label} ({run.name})"
        for label, run in zip(labels, runs, strict=True)
    ]
