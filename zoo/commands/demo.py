"""``imagine demo``."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.arguments import parser_for

__all__ = ["main"]


def main(argv: Sequence[str]) -> None:
    """The whole path, on CartPole-v1."""
    parser = parser_for(
        "demo",
        "Learn CartPole-v1 from 500 real steps, train stock PPO in 1,024 dreams of it, and see whether it balances\n"
        "the real pole. Leaves report.png, fidelity.json, dream.gif, agent.zip and the world.",
        "imagine demo -o demo",
    )
    parser.add_argument(
        "-o", "--output", default="demo", metavar="DIR", help="where to leave the results (default: demo)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything (default: 0)")
    args = parser.parse_args(argv)

    from zoo.demo import demo

    demo(args.output, args.seed)
