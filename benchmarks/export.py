"""How far the outputs of exported networks are from those of the networks they were made from.

    python benchmarks/export.py

A short search on the digits, its best cell trained on all of them; likewise random cells of each
space with random weights. Each exported file is run on the test images in a process of its own in
which Netwright was never imported.
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
from netwright.config.objects import NETWORKS, make_space
from netwright.config.schema import SpaceConfig
from netwright.evaluators.training import train
from netwright.networks.cost import count_parameters
from netwright.networks.export.card import Card
from netwright.networks.export.programs import onnx_program, torch_program
from netwright.networks.export.python import python_file
from netwright.results import Row
from netwright.rng import scoped

RUNNERS = {
    "python": """
import importlib.util, torch
spec = importlib.util.spec_from_file_location("network", "network.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
compute = module.trained()
""",
    "torch": """
import torch
compute = torch.export.load("network.pt2").module()
""",
    "onnxruntime": """
import onnxruntime, torch
session = onnxruntime.InferenceSession("network.onnx")
compute = lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
""",
}
REST = """
import sys
from safetensors.torch import load_file, save_file
images = load_file("images.safetensors")["images"]
with torch.no_grad():
    save_file({"logits": compute(images)}, "logits.safetensors")
assert "netwright" not in sys.modules
"""


def differences(space, arch, network, card, images):
    """The largest absolute difference of a logit, by what computes it; and the largest logit."""
    network.eval()
    with torch.no_grad():
        expected = network(images)
    with tempfile.TemporaryDirectory() as name:
        folder, found = Path(name), {}
        source, weights = python_file(space, arch, card, network.state_dict())
        (folder / "network.py").write_text(source)
        (folder / "network.safetensors").write_bytes(weights)
        (folder / "network.pt2").write_bytes(torch_program(network, card))
        (folder / "network.onnx").write_bytes(onnx_program(network, card))
        save_file({"images": images}, folder / "images.safetensors")
        for runner, code in RUNNERS.items():
            subprocess.run([sys.executable, "-I", "-c", code + REST], cwd=folder, check=True)
            logits = load_file(folder / "logits.safetensors")["logits"]
            found[runner] = float((logits - expected).abs().max())
    return found | {"largest logit": float(expected.abs().max())}


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
    parser.add_argument("--cells", type=int, default=5, help="random cells of each space")
    count = parser.parse_args().cells
    data = digits()
    images = data.normalise(data.test_images)
    space, arch, network, card, accuracy = trained_cell(data)
    found = differences(space, arch, network, card, images)
    where, parameters = "nasbench101, best cell of a search", [float(count_parameters(network))]
    rows = [
        Row.of(where, "test accuracy", [100 * accuracy], preset="small"),
        Row.of(where, "parameters", parameters, preset="small"),
        *rows_of(where, [found], "small"),
    ]
    for name, preset in (("nasbench101", "small"), ("nasbench201", "small"), ("toy", "small"),
                         ("nasbench101", "official"), ("nasbench201", "official")):  # fmt: skip
        some = count if preset == "small" else max(1, count // 5)
        cells = list(random_cells(name, data, some, preset))
        found = [differences(*cell, images) for cell in cells]
        where = f"{name}, random cells"
        parameters = [float(count_parameters(network)) for _, _, network, _ in cells]
        rows += [Row.of(where, "parameters", parameters, preset=preset)]
        rows += rows_of(where, found, preset)
    publish(
        "export",
        show(rows),
        title="Outputs of exported networks",
        seeds=[0],
        note="The largest absolute difference of any logit between the network and its exported "
        "form, over the digits' 359 test images, in evaluation mode; mean over cells, in a "
        "process of its own for each file. The largest logit says what to compare with.",
        versions={name: importlib.metadata.version(name) for name in ("onnx", "onnxruntime")},
    )


def rows_of(where, found, preset):
    rows = []
    for runner in (*RUNNERS, "largest logit"):
        values = [entry[runner] for entry in found]
        if runner in RUNNERS:
            more = {"method": runner, "preset": preset}
            rows.append(Row.of(where, "largest absolute difference of a logit", values, **more))
        else:
            rows.append(Row.of(where, "largest logit", values, preset=preset))
    return rows


if __name__ == "__main__":
    main()
