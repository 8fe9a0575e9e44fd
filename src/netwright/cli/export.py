"""`netwright export`: networks for use without Netwright."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import Tensor, nn

from netwright.cli.networks import (
    ArchOfRun,
    Force,
    arch_of,
    facts_of,
    insist_on_new,
    run_at,
    space_of,
    trained_file,
)
from netwright.cli.options import Json, Quiet
from netwright.cli.output import print_json, remark, say
from netwright.config.base import SpaceConfig
from netwright.config.objects import make_build, make_data, make_space
from netwright.files import write_atomic
from netwright.graphs.batch import ArchitectureBatch
from netwright.networks.cost import count_parameters
from netwright.networks.export.card import Card, load_weights, read_weights
from netwright.networks.export.dot import dot_text
from netwright.networks.export.programs import onnx_program, torch_program
from netwright.networks.export.python import python_file
from netwright.rng import scoped, stream
from netwright.runs.run import Run
from netwright.spaces.base import SearchSpace


class Format(StrEnum):
    """What to write."""

    PYTHON = "python"
    TORCH = "torch"
    ONNX = "onnx"
    DOT = "dot"


SUFFIX = {Format.PYTHON: ".py", Format.TORCH: ".pt2", Format.ONNX: ".onnx", Format.DOT: ".dot"}
#: What stands before the images where nothing tells: colour images as in CIFAR-10.
IMAGES: dict[str, Any] = {"image_size": "32", "channels": 3, "classes": 10}


def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="RUN|WEIGHTS|ARCH",
            help="A run folder, a .safetensors file of `netwright train`, or an architecture.",
        ),
    ],
    to: Annotated[
        Format, typer.Option("--format", "-f", help="python is source code to own; see above.")
    ] = Format.PYTHON,
    arch: ArchOfRun = "best",
    weights: Annotated[
        Path | None,
        typer.Option(help="Trained weights; by default those that the run folder has."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file; by default network.py, .pt2, .onnx or .dot."),
    ] = None,
    force: Force = False,
    space: Annotated[
        str | None,
        typer.Option(
            "--space",
            "-s",
            help="Of a text: toy, nasbench101, nasbench201, randwire, or file.py:NAME.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Skeleton of the network: small, official, or large of enas and randwire."
        ),
    ] = None,
    image_size: Annotated[
        str | None, typer.Option(help="Height and width, like 32 or 28x20, if nothing tells it.")
    ] = None,
    channels: Annotated[int | None, typer.Option(min=1, help="Of the images, likewise.")] = None,
    classes: Annotated[int | None, typer.Option(min=1, help="How many, likewise.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a network for use without Netwright.

    * **python**: one readable file that needs torch only, and the weights beside it
    * **torch**: a torch.export program (.pt2) for batches of any size
    * **onnx**: the same for ONNX runtimes (needs `pip install 'netwright[export]'`)
    * **dot**: a drawing of the architecture for Graphviz

    Train first, and the weights go along; otherwise they are fresh ones. The last line is for an
    architecture of no run:

        netwright train runs/mine

        netwright export runs/mine --format onnx --out mine.onnx

        netwright export conv3x3,identity,conv1x1 --space toy --channels 1 --image-size 8
    """
    out = out or Path(f"network{SUFFIX[to]}")
    if to == Format.PYTHON and out.suffix != ".py":
        raise ValueError(f"a Python file's name ends in .py, not as {out.name!r} does")
    chosen = _choose(source, arch, weights, space)
    images = {"image_size": image_size, "channels": channels, "classes": classes}
    given = {name: value for name, value in images.items() if value is not None}
    facts: dict[str, Any] = {"format": str(to), "arch": chosen.text, "space": chosen.space.name}
    if to == Format.DOT:
        title = f"{chosen.space.name}: {chosen.text}"
        text = dot_text(chosen.arch, chosen.space.op_names, title=title)
        files: dict[Path, bytes | str] = {out: text}
    else:
        card = _card(chosen, preset, given)
        network = _network(chosen, card)
        facts |= {"preset": card.preset, "parameters": count_parameters(network)}
        facts["weights"] = None if chosen.file is None else str(chosen.file)
        files = _files(to, out, chosen, card, network)
    _write(files, chosen.file, force=force)
    facts["files"] = [str(file) for file in files]
    if json:
        print_json(facts)
        return
    say(f"wrote {' and '.join(facts['files'])}")
    if not quiet:
        say(f"go on with\n  {_use(to, out)}")
        if to != Format.DOT and chosen.file is None:
            remark("its weights are fresh, not trained: `netwright train` makes some")


@dataclass(frozen=True)
class Chosen:
    """What to export.

    Attributes:
        config: Names the space.
        space: Of the architecture.
        arch: A single architecture.
        run: Where it comes from, if it does.
        file: Of its trained weights, if there are any, with what is in it.
        card: From the file.
        weights: From the file.
    """

    config: SpaceConfig
    space: SearchSpace
    arch: ArchitectureBatch
    run: Run | None
    file: Path | None
    card: Card | None
    weights: Mapping[str, Tensor] | None

    @property
    def text(self) -> str:
        """The architecture as text."""
        return self.space.to_text(self.arch)[0]


def _choose(source: str, which: str, weights: Path | None, space: str | None) -> Chosen:
    """Find architecture, space and weights."""
    run, card, state = run_at(source), None, None
    of_file = run is None and source.endswith(".safetensors")
    file = Path(source) if of_file else weights
    if file is not None:
        card, state = read_weights(file)
    if run is None and card is not None:
        config = _space_of(card, space)
        text = card.arch if of_file else source
    else:
        named = space_of(source, run, space)
        config = SpaceConfig.model_validate({"name": named} if isinstance(named, str) else named)
        text = source if run is None else arch_of(run, which)
    opened = make_space(config)
    archs = opened.parse([text])
    if run is not None and file is None and trained_file(run, opened, archs).exists():
        file = trained_file(run, opened, archs)
        card, state = read_weights(file)
    if card is not None and card.arch != opened.to_text(archs)[0]:
        raise ValueError(f"{file} has the weights of another architecture: --arch {card.arch!r}")
    return Chosen(config, opened, archs, run, file, card, state)


def _space_of(card: Card, space: str | None) -> SpaceConfig:
    """Return the space that a file of weights names, if that is no code or the user names it too.

    Raises:
        ValueError: If it is code: data must not decide what is run.
    """
    if space is None and ".py:" in card.space:
        raise ValueError(
            f"the weights are of a space of one's own, {card.space!r}: if you trust its code, "
            "name it with --space"
        )
    options = card.options if space in (None, card.space) else {}
    return SpaceConfig.model_validate({**options, "name": space or card.space})


def _card(chosen: Chosen, preset: str | None, given: dict[str, Any]) -> Card:
    """Describe the network: as the card of its weights does, its run trained it, or it is said."""
    if chosen.card is not None:
        if preset is not None or given:
            raise ValueError(f"{chosen.file} decides the preset, the images and the classes")
        return chosen.card
    evaluator = {} if chosen.run is None else chosen.run.config.get("evaluator", {})
    dataset = evaluator.get("dataset") if evaluator.get("name") == "train" else None
    if dataset is not None and not given:
        images = facts_of(make_data(dataset))
    else:
        images = _images(**(IMAGES | given))
    looked_up = evaluator.get("name") == "table"  # scores of the official networks
    usual = evaluator.get("preset") or ("official" if looked_up else "small")
    return Card.of(
        space=chosen.config.name,
        options=chosen.config.options,
        arch=chosen.text,
        preset=preset or usual,
        **images,
    )


def _images(image_size: str, channels: int, classes: int) -> dict[str, Any]:
    sides = image_size.split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise ValueError(f"--image-size is a number, or two like 28x20, not {image_size!r}")
    height, width = int(sides[0]), int(sides[-1])
    names = [str(number) for number in range(classes)]
    return {"height": height, "width": width, "channels": channels, "classes": names}


def _network(chosen: Chosen, card: Card) -> nn.Module:
    """Build the network, with its trained weights or with fresh ones that are always the same."""
    build = make_build(chosen.space, card.preset)
    with scoped(stream(0, "export")):
        network = build(chosen.arch, in_channels=card.channels, num_classes=len(card.classes))
    if chosen.weights is not None:
        load_weights(network, chosen.weights)
    return network


def _files(
    to: Format, out: Path, chosen: Chosen, card: Card, network: nn.Module
) -> dict[Path, bytes | str]:
    """Return the files to write, with what is in them."""
    if to == Format.TORCH:
        return {out: torch_program(network, card)}
    if to == Format.ONNX:
        return {out: onnx_program(network, card)}
    text, data = python_file(chosen.space, chosen.arch, card, chosen.weights)
    return {out: text} if data is None else {out.with_suffix(".safetensors"): data, out: text}


def _use(to: Format, file: Path) -> str:
    """Say how to go on with a file."""
    match to:
        case Format.PYTHON:
            return f"python {shlex.quote(str(file))}"
        case Format.TORCH:
            return f"network = torch.export.load({str(file)!r}).module()"
        case Format.ONNX:
            return f"session = onnxruntime.InferenceSession({str(file)!r})"
        case Format.DOT:
            return f"dot -Tsvg -O {shlex.quote(str(file))}"


def _write(files: Mapping[Path, bytes | str], source: Path | None, *, force: bool) -> None:
    """Write the files; replace some only if told to, and the weights just read never."""
    for file in files:
        if source is not None and file.exists() and file.samefile(source):
            raise FileExistsError(f"{file} would replace the weights it is made from: give --out")
    insist_on_new(list(files), force=force)
    for file, data in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, data)
