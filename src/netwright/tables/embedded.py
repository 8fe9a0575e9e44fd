"""The benchmark that comes with the package: named like a table's file, and opened like one.

``nasbench101-digits`` is our own measurement of all 2,532 NAS-Bench-101 cells of at most 5 nodes,
each trained on scikit-learn's digits with three seeds, in the low-data regime of
`netwright.evaluators.train`; docs/tables.md has the command that makes it.
"""

from importlib.resources import files
from pathlib import Path

#: Names of the tables in the package; none of them ends as a file of a table does.
EMBEDDED = ("nasbench101-digits",)


def embedded_path(name: str = EMBEDDED[0]) -> Path:
    """Return the file of a table of the package.

    Raises:
        ValueError: If there is none of that name.
    """
    if name not in EMBEDDED:
        raise ValueError(f"no table {name!r} in the package: it has {', '.join(EMBEDDED)}")
    return Path(str(files("netwright") / "data" / f"{name}.safetensors"))


def located(path: Path | str) -> Path:
    """Return the file that ``path`` means: a table of the package by its name, else ``path``.

    A file of that name wins.
    """
    path = Path(path)
    return embedded_path(str(path)) if str(path) in EMBEDDED and not path.exists() else path
