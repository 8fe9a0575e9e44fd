"""How far the outputs of exported networks are from those of the networks they were made from.

    python benchmarks/export.py

A short search on the digits, its best cell trained on all of them; likewise random cells of each
space with random weights. The exported files are run on the test images in processes that never
import Netwright.
"""

import argparse
import importlib.metadata
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from common import publish, show
from safetensors.torch import load_file, save_file

from netwright import DIGITS_RECIPE, RandomSearch, Run, TrainEvaluator, digits, stream
from netwright.config.base import SpaceConfig
from netwright.config.objects import NETWORKS, make_space
from netwright.evaluators.training import train
from netwright.networks.cost import count_parameters
from netwright.networks.export.card import Card
from netwright.networks.export.programs import onnx_program, torch_program
from netwright.networks.export.python import python_file
from netwright.results import Row
from netwright.rng import scoped

RUNNERS = {
    "python": """
import runpy, torch
def load(i):
    return runpy.run_path(f"{i}.py")["trained"]()
""",
    "torch": """
import torch
def load(i):
    return torch.export.load(f"{i}.pt2").module()
""",
    "onnxruntime": """
import onnxruntime, torch
def load(i):
    session = onnxruntime.InferenceSession(f"{i}.onnx")
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
""",
}
REST = """
import sys
from safetensors.torch import load_file, save_file
data = load_file("expected.safetensors")
images = data.pop("images")
with torch.no_grad():
    save_file({i: load(i)(images) for i in data}, "logits.safetensors")
assert "netwright" not in sys.modules
"""


def differences(cells, images):
    """For each cell the largest absolute difference of a logit, by what computes it.

    The largest logit is there too, under that name.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, expected = Path(name), {}
        for i, (space, arch, network, card) in enumerate(cells):
            with torch.no_grad():
                expected[str(i)] = network.eval()(images)
            source, weights = python_file(space, arch, card, network.state_dict())
            (folder / f"{i}.py").write_text(source)
            (folder / f"{i}.safetensors").write_bytes(weights)
            (folder / f"{i}.pt2").write_bytes(torch_program(network, card))
            (folder / f"{i}.onnx").write_bytes(onnx_program(network, card))
        save_file(expected | {"images": images}, folder / "expected.safetensors")
        found = {"largest logit": [float(logits.abs().max()) for logits in expected.values()]}
        for runner, code in RUNNERS.items():
            subprocess.run([sys.executable, "-I", "-c", code + REST], cwd=folder, check=True)
            logits = load_file(folder / "logits.safetensors")
            found[runner] = [float((logits[i] - expected[i]).abs().max()) for i in expected]
    return found


def trained_cell(data):
    """Search a few cells, train the best on all images; return what `differences` takes."""
    space = make_space(SpaceConfig(name="nasbench101"))
    build = partial(NETWORKS["nasbench101"], preset="small")
    with tempfile.TemporaryDirectory() as folder:
        run = Run.create(Path(folder) / "run")
        evaluator = TrainEvaluator(build, data, DIGITS_RECIPE)
        list(run.execute(space, RandomSearch(space), evaluator, budget=6, batch_size=3, seed=0))
        text = run.ledger.best().arch
    arch = space.parse([text])
    made = partial(build, arch, in_channels=data.channels, num_classes=data.num_classes)
    trained = train(made, data, DIGITS_RECIPE, rng=stream(0, "train"))
    return space, arch, trained.model, card_of(space, text, data), trained.test_accuracy


def random_cells(name, data, count, preset):
    """Random cells with random weights, as `differences` takes them."""
    space = make_space(SpaceConfig(name=name))
    archs = space.sample(count, rng=stream(0, "cells"))
    for i, text in enumerate(space.to_text(archs)):
        arch = archs[i : i + 1]
        with scoped(stream(i, "weights")):
            network = NETWORKS[name](arch, in_channels=1, num_classes=10, preset=preset)
            network.train()(data.normalise(data.train_images[:512]))  # running statistics
        yield space, arch, network, card_of(space, text, data, preset)


def card_of(space, text, data, preset="small"):
    return Card(
        space=space.name,
        arch=text,
        preset=preset,
        channels=data.channels,
        height=data.train_images.shape[2],
        width=data.train_images.shape[3],
        classes=data.class_names,
        mean=data.mean.tolist(),
        std=data.std.tolist(),
        dataset=data.name,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=4, help="random cells of each space")
    count = parser.parse_args().cells
    data = digits()
    images = data.normalise(data.test_images)
    space, arch, network, card, accuracy = trained_cell(data)
    where = "nasbench101, best cell of a search"
    rows = [Row.of(where, "test accuracy", [100 * accuracy], preset="small")]
    rows += rows_of(where, [(space, arch, network, card)], images, "small")
    for name, preset in (("nasbench101", "small"), ("nasbench201", "small"), ("toy", "small"),
                         ("nasbench101", "official"), ("nasbench201", "official")):  # fmt: skip
        some = count if preset == "small" else 1
        cells = list(random_cells(name, data, some, preset))
        rows += rows_of(f"{name}, random cells", cells, images, preset)
    publish(
        "export",
        rows,
        title="Outputs of exported networks",
        seeds=[0],
        note="The largest absolute difference of any logit between the network and its exported "
        "form, over the digits' 359 test images, in evaluation mode; mean over cells; the files "
        "run in processes that never import Netwright. The largest logit is there to compare with.",
        versions={name: importlib.metadata.version(name) for name in ("onnx", "onnxruntime")},
    )


def rows_of(where, cells, images, preset):
    found = differences(cells, images)
    parameters = [float(count_parameters(network)) for _, _, network, _ in cells]
    rows = [Row.of(where, "parameters", parameters, preset=preset)]
    rows += [Row.of(where, "largest logit", found["largest logit"], preset=preset)]
    metric = "largest absolute difference of a logit"
    return show(
        [*rows, *(Row.of(where, metric, found[run], method=run, preset=preset) for run in RUNNERS)]
    )


if __name__ == "__main__":
    main()
