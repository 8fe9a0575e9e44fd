"""Every code block of the documentation runs as printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("NETWRIGHT_DATA", ROOT.parent / "shared" / "data"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```", re.MULTILINE | re.DOTALL)


def _blocks(page, languages):
    """Blocks in these languages, and those that are files, in order."""
    found = BLOCK.findall(page.read_text())
    return [(kind, file, code) for kind, file, code in found if file or kind in languages]


def _run(page, folder, languages):
    (folder / ".venv").symlink_to(sys.prefix)
    path = f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "NETWRIGHT_DATA": str(DATA), "PYTHONPATH": str(folder)}
    for kind, file, code in _blocks(page, languages):
        if file:
            (folder / file).write_text(code)
            continue
        # `make` is what a fresh clone is for; here the environment is made already.
        lines = [line for line in code.splitlines() if not line.startswith("make ")]
        command = ["bash", "-euc"] if kind == "sh" else [sys.executable, "-c"]
        done = subprocess.run(
            [*command, "\n".join(lines)], cwd=folder, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{page.name}:\n{code}\n{done.stdout}\n{done.stderr}"


def _pages(language, slow=()):
    return [
        pytest.param(p, id=p.name, marks=[pytest.mark.slow] if p.stem in slow else [])
        for p in PAGES
        if any(_blocks(p, {language}))
    ]


@pytest.mark.parametrize("page", _pages("python", slow=("svge", "export", "extending", "gnn2gnn")))
def test_python_runs(page, tmp_path):
    _run(page, tmp_path, {"python"})


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' CSV files are not here")
@pytest.mark.parametrize("page", _pages("sh"))
def test_commands_run(page, tmp_path):
    _run(page, tmp_path, {"sh"})


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    prose = BLOCK.sub("", page.read_text())
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", prose):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_a_space_takes_thirty_lines():
    _, _, code = next(b for b in _blocks(ROOT / "docs" / "extending.md", {"python"}) if b[1])
    space = code[code.index("class TwoBranches") : code.index("class Network")]
    assert len(space.strip().splitlines()) <= 30


def test_the_readme_search_takes_ten_lines():
    _, _, code = next(b for b in _blocks(ROOT / "README.md", {"python"}) if b[0] == "python")
    assert len(code.strip().splitlines()) <= 11
