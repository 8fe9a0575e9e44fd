"""`netwright reproduce graphpnas`: the items whose searches train networks."""

import shlex
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from netwright.cli.comparing import compared, line
from netwright.cli.output import bar, print_json, remark, say
from netwright.reproductions import shared_rows, shared_search, wiring_items, wiring_search
from netwright.reproductions.outcome import Outcome
from netwright.reproductions.processes import Came, Task, share_out
from netwright.reproductions.wirings import Scale
from netwright.results import Difference, write_results

_SHARED: dict[str, Callable[[Sequence[shared_search.Done]], Outcome]] = {
    "table3": shared_rows.table3,
    "fig7": shared_rows.fig7,
}
#: Items of RandWire cells and of macro networks.
ITEMS = tuple(sorted((*wiring_items.ITEMS, *_SHARED), key=lambda name: (name[0] == "f", name)))
_SEEDS = {"smoke": 2, "laptop": 3, "paper": 3}
Job = wiring_search.Job | shared_search.Job


@dataclass(frozen=True)
class Plan:
    """How an item is to be carried out.

    Attributes:
        item: Which.
        scale: How much of it.
        seeds: Of the searches; as many as usual if None.
        first_seed: The first of them.
        only: Words in the names of the rows wanted; all if empty.
        changes: To the settings; the device is the only one.
        data: Images to train on; the usual ones if None.
        run: The folder of searches and trainings; the usual one if None.
        out: Where the results go, less ``.json``; the usual place if None.
        workers: Processes that share methods and seeds.
        options: The command-line options that ask for this.
        quiet: Whether to show no progress.
    """

    item: str
    scale: Scale
    seeds: int | None = None
    first_seed: int | None = None
    only: Sequence[str] = ()
    changes: Mapping[str, Any] | None = None
    data: str | None = None
    run: Path | None = None
    out: Path | None = None
    workers: int = 1
    options: Sequence[str] = ()
    quiet: bool = False

    @property
    def folder(self) -> Path:
        """Where searches and trainings are, all items of a space together."""
        space = "enas" if self.item in _SHARED else "randwire"
        scaled = "" if self.scale == "laptop" else f"-{self.scale}"
        return self.run or Path("runs") / f"graphpnas-{space}{scaled}"

    @property
    def path(self) -> Path:
        """Where the results go, less ``.json``."""
        images = "" if self.data is None else f"-{self.data.partition(':')[0]}"
        scaled = "" if self.scale == "laptop" else f"-{self.scale}"
        path = self.out or Path("docs") / "results" / f"graphpnas-{self.item}{images}{scaled}"
        return path.with_name(path.name.removesuffix(".json"))

    @property
    def seed_list(self) -> list[int]:
        """The seeds."""
        first = self.first_seed or 0
        return list(range(first, first + (self.seeds or _SEEDS[self.scale])))


def reproduce(plan: Plan, *, json: bool) -> None:
    """Search and train what an item takes, as far as it is not on disk, and publish it.

    Raises:
        ValueError: If a setting is wrong, or a folder holds work of another setting.
        FileNotFoundError: If images are missing.
        BlockingIOError: If another process is at work on the same.
    """
    _insist(plan)
    device = str((plan.changes or {}).get("device", "auto"))
    title, note, todo = _described(plan, device)
    todo = _chosen(todo, plan.only)
    if not plan.quiet:
        remark(f"{title}: {len(todo)} searches and trainings -> {plan.folder}")
    _carry(todo, plan)
    outcome, differences = _published(plan.item, todo)
    words = ["netwright", "reproduce", "graphpnas", plan.item, *plan.options]
    write_results(
        plan.path,
        outcome.rows,
        title=title,
        note=note,
        command=shlex.join(words),
        seeds=plan.seed_list,
        differences=differences,
        chart=outcome.chart,
        caption=outcome.caption,
    )
    if json:
        rows = [asdict(row) for row in outcome.rows]
        print_json({"results": f"{plan.path}.json", "rows": rows})
        return
    for row in outcome.rows:
        say(line(row))
    for difference in differences:
        say(compared(difference))
    if not plan.quiet:
        say(f"wrote {plan.path}.json and {plan.path.name}.md")


def _insist(plan: Plan) -> None:
    if plan.seeds is not None and plan.seeds < 1:
        raise ValueError(f"--seeds must be at least 1, not {plan.seeds}")
    if unknown := set(plan.changes or {}) - {"device"}:
        raise ValueError(f"--set {min(unknown)}: {plan.item} takes device only")


def _described(plan: Plan, device: str) -> tuple[str, str, list[Job]]:
    """Return title and note of an item, and the jobs that it takes."""
    if plan.item in _SHARED:
        base = shared_search.Job(plan.folder, "", 0, plan.scale, plan.data, device)
        shared: list[Job] = [*shared_search.jobs(base, plan.seed_list)]
        return shared_rows.TITLES[plan.item], shared_rows.NOTES[plan.item], shared
    start = wiring_search.Job(plan.folder, "", 0, plan.scale, plan.data, device=device)
    wired: list[Job] = [*wiring_items.jobs(plan.item, start, plan.seed_list)]
    return wiring_items.TITLES[plan.item], wiring_items.NOTES[plan.item], wired


def _chosen(todo: list[Job], only: Sequence[str]) -> list[Job]:
    """Keep the methods with one of the words in their label, and what all are compared with."""
    if not only:
        return todo
    kept = [job for job in todo if any(word in job.label for word in only)]
    if not kept:
        known = "; ".join(dict.fromkeys(job.label for job in todo))
        raise ValueError(f"no row has {only[0]!r} in its name: use {known}")
    always = [job for job in todo if job.label == shared_search.RANDOM and job not in kept]
    return always + kept


def _carry(todo: Sequence[Job], plan: Plan) -> None:
    """Do the jobs, here or in several processes, and show how far they are."""
    sizes = [job.size for job in todo]  # reads the images, and so finds what is wrong with them
    tasks = [Task(f"{job.label}, seed {job.seed}", [job]) for job in todo]
    shared = plan.workers > 1 and len(tasks) > 1
    events = share_out(tasks, _work, min(plan.workers, len(tasks))) if shared else _in_turn(tasks)
    with closing(events), bar(sum(sizes), "trainings and scores", quiet=plan.quiet) as progress:
        done = 0
        for what, came in events:
            done += came.number
            if not came.fresh:
                progress.first += came.number
            progress.update(min(done, sum(sizes)), what)


def _in_turn(tasks: Sequence[Task]) -> Generator[tuple[str, Came], None, None]:
    for task in tasks:
        for came in _work(task.searches):
            yield task.what, came


def _work(jobs: list[Any]) -> Iterator[Came]:
    if isinstance(jobs[0], wiring_search.Job):
        return wiring_search.work(jobs)
    return shared_search.work(jobs)


def _published(item: str, todo: Sequence[Job]) -> tuple[Outcome, list[Difference]]:
    if item in _SHARED:
        found = [shared_search.read(cast(shared_search.Job, job)) for job in todo]
        return _SHARED[item](found), []
    wired = [wiring_search.read(cast(wiring_search.Job, job)) for job in todo]
    return wiring_items.page(item, wired)
