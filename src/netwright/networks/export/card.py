"""The card of a network: all that is needed to build it again, kept with its weights."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import safetensors
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)
from safetensors.torch import save
from torch import Tensor, nn

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Card(BaseModel):
    """What a network is: its architecture, what surrounds it, and what goes in and comes out.

    Attributes:
        space: Name of the search space, or ``file.py:NAME``.
        options: Of the space's constructor.
        arch: The architecture, in the space's notation.
        preset: The skeleton.
        channels: Of the images.
        height: Of the images.
        width: Of the images.
        classes: Names of the classes, in the order of the logits.
        mean: Per channel, subtracted from images scaled to [0, 1]; empty if nothing is known.
        std: Per channel, what the rest is divided by.
        dataset: What the images are; None if that is not known.
        epochs: Passes over the training images; None, as all below, if it was not trained.
        test_accuracy: Share of right answers on the test images.
        parameters: Number of trainable numbers.
        seconds: That the training took.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    space: str
    options: dict[str, Any] = {}
    arch: str
    preset: Literal["small", "official", "large"] = "small"
    channels: PositiveInt
    height: PositiveInt
    width: PositiveInt
    classes: tuple[str, ...] = Field(min_length=1)
    mean: tuple[FiniteFloat, ...] = ()
    std: tuple[_Positive, ...] = ()
    dataset: str | None = None
    epochs: int | None = None
    test_accuracy: float | None = None
    parameters: int | None = None
    seconds: float | None = None

    @model_validator(mode="after")
    def _one_per_channel(self) -> "Card":
        if {len(self.mean), len(self.std)} not in ({0}, {self.channels}):
            raise ValueError("mean and std have one number per channel")
        return self

    @classmethod
    def of(cls, **values: Any) -> "Card":
        """Make a card.

        Raises:
            ValueError: In one line, naming the first entry that is missing or wrong.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problem = error.errors()[0]
            place = ".".join(map(str, problem["loc"]))
            reason = problem["msg"].removeprefix("Value error, ")
            raise ValueError(f"{place}: {reason}" if place else reason) from None

    def metadata(self) -> dict[str, str]:
        """Return what `from_metadata` reads: text as it is, everything else as JSON."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in values.items()
        }

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> "Card":
        """Read what `metadata` returns; nothing in it is trusted, and further entries are ignored.

        Raises:
            ValueError: Naming the first entry that is missing or wrong.
        """
        text = {"space", "arch", "preset", "dataset"}
        values: dict[str, Any] = {}
        for name in cls.model_fields.keys() & metadata.keys():
            try:
                values[name] = metadata[name] if name in text else json.loads(metadata[name])
            except (json.JSONDecodeError, RecursionError):
                raise ValueError(f"{name}: not JSON") from None
        return cls.of(**values)


def weights_bytes(state: Mapping[str, Tensor], card: Card) -> bytes:
    """Return a safetensors file of weights, the card in its metadata."""
    plain = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    return save(plain, card.metadata())


def read_weights(path: Path) -> tuple[Card, dict[str, Tensor]]:
    """Read what `weights_bytes` returns, tensors on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or not a file that `netwright train` writes.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            card = Card.from_metadata(file.metadata() or {})
            return card, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path}") from None
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(
            f"{path} is damaged or was not written by `netwright train` ({error}): train again"
        ) from error


def load_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Give a network its weights.

    Raises:
        ValueError: Naming the first weight that is missing, unknown, or of another shape or type.
    """
    expected = network.state_dict()
    for name in [*expected, *weights]:
        wanted, found = (_kind(state.get(name)) for state in (expected, weights))
        if wanted != found:
            raise ValueError(
                f"the weights are not of this architecture: {name} is {found}, not {wanted}"
            )
    network.load_state_dict(weights)


def _kind(weight: Tensor | None) -> str:
    if weight is None:
        return "absent"
    return f"{str(weight.dtype).removeprefix('torch.')} {list(weight.shape)}"
