"""Networks as programs that run without their Python code: `torch.export`, ONNX.

Both take a batch of any size, of images of one size, as the network was trained on: normalised
with the card's ``mean`` and ``std`` if it has any. The card goes along as metadata.
"""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from netwright.networks.export.card import Card

#: Name of the card within a `torch.export` file: ``torch.export.load(f, extra_files={CARD: ""})``.
CARD = "netwright.json"


def traced(network: nn.Module, card: Card) -> torch.export.ExportedProgram:
    """Trace the forward pass in evaluation mode; the first dimension of input and output is free.

    Raises:
        ValueError: If the network cannot be traced.
    """
    # Two images: of one, the tracer would conclude that there is always one.
    example = torch.zeros(2, card.channels, card.height, card.width)
    free = ({0: torch.export.Dim("batch")},)
    try:
        return torch.export.export(network.eval(), (example,), dynamic_shapes=free)
    except Exception as error:  # whatever a network of one's own can provoke
        reason = str(error).strip().splitlines()
        raise ValueError(
            f"the network cannot be traced ({type(error).__name__}: {(reason or [''])[0]}): its "
            "forward must take one batch of images, of any number, and not branch on values"
        ) from error


def torch_program(network: nn.Module, card: Card) -> bytes:
    """Return a file for `torch.export.load`, weights included; its state dict has their names."""
    file = io.BytesIO()
    extra_files = {CARD: card.model_dump_json()}
    torch.export.save(traced(network, card), file, extra_files=extra_files)
    return file.getvalue()


def onnx_program(network: nn.Module, card: Card) -> bytes:
    """Return an ONNX file, weights included, from ``images`` to ``logits``.

    Raises:
        ImportError: If the packages that write ONNX are missing.
    """
    try:
        import onnx
        import onnxscript  # noqa: F401 (torch needs it)
    except ImportError:
        raise ImportError(
            "writing ONNX needs its packages: pip install 'netwright[export]'"
        ) from None
    graph = traced(network, card)
    with _own_remarks_of_torch_unheard():
        program = torch.onnx.export(
            graph, dynamo=True, input_names=["images"], output_names=["logits"], verbose=False
        )
    assert program is not None
    model = program.model_proto
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:  # the only size that is free, by torch's name for it
                size.dim_param = "batch"
    onnx.helper.set_model_props(model, card.metadata())
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


@contextmanager
def _own_remarks_of_torch_unheard() -> Iterator[None]:
    """Silence what is no user's business: torch's deprecated calls, and torchvision's absence."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
