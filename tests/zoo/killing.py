"""A callback that ends its process as an out-of-memory killer does, at the worst moments."""

from __future__ import annotations

import os
import signal

from stable_baselines3.common.callbacks import BaseCallback

import imagine_envs.storage


class KillAt(BaseCallback):
    """Sends SIGKILL to this process when the steps in ``IMAGINE_TEST_KILL_AT`` have been taken.

    With ``IMAGINE_TEST_KILL_IN=save`` it waits for the next file that is about to take its final name.
    """

    def _on_step(self) -> bool:
        if self.num_timesteps >= int(os.environ.get("IMAGINE_TEST_KILL_AT", 10**9)):
            if os.environ.get("IMAGINE_TEST_KILL_IN") == "save":
                imagine_envs.storage.os = _KillsInReplace()  # type: ignore[attr-defined]
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return True


class _KillsInReplace:
    def __getattr__(self, name: str) -> object:
        return getattr(os, name)

    def replace(self, *_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class InterruptAt(BaseCallback):
    """Ctrl-C after 1,000 steps, if ``IMAGINE_TEST_INTERRUPT`` is set."""

    def _on_step(self) -> bool:
        if self.num_timesteps >= 1000 and os.environ.get("IMAGINE_TEST_INTERRUPT"):
            raise KeyboardInterrupt
        return True
