"""The commands around a search: start one, go on with it, look at it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from netwright.cli import fit
from netwright.cli.latent import insist_no_temperature, report_fit, sample_fit
from netwright.cli.options import (
    DATASETS,
    SPACE_NAMES,
    Json,
    Quiet,
    RunFolder,
    Settings,
    evaluator_flags,
    settings,
)
from netwright.cli.output import bar, print_json, remark, say
from netwright.cli.pages import stored_config, write_page
from netwright.config.base import CustomConfig, merge
from netwright.config.objects import (
    make_design,
    make_evaluator,
    make_initial,
    make_space,
    space_of,
)
from netwright.config.schema import (
    METHODS,
    RunConfig,
    SupernetConfig,
    TableConfig,
    TrainConfig,
    ZeroCostConfig,
)
from netwright.config.searchers import make_searcher, model_of
from netwright.evaluation import STOPPED, Evaluator
from netwright.evaluators.halving import Halving
from netwright.evaluators.isolated import Isolated
from netwright.progress import Chunk
from netwright.rng import stream
from netwright.runs.fits import FitRun
from netwright.runs.ledger import Row
from netwright.runs.run import Run
from netwright.searchers.base import Searcher
from netwright.searchers.reinforce import Reinforce
from netwright.spaces.base import SearchSpace, rejection_sample
from netwright.tables.format import Table

Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Evaluate in workers of Ray: local, or the address of a cluster, as 10.0.0.1:6379.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--run", "-r", help="The run folder to make; by default runs/SPACE-METHOD-N."),
]


def search(
    config: Annotated[
        Path | None, typer.Argument(metavar="CONFIG.toml", help="Settings; options win over it.")
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            "--space",
            "-s",
            help=f"{SPACE_NAMES}; by default that of --table.",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option("--method", "-m", help=f"{', '.join(METHODS)}, or file.py:NAME."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(help="The fit (`netwright fit`) that latent-bo or agnet starts from."),
    ] = None,
    evaluator: Annotated[
        str | None,
        typer.Option("--evaluator", "-e", help="train, table, zero-cost, or file.py:NAME."),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help=f"Images to train on: {DATASETS}.")] = None,
    table: Annotated[Path | None, typer.Option(help="Table to look scores up in.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="Metric of the table to maximise, e.g. cifar100/valid@200.")
    ] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option(help="Further metric to report, never shown to the search. Repeatable."),
    ] = None,
    budget: Annotated[
        int | None, typer.Option("--budget", "-b", help="Distinct architectures to evaluate.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Proposals per step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random.")] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-w", help="Evaluations at the same time.")
    ] = None,
    ray: Ray = None,
    mode: Annotated[
        str | None,
        typer.Option(help="batch (repeats bit for bit) or asynchronous (no worker ever waits)."),
    ] = None,
    option: Settings = None,
    run: Out = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search an architecture.

    Everything can come from a TOML file, from options, or both:

        netwright search --table nasbench101-digits --metric digits/valid@12

        netwright search --space nasbench101 --dataset folder:my-images --budget 60 --workers 2

        netwright search --space nasbench201 --method latent-bo --model runs/svge-nb201
        --table nb201.safetensors --metric cifar100/valid@200 --batch-size 5
    """
    given = {
        "space": space,
        "method": method,
        "budget": budget,
        "batch_size": batch_size,
        "seed": seed,
        "workers": workers,
        "mode": mode,
    }
    flags: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if ray is not None:
        flags["ray"] = {"address": ray}
    if model is not None:
        flags["method"] = {"name": method or "latent-bo", "model": str(model)}
    flags = merge(flags, evaluator_flags(evaluator, dataset, table, metric, extra))
    flags = merge(flags, settings(option))
    if config is not None:
        resolved = RunConfig.load(config, flags)
    else:
        defaults: dict[str, Any] = {"method": "graphpnas", "evaluator": "train"}
        if table is not None and space is None:
            defaults["space"] = space_of(Table.open(table))
        resolved = RunConfig.parse(merge(defaults, flags))
    with prepared(resolved) as parts:  # before the folder is made: a wrong setting leaves nothing
        opened = Run.create(run or _new_folder(resolved), resolved.resolved())
        execute(opened, resolved, parts, quiet=quiet)
    conclude(opened, json=json, quiet=quiet)


def resume(
    run: RunFolder,
    budget: Annotated[
        int | None, typer.Option("--budget", "-b", help="Search on to this many evaluations.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-w", help="Evaluations at the same time.")
    ] = None,
    ray: Ray = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Go on with a run that was stopped, killed or interrupted, where it stood.

    Nothing that was evaluated is evaluated again; a resumed run ends as an undisturbed one, and
    so does a resumed fit (`netwright fit`).
    """
    changes = {"budget": budget, "workers": workers}
    given: dict[str, Any] = {key: value for key, value in changes.items() if value is not None}
    if ray is not None:
        given["ray"] = {"address": ray}
    if FitRun.is_one(run):
        if given:
            raise ValueError(f"{run} holds a fit, which has no {' and no '.join(given)}")
        fit.go_on(FitRun.open(run), json=json, quiet=quiet)
        return
    opened = Run.open(run)
    config = stored_config(opened, given)
    with prepared(config) as parts:
        execute(opened, config, parts, quiet=quiet)
    conclude(opened, json=json, quiet=quiet)


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; by default RUN/report.html.")
    ] = None,
    space: Annotated[
        str | None, typer.Option("--space", "-s", help="Needed for runs made in Python.")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="Of a fit: colour its latent space by this table's scores; of an adversarial fit: "
            "compare with this table."
        ),
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Of a fit: by this metric.")] = None,
    json: Json = False,
) -> None:
    """Write a report page: one HTML file that opens offline. Several runs share a page.

    The page of a fit (`netwright fit`) is about its latent space; that of an adversarial fit about
    what it generates.
    """
    if any(FitRun.is_one(run) for run in runs):
        if len(runs) > 1:
            raise ValueError("a fit has a page of its own: give one at a time")
        if space is not None:
            raise ValueError("a fit knows its space: leave --space out")
        path = report_fit(runs[0], out, table, metric)
        _wrote(path, json=json)
        return
    if table is not None or metric is not None:
        raise ValueError("--table and --metric are for the page of a fit")
    opened = [Run.open(folder) for folder in runs]
    _wrote(write_page(opened, out or runs[0] / "report.html", space), json=json)


def _wrote(path: Path, *, json: bool) -> None:
    if json:
        print_json({"report": str(path)})
    else:
        say(f"wrote {path}")


def sample(
    run: RunFolder,
    n: Annotated[int, typer.Option("-n", min=1, help="How many architectures.")] = 16,
    seed: Annotated[int, typer.Option(help="Of the samples.")] = 0,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="Of an adversarial fit: divides its logits, above 1 for more diverse samples."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Draw valid architectures from what a search or a fit has learned; repeats may occur."""
    if FitRun.is_one(run):
        texts = sample_fit(run, n, seed, temperature)
    else:
        insist_no_temperature(temperature)
        texts = _sampled(run, n, seed)
    if json:
        print_json({"archs": texts})
        return
    for text in texts:
        say(text)


def _sampled(run: Path, n: int, seed: int) -> list[str]:
    """Draw from the searcher of a run."""
    opened = Run.open(run)
    config = stored_config(opened)
    space = make_space(config.space)
    searcher = make_searcher(config.method, space, rng=stream(config.seed, "searcher/init"))
    opened.restore(searcher)
    generator = searcher.policy if isinstance(searcher, Reinforce) else space
    rng = stream(seed, "sample")
    return space.to_text(rejection_sample(space, n, lambda m: generator.sample(m, rng=rng)))


class Parts(NamedTuple):
    """The objects that a configuration names."""

    space: SearchSpace
    searcher: Searcher
    evaluator: Evaluator


@contextmanager
def prepared(config: RunConfig) -> Iterator[Parts]:
    """Build what a configuration names; end the evaluator's processes, if any, afterwards."""
    space = make_space(config.space)
    searcher = make_searcher(config.method, space, rng=stream(config.seed, "searcher/init"))
    evaluator = make_evaluator(config.evaluator, space, workers=config.workers, ray=config.ray)
    with closing(evaluator):
        yield Parts(space, searcher, evaluator)


def execute(run: Run, config: RunConfig, parts: Parts, *, quiet: bool) -> None:
    """Search in a run folder until the budget is spent, showing progress."""
    if not quiet:
        remark(f"{describe(config)} -> {run.folder}")
    fitted = model_of(config.method)
    if fitted is not None:
        run.ledger.pin("model", fitted)
    events = run.execute(
        *parts,
        budget=config.budget,
        batch_size=config.batch_size,
        seed=config.seed,
        workers=config.workers,
        mode=config.mode,
        initial=make_initial(config.initial, parts.space, seed=config.seed),
        design=make_design(config.design, parts.space, seed=config.seed),
    )
    done, best = run.ledger.count(), run.ledger.best()
    with bar(config.budget, "evaluations", first=done, quiet=quiet) as progress:
        progress.update(done, _best_so_far(best))
        for event in events:
            if isinstance(event, Chunk) and event.status == "evaluated":
                done, best = done + len(event), run.ledger.best()
                for number, reason in zip(event.index, event.evaluation.error, strict=True):
                    if reason is not None and not reason.startswith(STOPPED):
                        progress.remark(f"evaluation {number + 1} failed: {reason}")
                progress.update(done, _best_so_far(best))


def conclude(run: Run, *, json: bool, quiet: bool) -> None:
    """Write the report and say what came of a run and how to go on."""
    write_page([run], run.folder / "report.html")
    best, done = run.ledger.best(), run.ledger.count()
    if json:
        found = None
        if best is not None:
            found = {"arch": best.arch, "score": best.score, "extras": best.extras}
        print_json({"run": str(run.folder), "evaluations": done, "best": found})
        return
    if best is None:
        say(f"{done} evaluations, none of them successful: see {run.folder / 'report.html'}")
        return
    say(f"best of {done}: {best.score:.4f} (evaluation {best.index + 1})")
    say(f"  {best.arch}")
    for name, value in best.extras.items():
        say(f"  {name} {value:.6g}")
    if not quiet:
        say("go on with")
        say(f"  open {run.folder / 'report.html'}")
        say(f"  netwright sample {run.folder} -n 16")
        if run.config["evaluator"]["name"] == "train":
            say(f"  netwright train {run.folder}")
        say(f"  netwright export {run.folder} --format python")
        say(f"  netwright resume {run.folder} --budget {2 * done}")


def describe(config: RunConfig) -> str:
    """Say in one line what a run does."""
    match config.evaluator:
        case TableConfig(metric=metric):
            how = f"{metric} of a table"
        case TrainConfig(dataset=dataset):
            how = f"trained on {dataset}"
        case ZeroCostConfig(score=score, dataset=dataset):
            how = f"{score} on {dataset}"
        case SupernetConfig(dataset=dataset):
            how = f"weights shared, trained on {dataset}"
        case CustomConfig(name=name):
            how = name
    parts = [config.space.name, config.method.name, how, f"budget {config.budget}"]
    return ", ".join([*parts, f"seed {config.seed}"])


@contextmanager
def closing(evaluator: Evaluator) -> Iterator[Evaluator]:
    """End an evaluator's processes, if it has any, when the block is left."""
    try:
        yield evaluator
    finally:
        if isinstance(evaluator, Isolated | Halving):
            evaluator.close()


def _best_so_far(best: Row | None) -> str:
    return "" if best is None else f"best {best.score:.4f} (#{best.index + 1})"


def _new_folder(config: RunConfig) -> Path:
    """Name a run folder that does not exist yet."""
    stem = "-".join(Path(name.rpartition(":")[0] or name).stem for name in _names(config))
    number = 1
    while (folder := Path("runs") / f"{stem}-{number}").exists():
        number += 1
    return folder


def _names(config: RunConfig) -> tuple[str, str]:
    return config.space.name, config.method.name
