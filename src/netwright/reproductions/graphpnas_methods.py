"""The search methods of [GraphPNAS] Tables 4 and 5, by space, with the settings of each."""

from typing import Any

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

#: Searches of methods that learn a network, which take longer.
_LEARNERS = 20
#: Where the fits that some methods search in are, in the folder of runs.
FITS = "{runs}/{fit}-{space}"

#: What makes a method quick, by its name: the smallest scale shows that everything works.
SMOKE: dict[str, Settings] = {
    "graphpnas": {"hidden": 8, "rounds": 1, "mixtures": 2, "epochs": 1},
}


def methods_of(space: str) -> list[Settings]:
    """Return all methods that search a space, as an experiment has them."""
    entries = [
        *(_graphpnas(space, preset) for preset in PRESETS[space]),
        {"name": "random search", "method": "random", "batch_size": 100},
        {"name": "local search", "method": "local", "batch_size": 1},
    ]
    return entries + (_without_none() if space == "nasbench201" else [])


def smoke_of(entry: Settings) -> Settings:
    """Return a method for the smallest scale."""
    method = entry["method"]
    small = SMOKE.get(method["name"], {}) if isinstance(method, dict) else {}
    size = min(entry["batch_size"], 5)
    return {**entry, "method": {**method, **small} if small else method, "batch_size": size}


def _graphpnas(space: str, preset: str) -> Settings:
    settings, batch_size = PRESETS[space][preset]
    return {
        "name": "GraphPNAS",
        "preset": preset,
        "method": {"name": "graphpnas", **settings},
        "batch_size": batch_size,
        "seeds": _LEARNERS if preset == "best" else 10,
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
