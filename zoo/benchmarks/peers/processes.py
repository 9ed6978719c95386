"""Other libraries in processes and virtual environments of their own: what asks, where ``serving`` is what answers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import zoo

__all__ = ["Peer", "installed"]


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
