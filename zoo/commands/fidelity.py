"""``imagine fidelity``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoo.arguments import import_packages, parser_for

__all__ = ["main"]


def main(argv: Sequence[str]) -> None:
    """Measures how faithful a world is."""
    parser = parser_for(
        "fidelity",
        "Measure how faithful a world is: errors of its dreams by the number of steps, calibration, and what a policy\n"
        "earns in the dream and in reality. Writes fidelity.json and report.png; the world's card gets the summary.",
        "imagine fidelity --world-model worlds/cartpole --agent logs/ppo/CartPole-v1_1/best_model.zip",
    )
    parser.add_argument("--world-model", required=True, metavar="DIR", help="directory of the world")
    parser.add_argument("--agent", metavar="ZIP", help="saved agent whose returns are compared (a random one without)")
    parser.add_argument("--algo", help="its algorithm; needed where the file does not lie in logs/<algo>/<run>/")
    parser.add_argument("--data", metavar="DIR", help="measure errors on these saved steps (fresh real ones without)")
    parser.add_argument("-o", "--output", metavar="DIR", help="directory of the report (default: <world>-fidelity)")
    parser.add_argument("-n", "--steps", type=int, default=2_000, metavar="N", help="fresh real steps (default: 2000)")
    parser.add_argument("--episodes", type=int, default=20, metavar="N", help="real episodes to play (default: 20)")
    parser.add_argument(
        "--horizon", type=int, default=50, metavar="N", help="steps without a look at reality (default: 50)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all choices (default: 0)")
    parser.add_argument("--device", default="auto", help="cpu, cuda, … (default: auto)")
    parser.add_argument(
        "--gym-packages", nargs="+", default=[], metavar="PACKAGE", help="packages that register environments"
    )
    args = parser.parse_args(argv)
    if args.algo is not None and args.agent is None:
        parser.error("--algo needs --agent")

    import_packages(args.gym_packages)
    from imagine_envs.dreams.fidelity import fidelity
    from imagine_envs.experience import Replay
    from imagine_envs.world_models import World

    world = World.load(args.world_model, args.device)
    replay = None if args.data is None else Replay.load(args.data)
    policy = None
    if args.agent is not None:
        from zoo.agents import load_agent

        policy = load_agent(args.agent, args.algo)
    report = fidelity(
        world,
        replay,
        policy=policy,
        steps=args.horizon,
        episodes=args.episodes,
        real_steps=args.steps,
        seed=args.seed,
        progress=True,
    )
    path = Path(args.world_model)
    output = Path(args.output) if args.output else path.with_name(f"{path.resolve().name}-fidelity")
    report.save(output)
    world.with_fidelity(report.summary).save(path, overwrite=True)
    print(report.table())
    print(f"\n{output / 'report.png'}, {output / 'fidelity.json'}; the main numbers are in {path / 'card.md'}")
