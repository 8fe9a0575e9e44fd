import json
from pathlib import Path

import pytest

from netwright.results import Row, render, write_results

RESULTS = sorted((Path(__file__).parent.parent / "docs" / "results").glob("*.json"))


def test_a_row_summarises_repetitions():
    row = Row.of("toy", "score", [1.0, 2.0, 6.0], method="random")
    assert (row.mean, row.n) == (3.0, 3)
    assert row.sd == pytest.approx(7**0.5, rel=1e-5)
    assert Row.of("toy", "score", [2.0]).sd is None


@pytest.mark.parametrize("values", [[], [float("nan")], [1.0, float("inf")]])
def test_nothing_and_nonsense_are_no_results(values):
    with pytest.raises(ValueError, match="toy, score: needs finite values"):
        Row.of("toy", "score", values)


def test_the_page_is_rendered_from_the_file(tmp_path):
    rows = [Row("toy", "test error", 5.8, 10, 0.1, paper=5.93), Row("toy", "seconds", 2.0, 1)]
    write_results(tmp_path / "r", rows, title="T", command="c", seeds=[0, 1], note="Why.")
    found = json.loads((tmp_path / "r.json").read_text())
    page = (tmp_path / "r.md").read_text()
    assert page == render(found)
    assert "| toy | test error | 5.8 | 0.1 | 10 | 5.93 |" in page
    assert "| toy | seconds | 2.0 |  | 1 |  |" in page
    assert "preset" not in page, "no row has one"
    assert "seeds 0, 1" in page


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_published_results_are_complete_and_their_pages_up_to_date(path):
    found = json.loads(path.read_text())
    assert {"command", "date", "versions", "machine", "seeds", "rows"} <= found.keys()
    assert found["rows"]
    wanted = {"benchmark", "method", "preset", "metric", "budget", "mean", "sd", "n", "paper"}
    for row in found["rows"]:
        assert wanted <= row.keys()
    assert path.with_suffix(".md").read_text() == render(found)
