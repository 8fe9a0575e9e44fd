import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from netwright.metrics import incumbent

SCORES = st.lists(st.one_of(st.just(math.nan), st.floats(-1e3, 1e3)), max_size=30)


def test_a_case_by_hand():
    score = torch.tensor([math.nan, 0.3, 0.1, math.nan, 0.5, -2.0])
    best = incumbent(score)
    assert math.isnan(best[0])
    torch.testing.assert_close(best[1:], torch.tensor([0.3, 0.3, 0.3, 0.5, 0.5]))
    assert math.isnan(score[3])  # the input is left alone


def test_infinite_scores_are_scores():
    assert incumbent(torch.tensor([-math.inf, math.nan])).tolist() == [-math.inf, -math.inf]


@given(SCORES)
def test_it_is_the_largest_score_so_far(scores):
    best = incumbent(torch.tensor(scores, dtype=torch.float64)).tolist()
    assert len(best) == len(scores)
    for i, value in enumerate(best):
        seen = [s for s in scores[: i + 1] if not math.isnan(s)]
        assert value == max(seen) if seen else math.isnan(value)
