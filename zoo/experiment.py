"""rl_zoo3's experiment manager with dreams, atomic files, and runs that can be resumed."""

from __future__ import annotations

import os
import shutil
import tempfile
from argparse import Namespace
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import gymnasium as gym
from rl_zoo3 import exp_manager
from rl_zoo3.exp_manager import ExperimentManager
from rl_zoo3.utils import ALGOS, get_latest_run_id
from sb3_contrib import ARS
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecMonitor

from imagine_agents.common.checkpoint import AtomicCheckpointCallback, checkpoints, load_checkpoint, read_progress
from imagine_envs.dreams import Dream, DreamVectorEnv
from imagine_envs.experience import Replay
from imagine_envs.registration import is_task
from imagine_envs.storage import StorageError, atomic_directory, atomic_file
from imagine_envs.world_models import World
from wrappers import SB3VecEnv
from zoo.agents import REAL_STEP_AGENTS
from zoo.callbacks import AtomicEvalCallback, AtomicSaveVecNormalizeCallback
from zoo.runs import Run, as_json, differences

__all__ = ["HYPERPARAMETERS", "DreamExperimentManager", "Plan"]

HYPERPARAMETERS = Path(__file__).parent / "hyperparams"
"""``<algo>.yml`` for our own algorithms; for rl_zoo3's ``dream/<algo>.yml`` in a batch of dreams and
``tasks/<algo>.yml`` in a batch of a task of :mod:`imagine_envs.tasks`."""

_CHECKPOINTS_PER_RUN = 10
_EVALUATIONS_PER_RUN = 5  # of an algorithm that learns from few real steps
_EVAL_FREQ = 25_000  # rl_zoo3's default


@dataclass
class Plan:
    """What a command line asks of a training besides what rl_zoo3 knows of.

    Attributes:
        world: The world to train in, or None.
        world_path: Where it was loaded from.
        dream_kwargs: Options of its dream.
        resumed: The interrupted run to go on with, or None.
        held: What is held until the training is over (the lock of the run).
    """

    world: World | None = None
    world_path: str = ""
    dream_kwargs: dict[str, Any] = field(default_factory=dict)
    resumed: Run | None = None
    held: ExitStack = field(default_factory=ExitStack)


class DreamExperimentManager(ExperimentManager):
    """rl_zoo3's ``ExperimentManager``, with four differences.

    - Stock algorithms train on our tasks in native batches.
    - With a world, the training environment is a native batch of its dreams. Evaluation takes place in the real
      environment, so that the best model is never chosen in a dream.
    - Every file is written whole or not at all, and checkpoints hold all that a run needs to go on.
    - With a run to resume, training goes on from its last checkpoint, in its folder, to its original target.

    Args:
        args: rl_zoo3's arguments.
        algo: rl_zoo3's name of the algorithm.
        env_id: The real environment.
        log_folder: Root of the log folders.
        *rest: As for ``ExperimentManager``.
        plan: The world, and the run to resume.
        **kwargs: As for ``ExperimentManager``. ``save_freq`` and ``eval_freq`` may be None: then they follow from the
            number of steps.
    """

    def __init__(
        self,
        args: Namespace,
        algo: str,
        env_id: str,
        log_folder: str,
        *rest: Any,
        plan: Plan | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(args, algo, env_id, log_folder, *rest, **kwargs)
        self.plan = plan or Plan()
        self.run: Run | None = None
        self._dream: Dream | None = None
        self._checkpoint: Path | None = None  # to go on from
        self._saved_hyperparams: dict[str, Any] = {}
        self._completed = False
        self._is_task = is_task(env_id) and algo not in REAL_STEP_AGENTS
        ours = HYPERPARAMETERS / ("dream" if self.plan.world else "tasks" if self._is_task else "") / f"{algo}.yml"
        if kwargs.get("config") is None and ours.is_file():
            self.config = str(ours)
        if self.plan.resumed is not None:
            self._write_to(self.plan.resumed.folder)

    # --- before training --------------------------------------------------------------------------------------------

    def read_hyperparameters(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """As rl_zoo3's; the real environment of a latent dream is wrapped so that it shows the dream's features."""
        hyperparams, saved_hyperparams = super().read_hyperparameters()
        # rl_zoo3 evaluates with the command line's arguments only, and forgets those of the YAML file.
        self.eval_env_kwargs: dict[str, Any] = self.eval_env_kwargs or dict(hyperparams.get("env_kwargs") or {})
        if self.plan.dream_kwargs.get("observation") == "latent":
            features = {"wrappers.latent_observation.LatentObservation": {"world_model": self.plan.world_path}}
            others = hyperparams.get("env_wrapper") or []
            wrappers = [*(others if isinstance(others, list) else [others]), features]
            # Saved too, so that `enjoy` wraps the environment in the same way.
            hyperparams["env_wrapper"] = saved_hyperparams["env_wrapper"] = wrappers
        self._saved_hyperparams = dict(saved_hyperparams)
        return hyperparams, saved_hyperparams

    def create_log_folder(self) -> None:
        """Begins the run's record, or checks that the run to resume is the same as this one."""
        if self.plan.world is not None:
            self._dream = Dream(self.plan.world, **self.plan.dream_kwargs)
            self._check_spaces(self._dream)
        if self.optimize_hyperparameters:
            super().create_log_folder()
        elif self.plan.resumed is None:
            self._take_free_folder()
            super().create_log_folder()
            self.run = Run.begin(self.save_path, self.args, self._saved_hyperparams, self._digest())
            self.plan.held.enter_context(self.run.locked())
        else:
            self.run = self.plan.resumed
            self._go_on(self.run)

    def _take_free_folder(self) -> None:
        """Creates the run's folder, under the next number if another process was faster."""
        while True:
            try:
                Path(self.save_path).mkdir(parents=True)
                return
            except FileExistsError:
                number = get_latest_run_id(self.log_path, self.env_name) + 1
                self._write_to(Path(self.log_path) / f"{self.env_name}_{number}")

    def _write_to(self, folder: Path) -> None:
        self.save_path = str(folder)
        self.params_path = f"{self.save_path}/{self.env_name}"

    def _digest(self) -> str | None:
        return None if self.plan.world is None else self.plan.world.digest

    def _go_on(self, run: Run) -> None:
        if run.record["world"] != self._digest():
            raise ValueError(
                f"--resume: {self.plan.world_path or 'no world'} is not the world that {run.folder} was trained in (it "
                "was fitted again, or replaced); leave --resume out to begin a new run"
            )
        changed = differences(run.record["hyperparameters"], as_json(self._saved_hyperparams))
        if changed:
            raise ValueError(
                f"--resume: the hyperparameters are not those of {run.folder}: {'; '.join(changed)}; "
                "leave --resume out to begin a new run"
            )
        self._checkpoint, progress = _last_whole_checkpoint(run.folder)
        self.continue_training = True  # rl_zoo3's word for a model that is loaded rather than made
        print(f"Resuming {run.folder} at {progress['num_timesteps']:,} of {self.n_timesteps:,} steps")

    def _check_spaces(self, dream: Dream) -> None:
        env = gym.spec(self.env_name.gym_id).make(**self.eval_env_kwargs)
        env = env if self.env_wrapper is None else self.env_wrapper(env)
        try:
            for name in ("observation_space", "action_space"):
                real, dreamt = getattr(env, name), getattr(dream, name)
                if real != dreamt:
                    raise ValueError(
                        f"--env {self.env_name.gym_id} has the {name} {real}, but the dream of --world-model "
                        f"{self.plan.world_path} (a world of {dream.world.spec.env_id}) has {dreamt}"
                    )
        finally:
            env.close()

    def create_callbacks(self) -> None:
        """rl_zoo3's callbacks, in their atomic forms; those of a resumed run remember what they had seen."""
        if self.save_freq is None:  # type: ignore[has-type]
            self.save_freq = max(self.n_timesteps // _CHECKPOINTS_PER_RUN, 1)
        if self.eval_freq is None:  # type: ignore[has-type]
            few_steps = self.algo in REAL_STEP_AGENTS
            self.eval_freq = max(self.n_timesteps // _EVALUATIONS_PER_RUN, 1) if few_steps else _EVAL_FREQ
        if self.optimize_hyperparameters:
            self.save_freq = -1
        with patch.multiple(
            exp_manager,
            CheckpointCallback=AtomicCheckpointCallback,
            EvalCallback=AtomicEvalCallback,
            SaveVecNormalizeCallback=AtomicSaveVecNormalizeCallback,
        ):
            super().create_callbacks()
        if self.normalize and self.save_freq > 0:
            # `enjoy --load-last-checkpoint` wants the statistics where rl_zoo3 keeps them.
            self.callbacks.append(AtomicSaveVecNormalizeCallback(self.save_freq, self.params_path))
        if self._checkpoint is not None:
            progress = read_progress(self._checkpoint)
            for callback in self.callbacks:
                callback.n_calls = progress["n_calls"]
                if isinstance(callback, AtomicEvalCallback):
                    callback.resume(progress["num_timesteps"])

    def create_envs(self, n_envs: int, eval_env: bool = False, no_log: bool = False) -> VecEnv:
        """rl_zoo3's environments; for training in a world or a task, a native batch takes their place."""
        if self._checkpoint is not None and not eval_env and not no_log:
            _keep_monitor_files(Path(self.save_path))
        as_told = self.env_wrapper is None and self.vec_env_class is DummyVecEnv
        if eval_env or (self._dream is None and not (self._is_task and as_told)):
            return super().create_envs(n_envs, eval_env, no_log)
        with patch.object(exp_manager, "make_vec_env", self._make_batch):
            return super().create_envs(n_envs, eval_env, no_log)

    def _make_batch(self, _: Any, n_envs: int, seed: int, monitor_dir: str | None, **kwargs: Any) -> VecEnv:
        """Stands in for SB3's ``make_vec_env``."""
        name = "task" if self._dream is None else "dream"
        batch: gym.vector.VectorEnv[Any, Any, Any]
        if self._dream is None:
            batch = gym.make_vec(self.env_name.gym_id, n_envs, **(kwargs["env_kwargs"] or {}))
        else:
            batch = DreamVectorEnv(self._dream, n_envs)
        envs = SB3VecEnv(batch)
        envs.seed(seed)
        return VecMonitor(envs, None if monitor_dir is None else os.path.join(monitor_dir, name))

    def _maybe_normalize(self, env: VecEnv, eval_env: bool) -> VecEnv:
        if self._dream is not None and self.normalize and eval_env:
            env = _Unchanged(env)
        return super()._maybe_normalize(env, eval_env)

    def _load_pretrained_agent(self, hyperparams: dict[str, Any], env: VecEnv) -> BaseAlgorithm:
        if self._checkpoint is None:
            return super()._load_pretrained_agent(hyperparams, env)
        return load_checkpoint(
            ALGOS[self.algo],
            self._checkpoint,
            env,
            device=self.device,
            tensorboard_log=self.tensorboard_log,
            verbose=self.verbose,
        )

    def _save_config(self, saved_hyperparams: dict[str, Any]) -> None:
        if self._checkpoint is not None:  # the run has its own
            return
        with tempfile.TemporaryDirectory(dir=self.save_path, prefix=".") as folder:
            with patch.object(self, "params_path", folder):
                super()._save_config(saved_hyperparams)
            for file in Path(folder).iterdir():
                with atomic_file(Path(self.params_path) / file.name) as copy:
                    shutil.copyfile(file, copy)

    # --- training ---------------------------------------------------------------------------------------------------

    def learn(self, model: BaseAlgorithm) -> None:
        """As rl_zoo3's; a resumed run goes on to the target that it had."""
        proxy = _Model(model, resumed=self._checkpoint is not None)
        super().learn(proxy)
        self._completed = proxy.completed

    def save_trained_model(self, model: BaseAlgorithm) -> None:
        """As rl_zoo3's, atomically; a run that reached its end is marked as finished."""
        super().save_trained_model(_Model(model))
        if self.run is None:
            return
        if self._completed:
            self.run.finish()
        else:
            print(
                f"Interrupted at {model.num_timesteps:,} of {self.n_timesteps:,} steps; the same command with --resume "
                "goes on from the last checkpoint"
            )


class _Model:
    """A model as rl_zoo3's manager sees it: its files are atomic, and ``learn`` knows of steps taken before.

    Args:
        model: The model.
        resumed: Whether it has a part of its training behind it.
    """

    def __init__(self, model: Any, resumed: bool = False) -> None:
        self._model = model
        self._resumed = resumed
        self.completed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def learn(self, total_timesteps: int, **kwargs: Any) -> None:
        model = self._model
        if self._resumed:
            kwargs["reset_num_timesteps"] = False
            if isinstance(model, ARS):
                # ARS schedules by steps taken / its argument, which must be the whole target then: so the steps
                # taken are put back after `_setup_learn` has added them to the argument.
                kwargs["callback"] = [_TakenBefore(model.num_timesteps), *kwargs.get("callback", [])]
                model.num_timesteps = 0
            else:
                total_timesteps = max(total_timesteps - model.num_timesteps, 0)
        model.learn(total_timesteps, **kwargs)
        self.completed = True

    def save(self, path: str) -> None:
        with atomic_file(f"{path}.zip") as file:
            self._model.save(file)

    @property
    def save_replay_buffer(self) -> Any:
        save = self._model.save_replay_buffer  # an AttributeError here answers rl_zoo3's `hasattr`

        def save_atomically(path: str) -> None:
            replay_buffer = self._model.replay_buffer
            is_directory = isinstance(getattr(replay_buffer, "replay", replay_buffer), Replay)
            with atomic_directory(path, overwrite=True) if is_directory else atomic_file(path) as place:
                save(place)

        return save_atomically

    def get_vec_normalize_env(self) -> Any:
        normalize = self._model.get_vec_normalize_env()
        return None if normalize is None else _Normalize(normalize)


class _Normalize:
    """A ``VecNormalize`` that is saved atomically."""

    def __init__(self, normalize: Any) -> None:
        self._normalize = normalize

    def save(self, path: str) -> None:
        with atomic_file(path) as file:
            self._normalize.save(str(file))


class _TakenBefore(BaseCallback):
    """Puts back the number of steps that were taken before."""

    def __init__(self, num_timesteps: int) -> None:
        super().__init__()
        self._steps = num_timesteps

    def _on_training_start(self) -> None:
        self.model.num_timesteps = self.model._num_timesteps_at_start = self._steps

    def _on_step(self) -> bool:
        return True


class _Unchanged(VecEnvWrapper):
    """Changes nothing. SB3 compares the wrappers of both environments one by one; the dreams have a VecMonitor here."""

    def reset(self) -> Any:
        return self.venv.reset()

    def step_wait(self) -> Any:
        return self.venv.step_wait()


def _last_whole_checkpoint(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The newest checkpoint that can be read, and what it says of itself.

    Raises:
        StorageError: If none can be read.
    """
    found = checkpoints(folder)
    for path in found:
        try:
            return path, read_progress(path)
        except StorageError as error:
            print(f"Checkpoint {path.name} cannot be used: {error}")
    raise StorageError(f"{folder}: none of its {len(found)} checkpoints can be read")


def _keep_monitor_files(folder: Path) -> None:
    """Moves the episodes logged so far out of the way of the new log; SB3's ``load_results`` reads all of them."""
    for file in folder.glob("*.monitor.csv"):
        name = file.name.removesuffix(".monitor.csv")
        if ".part" in name or not file.stat().st_size:
            continue
        number = len(list(folder.glob(f"{name}.part*.monitor.csv"))) + 1
        os.replace(file, folder / f"{name}.part{number}.monitor.csv")
