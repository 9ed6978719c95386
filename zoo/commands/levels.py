"""``imagine levels``."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from zoo.arguments import parser_for

__all__ = ["main"]


def main(argv: Sequence[str]) -> None:
    """Makes levels of Sokoban."""
    parser = parser_for(
        "levels",
        "Make levels of Sokoban that can be solved. The same numbers always make the same levels, and level i is the\n"
        "same whatever -n and --threads are.",
        "imagine levels -n 1000 --size 8 --boxes 3 -o levels/mine.npz\n"
        "  imagine train --algo ppo --env Imagine/Sokoban-v0 --env-kwargs levels:levels/mine.npz",
    )
    parser.add_argument("-n", "--count", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--size", nargs="+", type=int, default=[10], metavar="N",
                        help="rows and columns, walls included; one number for a square (default: 10)")  # fmt: skip
    parser.add_argument("--boxes", type=int, default=4, help="boxes in a level (default: 4)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is random (default: 0)")
    parser.add_argument(
        "-o", "--output", metavar="FILE",
        help="a pool with plans (.npz) or text in the format of Boxoban (.txt); without it the levels are printed",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace the file that is there")
    parser.add_argument(
        "--threads", type=int, default=os.cpu_count() or 1, help="levels at a time (default: all cores)"
    )
    parser.add_argument("--states", type=int, help="states that a placement's backward play visits (default: 3000)")
    parser.add_argument("--depth", type=int, help="steps that it goes back (default: 300)")
    parser.add_argument("--topologies", type=int, help="rooms for each level (default: 10)")
    parser.add_argument("--placements", type=int, help="placements in each room (default: 10)")
    args = parser.parse_args(argv)
    suffix = Path(args.output).suffix if args.output is not None else None
    if suffix not in (None, ".npz", ".txt"):
        raise ValueError(f"-o {args.output}: the name must end in .npz (a pool with plans) or .txt (text)")
    if args.output is not None and Path(args.output).exists() and not args.overwrite:
        raise ValueError(f"-o {args.output} exists already; choose another name, or replace it with --overwrite")
    if len(args.size) > 2:
        raise ValueError(f"--size {' '.join(map(str, args.size))}: one or two numbers were expected")
    if args.count < 1:
        raise ValueError(f"-n {args.count}: at least 1 was expected")

    import numpy as np
    from tqdm import tqdm

    from imagine_envs.tasks.sokoban import Generator, LevelPool, write_levels

    effort = {
        name: getattr(args, name)
        for name in ("states", "depth", "topologies", "placements")
        if getattr(args, name) is not None
    }
    generator = Generator(args.size[0] if len(args.size) == 1 else tuple(args.size), args.boxes, args.seed, **effort)
    begin = time.perf_counter()
    making = generator.levels(args.count, threads=args.threads)
    levels = list(tqdm(making, total=args.count, unit=" levels", leave=False, disable=args.output is None))
    seconds = time.perf_counter() - begin
    if args.output is None:
        for number, level in enumerate(levels):
            print(f"; {number}: {len(level.plan or ())} steps\n{level}\n")
        return
    if suffix == ".txt":
        write_levels(args.output, levels)
    else:
        LevelPool.of(levels, generator.settings).save(args.output)
    low, median, high = np.quantile([len(level.plan or ()) for level in levels], [0.25, 0.5, 0.75])
    print(
        f"{args.output}: {args.count} levels in {seconds:.0f} s; solved in {median:.0f} steps "
        f"(half of them in {low:.0f} to {high:.0f})"
    )
