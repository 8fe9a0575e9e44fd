"""An experiment that is killed again and again ends as one that never was."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest
import torch

from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.tables.format import Column, Rows, Table

EXPERIMENT = """
seeds = 3
baseline = "random"

[[benchmarks]]
name = "cells/mine"
table = "cells.safetensors"
metric = "mine/valid@1"
report = { "valid accuracy" = "mine/valid@1", "test error" = "mine/test@1" }
budgets = [20, 60]
[benchmarks.space]
name = "nasbench101"
max_nodes = 5

[[methods]]
method = "random"
batch_size = 20

[[methods]]
method = "local"
batch_size = 1

[[methods]]
method = "evolution"
batch_size = 2

[[methods]]
batch_size = 5
[methods.method]
name = "bananas"
epochs = 10

[[methods]]
batch_size = 5
[methods.method]
name = "graphpnas"
hidden = 8
rounds = 1
mixtures = 2
epochs = 3
update_every = 5
refit = true

[[methods]]
batch_size = 5
[methods.method]
name = "rnn"
hidden = 8
epochs = 3
update_every = 5
"""


def write_table(path):
    space = NASBench101(max_nodes=5)
    archs = space.enumerate()
    noise = torch.rand(len(archs), generator=stream(0, "noise")) / 20
    score = (archs.ops == 2).sum(dim=1) / 10 + archs.adj.sum(dim=(1, 2)) / 40 + noise
    columns = {"mine/valid@1": Column(score), "mine/test@1": Column(score - noise)}
    Table.write(path, space, Rows(archs, columns, "made", "none"))


def command(folder, *words):
    main = "from netwright.cli.app import main; main()"
    experiment = ["experiment", "kill.toml", "--quiet", "--tables", ".", *words]
    return subprocess.Popen([sys.executable, "-c", main, *experiment], cwd=folder)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ten_kills_change_no_result(tmp_path, workers):
    write_table(tmp_path / "cells.safetensors")
    (tmp_path / "kill.toml").write_text(EXPERIMENT)
    began = time.monotonic()
    whole = command(tmp_path, "--run", "whole", "--out", "whole")
    assert whole.wait() == 0
    seconds = time.monotonic() - began
    words = ["--run", "killed", "--out", "killed", "--workers", str(workers)]
    moments, killed = random.Random(workers), 0
    while killed < 10:
        process = command(tmp_path, *words)
        try:
            # starting takes a part of the time; a kill may well come before anything was done
            assert process.wait(timeout=moments.uniform(0.2, 0.5) * seconds) == 0
            break  # it had been through already
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
    time.sleep(3 if workers > 1 else 0)  # the workers of the last one notice, and end
    assert command(tmp_path, *words).wait() == 0
    found = [json.loads((tmp_path / f"{name}.json").read_text()) for name in ("whole", "killed")]
    for name in ("rows", "differences", "curves"):
        assert found[0][name] == found[1][name]
    assert killed >= 5
