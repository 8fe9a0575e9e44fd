"""A fit in a folder: a generator in training, which goes on from there whenever it is stopped.

::

    config.toml         what is trained, on what and how, and the versions it began with
    fit.safetensors     parameters, optimiser, counters and records: a `Training.state_dict`

The state is saved at every record and at least every half a minute, so that a killed fit loses no
more than that; what it goes on to is, bit for bit, what it would have come to.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from netwright.files import load_state, locked, save_state, write_atomic
from netwright.runs.folder import NAME, config_text, insist_empty, read_config

R_co = TypeVar("R_co", covariant=True)


@runtime_checkable
class Training(Protocol[R_co]):
    """A training that can be interrupted after any step: `Fit`, `AdversarialFit`."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        ...

    def run(self) -> Iterator[R_co | None]:
        """Train, yielding after every step: a record at the end of a period, else None."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all that changes."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`."""
        ...


@dataclass(frozen=True)
class FitRun:
    """The folder of one fit.

    Attributes:
        folder: Where it is.
        config: What the fit is, as plain values; their meaning is not this package's business.
        versions: Those it began with.
    """

    folder: Path
    config: dict[str, Any]
    versions: dict[str, Any]

    @classmethod
    def create(cls, folder: Path | str, config: dict[str, Any]) -> "FitRun":
        """Make the folder of a fit.

        Raises:
            FileExistsError: If the folder holds something already.
            ValueError: If TOML cannot express the configuration.
        """
        folder = Path(folder)
        text = config_text({"fit": config})
        insist_empty(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / NAME, text)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: Path | str) -> "FitRun":
        """Open the folder of a fit.

        Raises:
            ValueError: If it is not one, or its configuration is damaged.
        """
        folder = Path(folder)
        config, versions = read_config(folder)
        if "fit" not in config:
            raise ValueError(f"{folder} is the folder of a search, not of a fit")
        return cls(folder, config["fit"], versions)

    @staticmethod
    def is_one(folder: Path | str) -> bool:
        """Tell whether a folder is that of a fit."""
        try:
            return "fit" in read_config(Path(folder))[0]
        except (ValueError, OSError):
            return False

    @property
    def checkpoint(self) -> Path:
        """The file with the state, if one was saved yet."""
        return self.folder / "fit.safetensors"

    def state(self) -> dict[str, Any] | None:
        """Return the last state saved, or None.

        Raises:
            ValueError: If its file is damaged.
        """
        return load_state(self.checkpoint) if self.checkpoint.exists() else None

    def execute(
        self, fit: Training[R_co], *, checkpoint_every: float = 30.0
    ) -> Iterator[R_co | None]:
        """Train, or go on training; yield what `Training.run` yields.

        Args:
            fit: As the configuration describes it, untrained.
            checkpoint_every: Seconds between two saved states.

        Raises:
            BlockingIOError: If another process trains in this folder.
            OSError: If the disk is full; the state saved before is then untouched.
            ValueError: If the saved state is damaged or that of another generator.
            RuntimeError: If the loss is not finite.
        """
        with locked(self.folder / ".lock"):
            state = self.state()
            if state is not None:
                fit.load_state_dict(state)
            saved = time.monotonic()
            for event in fit.run():
                done = event is not None or fit.finished
                if done or time.monotonic() - saved >= checkpoint_every:
                    self._save(fit)
                    saved = time.monotonic()
                try:
                    yield event
                except GeneratorExit:
                    self._save(fit)
                    raise

    def _save(self, fit: Training[Any]) -> None:
        for leftover in self.folder.glob(".*.partial"):  # of a killed process
            leftover.unlink()
        try:
            save_state(self.checkpoint, fit.state_dict())
        except OSError as error:
            raise OSError(
                f"cannot write {self.checkpoint} ({error.strerror}): free some space or allow "
                "writing, and go on with the fit"
            ) from error
