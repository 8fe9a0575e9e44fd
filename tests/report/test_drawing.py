import re
from xml.etree import ElementTree

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.graphs.batch import ArchitectureBatch
from netwright.report.drawing import PALETTE, colours, draw_svg, label
from netwright.rng import stream
from netwright.spaces.nasbench101 import NASBench101
from netwright.spaces.nasbench201 import NASBench201
from netwright.spaces.toy import Toy

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ("input", "conv3x3", 'a <very> long "operation" & name', "output")


def dag(n, edges):
    adj = torch.zeros(1, n, n, dtype=torch.bool)
    for i, j in edges:
        adj[0, i, j] = True
    ops = torch.arange(n)[None] % len(NAMES)
    return ArchitectureBatch(ops, adj, torch.tensor([n]))


def read(svg):
    """Boxes by node, edges by pair as polylines, and the size."""
    root = ElementTree.fromstring(svg)
    boxes = {}
    for group in root.iter(f"{SVG}g"):
        if "data-node" in group.attrib:
            rect = group.find(f"{SVG}rect")
            x, y, w, h = (float(rect.get(key)) for key in ("x", "y", "width", "height"))
            assert int(group.get("data-node")) not in boxes
            boxes[int(group.get("data-node"))] = (x, y, x + w, y + h)
    edges = {}
    for path in root.iter(f"{SVG}path"):
        pair = tuple(map(int, path.get("data-edge").split("-")))
        assert pair not in edges
        edges[pair] = trace(path.get("d"))
    return boxes, edges, tuple(map(float, root.get("viewBox").split()))


def trace(d):
    """Points along the first stroke of a path (the second is the arrowhead)."""
    points = []
    for command, text in re.findall(r"([MCVL])([^MCVL]*)", d):
        values = [float(v) for v in text.split()]
        if command == "M" and points:
            break
        if command == "M":
            points.append(tuple(values))
        elif command == "V":
            points.append((points[-1][0], values[0]))
        else:
            p0, p1, p2, p3 = points[-1], values[0:2], values[2:4], values[4:6]
            for k in range(1, 21):
                t = k / 20
                w = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
                points.append(
                    tuple(
                        sum(c * p[i] for c, p in zip(w, (p0, p1, p2, p3), strict=True))
                        for i in (0, 1)
                    )
                )
    return points


def check(arch, op_names):
    boxes, edges, (x0, y0, width, height) = read(draw_svg(arch, op_names))
    n = int(arch.num_nodes[0])
    assert sorted(boxes) == list(range(n))
    assert sorted(edges) == [tuple(pair) for pair in arch.adj[0, :n, :n].nonzero().tolist()]
    for i, a in boxes.items():
        assert x0 <= a[0] < a[2] <= x0 + width
        assert y0 <= a[1] < a[3] <= y0 + height
        for j, b in boxes.items():
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
            assert i == j or apart
    for (source, target), points in edges.items():
        (sx, sy), (tx, ty) = points[0], points[-1]
        assert sy == boxes[source][3]  # leaves from the bottom
        assert boxes[source][0] <= sx <= boxes[source][2]
        assert ty == boxes[target][1]  # enters at the top
        assert boxes[target][0] <= tx <= boxes[target][2]
        for x, y in points:
            assert x0 <= x <= x0 + width
            assert y0 <= y <= y0 + height
            for left, top, right, bottom in boxes.values():
                assert not (left < x < right and top + 0.1 < y < bottom - 0.1)


@pytest.mark.parametrize("space", [Toy(), NASBench101(), NASBench201()], ids=lambda s: s.name)
def test_every_space_can_be_drawn(space):
    archs = space.sample(30, rng=stream(0, "drawn"))
    for i in range(len(archs)):
        check(archs[i : i + 1], space.op_names)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, 2**66))))
def test_any_graph_can_be_drawn(case):
    n, bits = case
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    check(dag(n, [pair for k, pair in enumerate(pairs) if bits >> k & 1]), NAMES)


@pytest.mark.parametrize("density", [0.05, 0.2, 1.0])
def test_32_nodes_can_be_drawn(density):
    rng = stream(1, f"large/{density}")
    adj = (torch.rand(1, 32, 32, generator=rng) <= density).triu(1)
    arch = ArchitectureBatch(torch.randint(4, (1, 32), generator=rng), adj, torch.tensor([32]))
    check(arch, NAMES)


def test_a_chain_is_straight_and_long_edges_go_around():
    boxes, edges, _ = read(draw_svg(dag(5, [(i, i + 1) for i in range(4)]), NAMES))
    assert len({box[0] for box in boxes.values()}) == 1
    assert all(abs(x - points[0][0]) < 1e-6 for points in edges.values() for x, _ in points)
    check(dag(4, [(0, 1), (1, 2), (2, 3), (0, 3)]), NAMES)


def test_rows_are_longest_paths():
    boxes, _, _ = read(draw_svg(dag(5, [(0, 1), (0, 2), (2, 3), (0, 4), (1, 4), (3, 4)]), NAMES))
    tops = sorted({box[1] for box in boxes.values()})
    assert [tops.index(boxes[i][1]) for i in range(5)] == [0, 1, 1, 2, 3]


def test_padding_is_not_drawn():
    arch = dag(3, [(0, 1), (1, 2)])
    assert draw_svg(arch, NAMES) == draw_svg(arch.pad(7), NAMES)


def test_names_and_titles_are_escaped():
    svg = draw_svg(dag(3, [(0, 1), (1, 2)]), NAMES, title='"><script>alert(1)</script>')
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == '"><script>alert(1)</script>'
    assert "<script" not in svg
    assert [t.text for t in root.iter(f"{SVG}title")] == list(NAMES[:3])


def test_colours_tell_operations_apart():
    space = NASBench201()
    paint = colours(space.op_names)
    assert list(paint) == list(space.op_names)
    assert paint["input"] == paint["output"]
    assert paint["none"][0] == "none"
    inner = [paint[name] for name in space.op_names if name not in ("input", "output", "none")]
    assert len(set(inner)) == 4
    assert set(inner) <= set(PALETTE)


@pytest.mark.parametrize(("fill", "ink"), [*PALETTE, colours(["input"])["input"]])
def test_ink_is_legible(fill, ink):
    def luminance(colour):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * c for c in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    dark, light = sorted((luminance(fill), luminance(ink)))
    assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG AA


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("conv3x3-bn-relu", "conv 3×3"),  # noqa: RUF001
        ("nor_conv_1x1", "conv 1×1"),  # noqa: RUF001
        ("avg_pool_3x3", "avg pool 3×3"),  # noqa: RUF001
        ("maxpool3x3", "max pool 3×3"),  # noqa: RUF001
        ("skip_connect", "skip"),
        ("none", "none"),
        ("x" * 40, "x" * 14 + "…"),
    ],
)
def test_labels(name, short):
    assert label(name) == short


def test_bad_input_is_refused():
    two = ArchitectureBatch.cat([dag(2, []), dag(2, [])])
    for wrong in (two, two[:0], ArchitectureBatch.empty(3)):
        with pytest.raises(ValueError, match="one architecture at a time"):
            draw_svg(wrong, NAMES)
    with pytest.raises(ValueError, match="2 names"):
        draw_svg(dag(3, []), NAMES[:2])
