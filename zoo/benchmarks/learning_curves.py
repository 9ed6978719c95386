"""What measurements of learning share: runs in a JSON file that grows, their table, and their learning curves."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from imagine_envs.storage import atomic_file, load_json, save_json
from zoo.benchmarks.measure import machine

__all__ = ["Key", "Run", "add_missing", "arguments", "curves", "markdown", "of", "outcome", "publish", "read", "wanted"]

Key = tuple[str, str, int]
"""Task, variant, seed."""

Run = dict[str, Any]
"""One run in JSON types: "task", "variant", "seed", "seconds"; of a policy also its final "mean_return", and a "curve"
of (real steps, return); and whatever else a measurement says of it."""

_COLUMNS = 4


def arguments(
    description: str | None,
    tasks: Sequence[str],
    variants: Sequence[str],
    results: Path,
    *,
    default: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """The command line of such a measurement.

    Args:
        description: What ``--help`` says.
        tasks: What may be chosen.
        variants: What may be chosen.
        results: Where the results are kept.
        default: The tasks of whoever chooses none; all where it is empty.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(default or tasks), choices=tasks, metavar="TASK")
    parser.add_argument("--variants", nargs="+", default=list(variants), choices=variants, metavar="VARIANT")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--report", action="store_true", help="measure nothing")
    parser.add_argument("--results", type=Path, default=results)
    return parser


def wanted(args: argparse.Namespace, offered: Callable[[str], Sequence[str]] | None = None) -> list[Key]:
    """The runs that a command line asks for, seed by seed.

    Args:
        args: What :func:`arguments` parsed.
        offered: Task → its variants, where not every task has all of them.
    """
    return [
        (task, variant, seed)
        for seed in args.seeds
        for task in args.tasks
        for variant in args.variants
        if offered is None or variant in offered(task)
    ]


def read(path: Path) -> dict[str, Any]:
    """What was measured so far: "machine" and "runs"."""
    return load_json(path) if path.exists() else {"machine": machine(), "runs": []}


def add_missing(path: Path, wanted: Iterable[Key], measure: Callable[[str, str, int], Run]) -> None:
    """Measures what is not there yet, and adds every run as soon as it is complete.

    The file is read anew each time: another process may be adding its runs to it.
    """
    for key in wanted:
        if any((run["task"], run["variant"], run["seed"]) == key for run in read(path)["runs"]):
            continue
        run = measure(*key)
        task, variant, seed = key
        earned = f"{run['mean_return']:.1f} in " if "mean_return" in run else ""
        print(f"{task} {variant} seed {seed}: {earned}{run['seconds']:.0f} s", flush=True)
        results = read(path)
        results["runs"].append(run)
        save_json(path, results)


def of(runs: Iterable[Run], task: str, variant: str) -> list[Run]:
    """The runs of a task and a variant."""
    return [run for run in runs if (run["task"], run["variant"]) == (task, variant)]


def outcome(runs: Iterable[Run], task: str, variant: str) -> str:
    """A cell of the table: mean ± standard deviation over the seeds (their number)."""
    returns = [run["mean_return"] for run in of(runs, task, variant)]
    return f"{np.mean(returns):.1f} ± {np.std(returns):.1f} ({len(returns)})" if returns else "–"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(header) + " |", "|---" * len(header) + "|"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def curves(
    runs: Sequence[Run],
    targets: Mapping[str, float | None],
    colors: Mapping[str, str],
    *,
    axis: str = "real steps",
    value: str = "return in reality",
    width: float = 3.6,
) -> Figure:
    """Learning curves of each task: mean over the seeds, the band from the worst to the best.

    Args:
        runs: What was measured.
        targets: Task → the return that was aimed at, as a dotted line.
        colors: Variant → its color.
        axis: What the first number of a point is.
        value: What the second one is.
        width: Of one task, in inches.
    """
    columns = min(len(targets), _COLUMNS)
    rows = -(-len(targets) // columns)
    figure = Figure(figsize=(width * columns, 3.4 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(targets) :]:
        axes.set_axis_off()
    for axes, (task, target) in zip(panels.flat, targets.items(), strict=False):
        for variant, color in colors.items():
            drawn = [run["curve"] for run in of(runs, task, variant)]
            if not drawn:
                continue
            length = min(map(len, drawn))
            steps = [point[0] for point in drawn[0][:length]]
            values = np.array([[point[1] for point in curve[:length]] for curve in drawn])
            axes.plot(steps, values.mean(0), color=color, label=f"{variant} ({len(drawn)})", marker=".")
            axes.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.15, linewidth=0)
        if target is not None:
            axes.axhline(target, color="black", linewidth=0.8, linestyle=":")
        axes.set(title=task, xlabel=axis, xlim=(0, None))
        axes.grid(alpha=0.2)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=7)
    for axes in panels[:, 0]:
        axes.set_ylabel(value)
    return figure


def publish(
    args: argparse.Namespace,
    wanted: Iterable[Key],
    measure: Callable[[str, str, int], Run],
    table: Callable[[list[Run]], str],
    picture: Callable[[list[Run]], Figure],
) -> None:
    """Measures what is missing (unless ``--report``), prints the table, draws the picture beside the results.

    Args:
        args: What :func:`arguments` parsed.
        wanted: The runs that there should be.
        measure: Makes one.
        table: The table of all.
        picture: Their picture.
    """
    torch.set_num_threads(args.threads)
    if not args.report:
        add_missing(args.results, wanted, measure)
    runs = read(args.results)["runs"]
    print(table(runs))
    if runs:
        with atomic_file(args.results.with_suffix(".png")) as temporary:
            picture(runs).savefig(temporary, dpi=110)
