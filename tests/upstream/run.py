"""Runs SB3's own tests with our classes in the place of SB3's (``make test-upstream``).

SB3 ships its tests in its source distribution only. That of the installed version is downloaded by pip into a
temporary folder, the tests that apply are run there (``suites.py`` says which), and the folder is removed.

    python tests/upstream/run.py                     # all suites
    python tests/upstream/run.py SB3VecEnv -- -x     # one suite; what follows -- is for pytest
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from suites import SUITES

HERE = Path(__file__).resolve().parent


def download_tests(folder: Path) -> Path:
    """Downloads the source distribution of the installed SB3 and unpacks its test files.

    Returns:
        The folder of the test files.
    """
    version = importlib.metadata.version("stable_baselines3")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "stable_baselines3"]
    subprocess.run([*pip, "--dest", str(folder), f"stable_baselines3=={version}"], check=True)
    (archive_path,) = folder.glob("*.tar.gz")
    tests = folder / "tests"
    tests.mkdir()
    with tarfile.open(archive_path) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            content = archive.extractfile(member) if path.suffix == ".py" and path.parts[1:2] == ("tests",) else None
            if content is not None:
                (tests / path.name).write_bytes(content.read())
    return tests


def run_suite(name: str, tests: Path, pytest_arguments: list[str]) -> int:
    """Runs one suite in a process of its own, for the substitution is for good.

    Returns:
        Pytest's exit status.
    """
    # The folder holds no package of SB3's: the one that is installed is tested.
    paths = [str(HERE), str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {
        "SDL_VIDEODRIVER": "dummy",
        **os.environ,
        "IMAGINE_UPSTREAM_SUITE": name,
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "substitute", "-p", "no:cacheprovider"]
    files = [str(tests / file) for file in SUITES[name].files]
    print(f"{name}: SB3's tests with {SUITES[name].by} for {SUITES[name].replaces}", flush=True)
    arguments = ["--rootdir", str(tests), *files, *pytest_arguments]
    return subprocess.run([*command, *arguments], cwd=tests, env=environment, check=False).returncode


def main() -> int:
    """The command line.

    Returns:
        0 if all tests passed.
    """
    parser = argparse.ArgumentParser(description="Runs SB3's own tests with our classes in the place of SB3's.")
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"what to run (all): {', '.join(SUITES)}")
    own, pytest_arguments = sys.argv[1:], []
    if "--" in own:
        split = own.index("--")
        own, pytest_arguments = own[:split], own[split + 1 :]
    names = parser.parse_args(own).suites or list(SUITES)
    if unknown := sorted(set(names) - set(SUITES)):
        parser.error(f"unknown suite {', '.join(unknown)}; there are {', '.join(SUITES)}")
    with tempfile.TemporaryDirectory(prefix="sb3-tests-") as folder:
        tests = download_tests(Path(folder))
        return max(run_suite(name, tests, pytest_arguments) for name in names)


if __name__ == "__main__":
    sys.exit(main())
