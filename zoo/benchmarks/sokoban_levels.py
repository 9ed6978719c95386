"""How fast levels of Sokoban are made, and how hard they are: ours, gym-sokoban's and Boxoban's.

    python -m zoo.benchmarks.sokoban_levels             # everything (a quarter of an hour)
    python -m zoo.benchmarks.sokoban_levels --quick     # a minute
    python -m zoo.benchmarks.sokoban_levels --report    # only the table and the picture of what was measured before

All levels have 10 × 10 cells and 4 boxes. Speeds are taken in turns, in blocks of a second, and compared round by
round: other work on the machine slows all sides. gym-sokoban answers from a process in a virtual environment of its own
(``peers/requirements-gym-sokoban.txt``), which is made where it is missing.

Levels are judged alike, wherever they come from: by the length of the *shortest* solution in steps (our exact solver;
Boxoban's files have no plans, and the backward play of a generator wanders), by the box swaps in that solution (how
often the player begins to push another box than the last one), and by the floor cells of the room.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from imagine_envs.storage import atomic_file, load_json, save_json
from imagine_envs.tasks.sokoban import Generator, Level, read_levels, shortest_plan
from zoo.benchmarks.measure import Contestant, interleaved, machine, spread
from zoo.benchmarks.peers.processes import Peer, installed

__all__ = ["GymSokoban", "Making", "box_swaps", "distribution", "draw", "main", "report"]

RESULTS = Path(__file__).parent / "results" / "sokoban_levels.json"
PICTURE = Path(__file__).parent / "results" / "sokoban_levels.png"
PEERS = Path(__file__).parent / "peers"

DEFAULT = Generator().states
BUDGETS = {DEFAULT: 1000, 10_000: 1000, 100_000: 400, 1_000_000: 200}
"""States a placement → how many levels are judged."""

SEED = 2
"""Of our levels: neither the pools' nor that of ``levels="generate"``."""

TARGETS = {"levels/s on two threads": 100.0}
GYM = "gym-sokoban"
BINS = {"steps": 5, "swaps": 1, "cells": 2}
"""What is judged of a level → how wide the bins are in which it is counted."""


@dataclass
class Making:
    """A contestant that makes levels and keeps them."""

    maker: Generator
    threads: int = 1
    levels: list[Level] = field(default_factory=list)

    def __call__(self, times: int) -> float:
        """Makes so many more levels and returns the seconds that took."""
        numbers = range(len(self.levels), len(self.levels) + times)
        start = time.perf_counter()
        if self.threads == 1:
            self.levels += map(self.maker.level, numbers)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                self.levels += pool.map(self.maker.level, numbers)
        return time.perf_counter() - start


class GymSokoban:
    """gym-sokoban's generator as a contestant that keeps its levels."""

    def __init__(self, python: Path) -> None:
        self.peer = Peer(str(python), "-m", "zoo.benchmarks.peers.gym_sokoban_levels")
        self.levels: list[Level] = []

    def __call__(self, times: int) -> float:
        """Has it make so many more levels and returns the seconds that took."""
        answer = self.peer.ask(levels=times)
        self.levels += [Level(tuple(rows)) for rows in answer["levels"]]
        return float(answer["seconds"])


# --- how hard a level is ----------------------------------------------------------------------------------------------


def box_swaps(level: Level, plan: Sequence[int]) -> int:
    """How often the player begins to push another box than the last one; the first push is one such time."""
    text, width = "".join(level.rows), level.shape[1]
    boxes = {cell for cell, symbol in enumerate(text) if symbol in "$*"}
    player = max(text.find("@"), text.find("+"))
    swaps, last = 0, -1
    for action in plan:
        ahead = (-width, width, -1, 1)[action - 1]
        player += ahead
        if player in boxes:
            swaps += player != last
            last = player + ahead
            boxes.remove(player)
            boxes.add(last)
    return swaps


def distribution(levels: Sequence[Level]) -> dict[str, Any]:
    """Shortest solutions, box swaps in them and floor cells, as means and counts."""
    steps, swaps, cells = [], [], []
    for level in levels:
        plan = shortest_plan(level) if level.plan is None else level.plan
        if plan is None:
            raise ValueError(f"this level cannot be solved:\n{level}")
        steps.append(len(plan))
        swaps.append(box_swaps(level, plan))
        cells.append(sum(symbol != "#" for row in level.rows for symbol in row))
    result: dict[str, Any] = {"levels": len(levels)}
    for name, values in (("steps", steps), ("swaps", swaps), ("cells", cells)):
        array = np.array(values)
        result[name] = {
            "mean": float(array.mean()),
            "error": float(array.std() / np.sqrt(len(array))),
            **spread(array),
            "most": int(array.max()),
            "counts": np.bincount(array // BINS[name]).tolist(),
        }
    return result


# --- what was found ---------------------------------------------------------------------------------------------------


def report(results: dict[str, Any]) -> str:
    """One table in Markdown; what misses its target says so."""
    where = results["machine"]
    lines = [
        f"10 × 10 cells, 4 boxes ({where['processor']}, {where['cores']} cores)",
        "",
        "| levels | states a placement | levels/s on one thread | on two | beside gym-sokoban | shortest solution, "
        "steps (middle half) | box swaps | floor cells |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, found in results["levels"].items():
        speed = results["speed"].get(name, {})
        one, two = (speed.get(threads) for threads in ("1", "2"))
        steps = found["steps"]
        cells = [
            name,
            f"{speed['states']:,}" if "states" in speed else "",
            f"{one['median']:.3g}" if one else "",
            f"{two['median']:.3g}{_verdict(name, two['median'])}" if two else "",
            f"{speed['ratio']['median']:.0f} ×" if "ratio" in speed else "",
            f"{steps['mean']:.1f} ± {steps['error']:.1f} ({steps['low']:.0f}–{steps['high']:.0f})",
            f"{found['swaps']['mean']:.1f}",
            f"{found['cells']['mean']:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    ours, theirs = results["levels"].get(_ours(DEFAULT)), results["levels"].get(GYM)
    if ours and theirs:
        gap = ours["steps"]["mean"] - theirs["steps"]["mean"]
        doubt = float(np.hypot(ours["steps"]["error"], theirs["steps"]["error"]))
        verdict = "no easier" if gap > -2 * doubt else "**easier**"
        lines += ["", f"Ours by default are {verdict} than gym-sokoban's: {gap:+.1f} ± {doubt:.1f} steps."]
    return "\n".join(lines)


def _verdict(name: str, speed: float) -> str:
    least = TARGETS["levels/s on two threads"]
    if name != _ours(DEFAULT):
        return ""
    return f" (≥ {least:.0f})" if speed >= least else f" (**missed**: ≥ {least:.0f})"


def _ours(states: int) -> str:
    return f"ours, {states:,} states"


def draw(results: dict[str, Any]) -> Figure:
    """The distributions beside each other."""
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    axes = figure.subplots(1, 3)
    widest = _ours(max(BUDGETS))
    # Okabe & Ito's palette, which people with any colour vision can tell apart; the lines differ in their dashes too.
    styles: dict[str, dict[str, Any]] = {
        _ours(DEFAULT): {"color": "#0072B2", "lw": 2.4},
        widest: {"color": "#56B4E9", "lw": 1.8, "ls": (0, (5, 1.5))},
        GYM: {"color": "#D55E00", "lw": 1.8, "ls": (0, (3, 1.2))},
    }
    boxoban = [name for name in results["levels"] if name.startswith("Boxoban")]
    for name, shade, dash in zip(boxoban, ("#000000", "#6E6E6E", "#A8A8A8"), ("-", "--", ":"), strict=False):
        styles[name] = {"color": shade, "lw": 1.8, "ls": dash}
    panels = (
        ("steps", "Steps of the shortest solution"),
        ("swaps", "Box swaps in it"),
        ("cells", "Floor cells of the room"),
    )
    for axis, (key, title) in zip(axes, panels, strict=True):
        width = BINS[key]
        for name, style in styles.items():
            if name in results["levels"]:
                counts = np.array(results["levels"][name][key]["counts"], dtype=float)
                label = f"{name} (mean {results['levels'][name][key]['mean']:.1f})"
                # Every curve falls to 0 in the bin after its last one.
                share = 100 * np.append(counts, 0) / counts.sum()
                axis.plot(np.arange(len(share)) * width + (width - 1) / 2, share, label=label, **style)
        axis.set_title(f"{title} (bins of {width})" if width > 1 else title, loc="left", fontsize=11, fontweight="bold")
        axis.set_ylabel("% of the levels" if key == "steps" else "")
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
        axis.legend(frameon=False, fontsize=8)
    axes[0].set_xlim(0, 120)
    axes[2].set_xlim(10, 84)  # beside the curves there is room for the legend
    return figure


# --- the command ------------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> None:
    """Measures, saves and reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the levels, few rounds")
    parser.add_argument("--rounds", type=int, default=20, help="of the speeds; gym-sokoban makes a level in each")
    parser.add_argument("--peer-levels", type=int, default=200, help="levels of gym-sokoban to judge")
    parser.add_argument("--peer-venv", type=Path, default=Path("build/venv-gym-sokoban"))
    parser.add_argument("--no-peer", action="store_true", help="leave gym-sokoban out")
    parser.add_argument("--boxoban", type=Path, default=Path("../shared/levels/boxoban"), help="folder of its levels")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--report", action="store_true", help="only show what was measured before")
    args = parser.parse_args(argv)
    if args.report:
        results = load_json(args.results)
    else:
        share = 10 if args.quick else 1
        with contextlib.ExitStack() as stack:
            peer = None
            if not args.no_peer:
                python = installed(args.peer_venv, ("-r", str(PEERS / "requirements-gym-sokoban.txt")))
                peer = GymSokoban(python)
                stack.enter_context(contextlib.closing(peer.peer))
            counts = {states: max(10, count // share) for states, count in BUDGETS.items()}
            results = measure(peer, counts, max(2, args.rounds // share), max(2, args.peer_levels // share))
        for name, file in (("unfiltered", "unfiltered-train"), ("medium", "medium-train"), ("hard", "hard")):
            path = args.boxoban / f"{file}-000.txt"
            if path.is_file():
                results["levels"][f"Boxoban, {name}"] = distribution(read_levels(path)[: 1000 // share])
        save_json(args.results, results)
    figure = draw(results)
    with atomic_file(args.picture) as temporary:
        figure.savefig(temporary, dpi=110)
    print(report(results))


def measure(peer: GymSokoban | None, counts: dict[int, int], rounds: int, peer_levels: int) -> dict[str, Any]:
    """Speeds of everybody in turns, then the levels, made up to as many as are to be judged."""
    makings = {
        f"{_ours(states)} on {threads}": Making(Generator(seed=SEED, states=states), threads)
        for states in counts
        for threads in (1, 2)
    }
    contestants: dict[str, Contestant] = {**makings, **({GYM: peer} if peer else {})}
    seconds = interleaved(contestants, rounds=rounds, block=1.0)
    results: dict[str, Any] = {"machine": machine(), "seed": SEED, "speed": {}, "levels": {}}
    for states, count in counts.items():
        name = _ours(states)
        results["speed"][name] = {"states": states}
        for threads in ("1", "2"):
            results["speed"][name][threads] = spread(1 / seconds[f"{name} on {threads}"])
        if peer:
            results["speed"][name]["ratio"] = spread(seconds[GYM] / seconds[f"{name} on 1"])
        making = makings[f"{name} on 1"]
        making(max(0, count - len(making.levels)))
        results["levels"][name] = distribution(making.levels[:count])
    if peer:
        results["peer"] = peer.peer.versions
        results["speed"][GYM] = {"states": 300_000, "1": spread(1 / seconds[GYM])}
        peer(max(0, peer_levels - len(peer.levels)))
        results["levels"][GYM] = distribution(peer.levels)
    return results


if __name__ == "__main__":
    main()
