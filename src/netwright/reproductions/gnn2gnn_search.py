"""[GNN2GNN] section 6: the online search that the paper leaves as future work, as an experiment."""

from typing import Any, Literal

from netwright.reproductions.graphpnas_methods import PRESETS, SMOKE

Settings = dict[str, Any]
Scale = Literal["smoke", "laptop", "paper"]

_NB101 = "nasbench101-emulated/cifar10"
_C10, _C100 = "nasbench201/cifar10", "nasbench201/cifar100"

TITLE = "GNN2GNN, section 6: the generator in an online search"
NOTE = (
    "Test accuracy in percent of the architecture with the best search signal among the first "
    "evaluations, which count distinct architectures. `GNN2GNN, online` starts from 10 random "
    "architectures, and after every five evaluations trains generator, discriminator and valuer "
    "on what it has been told, nothing else; its settings were chosen with seeds 100 to 104, which "
    "no row uses, on the CIFAR-100 validation accuracy of NAS-Bench-201 and on the cells of "
    "NAS-Bench-101 of at most 6 nodes. `GraphPNAS, best` is the "
    "preset of the reproduction of its tables. On NAS-Bench-101 the signal is the emulated "
    "validation accuracy (`cifar10/valid-emulated@108`); on NAS-Bench-201 it is the validation "
    "accuracy after 200 epochs, where all edges are fixed and generators choose operations only. "
    "`valid optimum` is the share of seeds, in percent, that have found the best signal of the "
    "table. The paper names one architecture from its generator, of 94.32 % test accuracy, and "
    "makes no search; it has no row here."
)


def comparison(scale: Scale) -> Settings:
    """Return the experiment, as `Experiment.parse` takes it.

    Args:
        scale: "smoke" takes seconds and shows that everything works; "laptop" has 5 seeds and 100
            evaluations; "paper" has 10, and 300 on NAS-Bench-101. The paper has none of it.
    """
    described: Settings = {
        "title": TITLE,
        "note": NOTE,
        "benchmarks": _benchmarks(),
        "methods": _methods(),
        "seeds": 10,
        "baseline": "random search",
    }
    if scale == "laptop":
        described["seeds"] = 5
        described["benchmarks"][0]["budgets"] = [100]
    return _smoke(described) if scale == "smoke" else described


def _benchmarks() -> list[Settings]:
    def benchmark(
        name: str, space: str, signal: str, test: str, budgets: tuple[int, ...]
    ) -> Settings:
        report = {"test accuracy": test, "valid accuracy": signal, "valid optimum": signal}
        table = {"space": space, "table": f"{space}.safetensors"}
        return {"name": name, **table, "metric": signal, "report": report, "budgets": list(budgets)}

    emulated, test = "cifar10/valid-emulated@108", "cifar10/test@108"
    return [
        benchmark(_NB101, "nasbench101", emulated, test, (100, 300)),
        benchmark(_C10, "nasbench201", "cifar10-valid/valid@200", "cifar10/test@200", (100,)),
        benchmark(_C100, "nasbench201", "cifar100/valid@200", "cifar100/test@200", (100,)),
    ]


def _methods() -> list[Settings]:
    def graphpnas(space: str, *benchmarks: str) -> Settings:
        settings, size = PRESETS[space]["best"]
        entry: Settings = {"name": "GraphPNAS", "method": {"name": "graphpnas", **settings}}
        preset = f"best, {space}"
        return {**entry, "preset": preset, "batch_size": size, "benchmarks": list(benchmarks)}

    return [
        {"name": "GNN2GNN", "preset": "online", "method": {"name": "gnn2gnn"}, "batch_size": 5},
        graphpnas("nasbench101", _NB101),
        graphpnas("nasbench201", _C10, _C100),
        {"name": "local search", "method": "local", "batch_size": 1},
        {"name": "random search", "method": "random", "batch_size": 100},
    ]


def _smoke(described: Settings) -> Settings:
    """Two seeds of a few evaluations, with tiny networks."""
    tiny: dict[str, Settings] = {
        "gnn2gnn": {"hidden": 8, "initial": 4, "update_every": 4, "steps": 2},
        "graphpnas": SMOKE["graphpnas"],
    }
    benchmarks = [{**benchmark, "budgets": [8, 12]} for benchmark in described["benchmarks"]]
    methods = []
    for entry in described["methods"]:
        method = entry["method"]
        if isinstance(method, dict):
            method = method | tiny[method["name"]]
        methods.append({**entry, "method": method, "batch_size": min(entry["batch_size"], 4)})
    return described | {"benchmarks": benchmarks, "methods": methods, "seeds": 2}
