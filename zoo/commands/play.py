"""``imagine play``."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.arguments import add_environment_arguments, import_packages, make_env, parser_for

__all__ = ["main"]


def main(argv: Sequence[str]) -> None:
    """A person plays a task."""
    parser = parser_for(
        "play",
        "Play a task of this suite in a window: arrows move, space waits (where that is an action), u takes a step\n"
        "back, r begins the episode again, n begins the next one, Esc quits. A task that does not wait (CarRacing)\n"
        "begins with the first key, goes on while keys are held, and u takes a second back.",
        "imagine play --env Imagine/MiniPacman-Regular-v0\n  imagine play --env Imagine/Sokoban-v0 --level 17",
    )
    parser.add_argument("--env", required=True, metavar="ID", help="environment id, such as Imagine/DynaMaze-v0")
    parser.add_argument("--seed", type=int, help="of the first episode")
    parser.add_argument("--level", type=int, metavar="N", help="begin with this level, where levels have numbers")
    parser.add_argument("--size", type=int, default=768, metavar="PIXELS", help="longer side of the picture (768)")
    add_environment_arguments(parser)
    args = parser.parse_args(argv)
    if args.size < 64:
        parser.error(f"--size {args.size}: at least 64 pixels were expected")

    import_packages(args.gym_packages)
    from zoo.play import Game, play

    env = make_env(args.env, {"render_mode": "rgb_array", **args.env_kwargs})
    try:
        env.unwrapped.render_size = args.size  # not an argument, for only tasks have it
        game = Game(env, args.seed, args.level)
        print(game.legend())
        play(game)
    finally:
        env.close()
    print(game.status())
