"""``imagine parity``."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from zoo.arguments import parser_for

__all__ = ["TASKS", "main"]

TASKS = {
    "car-racing": "zoo.parity.car_racing",
    "doom": "zoo.parity.doom",
}
"""Name → module. Its ``compare(*, episodes, seed, progress)`` gives a :class:`~zoo.parity.report.Report`."""


def main(argv: Sequence[str]) -> None:
    """Measures how near native tasks come to the engines they stand for."""
    parser = parser_for(
        "parity",
        "Play the same seeds and actions in a native task and in the engine that it stands for, and measure how far\n"
        "poses, rewards, ends of episodes and pictures are apart. Writes <task>.json and, side by side, <task>.png.",
        "imagine parity car-racing -o parity",
    )
    parser.add_argument("tasks", nargs="+", choices=TASKS, metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("-o", "--output", default="parity", metavar="DIR", help="directory to write (default: parity)")
    parser.add_argument("--episodes", type=int, metavar="N", help="episodes to compare (default: each task's own)")
    parser.add_argument("--seed", type=int, default=0, help="of the first episode (default: 0)")
    args = parser.parse_args(argv)
    for name, value, least in (("episodes", args.episodes, 2), ("seed", args.seed, 0)):
        if value is not None and value < least:
            parser.error(f"--{name} {value}: at least {least} was expected")
    for task in args.tasks:
        compare = importlib.import_module(TASKS[task]).compare
        report = compare(episodes=args.episodes, seed=args.seed, progress=True)
        numbers, picture = report.save(args.output)
        print(f"\n{task}")
        for check in report.checks:
            print(f"  {check}")
        print(f"  {numbers}, {picture}")
