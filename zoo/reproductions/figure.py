"""What the reproduced figures share: independent runs, the book's values beside ours, a picture."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

from imagine_envs.storage import atomic_file, save_json
from zoo.benchmarks.measure import machine

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BOOK_RUNS",
    "COLORS",
    "Job",
    "Lead",
    "Reproduction",
    "beside",
    "claim",
    "differences",
    "lead",
    "publish",
    "rounded",
]

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
"""Okabe & Ito's, which people with any colour vision can tell apart."""

BOOK_RUNS = 30
"""Runs that a value of the book is taken to be the mean of, as in Figure 8.2; it rarely says how many they were."""

_EXPLANATION = {
    "inside": "the book's value is no further from our mean than twice the spread (standard deviation) of single runs",
    "z": "(ours - book) / standard error of that difference of two means; the book's is taken to be the mean of "
    f"{BOOK_RUNS} runs with our spread, unless it is an exact expectation; errors of reading its curves are left out",
}

_STYLE: Any = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.grid": True,
    "grid.alpha": 0.2,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Job:
    """A piece of work that any process may do.

    Attributes:
        function: Importable by name; gives JSON types or arrays.
        arguments: What it is called with.
        weight: How long it takes, in any unit that all jobs of a figure share; the progress bar counts it.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class Reproduction:
    """One figure of the book.

    Attributes:
        name: As on the command line.
        title: What it shows.
        runs: How many runs are averaged unless somebody asks for another number.
        jobs: From the number of runs and the first seed to the jobs.
        result: From the jobs' outcomes, in their order, to "settings", "values", "claims", "curves" and "notes".
        draw: From the whole result to the picture.
    """

    name: str
    title: str
    runs: int
    jobs: Callable[[int, int], Sequence[Job]]
    result: Callable[[Sequence[Any]], dict[str, Any]]
    draw: Callable[[Mapping[str, Any]], Figure]


def beside(name: str, runs: ArrayLike, book: float | None, book_runs: float = BOOK_RUNS) -> dict[str, Any]:
    """Our value of every run beside the book's one: an entry of "values".

    The book's value lies ``inside`` if it is no further from our mean than twice the standard deviation of our runs,
    as one run of ours might. Whether our *mean* is the book's is asked of ``z``, the difference in standard errors:
    (ours − book) / (spread · √(1 / R + 1 / ``book_runs``)), on the assumption that the book's runs spread as ours do.
    Most of the book's values are read off its curves; that error is part of the difference, and not of ``z``.

    Args:
        name: What was measured.
        runs: ``[R]``.
        book: The book's value (a mean over its runs), None where it has none.
        book_runs: How many runs the book's value is the mean of; infinite for an exact expectation.
    """
    values = np.asarray(runs, np.float64)
    mean, spread = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
    error = spread * np.sqrt(1 / len(values) + 1 / book_runs)
    return {
        "name": name,
        "ours": mean,
        "spread": spread,
        "standard_error": spread / np.sqrt(len(values)),
        "runs": len(values),
        "book": book,
        "inside": None if book is None else bool(abs(mean - book) <= 2 * spread),
        "z": None if book is None or not error else float((mean - book) / error),
    }


def differences(values: Sequence[Mapping[str, Any]]) -> list[str]:
    """A note of the values whose |z| is above 2, if there are any."""
    told = [
        f"{value['name']}: ours {_plain(value['ours'])} ± {_plain(value['standard_error'])}, "
        f"book {_plain(value['book'])} (z = {value['z']:.1f})"
        for value in values
        if value["z"] is not None and abs(value["z"]) > 2
    ]
    return (
        [f"Our mean differs from the book's by more than twice its standard error: {'; '.join(told)}."] if told else []
    )


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:,.1f}"


def claim(says: str, holds: object, measured: str) -> dict[str, Any]:
    """What the book says in words, and whether it is so here: an entry of "claims"."""
    return {"claim": says, "holds": bool(holds), "measured": measured}


def rounded(values: NDArray[Any], digits: int = 4) -> list[Any]:
    """An array in JSON types, without digits that nobody reads."""
    rounded: list[Any] = np.round(values, digits).tolist()
    return rounded


class Lead(NamedTuple):
    """How far one thing is ahead of another: mean and standard error of the differences, run by run."""

    mean: float
    error: float

    def __str__(self) -> str:
        return f"{self.mean:.3g} ± {self.error:.2g}"

    @property
    def clear(self) -> bool:
        """Whether it is more than twice its standard error."""
        return self.mean > 2 * self.error


def lead(ahead: ArrayLike, behind: ArrayLike) -> Lead:
    """The lead of ``ahead`` ``[R]`` over ``behind`` ``[R]``."""
    difference = np.asarray(ahead, np.float64) - np.asarray(behind, np.float64)
    return Lead(float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference))))


def publish(
    figures: Sequence[Reproduction],
    output: Path,
    *,
    runs: int | None = None,
    seed: int = 0,
    processes: int = 1,
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Makes figures: ``<name>.json`` and ``<name>.png`` of each in ``output``.

    Args:
        figures: Which.
        output: A directory.
        runs: Runs to average; None takes each figure's own number.
        seed: The first of the runs' seeds.
        processes: How many work side by side; the results are the same.
        progress: Whether to show a progress bar.

    Returns:
        The results, in the order of ``figures``.
    """
    output.mkdir(parents=True, exist_ok=True)
    jobs = [list(figure.jobs(figure.runs if runs is None else runs, seed)) for figure in figures]
    parts: list[list[Any]] = [[None] * len(own) for own in jobs]
    seconds, missing = [0.0] * len(figures), [len(own) for own in jobs]
    work = [(which, place, job) for which, own in enumerate(jobs) for place, job in enumerate(own)]
    results: list[dict[str, Any]] = [{} for _ in figures]
    # Every figure's jobs have a weight of 1 together, as their units differ.
    share = [1 / sum(job.weight for job in own) for own in jobs]
    with tqdm(total=len(figures), disable=not progress, bar_format="{l_bar}{bar}| [{elapsed}<{remaining}]") as bar:
        for which, place, outcome, took in _done(work, processes):
            figure = figures[which]
            parts[which][place], seconds[which] = outcome, seconds[which] + took
            missing[which] -= 1
            bar.set_description(figure.name)
            bar.update(jobs[which][place].weight * share[which])
            if not missing[which]:
                found = figure.result(parts[which])
                results[which] = {
                    "figure": figure.name,
                    "title": figure.title,
                    "seed": seed,
                    "cpu_seconds": round(seconds[which], 1),
                    **found,
                    "notes": [*found["notes"], *differences(found["values"])],
                    "explanation": _EXPLANATION,
                    "machine": machine(),
                }
                _save(figure, results[which], output)
    return results


def _save(figure: Reproduction, result: dict[str, Any], output: Path) -> None:
    import matplotlib as mpl

    save_json(output / f"{figure.name}.json", result)
    with mpl.rc_context(_STYLE):
        picture = figure.draw(result)
        with atomic_file(output / f"{figure.name}.png") as temporary:
            picture.savefig(temporary, dpi=110, format="png")


def _done(work: list[tuple[int, int, Job]], processes: int) -> Iterator[tuple[int, int, Any, float]]:
    """Does the work, and tells of each job as soon as it is done."""
    if processes == 1:
        yield from map(_do, work)
        return
    with get_context("spawn").Pool(processes, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        yield from pool.imap_unordered(_do, work)


def _do(item: tuple[int, int, Job]) -> tuple[int, int, Any, float]:
    which, place, job = item
    began = time.process_time()
    outcome = job.function(*job.arguments)
    return which, place, outcome, time.process_time() - began
