"""NAS-Bench-Graph: which descriptions are one network, and which network that is."""

from itertools import product

import pytest
import torch

from netwright.graphs import dag, hashing
from netwright.rng import stream
from netwright.spaces.nasbenchgraph import OPERATIONS, PROTEINS, NASBenchGraph


@pytest.fixture(scope="module")
def proteins():
    return NASBenchGraph(proteins=True)


def descriptions(space):
    """Every text there is, valid or not."""
    names = space.op_names[1:-1]
    for links in product(*(range(node + 1) for node in range(4))):
        for ops in product(names, repeat=4):
            yield f"{','.join(map(str, links))}:{','.join(ops)}"


def network(text):
    """The network as nested tuples: skips that change nothing taken out, one by one."""
    links, _, labels = text.partition(":")
    takes = {i + 1: int(link) for i, link in enumerate(links.split(","))}
    op = {i + 1: name for i, name in enumerate(labels.split(","))}

    def takers(node):
        return [other for other in takes if takes[other] == node]

    def only_skips(node):
        return node == 0 or (op[node] == "skip" and only_skips(takes[node]))

    def idle(node):
        alone = len(takers(takes[node])) == 1
        return op[node] == "skip" and (bool(takers(node)) or alone or only_skips(node))

    while found := [node for node in takes if idle(node)]:
        for other in takers(found[0]):
            takes[other] = takes[found[0]]
        del takes[found[0]]

    def nested(node):
        return (op.get(node, "input"), *sorted(map(nested, takers(node))))

    return nested(0)


@pytest.mark.parametrize("proteins", [False, True], ids=["all", "proteins"])
def test_it_has_as_many_as_the_benchmark(proteins):
    space = NASBenchGraph(proteins)
    assert space.op_names[1:-1] == (PROTEINS if proteins else OPERATIONS)
    archs = space.enumerate()
    assert len(archs) == space.size == (2_021 if proteins else 26_206)
    assert len(hashing.distinct(space.keys(archs))) == space.size
    assert bool(space.is_valid(archs).all())


def test_descriptions_of_one_network_are_one_architecture(proteins):
    texts = [text for text in descriptions(proteins) if text.split(":")[1] != "skip,skip,skip,skip"]
    archs = proteins.parse(texts)
    known = hashing.distinct(proteins.keys(archs))
    place = hashing.find(known, proteins.keys(archs)).tolist()
    networks = [network(text) for text in texts]
    assert len(known) == len(set(networks)) == proteins.size
    assert len(set(zip(place, networks, strict=True))) == proteins.size  # one to one


def test_a_description_is_valid_if_simplifying_leaves_it(proteins):
    archs = proteins.from_text(list(descriptions(proteins)))
    settled = proteins.simplify(archs).equal(archs)
    computes = (archs.ops[:, 1:-1] != proteins.op_names.index("skip")).any(dim=1)
    assert torch.equal(proteins.is_valid(archs), settled & computes)


@pytest.mark.parametrize(
    ("text", "simplified"),
    [
        ("0,1,2,3:gcn,skip,fc,gat", "0,1,2,3:skip,gcn,fc,gat"),  # within a chain
        ("0,0,1,2:skip,gcn,gat,gin", "0,1,1,2:skip,gcn,gat,gin"),  # with takers
        ("0,0,0,0:gcn,skip,gat,fc", "0,1,1,1:skip,gcn,gat,fc"),  # the raw input itself
        ("0,1,1,1:gcn,skip,gat,fc", "0,1,1,1:gcn,skip,gat,fc"),  # concatenates gcn once more
        ("0,1,2,3:gcn,fc,gat,skip", "0,1,2,3:skip,gcn,fc,gat"),  # alone at the end
        ("0,1,1,2:gcn,skip,gat,fc", "0,1,2,2:skip,gcn,gat,fc"),
        ("0,1,2,3:skip,skip,fc,skip", "0,1,2,3:skip,skip,skip,fc"),
    ],
)
def test_skips_that_change_nothing_go_to_the_front(text, simplified):
    space = NASBenchGraph()
    assert space.to_text(space.parse([text])) == [simplified]


def test_four_skips_are_no_network():
    with pytest.raises(ValueError, match="not every operation is skip"):
        NASBenchGraph().parse(["0,0,1,3:skip,skip,skip,skip"])


@pytest.mark.parametrize(
    ("edges", "reason"),
    [
        ([(0, 1), (0, 2), (1, 2), (2, 3), (3, 4), (4, 5)], "takes one input"),
        ([(0, 1), (1, 2), (2, 3), (3, 4), (2, 5), (4, 5)], "goes to the output"),
    ],
    ids=["two inputs", "an inner node at the output"],
)
def test_what_is_no_tree_is_no_member(edges, reason):
    space = NASBenchGraph()
    arch = space.parse(["0,1,2,3:gat,gcn,gin,fc"])
    adj = torch.zeros_like(arch.adj)
    adj[0, *torch.tensor(edges).T] = True
    arch = type(arch)(arch.ops, adj, arch.num_nodes)
    assert reason in space.invalid_reason(arch)
    assert bool(space.simplify(arch).equal(arch)[0])


def test_neighbours_are_mutual(proteins):
    key = proteins.keys(proteins.enumerate())
    near = {
        i: hashing.to_hex(proteins.keys(proteins.neighbours(proteins.enumerate()[i : i + 1])))
        for i in range(0, proteins.size, 150)
    }
    names = hashing.to_hex(key)
    place = {name: i for i, name in enumerate(names)}
    for i, found in near.items():
        for name in found[::7]:
            other = place[name]
            back = proteins.neighbours(proteins.enumerate()[other : other + 1])
            assert names[i] in hashing.to_hex(proteins.keys(back))


def test_neighbours_of_a_chain():
    space = NASBenchGraph(proteins=True)
    near = set(space.to_text(space.neighbours(space.parse(["0,1,2,3:gcn,sage,arma,fc"]))))
    # 4 x 3 other operations, 4 skips in place of one, 3 nodes that take another input: 1 + 2 + 3
    assert len(near) == 4 * 3 + 4 + 6
    assert "0,1,2,3:skip,gcn,sage,arma" in near
    assert any(network(text) == network("0,0,2,3:gcn,sage,arma,fc") for text in near)


def test_neighbours_do_not_depend_on_the_order_of_nodes(proteins):
    archs = proteins.sample(5, rng=stream(0, "some"))
    moved = dag.reorder(archs, dag.random_order(archs, rng=stream(1, "order")))
    for i in range(5):
        a, b = (proteins.neighbours(some[i : i + 1]) for some in (archs, moved))
        assert torch.equal(hashing.distinct(proteins.keys(a)), hashing.distinct(proteins.keys(b)))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("0,0,1:gcn,gat,fc,skip", "not of the form"),
        ("0,0,1,3:gcn,gat,fc", "not of the form"),
        ("0,0,1,3:gcn,gat,fc,pool", "unknown operation 'pool'"),
        ("0,0,1,4:gcn,gat,fc,skip", "node 4 of .* takes '4'"),
        ("0,0,x,3:gcn,gat,fc,skip", "node 3 of .* takes 'x'"),
    ],
)
def test_bad_texts(text, match):
    with pytest.raises(ValueError, match=match):
        NASBenchGraph().from_text([text])


def test_proteins_has_fewer_operations(proteins):
    with pytest.raises(ValueError, match="unknown operation 'gat'"):
        proteins.parse(["0,0,1,3:gcn,gat,fc,skip"])
