"""What [GNN2GNN]'s tables are made of: settings, published values, rows and pictures."""

import dataclasses
import math

import pytest

from netwright.reproductions import gnn2gnn
from netwright.reproductions.gnn2gnn import (
    ITEMS,
    MEASURES,
    TABLE1,
    TABLE2,
    TABLE3,
    TABLE4,
    TABLE5,
    Line,
    lines_of,
    rows_of,
)
from netwright.reproductions.gnn2gnn_charts import draw
from netwright.results import Row

TABLES = ["table1", "table2", "table3", "table4", "table5", "trade"]
#: Rows with published values at the scale of the paper.
PUBLISHED = {"table1": 16, "table2": 6, "table3": 5, "table4": 9, "table5": 4, "trade": 0}


@pytest.fixture
def folder(tmp_path):
    """Where all tables seem to be."""
    for name in ("nasbench101", "nats_pruned", "nats_cells"):
        (tmp_path / f"{name}.safetensors").touch()
    return tmp_path


class TestLines:
    @pytest.mark.parametrize("scale", ["smoke", "laptop", "paper"])
    @pytest.mark.parametrize("item", TABLES)
    def test_settings_are_valid_and_folders_tell_them_apart(self, folder, item, scale):
        lines = lines_of(item, scale, folder)
        names = [(line.benchmark, line.method, line.preset) for line in lines]
        assert len(names) == len(set(names))
        if scale == "paper":
            assert sum(line.paper is not None for line in lines) == PUBLISHED[item]
        configs = {}
        for line in lines:
            assert (line.adversary is None) == (line.random is not None)
            if line.adversary is not None:
                config = line.adversary.config(7)
                assert (config.seed, config.data.seed) == (7, 7)
                assert configs.setdefault(line.adversary.name, config) == config
                if scale == "paper":
                    assert (config.recipe.epochs, config.recipe.graphs) == (20, None)
                    assert config.data.limit is None
                else:
                    assert config.recipe.epochs is None
        distinct = {str(config.resolved()) for config in configs.values()}
        assert len(distinct) == len(configs)

    def test_table1_is_a_grid(self, folder):
        for line in lines_of("table1", "laptop", folder):
            assert line.adversary is not None
            config = line.adversary.config(0)
            layers, tau = config.method.options["layers"], config.method.options["tau"]
            assert TABLE1[layers, tau, config.recipe.balance] == line.paper
            words = f"mu {layers}, tau {tau}, lambda {config.recipe.balance:g}"
            assert line.preset == f"{config.preset}, {words}"

    def test_table2_has_both_valuers_of_the_same_settings(self, folder):
        lines = lines_of("table2", "laptop", folder)
        for known, other in zip(lines[::2], lines[1::2], strict=True):
            first, second = known.adversary.config(0), other.adversary.config(0)
            assert (first.recipe.valuer, second.recipe.valuer) == ("classification", "regression")
            assert first.method == second.method
            assert first.recipe.balance == second.recipe.balance
        of_table1 = {line.adversary.name for line in lines_of("table1", "laptop", folder)}
        assert {line.adversary.name for line in lines[::2]} <= of_table1  # trained once

    def test_table4_removes_what_it_says(self, folder):
        for line in lines_of("table4", "laptop", folder):
            top = line.adversary.config(0).data.hold_out_top
            assert f"best {round(100 * top)} % removed" in line.preset
            if line.paper is not None:
                assert line.paper == TABLE4[round(100 * top)]

    def test_main_setting_is_trained_once(self, folder):
        def first(item):
            return lines_of(item, "laptop", folder)[0].adversary

        assert first("table3") == first("table4") == first("table2")
        others = [line.adversary for line in lines_of("table5", "laptop", folder) if line.through]
        assert first("table3") in others

    def test_labels_are_test_accuracies_of_the_benchmark(self, folder):
        for line in lines_of("table5", "laptop", folder):
            if line.adversary is not None:
                data = line.adversary.config(0).data
                trained_here = "NAS-Bench-101" not in line.preset
                wanted = line.benchmark.partition("/")[2] if trained_here else "cifar10"
                assert data.metric == f"{wanted}/test@{200 if trained_here else 108}"

    def test_unknown(self, folder):
        with pytest.raises(ValueError, match=r"unknown item 'x' of gnn2gnn: use table1, .*search$"):
            lines_of("x", "laptop", folder)
        with pytest.raises(ValueError, match=r"unknown scale 'x': use smoke, laptop, paper"):
            gnn2gnn.scale_of("x")

    def test_every_item_has_a_title_and_a_note(self):
        assert list(ITEMS) == [*TABLES, "overlap", "search"]
        for item in TABLES:
            assert gnn2gnn.TITLES[item].startswith("GNN2GNN")
            assert gnn2gnn.note(item).startswith(gnn2gnn.NOTES[item])


def test_published_values_are_six_percentages_each():
    tables = (TABLE1, TABLE2, TABLE3, TABLE4, TABLE5)
    assert [len(table) for table in tables] == [16, 3, 4, 9, 4]
    for table in tables:
        for values in table.values():
            assert len(values) == len(MEASURES)
            assert all(math.isnan(value) or 0 < value < 100 for value in values)
            top_5, top_10, top_50 = values[1:4]
            assert top_5 < top_10 < top_50
    assert TABLE1[2, 0.1, 0.1] == TABLE3["gnn2gnn"] == TABLE4[10]


def test_rows_are_means_over_seeds_beside_the_paper():
    names = [*MEASURES[:4], "acc_90", "mean accuracy", "distinct", "validity"]
    seeds = [{name: float(i + j) for i, name in enumerate(names)} for j in (0, 2)]
    seeds[1]["validity"] = math.nan
    seeds[0]["acc_90"] = seeds[1]["acc_90"] = math.nan
    paper = (1.0, 2.0, 3.0, 4.0, math.nan, 6.0)
    rows = rows_of(Line("b/c", "m", "", paper=paper), seeds, 640)
    assert [row.metric for row in rows] == [name for name in names if name != "acc_90"]
    assert [row.mean for row in rows] == [1, 2, 3, 4, 6, 7, 7]
    assert [row.n for row in rows] == [2, 2, 2, 2, 2, 2, 1]
    assert [row.paper for row in rows] == [1, 2, 3, 4, 6, None, None]
    assert {(row.budget, row.preset, row.method) for row in rows} == {(640, None, "m")}
    assert rows_of(Line("b/c", "m", "p"), seeds, None)[0].paper is None


def made_up(item, folder):
    """Rows of an item with values that look like results."""
    rows = []
    for i, line in enumerate(lines_of(item, "laptop", folder)):
        paper = line.paper or (None,) * 6
        values = (80 + i % 5, 20 + i, 30 + i, 60, 80, 90 + i / 20, 40 * (1 + i % 7))
        names = (*MEASURES, "distinct")
        for j, (name, value) in enumerate(zip(names, values, strict=True)):
            published = paper[j] if j < 6 and paper[j] and not math.isnan(paper[j]) else None
            rows.append(
                Row.of(
                    line.benchmark, name, [value - 1.0, value + 1.0], method=line.method,
                    preset=line.preset or None, paper=published,
                )
            )  # fmt: skip
    return rows


class TestCharts:
    @pytest.mark.parametrize("item", TABLES)
    def test_has_every_row_and_the_published_values(self, folder, item):
        rows = made_up(item, folder)
        image, caption = draw(item, rows)
        assert image.startswith("<svg")
        assert caption
        assert not any(word in image for word in ("NaN", "undefined"))
        presets = {str(row.preset) for row in rows if row.preset}
        if item == "trade":
            for preset in presets:
                _, balance, heat = preset.split(", ")
                assert f">{balance}<" in image  # in the legend
                assert f">{heat.split()[1]}<" in image
        elif item == "table4":
            for label in ("preset released", "preset best", "published"):
                assert f">{label}<" in image  # in the legend
        else:
            for preset in presets:
                assert preset in image
        for value in {row.paper for row in rows if row.paper and row.metric == "top-5"}:
            assert f"{value:.6g}" in image  # in the description of its mark

    @pytest.mark.parametrize("item", ["table3", "table4"])
    def test_without_published_values(self, folder, item):
        rows = [Row(r.benchmark, r.metric, r.mean, r.n, r.sd, method=r.method, preset=r.preset)
                for r in made_up(item, folder)]  # fmt: skip
        image, _ = draw(item, rows)
        assert image.startswith("<svg")
        assert "published" not in image

    def test_spread_of_a_share_does_not_go_below_nothing(self, folder):
        rows = made_up("table3", folder)
        wide = [dataclasses.replace(row, mean=5.0, sd=30.0, paper=None) for row in rows]
        image, _ = draw("table3", wide)
        assert "\N{MINUS SIGN}" not in image  # of a label
        assert ">10<" in image
