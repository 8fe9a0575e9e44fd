"""The dependency arrows of the library, and the test that they are the only ones."""

import ast
from pathlib import Path

import pytest

import netwright

ROOT = Path(netwright.__file__).parent
SEARCH = {"graphs", "evaluation", "searchers", "rng"}
ARROWS = {
    "rng": set(),
    "graphs": set(),
    "files": set(),
    "pickles": set(),
    "nn": {"graphs"},
    "metrics": {"graphs"},
    "evaluation": {"graphs"},
    "images": {"files", "pickles", "rng"},
    "spaces": {"graphs", "rng"},
    "networks": {"graphs", "spaces"},
    "generators": {"graphs", "nn", "rng"},  # never a space, only its Layout
    "surrogates": {"graphs", "nn", "generators", "rng"},
    "searchers": {
        "graphs", "spaces", "generators", "surrogates", "metrics", "rng",
    },  # never evaluators
    "tables": {"graphs", "spaces", "evaluation", "files", "metrics", "pickles"},
    "evaluators": {
        "graphs", "spaces", "networks", "images", "tables", "evaluation", "files", "rng",
    },
    "crew": {"evaluation", "searchers"},
    "progress": SEARCH,
    "search": SEARCH | {"crew", "progress"},
    "runs": {
        "search", "progress", "files", "evaluation", "graphs", "spaces", "searchers", "generators",
        "rng",
    },
    "report": {"runs", "metrics", "graphs", "spaces", "files"},
    "results": {"files"},
    "testing": SEARCH | {"search", "progress", "spaces", "generators"},
}  # fmt: skip
ALSO = {"tables/surrogate.py": {"surrogates", "rng"}}  # of one file alone
EVERYTHING = {
    "config",
    "reproductions",
    "cli",
    "__main__",
}  # may import all of the above; names become objects in config


def _imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [node.module]
            if node.module == "netwright":
                names = [f"netwright.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith("netwright."))


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    layer = path.relative_to(ROOT).with_suffix("").parts[0]
    if layer == "__init__":
        return
    allowed = set(ARROWS) | EVERYTHING if layer in EVERYTHING else ARROWS[layer]
    allowed = allowed | ALSO.get(path.relative_to(ROOT).as_posix(), set())
    assert set(_imported(path)) <= allowed | {layer} | {"__version__"}
