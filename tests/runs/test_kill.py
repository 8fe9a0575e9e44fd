"""A search that is killed again and again ends as one that is left alone."""

import pytest
import resume

NOTHING_LOST = {
    "paid twice": 0,
    "lost": 0,
    "changed": 0,
    "different rows": 0,
    "different steps": 0,
    "different incumbent": 0,
}


def test_three_kills(tmp_path):
    facts = resume.measure(tmp_path, kills=3, budget=25, seed=0)
    assert facts | NOTHING_LOST == facts
    assert facts["kills"] == 3
    assert facts["evaluations"] == 25


@pytest.mark.slow
def test_twenty_kills(tmp_path):
    facts = resume.measure(tmp_path, kills=20, budget=200, seed=1)
    assert facts | NOTHING_LOST == facts
    assert facts["kills"] == 20
    assert facts["evaluations"] == 200


@pytest.mark.slow
def test_twenty_kills_with_other_numbers_of_workers(tmp_path):
    """The same evaluations with the same results; only the order of completion may differ."""
    options = [{"workers": n} for n in (3, 1, 2)]
    hunted = resume.kill_and_resume(
        tmp_path / "hunted", kills=20, budget=200, seed=2, options=options
    )
    child = resume.start(tmp_path / "calm", budget=200, seed=2)
    child.join()
    assert (hunted["kills"], hunted["paid twice"], hunted["lost"], hunted["changed"]) == (
        20,
        0,
        0,
        0,
    )
    left, right = (by_number(tmp_path / name) for name in ("calm", "hunted"))
    assert left == right
    assert resume.steps(tmp_path / "calm") == resume.steps(tmp_path / "hunted")


@pytest.mark.slow
def test_twenty_kills_in_asynchronous_mode(tmp_path):
    options = [{"workers": n, "mode": "asynchronous"} for n in (3, 1, 2)]
    facts = resume.kill_and_resume(
        tmp_path / "hunted", kills=20, budget=200, seed=3, options=options
    )
    assert (facts["kills"], facts["paid twice"], facts["lost"], facts["changed"]) == (20, 0, 0, 0)
    found = resume.rows(tmp_path / "hunted")
    paid = [row for row in found if row["status"] == "evaluated"]
    assert sorted(row["index"] for row in paid) == list(range(200))
    assert len({row["key"] for row in paid}) == 200


def by_number(folder):
    found = resume.rows(folder)
    for row in found:
        del row["id"]
    return sorted(found, key=lambda row: (row["step"], row["status"], row["index"]))
