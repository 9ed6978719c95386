"""How our flags, algorithms and environments get into rl_zoo3's own scripts."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

from zoo.agents import algorithms
from zoo.arguments import OneLineParser, import_packages

__all__ = ["Parser", "plugged_into"]


class Parser(OneLineParser):
    """The parser of an rl_zoo3 script, which adds its own flags to ours.

    Args:
        add_flags: Adds our flags, in a group of their own.
        on_parsed: Sees the arguments before the script does, and may change them.
        defaults: Defaults of rl_zoo3's flags that are others here.
        **kwargs: As for ``ArgumentParser``.
    """

    def __init__(
        self,
        add_flags: Callable[[Any], None],
        on_parsed: Callable[[argparse.Namespace], None],
        defaults: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)
        add_flags(self.add_argument_group("imagine-rl"))
        self._on_parsed, self._new_defaults = on_parsed, defaults

    def add_argument(self, *names: Any, **kwargs: Any) -> argparse.Action:
        """Arguments of the environment may be plain text, as in our other commands."""
        if {"--env-kwargs", "--eval-env-kwargs"} & set(names):
            kwargs["action"] = _expressions_or_text(kwargs["action"])
        return super().add_argument(*names, **kwargs)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Called by the script when it has added its flags."""
        self.set_defaults(**self._new_defaults)
        parsed = super().parse_args(args, namespace)
        self._on_parsed(parsed)
        return parsed


def _expressions_or_text(action: Any) -> Any:
    """rl_zoo3's action for ``key:expression …``, for which what is no expression (a path, say) is the text itself."""

    class Lenient(action):
        def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
            result: dict[str, Any] = {}
            for item in values:
                key, _, text = item.partition(":")
                try:
                    super().__call__(parser, namespace, [item], option_string)
                except Exception:  # whatever it is that evaluating a text may raise
                    super().__call__(parser, namespace, [f"{key}:{text!r}"], option_string)
                result |= getattr(namespace, self.dest)
            setattr(namespace, self.dest, result)

    return Lenient


@contextmanager
def plugged_into(script: ModuleType, argv: Sequence[str], parser: Parser, **names: Any) -> Iterator[None]:
    """Lets an rl_zoo3 script see our algorithms, environments, parser and arguments while it runs.

    Args:
        script: ``rl_zoo3.train`` or ``rl_zoo3.enjoy``, the modules.
        argv: The command's arguments.
        parser: Takes the place of the one that the script makes.
        **names: What other names in the script stand for.
    """
    algorithms()
    import_packages([])
    with (
        patch.object(sys, "argv", [parser.prog, *argv]),
        patch.multiple(script, argparse=SimpleNamespace(ArgumentParser=lambda: parser), **names),
    ):
        yield
