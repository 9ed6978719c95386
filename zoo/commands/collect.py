"""``imagine collect``."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.arguments import add_environment_arguments, free_directory, import_packages, make_env, parser_for

__all__ = ["main"]


def main(argv: Sequence[str]) -> None:
    """Takes real steps and saves them."""
    parser = parser_for(
        "collect",
        "Take real steps in an environment and save them, for `imagine fit` to learn a world from.",
        "imagine collect --env CartPole-v1 -n 2000 -o data/cartpole",
    )
    parser.add_argument("--env", required=True, metavar="ID", help="environment id, such as CartPole-v1")
    parser.add_argument("-n", "--steps", type=int, required=True, metavar="N", help="real steps to take")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="directory to write")
    parser.add_argument("--agent", metavar="ZIP", help="saved agent that chooses the actions (at random without one)")
    parser.add_argument("--algo", help="its algorithm; needed where the file does not lie in logs/<algo>/<run>/")
    parser.add_argument("--deterministic", action="store_true", help="the agent takes its most likely actions")
    parser.add_argument("--append", action="store_true", help="add to the steps that the directory holds already")
    parser.add_argument("--seed", type=int, help="of the environment and of random actions")
    add_environment_arguments(parser)
    args = parser.parse_args(argv)
    if args.algo is not None and args.agent is None:
        parser.error("--algo needs --agent")

    import_packages(args.gym_packages)
    from imagine_envs.experience import Replay, collect

    # Everything that can be wrong is found out before the first real step is spent.
    replay = Replay.load(args.output) if args.append else None
    if replay is None:
        try:
            free_directory(args.output)
        except ValueError as error:
            raise ValueError(f"-o {error}; choose another name, or add to it with --append") from None
    policy = None
    if args.agent is not None:
        from zoo.agents import load_agent

        policy = load_agent(args.agent, args.algo)
    before = (replay.num_steps, replay.num_episodes) if replay is not None else (0, 0)
    env = make_env(args.env, args.env_kwargs)
    try:
        replay = collect(
            env,
            policy,
            steps=args.steps,
            seed=args.seed,
            replay=replay,
            progress=True,
            deterministic=args.deterministic,
        )
    finally:
        env.close()
    replay.save(args.output)
    returns = [episode.total_reward for episode in replay.episodes() if episode.complete]
    mean = f"mean return {sum(returns) / len(returns):.1f}" if returns else "none of them complete"
    print(
        f"{args.output}: {replay.num_steps - before[0]} real steps added, {replay.num_steps} in all, "
        f"{replay.num_episodes} episodes, {mean}"
    )
