"""Which learning rate, batch and schedule teach SVGe a given reconstruction in the fewest graphs.

    python benchmarks/svge_recipe.py

On NAS-Bench-201, where nothing else is tuned; 1,000 held-out cells. Fits are in runs/svge-recipe
and go on where they stopped. Writes docs/results/svge-recipe.json and .md.
"""

from pathlib import Path

from common import publish

from netwright.config.fits import FitConfig, make_fit
from netwright.reproductions.learning import reached
from netwright.results import Row
from netwright.runs.fits import FitRun

GRAPHS, PERIOD = 8000, 1000
#: Batch, learning rate, schedule, noise of the posterior; the first is the paper's.
RECIPES = [
    (32, 1e-4, "constant", 1.0),
    (32, 1e-3, "cosine", 1.0),
    (32, 2e-3, "cosine", 1.0),
    (32, 4e-3, "cosine", 1.0),
    (128, 2e-3, "cosine", 1.0),
    (32, 2e-3, "cosine", 0.01),
]


def fitted(batch, rate, schedule, noise):
    """The records of one fit."""
    fast = schedule == "cosine"
    recipe = {
        "graphs": GRAPHS,
        "batch_size": batch,
        "learning_rate": rate,
        "schedule": schedule,
        "warmup": 800 if fast else 0,
        "period": PERIOD,
        "valid_graphs": 1000,
    } | ({"clip": 5.0} if fast else {})
    config = FitConfig.parse(
        {"space": "nasbench201", "method": {"name": "svge", "noise": noise}, "recipe": recipe}
    )
    folder = Path("runs/svge-recipe") / f"{batch}-{rate:g}-{schedule}-{noise:g}"
    run = FitRun.open(folder) if folder.exists() else FitRun.create(folder, config.resolved())
    fit = make_fit(config)
    state = run.state()
    if state is not None and fit.finished_in(state):
        fit.load_state_dict(state)
        return fit.history
    for _ in run.execute(fit):
        pass
    return fit.history


def measure():
    for batch, rate, schedule, noise in RECIPES:
        records = fitted(batch, rate, schedule, noise)
        name = f"batch {batch}, {rate:g}, {schedule}"
        name += "" if noise == 1 else f", noise {noise:g}"
        for share in (0.5, 0.9):
            seen = reached(records, share)
            if seen is not None:
                metric = f"graphs seen until {share:.0%} are reconstructed"
                yield Row.of("nasbench201", metric, [seen], method="SVGe", preset=name)
        last = records[-1]
        for metric, value in (
            ("held-out reconstruction", 100 * last.reconstruction),
            ("held-out loss", last.valid),
        ):
            row = {"method": "SVGe", "preset": name, "budget": last.graphs}
            yield Row.of("nasbench201", metric, [value], **row)


if __name__ == "__main__":
    rows = list(measure())
    for row in rows:
        print(f"{row.preset}: {row.metric} {row.mean}")
    publish(
        "svge-recipe",
        rows,
        title="SVGe: learning in few graphs",
        seeds=[0],
        note="One seed. The budget is the number of graphs seen; the first recipe is the paper's, "
        "which goes on for 300 epochs (4.2 million graphs). Losses with other noise are not to be "
        "compared.",
    )
