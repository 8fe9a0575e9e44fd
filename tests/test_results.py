import json
from pathlib import Path

import pytest

from netwright.results import Curve, Difference, Row, render, write_results

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


def test_differences_curves_and_a_chart_stand_beside_the_rows(tmp_path):
    rows = [Row("toy", "test error", 5.8, None, 0.1, preset="quoted", low=5.7, high=5.9)]
    apart = Difference("toy", "test error", 40, "local", "random", -0.2, -0.3, -0.1, 20)
    curve = Curve("toy", "test error", "local", 1, [7.0, 6.5e-7], [6.0], [8.0], [1.0])
    write_results(
        tmp_path / "r.1", rows, title="T", command="c", differences=[apart], curves=[curve],
        chart="<svg/>",
    )  # fmt: skip
    text = (tmp_path / "r.1.json").read_text()
    found = json.loads(text)
    page = (tmp_path / "r.1.md").read_text()
    assert page == render(found)
    assert '"mean": [7.0, 6.5e-07]' in text, "numbers share a line"
    assert found["curves"][0]["high"] == [8.0]
    assert "| toy | local | random | test error | 40 | -0.2 | -0.3 | -0.1 | 20 |" in page
    assert "| toy | quoted | test error | 5.8 | 0.1 | 5.7 | 5.9 |" in page
    assert "(r.1.svg)" in page
    assert (tmp_path / "r.1.svg").read_text() == "<svg/>"


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_published_results_are_complete_and_their_pages_up_to_date(path):
    found = json.loads(path.read_text())
    assert {"command", "date", "versions", "machine", "seeds", "rows"} <= found.keys()
    assert found["rows"]
    wanted = {"benchmark", "method", "preset", "metric", "budget", "mean", "sd", "n", "paper"}
    for row in found["rows"]:
        assert wanted <= row.keys()
    assert path.with_suffix(".md").read_text() == render(found)
