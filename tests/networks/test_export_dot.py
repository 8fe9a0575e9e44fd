"""Graphviz text: it says what the graph is, and no name can add to it."""

import re

import pytest
import torch
from export_samples import rng, samples
from hypothesis import given, settings
from hypothesis import strategies as st

from netwright.graphs.batch import ArchitectureBatch
from netwright.networks.export.dot import dot_text, quoted
from netwright.spaces.nasbench101 import NASBench101

QUOTED = r'"((?:[^"\\]|\\["\\])*)"'  # a string of the DOT language, with the escapes we write only
NODE = re.compile(rf"  (\d+) \[label={QUOTED}\];")
EDGE = re.compile(r"  (\d+) -> (\d+);")
TITLE = re.compile(rf"  label={QUOTED};")
STYLE = '  node [shape=box, style=rounded, fontname="sans-serif"];'

#: Isolated surrogates too: Python puts them into the names of odd files.
names = st.text(st.characters(), max_size=30)


def shown(text):
    """What Graphviz shows for the inside of a quoted string."""
    text = re.sub(r"\\(.)", r"\1", text)
    assert re.search(r"&(?!amp;)", text) is None, "HTML entities"
    return text.replace("&amp;", "&")


def parsed(text):
    """Title, labels and edges, by a grammar that knows nothing else."""
    lines = text.splitlines()
    assert text.encode()
    assert (lines[0], lines[-1]) == ("digraph architecture {", "}")
    title, labels, edges = None, {}, []
    for line in lines[1:-1]:
        if node := NODE.fullmatch(line):
            labels[int(node[1])] = shown(node[2])
        elif edge := EDGE.fullmatch(line):
            edges.append((int(edge[1]), int(edge[2])))
        elif found := TITLE.fullmatch(line):
            title = shown(found[1])
        else:
            assert line == STYLE
    return title, labels, edges


def test_every_node_and_every_edge_is_there():
    for space, arch in samples():
        title, labels, edges = parsed(dot_text(arch, space.op_names, title=space.to_text(arch)[0]))
        n = int(arch.num_nodes[0])
        assert title == space.to_text(arch)[0]
        assert labels == {i: space.op_names[op] for i, op in enumerate(arch.ops[0, :n].tolist())}
        assert edges == [tuple(edge) for edge in arch.adj[0].nonzero().tolist()]


@settings(max_examples=300, deadline=None)
@given(st.lists(names, min_size=3, max_size=3), names)
def test_hostile_names_are_shown_and_nothing_else(labels, title):
    adj = torch.tensor([[[0, 1, 0], [0, 0, 1], [0, 0, 0]]]).bool()
    arch = ArchitectureBatch(torch.tensor([[0, 1, 2]]), adj, torch.tensor([3]))
    found, ops, edges = parsed(dot_text(arch, labels, title=title))
    assert edges == [(0, 1), (1, 2)]
    readable = [all(c.isprintable() for c in name) for name in labels]
    for i, name in enumerate(labels):
        assert not readable[i] or ops[i] == name
        assert ops[i].isprintable() or not ops[i]
    assert found == title or not title.isprintable() or not title


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ('x"]; 9 [label="owned', r'"x\"]; 9 [label=\"owned"'),
        ("<b>bold</b>", '"<b>bold</b>"'),  # markup only outside quotes
        ("&lt;b&gt;", '"&amp;lt;b&amp;gt;"'),
        (r"\N \G \l", r'"\\N \\G \\l"'),
        ("\\", r'"\\"'),
        ("a\nb", r'"a\\nb"'),
        ("\x00\u202e", r'"\\x00\\u202e"'),
        ("\ud800", r'"\\ud800"'),
        ("convolución 3×3", '"convolución 3×3"'),  # noqa: RUF001 (a times sign is meant)
    ],
)
def test_planted_attacks(name, written):
    assert quoted(name) == written


def test_one_architecture_at_a_time():
    space = NASBench101()
    with pytest.raises(ValueError, match="one architecture at a time, not 2"):
        dot_text(space.sample(2, rng=rng()), space.op_names)
