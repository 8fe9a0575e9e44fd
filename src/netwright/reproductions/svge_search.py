"""[SVGe] Table III: Bayesian optimisation in the latent space, as an experiment."""

from pathlib import Path
from typing import Any, Literal

from netwright.reproductions.experiment import Cell, Experiment
from netwright.reproductions.graphpnas_methods import PRESETS, SMOKE

Settings = dict[str, Any]
Scale = Literal["smoke", "laptop", "paper"]

_LARGE, _SMALL = "nasbench101-emulated-1500/cifar10", "nasbench101-emulated/cifar10"
_KNOWN = "nasbench101-emulated-90-percent-known/cifar10"
_C10, _C100 = "nasbench201/cifar10", "nasbench201/cifar100"
_ENAS = "enas-known-1500/weight-sharing"
_FEW = (_SMALL, _C10, _C100)

TITLE = "SVGe, Table III: Bayesian optimisation in the latent space"
NOTE = (
    "Accuracy in percent of the architecture with the best search signal among the first "
    "evaluations, which count distinct architectures; {seeds} trials, all in the latent space of "
    "one fit of SVGe per space (see Table I). On NAS-Bench-101 the signal is the emulated "
    "validation accuracy (`cifar10/valid-emulated@108`), whose own best cell has a test accuracy "
    "of 94.20. Benchmarks with `1500` have the paper's budget, 1,000 random architectures and 10 "
    "batches of 50; the others start from 10 random ones and go on in batches of 5. Preset "
    "`paper`: points of a box, a sparse process with 500 inducing points, 500 decodings of each; "
    "`best`: candidates near the encodings of the best, at their own encodings, by ranks; "
    "`90 % known`: the process starts with the scores of 90 % of the cells instead, and what "
    "counts are the 500 evaluations that follow, all of other cells; one trial, as in the paper. "
    "`random in the box`: points of the box as they come, decoded alike. `enas-known`: the "
    "weight-sharing accuracies of 19,015 architectures; as no other can be evaluated, candidates "
    "are those (preset `known`), not decoded. The published ENAS rows are of architectures trained "
    "in full, and not comparable. `optimum`: the share of trials, in percent, that found the best "
    "signal of the table. GPU hours of the paper's table are not reproduced."
)


def table3(scale: Scale, fits: Path, *, trials: int = 10) -> Settings:
    """Return the experiment, as `Experiment.parse` takes it.

    Args:
        scale: "laptop" and "paper" are the same but for the fits searched in.
        fits: The folder of Table I's fits, ``SPACE/svge/seed-0``.
        trials: Seeds.
    """
    model = str(fits / "{space}" / "svge" / "seed-0")
    described: Settings = {
        "title": TITLE,
        "note": NOTE.format(seeds=trials),
        "benchmarks": _benchmarks(),
        "methods": _methods(model),
        "seeds": trials,
        "baseline": "random search",
        "published": _published(),
    }
    return _smoke(described) if scale == "smoke" else described


def spaces_of(experiment: Experiment) -> list[str]:
    """Return the spaces in whose latent spaces an experiment searches."""
    found: dict[str, None] = {}
    for benchmark, method in experiment.cells:
        settings = method.method
        if isinstance(settings, dict) and settings["name"] == "latent-bo":
            space = benchmark.space
            found[space if isinstance(space, str) else space["name"]] = None
    return list(found)


def shown_path(experiment: Experiment) -> Cell | None:
    """Return the search whose way through the latent space is drawn, if it is made."""
    for cell in experiment.cells:
        if cell.benchmark.name == _SMALL and cell.method.label == "SVGe + BO, best":
            return cell
    return None


def _benchmarks() -> list[Settings]:
    nasbench101: Settings = {
        "space": "nasbench101",
        "table": "nasbench101.safetensors",
        "metric": "cifar10/valid-emulated@108",
        "report": {
            "test accuracy": "cifar10/test@108",
            "valid accuracy": "cifar10/valid-emulated@108",
            "valid optimum": "cifar10/valid-emulated@108",
        },
    }
    nasbench201: Settings = {
        "space": "nasbench201",
        "table": "nasbench201.safetensors",
        "budgets": [40, 60, 100],
    }
    metric = "cifar10/weight-sharing"
    return [
        {"name": _LARGE, **nasbench101, "budgets": [1000, 1500]},
        {"name": _KNOWN, **nasbench101, "budgets": [500]},
        {"name": _SMALL, **nasbench101, "budgets": [100, 150, 300]},
        {
            "name": _C10,
            **nasbench201,
            "metric": "cifar10-valid/valid@200",
            "report": {
                "test accuracy": "cifar10/test@200",
                "valid accuracy": "cifar10-valid/valid@200",
                "valid optimum": "cifar10-valid/valid@200",
            },
        },
        {
            "name": _C100,
            **nasbench201,
            "metric": "cifar100/valid@200",
            "report": {
                "test accuracy": "cifar100/test@200",
                "valid accuracy": "cifar100/valid@200",
                "valid optimum": "cifar100/valid@200",
            },
        },
        {
            "name": _ENAS,
            "space": {"name": "enas", "known": "enas.safetensors"},
            "table": "enas.safetensors",
            "metric": metric,
            "report": {"weight-sharing accuracy": metric, "weight-sharing optimum": metric},
            "budgets": [1000, 1500],
        },
    ]


def _methods(model: str) -> list[Settings]:
    many: Settings = {"initial": 1000, "pool": 2000, "inducing": 500}
    most: Settings = {"initial": 0.9, "seeds": 1}
    box: Settings = {"preset": "paper", "acquisition": "random"}
    others = [_LARGE, _SMALL, _C10, _C100, _ENAS]

    def bo(label: str, benchmarks: tuple[str, ...], size: int, **settings: Any) -> Settings:
        method = {"name": "latent-bo", "model": model, **settings}
        name = "random in the box" if settings.get("acquisition") == "random" else "SVGe + BO"
        entry: Settings = {"name": name, "method": method, "batch_size": size}
        return {**entry, "preset": label, "benchmarks": list(benchmarks)}

    def graphpnas(space: str, benchmarks: tuple[str, ...]) -> Settings:
        settings, size = PRESETS[space]["best"]
        method = {"name": "graphpnas", **settings}
        entry: Settings = {"name": "GraphPNAS", "method": method, "batch_size": size}
        return {**entry, "preset": f"best, {space}", "benchmarks": list(benchmarks)}

    return [
        bo("paper", (_LARGE,), 50, preset="paper"),
        bo("best, 1,000 first", (_LARGE,), 50, **many),
        bo("known", (_ENAS,), 50, **many | {"candidates": "space", "pool": 10_000}),
        bo("best", _FEW, 5),
        bo("paper, 90 % known", (_KNOWN,), 50, preset="paper") | most,
        bo("best, 90 % known", (_KNOWN,), 50, **many) | most,
        bo("paper, 1,000 first", (_LARGE,), 50, **box),
        bo("paper, 10 first", _FEW, 50, **box | {"initial": 10}),
        graphpnas("nasbench101", (_SMALL,)),
        graphpnas("nasbench201", (_C10, _C100)),
        {"name": "local search", "method": "local", "batch_size": 1, "benchmarks": list(_FEW)},
        {"name": "random search", "method": "random", "batch_size": 100, "benchmarks": others},
        {
            **{"name": "random search", "preset": "90 % known", "method": "random"},
            **most,
            "benchmarks": [_KNOWN],
            "batch_size": 100,
        },
    ]


def _published() -> list[Settings]:
    valid, test = "valid accuracy", "test accuracy"
    rows = [
        (_LARGE, "SVGe + BO", valid, 1500, 94.60),
        (_LARGE, "SVGe + BO", test, 1500, 93.88),
        (_LARGE, "DGMG + BO", valid, 1500, 94.08),
        (_LARGE, "DGMG + BO", test, 1500, 93.51),
        (_LARGE, "best by validation", valid, None, 95.15),
        (_LARGE, "best by validation", test, None, 94.09),
        (_KNOWN, "SVGe + BO", valid, 500, 94.67),
        (_KNOWN, "SVGe + BO", test, 500, 94.26),
        (_C10, "SVGe + BO", test, None, 93.38),
        (_C10, "arch2vec + BO", test, None, 94.18),
    ]
    return [
        {"benchmark": benchmark, "method": method, "metric": metric, "mean": mean}
        | ({} if budget is None else {"budget": budget})
        for benchmark, method, metric, budget, mean in rows
    ]


def _smoke(described: Settings) -> Settings:
    """Two trials of a few evaluations, in small pools and with a small GraphPNAS."""
    benchmarks = [{**benchmark, "budgets": [8, 12]} for benchmark in described["benchmarks"]]
    methods = []
    for entry in described["methods"]:
        method, size = entry["method"], min(entry["batch_size"], 4)
        if isinstance(method, dict):
            tiny = {"initial": 8, "pool": 50, "draws": 20, "iterations": 2, "inducing": 8}
            small = SMOKE["graphpnas"] if method["name"] == "graphpnas" else tiny
            method = method | small
        less = {"initial": 1e-4} if "initial" in entry else {}
        methods.append({**entry, **less, "method": method, "batch_size": size})
    return described | {"benchmarks": benchmarks, "methods": methods, "seeds": 2}
