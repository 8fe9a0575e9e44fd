import pytest
import torch

from netwright.evaluation import Evaluation


def test_numbers_are_written_as_people_read_them():
    score = torch.tensor([0.7178, torch.nan, 1 / 3])
    exact = torch.tensor([49_979_275.0, 1.0, 2.0], dtype=torch.float64)
    result = Evaluation(score, torch.ones(3), {"parameters": exact}, (None, "lost", None))
    decimal = result.in_decimals()
    assert decimal.score.dtype == torch.float64
    assert decimal.score[0].item() == 0.7178
    assert torch.equal(decimal.score.float()[[0, 2]], score[[0, 2]]), "nothing is lost"
    assert decimal.score[1].isnan()
    assert decimal.extras["parameters"][0].item() == 49_979_275.0
    assert decimal.error == result.error


def test_parts_add_up_and_lacking_extras_are_nan():
    a = Evaluation(torch.tensor([0.5]), torch.ones(1), {"x": torch.tensor([1.0])})
    b = Evaluation.failed("out of memory\nwith details", n=2, cost=3.0)
    whole = Evaluation.cat([a, b])
    assert whole.error == (None, "out of memory", "out of memory")
    assert whole.cost.tolist() == [1.0, 3.0, 3.0]
    assert whole.extras["x"][0] == 1.0
    assert whole.extras["x"][1:].isnan().all()
    assert len(whole[1:]) == 2


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="one entry for each of 2 scores"):
        Evaluation(torch.zeros(2), torch.zeros(2), error=("lost",))
