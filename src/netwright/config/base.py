"""What all settings share: how they are written down, read, merged, and found wrong."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class Strict(BaseModel):
    """A part of a description: no setting but those it names, no number that is not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class NamedSettings(Strict):
    """Settings of one of several things that go by a name."""

    name: str


D = TypeVar("D", bound="Described")


class Described(BaseModel):
    """Something as a whole, a search or a fit, as it stands in a TOML file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def parse(cls: type[D], values: Mapping[str, Any]) -> D:
        """Validate ``values``.

        Raises:
            ValueError: In one line, naming the first setting that is wrong.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise ValueError(first_problem(error)) from None

    @classmethod
    def load(cls: type[D], path: Path, overrides: Mapping[str, Any] | None = None) -> D:
        """Read a TOML file; ``overrides`` win over what it says.

        Raises:
            ValueError: If the file is no TOML, or a setting is wrong.
            FileNotFoundError: If there is no such file.
        """
        return cls.parse(merge(read_toml(path), overrides or {}))

    def resolved(self) -> dict[str, Any]:
        """Return every setting, defaults included, as plain values; unset ones are left out."""
        return self.model_dump(mode="json", exclude_none=True)


class OpenConfig(BaseModel):
    """Further options go to the constructor that ``name`` stands for."""

    model_config = ConfigDict(extra="allow", frozen=True)
    name: str

    @property
    def options(self) -> dict[str, Any]:
        """What there is besides the name."""
        return dict(self.model_extra or {})


class SpaceConfig(OpenConfig):
    """A search space by name, or ``file.py:NAME``, and the options of its constructor."""

    known: Path | None = None  # only the architectures that this table has


class CustomConfig(OpenConfig):
    """A method or an evaluator of one's own, ``file.py:NAME``."""


def named(value: Any) -> Any:
    """Let a bare name stand for a table with that name."""
    return {"name": value} if isinstance(value, str) else value


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        ValueError: If the file is no TOML.
        FileNotFoundError: If there is no such file.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from None


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Lay ``top`` over ``base``, table by table; another ``name`` replaces the whole table."""
    result = dict(base)
    for key, value in top.items():
        old = result.get(key)
        old = named(old) if isinstance(value, Mapping) else old
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            renamed = "name" in value and value["name"] != old.get("name")
            result[key] = dict(value) if renamed else merge(old, value)
        else:
            result[key] = value
    return result


def first_problem(error: ValidationError) -> str:
    """Say in one line what is wrong first."""
    problem = error.errors()[0]
    place = ".".join(str(part) for part in problem["loc"] if not str(part).endswith("Config"))
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        message = "there is no such setting"
    given = (
        "" if problem["type"] in ("missing", "value_error") else f" (given: {problem['input']!r})"
    )
    return f"{place}: {message}{given}" if place else f"{message}{given}"
