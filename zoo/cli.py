"""The ``imagine`` command."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Sequence

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "demo": "the whole path in two minutes: collect, fit, train in the dream, evaluate in reality",
    "collect": "take real steps and save them",
    "fit": "learn a world from saved steps",
    "train": "train an agent: in a world's dream, or in a real environment",
    "enjoy": "watch a trained agent, in reality or in the dream",
    "fidelity": "measure how faithful a world is",
    "levels": "make levels of Sokoban",
    "play": "play a task yourself",
    "parity": "measure how near native tasks come to the engines they stand for",
    "reproduce": "make figures of the book anew, with its values beside ours",
}
"""Name → summary. Each command is the module of its name in ``zoo.commands``, imported when it is called."""

_HELP = """\
usage: imagine COMMAND [options]        imagine COMMAND --help

Learn any Gymnasium environment, dream it, and train any Stable-Baselines3 algorithm in the dream.

commands:
{commands}

From a real environment to an agent that was trained in its dream:

  imagine collect --env CartPole-v1 -n 2000 -o data/cartpole
  imagine fit --data data/cartpole --family ensemble -o worlds/cartpole
  imagine fidelity --world-model worlds/cartpole
  imagine train --algo ppo --env CartPole-v1 --world-model worlds/cartpole
  imagine enjoy --algo ppo --env CartPole-v1

Or all of it at once, turning between reality and the dream; the steps that are counted are real ones:

  imagine train --algo imagination --env CartPole-v1

`train` and `enjoy` are those of rl_zoo3: its flags, its log folders, its YAML files. A training that was killed goes on
with the same command and --resume.

Errors are one line; for the traceback put --debug before the command, or set IMAGINE_DEBUG=1.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: Arguments after the program's name; None takes the process's own.

    Returns:
        The exit status: 0, 1 where something was wrong, 2 where the command line was, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = os.environ.get("IMAGINE_DEBUG", "") not in ("", "0")
    if arguments and arguments[0] == "--debug":
        debug = bool(arguments.pop(0))
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        width = max(map(len, COMMANDS))
        print(_HELP.format(commands="\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())), end="")
        return 0 if arguments else 2
    name = arguments.pop(0)
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"expected one of {', '.join(COMMANDS)}"
        print(f"imagine: unknown command {name!r}; {hint} (`imagine --help` explains them)", file=sys.stderr)
        return 2
    try:
        importlib.import_module(f"zoo.commands.{name}").main(arguments)
    except SystemExit as error:  # argparse has said what was wrong
        return error.code if isinstance(error.code, int) else 1
    except KeyboardInterrupt:
        print(f"imagine {name}: interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if debug or not _is_users(error):
            raise
        print(f"imagine {name}: error: {_one_line(error)}", file=sys.stderr)
        return 1
    return 0


def _is_users(error: Exception) -> bool:
    """Whether an exception says what is wrong with the user's input; any other is a defect and shows its traceback."""
    from gymnasium.error import Error as GymnasiumError

    # rl_zoo3 checks its arguments by assertions that carry a message.
    return isinstance(error, (ValueError, TypeError, OSError, ImportError, GymnasiumError)) or (
        isinstance(error, AssertionError) and bool(error.args)
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
