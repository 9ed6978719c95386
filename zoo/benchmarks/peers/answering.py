"""How another library's process answers: one line of JSON for each line of input. Needs nothing but Python."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["answer_all"]


def answer_all(versions: dict[str, str], answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answers requests until the input ends.

    Args:
        versions: The first line written.
        answer: Request → answer.
    """
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    warnings.simplefilter("ignore")
    print(json.dumps(versions), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=answers, flush=True)
