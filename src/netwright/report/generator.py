"""The generator: how sure it became, how much of what it draws is valid, and what it draws now."""

from collections.abc import Sequence

from netwright.report import charts, words
from netwright.report.gallery import DENSE_MEANS, has_one_topology
from netwright.report.markup import Markup, element
from netwright.report.methods import Method
from netwright.report.parts import Section, chart, legend, table
from netwright.report.summary import Summary
from netwright.report.vega import Spec
from netwright.runs.samples import Samples
from netwright.spaces.base import SearchSpace

#: Statistics that are charted here.
SHOWN = {
    "entropy": "In nats, from samples: the lower, the surer the generator is.",
    "valid": "Share of the draws that are architectures of the space.",
}


def generator(methods: Sequence[Method], space: SearchSpace) -> Section:
    """Chart entropy and validity over the search, and sum up the samples at its end."""
    runs = [run for method in methods for run in method.runs]
    specs: dict[str, Spec] = {}
    figures = []
    known = charts.names_of_statistics(runs)
    for name, meaning in SHOWN.items():
        if name not in known:
            continue
        place, share = f"generator {name}", name == "valid"
        specs[place] = charts.statistic(name, methods, height=170, share=share)
        title = {"entropy": "Entropy", "valid": "Valid draws"}[name]
        figures.append(
            element(
                "figure",
                element("h3", title),
                element("p", meaning, cls="note"),
                chart(place, f"{title} against evaluations"),
            )
        )
    sampled = [(run, run.samples) for run in runs if run.samples is not None]
    if not figures and not sampled:
        return Section(None, {})
    body = element(
        "section",
        element("h2", "What is drawn, over time" if not sampled else "The generator"),
        element("p", "Over the search, by number of evaluations.", cls="muted")
        if figures
        else None,
        legend(methods) if len(runs) > 1 and figures else None,
        element("div", *figures, cls="pair") if figures else None,
        *_samples(sampled, space),
        aria_label="The generator",
    )
    return Section(body, specs)


def _samples(sampled: Sequence[tuple[Summary, Samples]], space: SearchSpace) -> list[Markup]:
    """Tabulate what the generators of the runs draw at the end."""
    if not sampled:
        return []
    dense = not has_one_topology(space)
    columns = ["Run", "Drawn", "Valid", "Unique", "Distinct", "New", *["Dense"] * dense, "Entropy"]
    rows = [[run.name, *_facts(run, samples, dense=dense)] for run, samples in sampled]
    explained = (
        "Drawn from the generator as the last checkpoint has it. Valid: architectures of the "
        "space, after simplification. Unique: distinct ones among the valid. Distinct: distinct "
        "valid ones among all drawn. New: of the distinct, those that the search never evaluated. "
        + f"Dense: valid graphs of which {DENSE_MEANS}, among the valid. " * dense
        + "Entropy: mean of −log p in nats, ± its standard error."  # noqa: RUF001 (a minus sign)
    )
    return [
        element("h3", "Samples at the end"),
        element("p", explained, cls="note"),
        table(columns, rows, numbers=1),
    ]


def _facts(run: Summary, samples: Samples, *, dense: bool) -> list[str]:
    drawn, valid, keys = len(samples.draws), samples.valid, samples.keys
    new = len(keys - {row.key for row in run.rows})
    entropy = samples.entropy
    facts = [
        f"{drawn:,}",
        _percent(valid, drawn),
        _percent(len(keys), valid),
        _percent(len(keys), drawn),
        _percent(new, len(keys)),
    ]
    if dense:
        facts.append(words.DASH if samples.dense is None else f"{samples.dense:.1%}")
    facts.append(words.DASH if entropy is None else f"{entropy[0]:.2f} ± {entropy[1]:.2f}")
    return facts


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else words.DASH
