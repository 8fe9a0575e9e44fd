"""Architectures as Graphviz text."""

from collections.abc import Sequence

from netwright.graphs.batch import ArchitectureBatch


def dot_text(arch: ArchitectureBatch, op_names: Sequence[str], *, title: str = "") -> str:
    """Write one architecture for Graphviz (``dot -Tsvg FILE``): a box per node, edges downwards.

    Args:
        arch: A single architecture.
        op_names: Name of each operation.
        title: Shown below the graph.

    Raises:
        ValueError: If there is not exactly one architecture.
    """
    if len(arch) != 1:
        raise ValueError(f"draw one architecture at a time, not {len(arch)}")
    n = int(arch.num_nodes[0])
    lines = ["digraph architecture {"]
    if title:
        lines.append(f"  label={quoted(title)};")
    lines.append('  node [shape=box, style=rounded, fontname="sans-serif"];')
    for node, op in enumerate(arch.ops[0, :n].tolist()):
        lines.append(f"  {node} [label={quoted(op_names[op])}];")
    for source, target in arch.adj[0, :n, :n].nonzero().tolist():
        lines.append(f"  {source} -> {target};")
    return "\n".join([*lines, "}", ""])


def quoted(text: str) -> str:
    r"""Quote ``text`` so that Graphviz shows it letter by letter, be it code or markup.

    Inside quotes Graphviz knows ``\"``, escapes such as ``\N``, and HTML's ``&name;``. What cannot
    be printed is shown as Python's escape.
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    for special, escaped in (("&", "&amp;"), ("\\", r"\\"), ('"', r"\"")):
        shown = shown.replace(special, escaped)
    return f'"{shown}"'
