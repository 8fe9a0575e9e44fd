"""A command as a user types it, in this process."""

import sys

import pytest

from netwright.cli.app import main


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a command in an empty folder; return exit code, standard output and error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NETWRIGHT_TABLES", raising=False)

    def call(*args):
        monkeypatch.setattr(sys, "argv", ["netwright", *map(str, args)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        out, err = capsys.readouterr()
        return code, out, err

    return call
