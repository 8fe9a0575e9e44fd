"""Networks as one Python file that needs torch only.

The file is put together from fixed texts, numbers and the `literal`s of texts, so that no name, be
it of a class or of a data set, can become code.
"""

import ast
from collections.abc import Mapping, Sequence

from safetensors.torch import save
from torch import Tensor

from netwright.graphs.batch import ArchitectureBatch
from netwright.networks.export.card import Card
from netwright.networks.export.cells import LINE
from netwright.networks.export.code import NetworkCode, network_code
from netwright.spaces.base import SearchSpace

_NORMALISE = '''\
def normalise(images: Tensor) -> Tensor:
    """Turn images of bytes, 0 to 255, into what the network was trained on."""
    mean, std = (
        torch.tensor(values, device=images.device)[:, None, None]
        for values in (MEAN, STD)
    )
    return (images / 255 - mean) / std
'''

_LOADER = '''\
def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a .safetensors file: the size of its header, the header, then all numbers."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    types = {"F32": torch.float32, "I64": torch.int64}
    tensors = {}
    for name, about in header.items():
        if name != "__metadata__":
            first, last = (start + offset for offset in about["data_offsets"])
            values = torch.frombuffer(
                bytearray(data[first:last]), dtype=types[about["dtype"]]
            )
            tensors[name] = values.reshape(about["shape"])
    return tensors


def trained(weights: Path = WEIGHTS) -> Network:
    """Return the network with its trained weights, ready to classify."""
    network = Network()
    network.load_state_dict(read_safetensors(weights))
    return network.eval()
'''


def python_file(
    space: SearchSpace, arch: ArchitectureBatch, card: Card, weights: Mapping[str, Tensor] | None
) -> tuple[str, bytes | None]:
    """Write the network of a single architecture as a Python file, and its weights beside it.

    Args:
        space: Of the architecture.
        arch: A single architecture.
        card: Its skeleton and images.
        weights: Trained ones, by their names in `netwright.networks`; None for none.

    Returns:
        The file's text, and the bytes of the .safetensors file that has to lie beside it, under
        the same name, if there are weights.

    Raises:
        ValueError: If the space is not one of the library's, or the network cannot be built.
    """
    code = network_code(
        space,
        arch,
        in_channels=card.channels,
        num_classes=len(card.classes),
        preset=card.preset,
    )
    data = None
    if weights is not None:
        renamed = {code.names[name]: value for name, value in weights.items()}
        data = save(renamed, {"format": "pt"})
    return _file(code, space.to_text(arch)[0], card, trained=data is not None), data


def _file(code: NetworkCode, arch: str, card: Card, *, trained: bool) -> str:
    constants = [constant("ARCHITECTURE", arch)]
    if card.dataset is not None:
        constants.append(constant("CLASSES", card.classes))
    if card.mean:
        constants += ["# Per channel, of the training images scaled to [0, 1].\n"]
        constants += [constant("MEAN", card.mean), constant("STD", card.std)]
    if trained:
        constants.append('WEIGHTS = Path(__file__).with_suffix(".safetensors")\n')
    library = "import json\nfrom pathlib import Path\n\n" if trained else ""
    parts = [
        f'"""{_words(code, card, trained=trained)}"""\n',
        f"{library}import torch\nfrom torch import Tensor, nn\n",
        "".join(constants) + "\n",
        code.source + "\n",
        *([_NORMALISE + "\n"] if card.mean else []),
        *([_LOADER + "\n"] if trained else []),
        _main(card, trained=trained),
    ]
    return "\n".join(parts)


def _words(code: NetworkCode, card: Card, *, trained: bool) -> str:
    """Describe the file, in numbers only."""
    size = f"{card.channels} x {card.height} x {card.width}"
    lines = [f"A network for images of {size} in {len(card.classes)} classes; needs torch only."]
    lines += ["", f"It has {code.parameters:,} parameters; run this file to see it work."]
    if trained:
        lines += [
            "",
            "    network = trained()  # from the .safetensors file beside this one",
            "    logits = network(normalise(images))"
            if card.mean
            else "    logits = network(images)",
        ]
    else:
        lines += ["Its weights are not trained: `Network()` initialises them."]
    return "\n".join([*lines, ""])


def _main(card: Card, *, trained: bool) -> str:
    return f"""\
if __name__ == "__main__":
    network = {"trained()" if trained else "Network().eval()"}
    images = torch.zeros(2, {card.channels}, {card.height}, {card.width})
    with torch.inference_mode():
        logits = network(images)
    parameters = sum(p.numel() for p in network.parameters())
    print(f"{{parameters:,}} parameters")
    print(f"images {{tuple(images.shape)}} -> logits {{tuple(logits.shape)}}")
"""


def constant(name: str, value: str | Sequence[str | float]) -> str:
    """Write an assignment whose value can only be a literal."""
    if isinstance(value, str):
        items = [literal(value)]
        line = f"{name} = {items[0]}"
    else:
        items = [f"{literal(item)}," for item in value]
        line = f"{name} = ({' '.join(items).removesuffix(',' * (len(items) > 1))})"
    if len(line) > LINE and (len(items) > 1 or len(items[0]) <= LINE - 4):
        line = "\n".join([f"{name} = (", *(f"    {item}" for item in items), ")"])
    return line + "\n"


def literal(value: str | float) -> str:
    """Write a value as a Python literal, a text in double quotes where it has none itself.

    Raises:
        AssertionError: If what was written does not read as the value: it never happens.
    """
    text = repr(value)
    if isinstance(value, str) and '"' not in value:
        text = f'"{text[1:-1]}"' if "'" not in value else text
    assert ast.literal_eval(text) == value
    return text
