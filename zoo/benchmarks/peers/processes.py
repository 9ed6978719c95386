"""Other libraries in processes and virtual environments of their own: what asks, where ``serving`` is what answers."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import zoo
from zoo.benchmarks.measure import Contestant

__all__ = ["Peer", "installed", "installed_peer", "started"]

_C = TypeVar("_C", bound=Contestant)


class Peer:
    """Another library in a process of its own, which answers every line of JSON by one.

    The first line that it writes names its versions. It runs in the repository's root, so that ``-m zoo.…`` is found.

    Args:
        command: Starts it.

    Attributes:
        versions: What the process says of itself.
    """

    def __init__(self, *command: str) -> None:
        self._name = " ".join(command)
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(zoo.__file__).parents[1]
        )
        self.versions = self._answer()

    def ask(self, **question: Any) -> dict[str, Any]:
        """What it answers.

        Raises:
            RuntimeError: If the process has ended.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} ended with status {self._process.wait()}; its errors are above")
        return dict(json.loads(line))

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def installed(directory: Path, *installs: tuple[str, ...]) -> Path:
    """The interpreter of a virtual environment, which is made where it is missing.

    One that was being made when the process was killed is made anew. Nothing is removed that this did not make.

    Args:
        directory: Where it is.
        installs: Arguments of ``pip install``, one call after the other.

    Raises:
        ValueError: If something else is there.
    """
    python, whole, begun = directory / "bin" / "python", directory / ".installed", directory / ".installing"
    if whole.exists():
        return python.absolute()
    if begun.exists():  # and not mended: venv cannot link an interpreter that is linked already
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)
    if any(directory.iterdir()):
        raise ValueError(
            f"{directory} is not empty and was not made here; remove it, or if it is a whole virtual environment with "
            f"everything in it: touch {whole}"
        )
    print(f"Installing {' '.join(part for call in installs for part in call)} into {directory}", file=sys.stderr)
    begun.touch()
    venv.create(directory, with_pip=True)
    for arguments in installs:
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *arguments], check=True)
    begun.rename(whole)
    return python.absolute()


def installed_peer(name: str, module: str, venvs: Path) -> Peer:
    """Starts a peer that is a package, which is installed where it is missing.

    Args:
        name: Of its virtual environment, ``venv-<name>``, and of its requirements, ``requirements-<name>.txt``.
        module: Its script in this folder.
        venvs: Where its virtual environment is, or is to be made.
    """
    python = installed(venvs / f"venv-{name}", ("-r", str(Path(__file__).parent / f"requirements-{name}.txt")))
    return Peer(str(python), "-m", f"zoo.benchmarks.peers.{module}")


@contextlib.contextmanager
def started(
    names: Iterable[str], start: Callable[[str], Peer], contestants: Callable[[str, Peer], Mapping[str, _C]]
) -> Iterator[tuple[dict[str, _C], dict[str, Any], dict[str, str]]]:
    """Peers that have done their work once: contestants, versions by name, and why others are left out.

    Args:
        names: Of the peers.
        start: Starts the one of that name; its errors are why it is left out.
        contestants: What is measured of it.
    """
    found: dict[str, _C] = {}
    versions: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for name in names:
            try:
                peer = stack.enter_context(contextlib.closing(start(name)))
                measured = contestants(name, peer)
                for run in measured.values():
                    run(1)
            except (OSError, RuntimeError, ValueError, subprocess.CalledProcessError) as error:
                left_out[name] = str(error)
                print(f"Going on without {name}: {error}", file=sys.stderr)
            else:
                found |= measured
                versions[name] = peer.versions
        yield found, versions, left_out
