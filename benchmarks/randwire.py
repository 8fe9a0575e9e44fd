"""RandWire and ENAS macro networks: their sizes, and how fast the base network trains.

    python benchmarks/randwire.py
    python benchmarks/randwire.py cuda

Sizes: trainable parameters beside [GraphPNAS] tables 2 and 3. Speed: images per second of the base
network as `netwright.evaluators.training.fit` trains it, and as a plain loop does, in single
precision and torch's usual layout, crops and flips drawn image by image, at the same batch size;
both on random images. On a GPU 64x64 images are shown at 224x224, ours with bfloat16 and
torch.compile, and the time of a low-data evaluation of the paper (300 epochs of 10,000 images) is
foretold from a few epochs; on a CPU images are 64x64 and all is single precision.

Writes docs/results/randwire.json and .md (on a GPU randwire-cuda).
"""

import sys
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise

import torch
from common import finished, publish, show
from torch import nn

from netwright.evaluators.train import PAPER_RECIPE, TrainEvaluator
from netwright.evaluators.training import fit
from netwright.generators.random_graph import RandomGraph
from netwright.images.data import ImageData
from netwright.networks.cost import count_parameters
from netwright.networks.enas import enas_network
from netwright.networks.randwire import randwire_network
from netwright.reproductions.wirings import fully_connected
from netwright.results import Row
from netwright.rng import scoped, stream
from netwright.spaces.enas import ENAS
from netwright.spaces.randwire import RandWire

SPACE, MACRO = RandWire(32), ENAS(12)
GRAPHS = 20
#: Million parameters in [GraphPNAS] tables 2 and 3.
PUBLISHED = {"FC": 3.49, "ER(p = .1)": 3.23, "WS(k = 4, p = .75)": 3.22, "large, WS": 19.38}


def sizes():
    """Yield the parameters of networks of each kind, built without values."""
    er = RandomGraph(SPACE.layout, p=0.1).sample(GRAPHS, rng=stream(0, "er"))
    ws = RandomGraph(SPACE.layout, model="ws", p=0.75, k=4).sample(GRAPHS, rng=stream(0, "ws"))
    full = SPACE.parse([fully_connected(SPACE)])
    for label, archs, preset in (
        ("FC", full, "official"),
        ("ER(p = .1)", er, "official"),
        ("WS(k = 4, p = .75)", ws, "official"),
        ("large, FC", full, "large"),
        ("large, WS", ws, "large"),
    ):
        build = partial(randwire_network, preset=preset, num_classes=200)
        found = [million(build, archs[i : i + 1]) for i in range(len(archs))]
        paper = PUBLISHED.get(label)
        yield Row.of("randwire-32", "million parameters", found, method=label, paper=paper)
    macro = RandomGraph(MACRO.layout, p=0.4).sample(GRAPHS, rng=stream(0, "macro"))
    for label, preset, paper in (("base", "official", 20.47), ("large", "large", 37.71)):
        build = partial(enas_network, preset=preset, num_classes=10)
        found = [million(build, macro[i : i + 1]) for i in range(len(macro))]
        what = f"{label}, skips with p = .4"
        yield Row.of("enas-12", "million parameters", found, method=what, paper=paper)


def million(build, arch):
    """Parameters of a network, in millions."""
    with torch.device("meta"):
        return count_parameters(build(arch, in_channels=3)) / 1e6


def images(n, side, classes):
    """Random images."""
    rng = stream(0, "images")
    pixels = torch.randint(256, (n, 3, side, side), generator=rng).byte()
    labels = torch.arange(n) % classes
    few = slice(0, classes)
    names = tuple(map(str, range(classes)))
    return ImageData("random", pixels, labels, pixels[few], labels[few], names, flips=True)


def network(arch, data, device):
    """The base network of an architecture."""
    with scoped(stream(0, "weights")):
        found = randwire_network(
            arch, in_channels=data.channels, num_classes=data.num_classes, preset="official"
        )
    return found.to(device)


def plain(model, data, recipe, device):
    """Train as one would by hand, an epoch after another; yield after each."""
    optimiser = torch.optim.SGD(
        model.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
    )
    pad, side = recipe.crop_padding, data.train_images.shape[-1]
    model.train()
    while True:
        order = torch.randperm(len(data.train_images))
        for batch in order.split(recipe.batch_size):
            shown = []
            for image in data.train_images[batch].float() / 255:
                wide = nn.functional.pad(image, (pad,) * 4)
                x, y = torch.randint(2 * pad + 1, (2,)).tolist()
                image = wide[:, y : y + side, x : x + side]
                shown.append(image.flip(2) if torch.rand(()) < 0.5 else image)
            shown = torch.stack(shown)
            if data.resize:
                shown = nn.functional.interpolate(shown, size=data.resize, mode="bilinear")
            shown, labels = shown.to(device), data.train_labels[batch].to(device)
            loss = nn.functional.cross_entropy(model((shown - 0.5) / 0.5), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        finished(device)
        yield


def speed(device):
    """Yield images per second of both loops, and on a GPU the time of an evaluation."""
    gpu = device != "cpu"
    data = images(10_000 if gpu else 128, 64, 200 if gpu else 10)
    data = replace(data, resize=224) if gpu else data
    recipe = replace(PAPER_RECIPE, batch_size=256 if gpu else 32)
    arch = RandomGraph(SPACE.layout, model="ws", p=0.75, k=4).sample(1, rng=stream(0, "ws"))
    epochs, where = (4, "224x224") if gpu else (3, "64x64")
    seconds = {"plain loop": [], "netwright": []}
    loop = plain(network(arch, data, device), data, recipe, device)
    next(loop)
    for _ in range(epochs):
        start = time.perf_counter()
        next(loop)
        seconds["plain loop"].append(time.perf_counter() - start)
    fast = replace(recipe, epochs=epochs + 1)
    if gpu:
        fast = replace(fast, precision="bfloat16", compile=True)
    ends = []

    def ended(_):
        finished(device)
        ends.append(time.perf_counter())

    there = data.to(torch.device(device))
    fit(network(arch, data, device), there, fast, rng=stream(0, "fit"), on_epoch=ended)
    seconds["netwright"] = [b - a for a, b in pairwise(ends)]
    for method, taken in seconds.items():
        rates = [len(data.train_images) / t for t in taken]
        yield Row.of(f"randwire-32, {where}, {device}", "images per second", rates, method=method)
    ratio = sum(seconds["plain loop"]) / sum(seconds["netwright"])
    yield Row.of(f"randwire-32, {where}, {device}", "speed beside the plain loop", [ratio])
    if gpu:
        whole = images(100_000, 64, 200)
        evaluator = TrainEvaluator(
            partial(randwire_network, preset="official"), replace(whole, resize=224),
            replace(fast, epochs=4, last_epochs=1), device=device,
        )  # fmt: skip
        start = time.perf_counter()
        evaluator(arch, rngs=[stream(0, "evaluation")])
        taken = time.perf_counter() - start
        foretold = taken + sum(seconds["netwright"]) / len(seconds["netwright"]) * (300 - 4)
        metric = "minutes of a low-data evaluation, foretold"
        yield Row.of(f"randwire-32, {where}, {device}", metric, [foretold / 60])


if __name__ == "__main__":
    torch.set_num_threads(1)
    wanted = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    rows = show([*sizes(), *speed(wanted)])
    publish(
        "randwire" if wanted == "cpu" else f"randwire-{wanted}",
        rows,
        title="RandWire and ENAS macro networks: sizes and speed",
        seeds=[0],
        note=f"Sizes: {GRAPHS} random graphs of each kind; the published ones are of the best "
        "graphs found. Speed: training of the base network, batches of "
        f"{32 if wanted == 'cpu' else 256}; repetitions are epochs.",
    )
