"""Objects of one's own, named by a file or a module, and the call of constructors."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any


def load_object(reference: str) -> Any:
    """Return NAME of ``file.py:NAME``, running that file, or of ``package.module:NAME``.

    Raises:
        ValueError: If there is no such file or module, or nothing of that name in it.
    """
    file, _, name = reference.rpartition(":")
    if not file.endswith(".py"):
        return _imported(reference, file, name)
    path = Path(file).resolve()
    if not path.is_file():
        raise ValueError(f"{reference}: there is no file {file}")
    module = sys.modules.get(path.stem)
    if module is None or getattr(module, "__file__", None) != str(path):
        # Under its own name and with its folder importable, so that worker processes, which
        # inherit the search path, can unpickle what it defines.
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
    return _attribute(module, file, name)


def _imported(reference: str, module: str, name: str) -> Any:
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f"{reference}: {error}") from None
    return _attribute(found, module, name)


def _attribute(module: ModuleType, where: str, name: str) -> Any:
    if not hasattr(module, name):
        raise ValueError(f"{where} defines no {name}")
    return getattr(module, name)


def call(what: str, made: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Call a constructor; an argument that does not fit is a wrong setting."""
    try:
        return made(*args, **kwargs)
    except TypeError as error:
        raise ValueError(f"{what}: {error}") from error
