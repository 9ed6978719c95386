"""Memory that is freed and wanted again."""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of glibc's mallopt
_LARGEST = 2**31 - 1  # bytes; mallopt takes an int


def keep_freed_memory() -> bool:
    """Lets this process keep what it frees, instead of handing it back to the system.

    An update of a recurrent world frees hundreds of megabytes that the next one needs again. glibc hands large blocks
    back at once, and gets them back page by page, cleared: up to a third of the time of such an update. What is kept is
    no more than what was in use at once. Where the C library is another one, nothing is changed.

    It is called where networks are trained on a CPU, and holds for the whole process.

    Returns:
        Whether the C library took it.

    Example:
        >>> from imagine_envs.allocation import keep_freed_memory
        >>> kept = keep_freed_memory()
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library; Windows, where there is no CDLL(None)
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, _LARGEST))
