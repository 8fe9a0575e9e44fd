import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from netwright.searchers.replay import ReplayBuffer
from netwright.spaces.toy import Toy

SPACE = Toy()
ALL = SPACE.enumerate()


def add(buffer, entries):
    index, score = zip(*entries, strict=True)
    buffer.add(ALL[torch.tensor(index)], torch.tensor(score))


def best(buffer, n):
    archs, score = buffer.best(n)
    names = SPACE.to_text(ALL)
    return [
        (names.index(text), round(value, 6))
        for text, value in zip(SPACE.to_text(archs), score.tolist(), strict=True)
    ]


def test_keeps_the_best_and_the_older_of_equals():
    buffer = ReplayBuffer(3)
    assert best(buffer, 2) == []
    add(buffer, [(4, 0.5), (1, 0.7), (9, 0.5), (2, 0.1)])
    assert best(buffer, 2) == [(1, 0.7), (4, 0.5)]
    assert best(buffer, 9) == [(1, 0.7), (4, 0.5), (9, 0.5), (2, 0.1)]


def test_an_architecture_told_again_keeps_its_newest_score():
    buffer = ReplayBuffer(3)
    add(buffer, [(0, 0.9), (1, 0.5), (0, 0.8)])
    assert best(buffer, 1) == [(0, 0.8)]
    add(buffer, [(0, 0.2), (2, 0.1)])
    assert best(buffer, 9) == [(1, 0.5), (0, 0.2), (2, 0.1)], "also where that is worse"
    assert len(buffer) == 3


def test_the_padding_of_a_repeat_does_not_matter():
    buffer = ReplayBuffer(3)
    buffer.add(ALL[:1], torch.tensor([0.1]))
    buffer.add(ALL[:1].pad(5), torch.tensor([0.2]))
    assert len(buffer) == 1


@pytest.mark.parametrize("failed", [torch.nan, torch.inf, -torch.inf])
def test_failures_leave_it_as_it_was(failed):
    buffer = ReplayBuffer(3)
    add(buffer, [(0, failed), (1, 0.5)])
    add(buffer, [(1, failed)])
    assert best(buffer, 9) == [(1, 0.5)]


def test_neighbouring_scores_stay_apart():
    buffer = ReplayBuffer(3)
    score = torch.tensor([0.9, 0.9 + 1e-12], dtype=torch.float64)
    buffer.add(ALL[:2], score)
    assert torch.equal(buffer.best(2)[1], score.flip(0))


entries = st.lists(st.tuples(st.integers(0, 26), st.integers(0, 9)), min_size=1, max_size=40)


@given(entries, st.integers(1, 8), st.integers(1, 30))
def test_agrees_with_a_dictionary_however_it_is_told(told, batch, n):
    buffer, reference = ReplayBuffer(3), {}
    for i in range(0, len(told), batch):
        part = told[i : i + batch]
        add(buffer, [(index, score / 10) for index, score in part])
    for index, score in told:
        reference[index] = score / 10
    expected = sorted(reference.items(), key=lambda entry: -entry[1])[:n]
    assert best(buffer, n) == expected


@given(entries)
def test_a_restored_buffer_goes_on_the_same(told):
    buffer, restored = ReplayBuffer(3), ReplayBuffer(3)
    add(buffer, [(index, float(score)) for index, score in told])
    restored.load_state_dict(buffer.state_dict())
    for each in (buffer, restored):
        add(each, [(3, 5.0), (4, 6.0)])
    assert best(buffer, 30) == best(restored, 30)
