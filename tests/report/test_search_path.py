"""The section on the way of a search through a latent space."""

import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
import torch
import vl_convert
from report_samples import Page, initial, make_run
from test_report_page import HOSTILE

from netwright.report.latent_path import MAX_POINTS, LatentPath, path_chart, path_svg, search_path
from netwright.report.page import report_html
from netwright.rng import stream
from netwright.spaces.nasbench201 import NASBench201

SPACE = NASBench201()


def path_of(folder, scores, *, known=()):
    run = make_run(folder, SPACE, scores)
    if known:
        initial(run, SPACE, known)
    rows = sorted(run.ledger.rows(), key=lambda row: (row.index, row.id))
    points = torch.arange(2.0 * len(rows)).view(-1, 2)
    background = torch.randn(50, 2, generator=stream(0, "background"))
    return LatentPath("svge", background, (0.4, 0.25), points, rows), run


def test_the_best_so_far_are_joined_in_order(tmp_path):
    path, _ = path_of(tmp_path / "run", [0.3, 0.6, 0.6, 0.5, 0.9, 0.1], known=[0.2, 0.4, 0.1])
    assert path.incumbents == [1, 4, 7]  # the best label, and evaluations 2 and 5
    sets = path_chart(path)["datasets"]
    line = sets["incumbents"]
    assert [(row["order"], row["x"], row["y"]) for row in line] == [
        (0, 2.0, 3.0),
        (1, 8.0, 9.0),
        (2, 14.0, 15.0),
    ]
    assert [row["evaluation"] for row in line] == ["before the search", "2", "5"]
    assert [row["text"] for row in sets["ends"]] == ["first", "0.9000"]
    assert sets["ends"][1]["x"] == 14.0
    assert len(sets["evaluated"]) == 9
    assert sets["evaluated"][4]["score"] == pytest.approx(0.6)
    assert sets["evaluated"][4]["arch"] == path.rows[4].arch
    assert len(sets["sample"]) == 50


def test_without_initial_labels_the_line_starts_with_the_first_evaluation(tmp_path):
    path, _ = path_of(tmp_path / "run", [0.5, 0.3, 0.7])
    assert path.incumbents == [0, 2]
    single, _ = path_of(tmp_path / "single", [0.5])
    assert [row["text"] for row in path_chart(single)["datasets"]["ends"]] == ["0.5000"]
    vl_convert.vegalite_to_svg(path_chart(single) | {"width": 300})


def test_a_path_has_a_row_for_each_point(tmp_path):
    path, _ = path_of(tmp_path / "run", [0.5, 0.6])
    with pytest.raises(ValueError, match="not 2 for 1"):
        replace(path, points=path.points[:1])


def test_colours_go_from_the_lower_quartile_to_the_best(tmp_path):
    path, _ = path_of(tmp_path / "run", [0.1, 0.8, 0.9, 0.84, 0.82])
    [dots] = [layer for layer in path_chart(path)["layer"] if layer["data"]["name"] == "evaluated"]
    domain = dots["encoding"]["color"]["scale"]["domain"]
    assert domain[0] == pytest.approx(0.8)
    assert domain[-1] == pytest.approx(0.9)
    assert domain == sorted(domain)


def test_of_many_evaluations_some_are_drawn_and_the_best_so_far_in_any_case(tmp_path):
    n = 2 * MAX_POINTS + 100
    path, _ = path_of(tmp_path / "run", [0.5] * 5)
    rows = [replace(path.rows[0], index=i, score=0.5 + (i == 4243) / 10) for i in range(n)]
    many = replace(path, rows=rows, points=torch.zeros(n, 2))
    drawn = path_chart(many)["datasets"]["evaluated"]
    assert len(drawn) <= MAX_POINTS
    assert "4,244" in {row["evaluation"] for row in drawn}


def test_the_section_is_part_of_the_page(tmp_path):
    path, run = path_of(tmp_path / "run", [0.5, 0.6, 0.4], known=[0.3])
    page = Page(report_html([run], SPACE, more=[search_path(path)]))
    assert "The search in the latent space" in page.text
    assert "3 evaluations and 1 initial label at their latent means under SVGe" in page.text
    assert "50 random architectures (grey)" in page.text
    places = [a["data-chart"] for a in page.all("div") if "data-chart" in a]
    assert "latent path" in places
    assert sorted(places) == sorted(page.charts)
    assert "latent space" not in Page(report_html([run], SPACE)).text


def test_the_image_is_whole_and_names_no_variables(tmp_path):
    path, _ = path_of(tmp_path / "run", [0.5, 0.6, 0.4, 0.55], known=[0.3])
    rows = [replace(row, arch=HOSTILE, origin=HOSTILE) for row in path.rows]
    image = path_svg(replace(path, rows=rows))
    assert HOSTILE not in image
    assert "var(" not in image
    texts = [element.text for element in ET.fromstring(image).iter() if element.text]
    for text in ("first", "0.6000", "first principal direction (40% of the variance)"):
        assert text in texts


def test_points_that_are_not_finite_are_no_background(tmp_path):
    path, _ = path_of(tmp_path / "run", [0.5, 0.6])
    broken = torch.tensor([[0.0, 1.0], [math.nan, 1.0], [0.0, 1.0]])
    assert path_chart(replace(path, background=broken))["datasets"]["sample"] == [
        {"x": 0.0, "y": 1.0}
    ]
