"""``imagine reproduce``."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path

from zoo.arguments import parser_for

__all__ = ["FIGURES", "main"]

FIGURES = ("figure-8.2", "figure-8.4", "figure-8.5", "example-8.4", "figure-8.8")
"""Each is the module of its name in ``zoo.reproductions``."""

COLLECTIONS = {"dyna": FIGURES}


def main(argv: Sequence[str]) -> None:
    """Makes figures of the book from our own runs."""
    parser = parser_for(
        "reproduce",
        "Make figures of Sutton & Barto's book anew. Each becomes a picture (PNG) and its numbers (JSON), with the\n"
        "book's values beside ours, seeds, and the spread from run to run. `dyna` is all of chapter 8:\n"
        f"{', '.join(FIGURES)}.",
        "imagine reproduce dyna -o figures\n  imagine reproduce figure-8.2 --runs 100",
    )
    parser.add_argument("names", nargs="+", choices=[*COLLECTIONS, *FIGURES], metavar="NAME",
                        help=f"{', '.join([*COLLECTIONS, *FIGURES])}")  # fmt: skip
    parser.add_argument("-o", "--output", default="reproductions", metavar="DIR",
                        help="where to leave the figures (default: reproductions)")  # fmt: skip
    parser.add_argument("--runs", type=int, metavar="N", help="runs to average (default: each figure's own number)")
    parser.add_argument("--seed", type=int, default=0, help="of the first run (default: 0)")
    parser.add_argument("--processes", type=int, default=min(2, os.cpu_count() or 1), metavar="N",
                        help="processes at work side by side (default: 2); the results are the same")  # fmt: skip
    args = parser.parse_args(argv)
    for name, value, least in (("runs", args.runs, 2), ("seed", args.seed, 0), ("processes", args.processes, 1)):
        if value is not None and value < least:
            parser.error(f"--{name} {value}: at least {least} was expected")
    chosen = [name for name in FIGURES if any(name in COLLECTIONS.get(given, (given,)) for given in args.names)]

    from zoo.reproductions.figure import publish

    figures = [importlib.import_module(f"zoo.reproductions.{_module(name)}").FIGURE for name in chosen]
    output = Path(args.output)
    results = publish(figures, output, runs=args.runs, seed=args.seed, processes=args.processes, progress=True)
    for result in results:
        work = f"{result['runs']} runs, {result['cpu_seconds']:.0f} s of one core"
        print(f"\n{result['figure']}: {result['title']} ({work})")
        for value in result["values"]:
            book = "" if value["book"] is None else f"   book {value['book']:,.6g}"
            book += "" if value["z"] is None else f" (z = {value['z']:.1f})"
            far = "" if value["inside"] in (None, True) else "   OUTSIDE our spread"
            print(f"  {value['name']}: {value['ours']:,.6g} ± {value['spread']:,.3g}{book}{far}")
        for claim in result["claims"]:
            print(f"  {'yes' if claim['holds'] else 'NO '}  {claim['claim']} ({claim['measured']})")
        print(f"  {output / result['figure']}.png and .json")


def _module(name: str) -> str:
    return name.replace("-", "_").replace(".", "_")
