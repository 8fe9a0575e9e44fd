"""A fit in a folder: a generator in training, which goes on from there whenever it is stopped.

::

    config.toml         what is trained, on what and how, and the versions it began with
    fit.safetensors     parameters, optimiser, counters and records: a `Fit.state_dict`

The state is saved at every record and at least every half a minute, so that a killed fit loses no
more than that; what it goes on to is, bit for bit, what it would have come to.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netwright.files import load_state, locked, save_state, write_atomic
from netwright.generators.fit import Fit, Record
from netwright.runs.folder import NAME, config_text, insist_empty, read_config


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

    def execute(self, fit: Fit, *, checkpoint_every: float = 30.0) -> Iterator[Record | None]:
        """Train, or go on training; yield what `Fit.run` yields.

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

    def _save(self, fit: Fit) -> None:
        for leftover in self.folder.glob(".*.partial"):  # of a killed process
            leftover.unlink()
        try:
            save_state(self.checkpoint, fit.state_dict())
        except OSError as error:
            raise OSError(
                f"cannot write {self.checkpoint} ({error.strerror}): free some space or allow "
                "writing, and go on with the fit"
            ) from error
