"""Command-line arguments that several commands share."""

from __future__ import annotations

import argparse
import ast
import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

__all__ = [
    "KeyValues",
    "OneLineParser",
    "add_environment_arguments",
    "free_directory",
    "import_packages",
    "make_env",
    "parser_for",
]


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line; its usage may fill a screen."""

    def error(self, message: str) -> NoReturn:
        """Says what is wrong and exits with status 2."""
        self.exit(2, f"{self.prog}: error: {message} (`{self.prog} --help` lists the flags)\n")


class KeyValues(argparse.Action):
    """Stores ``key:value …`` as a dict. A value is a Python literal, or else the text itself.

    Example: ``horizon:200 starts:initial hidden:(128,128)`` gives
    ``{"horizon": 200, "starts": "initial", "hidden": (128, 128)}``.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        """Adds to what an earlier use of the same option gave."""
        result = dict(getattr(namespace, self.dest) or {})
        for item in values:
            key, colon, text = item.partition(":")
            if not key or not colon:
                parser.error(f"{option_string}: {item!r} is not of the form key:value")
            try:
                result[key] = ast.literal_eval(text)
            except (ValueError, SyntaxError):
                result[key] = text
        setattr(namespace, self.dest, result)


def parser_for(command: str, description: str, example: str) -> OneLineParser:
    """The parser of ``imagine <command>``."""
    return OneLineParser(
        prog=f"imagine {command}",
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_environment_arguments(parser: argparse.ArgumentParser) -> None:
    """``--env-kwargs`` and ``--gym-packages``, as in rl_zoo3."""
    parser.add_argument(
        "--env-kwargs",
        nargs="+",
        action=KeyValues,
        default={},
        metavar="KEY:VALUE",
        help="arguments of the environment",
    )
    parser.add_argument(
        "--gym-packages", nargs="+", default=[], metavar="PACKAGE", help="packages that register the environment"
    )


def import_packages(packages: Sequence[str]) -> None:
    """Imports packages that register environments; this suite's own among them."""
    for package in ("imagine_envs", *packages):
        importlib.import_module(package)


def make_env(env_id: str, env_kwargs: dict[str, Any]) -> Any:
    """``gym.make`` with one clear error.

    Raises:
        ValueError: If the id is unknown (the message names the closest one) or the arguments do not suit it.
    """
    import difflib

    import gymnasium as gym

    try:
        return gym.make(env_id, **env_kwargs)
    except (gym.error.UnregisteredEnv, gym.error.NamespaceNotFound) as error:
        close = difflib.get_close_matches(env_id, list(gym.registry), n=1)
        raise ValueError(
            f"--env {env_id}: no such environment" + (f"; did you mean {close[0]}?" if close else "")
        ) from error
    except (gym.error.Error, TypeError) as error:
        raise ValueError(f"--env {env_id} cannot be made with {env_kwargs}: {error}") from error


def free_directory(path: str) -> Path:
    """A path where nothing is yet (an empty directory is nothing).

    Raises:
        ValueError: If something is there.
    """
    directory = Path(path)
    if directory.is_file() or (directory.is_dir() and any(directory.iterdir())):
        raise ValueError(f"{directory} exists already")
    return directory
