"""A table of the toy space whose best architectures are known, and experiments on it."""

import torch

from netwright.spaces.toy import Toy
from netwright.tables.format import Column, Rows, Table

SPACE = Toy()


def write_table(folder, name="toy.safetensors"):
    """Score: the share of operation 2, less a little; the best is 0.91; test: 0.9 of it."""
    folder.mkdir(parents=True, exist_ok=True)
    archs = SPACE.enumerate()
    share = (archs.ops[:, :3] == 2).sum(dim=1) / 6 + torch.arange(27) / 1000
    columns = {"mine/valid@1": Column(0.384 + share), "mine/test@1": Column(0.9 * (0.384 + share))}
    return Table.write(folder / name, SPACE, Rows(archs, columns, "made", "none"))


def described(**changes):
    """Random and local search on the toy table."""
    values = {
        "title": "Toy",
        "benchmarks": [
            {
                "name": "toy/mine",
                "space": "toy",
                "table": "toy.safetensors",
                "metric": "mine/valid@1",
                "report": {
                    "valid accuracy": "mine/valid@1",
                    "test error": "mine/test@1",
                    "valid regret": "mine/valid@1",
                    "at optimum": "mine/valid@1",
                },
                "budgets": [4, 12],
            }
        ],
        "methods": [
            {"method": "random", "batch_size": 3},
            {"name": "local search", "method": {"name": "local", "initial": 2}, "batch_size": 2},
        ],
        "seeds": 3,
    }
    return values | changes
