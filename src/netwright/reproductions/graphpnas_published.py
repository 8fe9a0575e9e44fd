"""The values that [GraphPNAS] publishes in Tables 4 and 5, its own and those it quotes."""

from typing import Any

Settings = dict[str, Any]

#: Benchmarks by the names that rows have.
EMULATED, ABLATION = "nasbench101-emulated/cifar10", "nasbench101-test-as-signal/cifar10"
C10, C10_12, C100 = (
    "nasbench201/cifar10",
    "nasbench201-12-epoch-signal/cifar10",
    "nasbench201/cifar100",
)

# Method, number of evaluations, mean and standard deviation of the test error in Table 4.
_TABLE_4: tuple[tuple[str, int, float, float | None], ...] = (
    ("GCN Pred", 150, 6.331, None),
    ("Evolution", 150, 6.109, None),
    ("GraphPNAS", 150, 5.930, 0.143),
    ("NAO", 192, 6.51, None),
    ("AG-Net", 192, 5.82, None),
    ("Arch2Vec", 400, 5.95, None),
    ("random search", 300, 6.413, 0.422),
    ("local search", 300, 5.879, 0.371),
    ("BANANAS", 300, 5.906, 0.296),
    ("RNN (RL)", 300, 6.028, 0.228),
    ("GraphPNAS", 300, 5.807, 0.072),
)
# Method, evaluations, then mean and standard deviation of validation and test accuracy on CIFAR-10
# and CIFAR-100, in Table 5. Where it names no number of evaluations, there is none here.
_Pair = tuple[float, float | None] | None
_TABLE_5: tuple[tuple[str, int | None, _Pair, _Pair, _Pair, _Pair], ...] = (
    ("optimum", None, (91.61, None), (94.37, None), (73.49, None), (73.51, None)),
    ("GDAS", None, (89.68, 0.72), (93.23, 0.58), (68.35, 2.71), (68.17, 2.50)),
    ("ENAS", None, (90.20, 0.00), (93.76, 0.00), (70.21, 0.71), (70.67, 0.62)),
    ("SGNAS", None, (90.18, 0.31), (93.53, 0.12), (70.28, 1.20), (70.31, 1.09)),
    ("DrNAS", None, (91.55, 0.00), (94.36, 0.00), (73.49, 0.00), (73.51, 0.00)),
    ("random search", None, (91.07, 0.26), (93.86, 0.23), (71.46, 0.97), (71.55, 0.97)),
    ("BOHB", None, (91.17, 0.27), (93.94, 0.28), (72.04, 0.93), (72.00, 0.86)),
    ("REINFORCE", None, (91.12, 0.25), (93.90, 0.26), (71.80, 0.94), (71.86, 0.89)),
    ("GA-NAS", 400, None, (94.34, 0.05), None, (73.28, 0.17)),
    ("Arch2Vec", 100, (91.41, 0.22), (94.18, 0.24), (73.35, 0.32), (73.37, 0.30)),
    ("AG-Net", 100, (91.55, 0.08), (94.24, 0.19), (73.2, 0.34), (73.12, 0.40)),
    ("GraphPNAS", 100, (91.50, 0.09), (94.34, 0.04), (73.41, 0.09), (73.35, 0.21)),
)
_SPLITS = ("valid", "test")


def published_table4() -> list[Settings]:
    """Test errors on NAS-Bench-101."""
    return [
        {
            "benchmark": EMULATED,
            "method": method,
            "metric": "test error",
            "budget": budget,
            "mean": mean,
            **({} if sd is None else {"sd": sd, "n": 10}),
        }
        for method, budget, mean, sd in _TABLE_4
    ]


def published_table5() -> list[Settings]:
    """Accuracies on NAS-Bench-201."""
    entries = []
    for method, budget, *pairs in _TABLE_5:
        places = [(name, f"{split} accuracy") for name in (C10, C100) for split in _SPLITS]
        for (name, metric), pair in zip(places, pairs, strict=True):
            if pair is None:
                continue
            mean, sd = pair
            entry: Settings = {"method": method, "metric": metric, "mean": mean}
            entry |= {key: x for key, x in (("budget", budget), ("sd", sd)) if x is not None}
            entry |= {"n": 10} if method == "GraphPNAS" else {}
            entries.append({"benchmark": name, **entry})
            if method == "GraphPNAS" and name == C10:  # the paper does not say which signal
                entries.append({"benchmark": C10_12, **entry})
    return entries
