"""The search methods of [GraphPNAS] Tables 4 and 5, by space, with the settings of each."""

from pathlib import Path
from typing import Any

from netwright.reproductions.graphpnas_published import C10, C100

Settings = dict[str, Any]

#: The setting found best, chosen on the CIFAR-100 validation accuracy of NAS-Bench-201 with seeds
#: 1000 to 1019, which no table uses: a small generator, fitted anew to the best 15 every five
#: evaluations, after 10 of the explorer.
_BEST: Settings = {
    "preset": "paper",
    "hidden": 24,
    "rounds": 3,
    "capacity": 15,
    "update_every": 5,
    "refit": True,
    "batch_size": 5,
    "epochs": 40,
    "learning_rate": 5e-3,
    "epsilon": {"name": "step", "start": 1.0, "factor": 0.0, "over": 10},
}

#: GraphPNAS as in the paper, as in the released code, and at its best, by space and preset: the
#: method as a run's configuration has it, and how many proposals a step makes. On NAS-Bench-201
#: the released code proposes one at a time and trains after each; here it trains after five.
PRESETS: dict[str, dict[str, tuple[Settings, int]]] = {
    "nasbench101": {
        "paper": ({"preset": "paper"}, 10),
        "released": ({"preset": "released"}, 10),
        "best": (_BEST | {"explorer": {"p": 0.5}}, 5),
    },
    "nasbench201": {
        "paper": ({"preset": "paper"}, 10),
        "released": ({"preset": "released", "update_every": 5}, 5),
        "best": (_BEST, 5),
    },
}

#: Seeds of methods that learn a network; the others have as many as the experiment.
_LEARNERS = 20
_FEW = 10  # of those that take longest

#: What makes a method quick, by its name: the smallest scale shows that everything works.
SMOKE: dict[str, Settings] = {
    "graphpnas": {"hidden": 8, "rounds": 1, "mixtures": 2, "epochs": 1},
    "rnn": {"hidden": 8, "epochs": 1},
    "bananas": {"initial": 4, "epochs": 2},
    "predictor": {"initial": 6, "pool": 50},
    "latent-bo": {"initial": 4, "pool": 50},
    "agnet": {"initial": 4, "update_every": 4, "epochs": 1, "pool": 10},
}


def methods_of(space: str, fits: Path) -> list[Settings]:
    """Return all methods that search a space, as an experiment has them.

    Args:
        space: "nasbench101" or "nasbench201".
        fits: The folder of the fits that some search in, ``FIT-SPACE``.
    """
    everywhere = [
        *(_graphpnas(space, preset) for preset in PRESETS[space]),
        {"name": "random search", "method": "random", "batch_size": 100},
        {"name": "local search", "method": "local", "batch_size": 1},
        _local_full(),
        {"name": "evolution", "method": "evolution", "batch_size": 1},
        {"name": "BANANAS", "method": "bananas", "batch_size": 10, "seeds": _LEARNERS},
        _controller(space, "paper"),
        _controller(space, "best"),
        _predictor(space),
        _arch2vec(fits),
        _agnet(space, fits),
    ]
    return everywhere + (_of_cells() if space == "nasbench101" else _of_operations())


def _local_full() -> Settings:
    method = {"name": "local", "neighbourhood": "full"}
    return {"name": "local search", "preset": "full", "method": method, "batch_size": 1}


def _controller(space: str, preset: str) -> Settings:
    method: Settings = {"name": "rnn", "preset": preset}
    if preset == "best" and space == "nasbench101":
        method["explorer"] = {"p": 0.5}  # as GraphPNAS's
    size = 10 if preset == "paper" else 5
    entry = {"name": "RNN (RL)", "preset": preset, "method": method, "batch_size": size}
    return {**entry, "seeds": _FEW if preset == "paper" else _LEARNERS}


def _predictor(space: str) -> Settings:
    """What it learns from is two thirds of the 150 published for it, or half of 100."""
    method = {"name": "predictor", "initial": 100 if space == "nasbench101" else 50}
    return {"name": "GCN Pred", "method": method, "batch_size": 50, "seeds": _FEW}


def _arch2vec(fits: Path) -> Settings:
    method = {"name": "latent-bo", "preset": "arch2vec", "model": str(fits / "arch2vec-{space}")}
    return {"name": "Arch2Vec", "method": method, "batch_size": 5, "seeds": _FEW}


def _agnet(space: str, fits: Path) -> Settings:
    epochs = 15 if space == "nasbench101" else 30  # as in its paper
    method = {"name": "agnet", "model": str(fits / "agnet-{space}"), "epochs": epochs}
    return {"name": "AG-Net-like", "method": method, "batch_size": 16, "seeds": _FEW}


def _of_cells() -> list[Settings]:
    """Models of random graphs; BOHB's model without early stopping, for lack of columns."""
    entries: list[Settings] = [{"name": "BOHB's model", "method": "bohb", "batch_size": 10}]
    for graphs in ("er", "ws", "ba"):
        for estimator, what in (("topk", "Top-K"), ("best", "BEST")):
            method = {"name": "random-graph", "graphs": graphs, "estimator": estimator}
            name = f"{graphs.upper()}-{what}"
            entries.append({"name": name, "method": method, "batch_size": 10})
    return entries


def _of_operations() -> list[Settings]:
    """Methods that leave ``none`` out, and BOHB with early stopping."""
    halving = {"eta": 3, "proposals": 270}  # in batches of 27, 10.6 full trainings each
    bohb = {"name": "BOHB-like", "method": "bohb", "batch_size": 27, **halving}
    return [*_without_none(), {**bohb, "benchmarks": [C10, C100]}]


def smoke_of(entry: Settings) -> Settings:
    """Return a method for the smallest scale."""
    method = entry["method"]
    if isinstance(method, str):
        method = {"name": method}
    method = {**method, **SMOKE.get(method["name"], {})}
    small = {"proposals": 36} if "proposals" in entry else {}
    return {**entry, "method": method, "batch_size": min(entry["batch_size"], 5), **small}


def _graphpnas(space: str, preset: str) -> Settings:
    settings, batch_size = PRESETS[space][preset]
    return {
        "name": "GraphPNAS",
        "preset": preset,
        "method": {"name": "graphpnas", **settings},
        "batch_size": batch_size,
        "seeds": _LEARNERS if preset == "best" else _FEW,
    }


def _without_none() -> list[Settings]:
    """GraphPNAS and random search on NAS-Bench-201, not drawing the operation ``none``."""
    methods = []
    for preset in PRESETS["nasbench201"]:
        entry = _graphpnas("nasbench201", preset)
        explorer = {**entry["method"].get("explorer", {}), "without": ["none"]}
        entry["method"] = {**entry["method"], "explorer": explorer}
        methods.append({**entry, "preset": f"{preset}, without none"})
    random = {"name": "random", "without": ["none"]}
    named = {"name": "random search", "preset": "without none"}
    return [*methods, {**named, "method": random, "batch_size": 100}]
