"""The configuration file that makes a folder a run."""

import platform
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
import torch

from netwright import __version__

NAME = "config.toml"


def config_text(config: dict[str, Any]) -> str:
    """Write a configuration and the versions in use as TOML.

    Raises:
        ValueError: If TOML cannot express the configuration.
    """
    if "versions" in config:
        raise ValueError("a configuration cannot have an entry of its own called 'versions'")
    versions = {
        "netwright": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "threads": torch.get_num_threads(),
    }
    try:
        return tomli_w.dumps({**config, "versions": versions})
    except TypeError as error:
        raise ValueError(f"the configuration cannot be written as TOML: {error}") from error


def read_config(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the configuration of a folder, and the versions it began with.

    Raises:
        ValueError: If it is not a run folder, or its configuration is damaged.
    """
    path = folder / NAME
    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
        versions = config.pop("versions")
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{folder} is not a run folder: it has no {NAME}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}): repair it, it is text") from error
    return config, versions


def insist_empty(folder: Path) -> None:
    """Do nothing if a folder is empty or not there.

    Raises:
        FileExistsError: If it holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder} is not empty: resume the run in it, delete it, or use another folder"
        )
