"""The figure of predicted over true accuracies."""

import math
import re
from xml.etree import ElementTree

import pytest
import torch

from netwright.report.prediction import scatter_svg
from netwright.rng import stream


def points(svg):
    """Where the dots are, in pixels from the lower left of the plot."""
    # Vega writes each dot as a path that is moved to its place
    moves = re.findall(r'<path[^>]*transform="translate\(([-\d.]+),([-\d.]+)\)"[^>]*#0072B2', svg)
    return torch.tensor([(float(x), 420 - float(y)) for x, y in moves])


def test_a_dot_for_each_architecture_at_its_place():
    actual = torch.tensor([0.80, 0.85, 0.95, 0.90])
    predicted = torch.tensor([0.80, 0.90, 0.95, 0.82])
    svg = scatter_svg(predicted, actual)
    ElementTree.fromstring(svg)
    found = points(svg)
    assert found.shape == (4, 2)
    # both axes run from 80 - 0.3 to 95 + 0.3
    expected = torch.stack([actual, predicted], dim=1) * 100
    torch.testing.assert_close(found, (expected - 79.7) / 15.6 * 420, atol=0.1, rtol=0)
    assert "predicted test accuracy (%)" in svg


def test_no_more_dots_than_can_be_told_apart():
    actual = torch.rand(200, generator=stream(0, "actual"))
    svg = scatter_svg(actual, actual, most=50)
    assert len(points(svg)) == 50
    assert len(scatter_svg(actual, actual, most=50)) < len(scatter_svg(actual, actual))


def test_equal_values_are_drawn():
    assert len(points(scatter_svg(torch.full((3,), 0.9), torch.full((3,), 0.9)))) == 3


@pytest.mark.parametrize(
    ("predicted", "actual"),
    [
        (torch.zeros(0), torch.zeros(0)),
        (torch.tensor([math.nan]), torch.zeros(1)),
        (torch.zeros(1), torch.tensor([math.inf])),
    ],
)
def test_what_cannot_be_drawn_is_refused(predicted, actual):
    with pytest.raises(ValueError, match=r"finite|cannot be drawn") as error:
        scatter_svg(predicted, actual)
    assert "\n" not in str(error.value)
