"""ImaginationTrainer: the loop, the contract of SB3, every stock algorithm."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.callbacks import BaseCallback, CheckpointCallback, EvalCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from trainer_parts import OFF_POLICY, SMALL_POLICY, SMALL_WORLD, Corridor, Memory, Pictures, parameters, small

from imagine_agents import ImaginationTrainer
from imagine_agents.common.checkpoint import load_checkpoint, save_checkpoint
from imagine_agents.imagination_trainer.acting import Noisy
from imagine_envs.dreams import Dream
from imagine_envs.dreams.acting import Actor
from imagine_envs.experience import Replay
from imagine_envs.storage import StorageError
from imagine_envs.world_models import CopyModel, Ensemble
from imagine_envs.world_models.families import FAMILIES
from wrappers import LatentObservation

pytestmark = pytest.mark.filterwarnings("error", "ignore:none of the .* transitions terminates")

PENDULUM = {
    "env": "Pendulum-v1",
    "algorithm_kwargs": {**OFF_POLICY, "gradient_steps": 1},
    "policy_kwargs": SMALL_POLICY,
}
ALGORITHMS: dict[str, dict[str, Any]] = {
    "PPO": {},
    "A2C": {},
    "TRPO": {},
    "RecurrentPPO": {"policy": "MlpLstmPolicy", "policy_kwargs": {"lstm_hidden_size": 8}},
    "ARS": {"algorithm_kwargs": {"n_delta": 2, "zero_policy": False}, "num_dreams": 1},
    "DQN": {"algorithm_kwargs": OFF_POLICY, "policy_kwargs": SMALL_POLICY},
    "QRDQN": {"algorithm_kwargs": OFF_POLICY, "policy_kwargs": {"net_arch": [8], "n_quantiles": 4}},
    **dict.fromkeys(("SAC", "TD3", "DDPG", "TQC", "CrossQ"), PENDULUM),
}


def observations(model: ImaginationTrainer, count: int = 16) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, *model.observation_space.shape)).astype(np.float32)


class Remembers(BaseCallback):
    """Notes what a callback is told, and stops after ``stop_after`` calls."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__()
        self.stop_after = stop_after
        self.events: list[str] = []
        self.steps: list[int] = []
        self.local_names: set[str] = set()

    def _on_training_start(self) -> None:
        self.events.append("training start")
        assert self.locals["total_timesteps"] > 0

    def _on_rollout_start(self) -> None:
        self.events.append(f"rollout start {self.model.num_timesteps}")

    def _on_step(self) -> bool:
        self.steps.append(self.num_timesteps)
        self.local_names |= set(self.locals)
        return self.stop_after is None or self.n_calls < self.stop_after

    def _on_rollout_end(self) -> None:
        self.events.append(f"rollout end {self.model.num_timesteps}")

    def _on_training_end(self) -> None:
        self.events.append("training end")


class Table(KVWriter):
    """A logger's output as a list of dicts."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        self.rows.append({**key_values, "step": step})

    def close(self) -> None: ...


# --- every algorithm ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_learns_predicts_saves_and_loads(name: str, tmp_path: Path) -> None:
    model = small(**{"algorithm": name, **ALGORITHMS[name]})
    before = parameters(model)
    assert model.learn(40) is model
    after = parameters(model)
    assert (model.num_timesteps, model.fitted_timesteps) == (40, 40)
    assert model.dream_steps == model.agent.num_timesteps >= 2 * 64
    assert any(before[key] != after[key] for key in before if key.startswith("/world_model"))
    assert any(before[key] != after[key] for key in before if key.startswith("/agent.policy/"))

    seen = observations(model)
    actions, _ = model.predict(seen, deterministic=True)
    assert all(action in model.action_space for action in actions)
    model.save(tmp_path / "model")
    loaded = ImaginationTrainer.load(tmp_path / "model", device="cpu")
    assert parameters(loaded) == parameters(model)
    assert any("optim" in key for key in after) or name == "ARS"
    np.testing.assert_array_equal(loaded.predict(seen, deterministic=True)[0], actions)
    assert loaded.learning_rate == model.learning_rate
    assert vars(loaded.agent).keys() >= {"num_timesteps", "_n_updates"}
    for counter in ("num_timesteps", "_n_updates", "_n_calls", "exploration_rate"):
        assert getattr(loaded.agent, counter, None) == getattr(model.agent, counter, None)
    if name == "ARS":
        assert torch.equal(loaded.agent.weights, model.agent.weights)
        assert loaded.agent.weights.abs().sum() > 0
    loaded.set_env(gym.make(ALGORITHMS[name].get("env", "CartPole-v1")))
    loaded.learn(20, reset_num_timesteps=False)  # without its experience it collects anew
    assert (loaded.num_timesteps, loaded.fitted_timesteps) == (60, 60)


@pytest.mark.parametrize("name", ["PPO", "SAC"])
def test_the_same_seed_gives_the_same_agent(name: str) -> None:
    results = {}
    for seed in (0, 0, 1):
        torch.rand(3)  # whatever happened in the process before
        model = small(**{"algorithm": name, "seed": seed, **ALGORITHMS[name]}).learn(40)
        result = parameters(model), model.replay_buffer.transitions().observation.tolist()
        assert results.setdefault(seed, result) == result
    assert results[0][1] != results[1][1]
    assert results[0][0] != results[1][0]


def test_without_a_seed_it_learns_too() -> None:
    model = small(seed=None, stop_rule=0.1, stop_rule_freq=32).learn(40)
    assert model.num_timesteps == 40


def test_the_algorithm_is_given_by_name_or_class() -> None:
    assert type(small(algorithm="ppo").agent) is type(small(algorithm=PPO).agent) is PPO
    assert type(small(env="Pendulum-v1", algorithm="SAC", **{"algorithm_kwargs": OFF_POLICY}).agent) is SAC


def test_policy_names_are_those_of_the_inner_algorithm() -> None:
    assert type(small(policy="MlpLstmPolicy", algorithm="RecurrentPPO").policy).__name__ == "RecurrentActorCriticPolicy"
    assert isinstance(small(policy=PPO.policy_aliases["MlpPolicy"]).policy, PPO.policy_aliases["MlpPolicy"])
    with pytest.raises(ValueError, match="Policy MlpLstmPolicy unknown"):
        small(policy="MlpLstmPolicy")


def test_settings_reach_the_inner_algorithm() -> None:
    model = small(algorithm_kwargs={"gamma": 0.5, "n_steps": 8}, policy_kwargs={"net_arch": [5]}, learning_rate=0.25)
    assert (model.agent.gamma, model.agent.n_envs, model.agent.n_steps, model.agent.batch_size) == (0.5, 4, 8, 32)
    assert model.policy.mlp_extractor.policy_net[0].out_features == 5
    assert (model.agent.learning_rate, model.learning_rate) == (0.25, 0.25)
    assert small(algorithm_kwargs={"learning_rate": 0.125}).learning_rate == 0.125
    assert small().learning_rate == small().agent.learning_rate > 0


# --- the loop -------------------------------------------------------------------------------------------------------


def test_real_steps_are_counted_exactly_and_callbacks_see_each_of_them() -> None:
    callback = Remembers()
    model = small(learning_starts=20, train_freq=15).learn(45, callback=callback)
    assert callback.steps == list(range(1, 46))
    assert model.num_timesteps == model.replay_buffer.num_steps == 45
    assert callback.events == [
        "training start", "rollout start 0", "rollout end 20", "rollout start 20", "rollout end 35",
        "rollout start 35", "rollout end 45", "training end",
    ]  # fmt: skip
    assert {"self", "total_timesteps", "tb_log_name", "new_obs", "rewards", "dones", "infos"} <= callback.local_names


def test_a_callback_stops_training_and_nothing_is_learned_from_the_rest() -> None:
    callback = Remembers(stop_after=27)
    model = small().learn(60, callback=callback)
    assert (model.num_timesteps, model.fitted_timesteps) == (27, 20)
    assert callback.events[-1] == "training end"
    assert "rollout end 27" not in callback.events
    # Going on later, the next fit is due where it would have been.
    callback = Remembers()
    model.learn(33, callback=callback, reset_num_timesteps=False)
    assert callback.events[1:3] == ["rollout start 27", "rollout end 40"]
    assert model.num_timesteps == model.fitted_timesteps == 60


def test_fits_and_dreams_take_turns_and_the_last_one_may_be_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int, Any]] = []
    import imagine_agents.imagination_trainer.imagination_trainer as module

    def fit(model: Any, replay: Replay, **kwargs: Any) -> Any:
        seen.append(("fit", replay.num_steps, None))
        return real_fit(model, replay, **kwargs)

    def learn(self: Any, total_timesteps: int, **kwargs: Any) -> Any:
        seen.append(("dream", self.n_envs, total_timesteps))
        return real_learn(self, total_timesteps, **kwargs)

    real_fit, real_learn = module.fit, PPO.learn
    monkeypatch.setattr(module, "fit", fit)
    monkeypatch.setattr(PPO, "learn", learn)
    small(final_dream_timesteps=200, train_freq=10).learn(35)
    assert seen == [
        ("fit", 20, None), ("dream", 4, 64), ("fit", 30, None), ("dream", 4, 64), ("fit", 35, None), ("dream", 4, 200),
    ]  # fmt: skip


def test_fewer_steps_than_learning_starts_are_one_round() -> None:
    model = small(learning_starts=100).learn(25)
    assert (model.num_timesteps, model.fitted_timesteps) == (25, 25)
    assert small().learn(0).num_timesteps == 0


def test_several_environments_count_their_steps_together() -> None:
    env = make_vec_env("CartPole-v1", n_envs=3)
    callback = Remembers()
    model = small(env=env).learn(40, callback=callback)
    assert callback.steps == list(range(3, 43, 3))
    assert model.num_timesteps == model.replay_buffer.num_steps == model.fitted_timesteps == 42
    assert model.replay_buffer.num_envs == 3


def test_learning_again_goes_on_or_counts_anew_and_never_repeats_what_it_knows() -> None:
    corridor = Corridor()
    model = small(env=corridor).learn(20)
    first = list(corridor.actions)
    assert corridor.seeds[0] == 0
    resets, episodes = len(corridor.seeds), corridor.episode
    model.learn(20, reset_num_timesteps=False)  # in the middle of an episode
    assert (model.num_timesteps, model.replay_buffer.num_steps) == (40, 40)
    assert corridor.seeds[resets:] == [None] * (corridor.episode - episodes)
    assert corridor.episode - episodes == 40 // 7 - 20 // 7
    model.learn(20)
    assert (model.num_timesteps, model.fitted_timesteps, model.replay_buffer.num_steps) == (20, 20, 60)
    assert corridor.seeds.count(0) == 2  # SB3 resets once, and the collector, both at the very beginning
    assert len(set(corridor.seeds) - {None}) == 2
    assert corridor.actions[-20:] != first


def test_random_actions_first_then_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    real = Actor.predict
    monkeypatch.setattr(Actor, "predict", lambda self, *a, **k: asked.append(k["deterministic"]) or real(self, *a, **k))
    small().learn(50)
    assert asked == [False] * 30


def test_a_fresh_refit_forgets_the_last_weights_and_a_warm_one_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    import imagine_agents.imagination_trainer.imagination_trainer as module

    begun: list[list[float]] = []
    ended: list[list[float]] = []

    def fit(model: Any, replay: Replay, **kwargs: Any) -> Any:
        begun.append(model.dynamics.weights[0].flatten().tolist())
        world = real_fit(model, replay, **kwargs)
        ended.append(model.dynamics.weights[0].flatten().tolist())
        return world

    real_fit = module.fit
    monkeypatch.setattr(module, "fit", fit)
    model = small(refit="warm").learn(40)
    assert begun[1] == ended[0]
    begun.clear()
    ended.clear()
    model = small(refit="fresh").learn(40)
    assert begun[1] != ended[0]
    model.learn(20, reset_num_timesteps=False)
    assert begun[2] != ended[1]  # in a later call too
    assert len({*map(tuple, begun)}) == 3


def test_off_policy_buffers_hold_dreams_of_the_present_world_only() -> None:
    model = small(algorithm=DQN, algorithm_kwargs=OFF_POLICY, policy_kwargs=SMALL_POLICY).learn(60)
    assert model.dream_steps == 3 * 64
    assert model.agent.replay_buffer.size() * 4 == 64


def test_returns_in_dreams_are_those_of_the_present_world_only() -> None:
    model = small(env="Pendulum-v1", dream_kwargs={"horizon": 10}, algorithm_kwargs={"n_steps": 8}).learn(60)
    assert model.dream_steps == 3 * 64  # sixteen steps in each of four dreams: one end each
    assert len(model.agent.ep_info_buffer) == 4


def test_schedules_run_once_from_the_first_real_step_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []
    real = PPO.train
    monkeypatch.setattr(PPO, "train", lambda self: seen.append(self._current_progress_remaining) or real(self))
    model = small(learning_starts=20, train_freq=20, algorithm_kwargs={"n_steps": 8}).learn(40)
    np.testing.assert_allclose(seen, [0.75, 0.5, 0.25, 0.0])
    assert "_update_current_progress_remaining" not in vars(model.agent)
    seen.clear()
    model.learn(40, reset_num_timesteps=False)
    np.testing.assert_allclose(seen, [0.375, 0.25, 0.125, 0.0])


def test_options_of_the_dream_pass_through_and_the_bonus_decays_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    options: list[dict[str, Any]] = []
    real = Dream.__init__

    @functools.wraps(real)
    def init(self: Dream, world: Any, **kwargs: Any) -> None:
        options.append(kwargs)
        real(self, world, **kwargs)

    monkeypatch.setattr(Dream, "__init__", init)
    given = {"horizon": 9, "uncertainty_penalty": 0.5, "halt_uncertainty": 0.9}
    small(dream_kwargs=given, exploration_bonus=2.0).learn(80)
    assert [kwargs["uncertainty_penalty"] for kwargs in options] == [0.5 - 1.5, 0.5 - 1.0, 0.5 - 0.5, 0.5]
    assert all((kwargs["horizon"], kwargs["halt_uncertainty"]) == (9, 0.9) for kwargs in options)
    options.clear()
    small(exploration_bonus=2.0).learn(40)
    assert [kwargs.get("uncertainty_penalty") for kwargs in options] == [-1.0, None]
    options.clear()
    small().learn(20)
    assert options == [{"observation": "decoded"}]


def test_the_stop_rule_ends_a_dream_early(monkeypatch: pytest.MonkeyPatch) -> None:
    import imagine_agents.imagination_trainer.validation as module

    monkeypatch.setattr(module, "dream_returns", lambda *_, **__: ([1.0], [1]))  # nobody ever improves
    few = {"n_steps": 8}  # so that the policy is updated after 32 imagined steps
    model = small(dream_timesteps=1000, stop_rule=0.7, stop_rule_freq=40, algorithm_kwargs=few).learn(20)
    assert model.dream_steps == 40
    monkeypatch.undo()
    model = small(dream_timesteps=200, stop_rule=0.7, stop_rule_freq=1_000).learn(20)
    assert model.dream_steps >= 200


# --- log ------------------------------------------------------------------------------------------------------------


def test_keys_of_the_log() -> None:
    model = small(
        eval_env="CartPole-v1", n_eval_episodes=2, stop_rule=0.01, stop_rule_freq=32, algorithm_kwargs={"n_steps": 8}
    )
    table = Table()
    model.set_logger(Logger(None, [table]))
    model.learn(40)
    assert [row["step"] for row in table.rows] == [20, 40]
    last = table.rows[-1]
    assert last.keys() >= {
        "rollout/ep_rew_mean", "rollout/ep_len_mean", "time/fps", "time/time_elapsed", "time/iterations",
        "time/total_timesteps", "world_model/holdout_error", "world_model/updates", "imagine/ep_rew_mean",
        "imagine/ep_len_mean", "imagine/total_timesteps", "imagine/train/loss", "imagine/train/n_updates",
        "imagine/validation/improved_members", "eval/mean_reward", "eval/std_reward", "eval/mean_ep_length",
    }  # fmt: skip
    assert not [key for key in last if key.startswith("train/")]
    assert (last["time/total_timesteps"], last["imagine/total_timesteps"]) == (40, model.dream_steps)
    episodes = [episode for episode in model.replay_buffer.episodes() if episode.complete]
    assert last["rollout/ep_rew_mean"] == pytest.approx(np.mean([episode.total_reward for episode in episodes]))


def test_log_interval() -> None:
    table = Table()
    model = small()
    model.set_logger(Logger(None, [table]))
    model.learn(60, log_interval=2)
    assert [row["step"] for row in table.rows] == [40]
    model.learn(20, log_interval=None, reset_num_timesteps=False)
    assert len(table.rows) == 1


def test_progress_bars_tensorboard_and_the_printed_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tensorboard")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tqdm.rich and TensorBoard
        small(tensorboard_log=str(tmp_path), verbose=1).learn(40, progress_bar=True)
    assert [path.name for path in tmp_path.iterdir()] == ["imagination_1"]
    printed = capsys.readouterr()
    assert "holdout_error" in printed.out
    assert "fit world" in printed.err
    assert "dream" in printed.err


# --- evaluation -----------------------------------------------------------------------------------------------------


def test_evaluation_never_affects_training() -> None:
    plain = small().learn(40)
    evaluated = small(eval_env="CartPole-v1", n_eval_episodes=2).learn(40)
    assert parameters(evaluated) == parameters(plain)
    assert (evaluated.num_timesteps, evaluated.dream_steps) == (plain.num_timesteps, plain.dream_steps)
    ours, theirs = evaluated.replay_buffer.transitions(), plain.replay_buffer.transitions()
    assert torch.equal(ours.observation, theirs.observation)


@pytest.mark.parametrize("name", ["PPO", "RecurrentPPO"])
def test_evaluate_policy_and_eval_callback(name: str) -> None:
    model = small(**{"algorithm": name, **ALGORITHMS[name]})
    env = make_vec_env("CartPole-v1", n_envs=2, seed=0)
    model.learn(20, callback=EvalCallback(make_vec_env("CartPole-v1"), n_eval_episodes=1, eval_freq=10, verbose=0))
    returns, lengths = evaluate_policy(model, env, n_eval_episodes=3, return_episode_rewards=True)
    assert returns == lengths
    assert len(returns) == 3


def test_recurrent_state_is_handed_through() -> None:
    model = small(policy="MlpLstmPolicy", algorithm="RecurrentPPO", policy_kwargs={"lstm_hidden_size": 8})
    seen = observations(model, 2)
    _, state = model.predict(seen)
    assert state[0].shape == (1, 2, 8)
    _, again = model.predict(seen, state=state, episode_start=np.array([True, False]))
    assert np.allclose(again[0][:, 0], state[0][:, 0], atol=1e-6)
    assert not np.allclose(again[0][:, 1], state[0][:, 1], atol=1e-6)


# --- saving and going on --------------------------------------------------------------------------------------------


def assert_same_experience(one: Replay, other: Replay) -> None:
    assert (len(one), one.num_steps, one.num_episodes) == (len(other), other.num_steps, other.num_episodes)
    ours, theirs = one.sequences(1), other.sequences(1)
    for name in ("observation", "action", "reward", "terminated", "truncated", "first"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name


class SavesAt(BaseCallback):
    """Writes a checkpoint at one moment of a run, and kills it."""

    def __init__(self, moment: str, path: Path) -> None:
        super().__init__()
        self.moment, self.path = moment, path

    def _at(self, moment: str) -> None:
        if moment == self.moment:
            save_checkpoint(self.model, self.path)
            raise KeyboardInterrupt

    def _on_rollout_start(self) -> None:
        self._at(f"rollout start {self.model.num_timesteps}")

    def _on_step(self) -> bool:
        self._at(f"step {self.num_timesteps}")
        return True

    def _on_rollout_end(self) -> None:
        self._at(f"rollout end {self.model.num_timesteps}")


@pytest.mark.parametrize(
    ("moment", "next_fit"),
    [
        ("step 10", 20),
        ("rollout end 20", 20),
        ("rollout start 20", 40),
        ("step 30", 40),
        ("rollout end 40", 40),
        ("rollout start 40", 60),
    ],
)
@pytest.mark.parametrize("name", ["PPO", "DQN"])
def test_a_killed_run_goes_on_from_its_checkpoint(
    name: str, moment: str, next_fit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = small(**{"algorithm": name, **ALGORITHMS[name]})
    with pytest.raises(KeyboardInterrupt):
        killed.learn(60, callback=SavesAt(moment, tmp_path / "checkpoint"))
    model = load_checkpoint(ImaginationTrainer, tmp_path / "checkpoint", gym.make("CartPole-v1"), device="cpu")
    for counter in ("num_timesteps", "fitted_timesteps", "dream_steps"):
        assert getattr(model, counter) == getattr(killed, counter)
    assert model.num_timesteps == int(moment.split()[-1])
    for counter in ("num_timesteps", "_n_updates", "_n_calls", "exploration_rate"):
        assert getattr(model.agent, counter, None) == getattr(killed.agent, counter, None)
    assert parameters(model) == parameters(killed)
    assert_same_experience(model.replay_buffer, killed.replay_buffer)
    if killed.world is None:
        assert model.world is None
    else:
        assert model.world.digest == killed.world.digest
        assert model.world.spec == killed.world.spec
        for key, value in killed.world.starts.items():
            assert torch.equal(model.world.starts[key], value)
        assert torch.equal(model.world.uncertainty_quantiles, killed.world.uncertainty_quantiles)

    import imagine_agents.imagination_trainer.imagination_trainer as module

    fits: list[int] = []
    real_fit = module.fit
    monkeypatch.setattr(module, "fit", lambda m, replay, **k: fits.append(replay.num_steps) or real_fit(m, replay, **k))
    dreamt = model.dream_steps
    model.learn(60 - model.num_timesteps, reset_num_timesteps=False)
    assert (model.num_timesteps, model.fitted_timesteps, model.replay_buffer.num_steps) == (60, 60, 60)
    assert fits == list(range(next_fit, 61, 20))
    assert model.dream_steps - dreamt >= len(fits) * 64
    assert model.agent.num_timesteps == model.dream_steps


def test_two_runs_from_one_checkpoint_are_the_same_and_meet_new_episodes(tmp_path: Path) -> None:
    killed = small(env=Corridor())
    with pytest.raises(KeyboardInterrupt):
        killed.learn(60, callback=SavesAt("rollout start 20", tmp_path / "checkpoint"))
    results = []
    for _ in range(2):
        torch.rand(2)
        corridor = Corridor()
        model = load_checkpoint(ImaginationTrainer, tmp_path / "checkpoint", corridor, device="cpu")
        model.learn(40, reset_num_timesteps=False)
        results.append((parameters(model), corridor.actions, corridor.seeds))
        assert 0 not in corridor.seeds
    assert results[0] == results[1]


def test_sb3s_checkpoint_callback_saves_the_replay_too(tmp_path: Path) -> None:
    callback = CheckpointCallback(15, str(tmp_path), save_replay_buffer=True)
    model = small().learn(40, callback=callback)
    assert {path.name for path in tmp_path.iterdir()} == {
        "rl_model_15_steps.zip", "rl_model_30_steps.zip",
        "rl_model_replay_buffer_15_steps.pkl", "rl_model_replay_buffer_30_steps.pkl",
    }  # fmt: skip
    loaded = ImaginationTrainer.load(tmp_path / "rl_model_30_steps.zip", env=gym.make("CartPole-v1"), device="cpu")
    loaded.load_replay_buffer(tmp_path / "rl_model_replay_buffer_30_steps.pkl")
    assert loaded.replay_buffer.num_steps == loaded.num_timesteps == 30
    earlier, later = loaded.replay_buffer.transitions(), model.replay_buffer.transitions()
    assert torch.equal(earlier.observation, later.observation[:30])


def test_a_file_takes_the_settings_that_it_was_trained_with(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "algorithm": "ppo",
        "algorithm_kwargs": {"n_steps": 8, "gamma": 0.9},
        "world_model": "ensemble",
        "world_model_kwargs": SMALL_WORLD,
        "learning_starts": 20,
        "learning_rate": 0.01,
    }
    small(**settings).learn(20).save(tmp_path / "model")
    env = gym.make("CartPole-v1")
    model = ImaginationTrainer.load(tmp_path / "model", env, **{**settings, "algorithm_kwargs": {"gamma": 0.8}})
    model.learn(20)
    assert (model.agent.gamma, model.agent.n_steps, model.learning_rate) == (0.8, 8, 0.01)  # type: ignore[attr-defined]
    for changed, message in (
        ({"algorithm": "dqn"}, "algorithm='dqn' was given; the file is of PPO"),
        ({"world_model": "copy"}, "the file's is of family 'ensemble'"),
        ({"world_model_kwargs": {"hidden": [3]}}, "the file's world has"),
    ):
        with pytest.raises(ValueError, match=message):
            ImaginationTrainer.load(tmp_path / "model", env, **changed)
    PPO("MlpPolicy", env, n_steps=8, batch_size=8).save(tmp_path / "stock")
    with pytest.raises(ValueError, match="a file that ImaginationTrainer saved was expected"):
        ImaginationTrainer.load(tmp_path / "stock")


def test_loading_keeps_changed_settings_and_the_world_can_be_dreamed(tmp_path: Path) -> None:
    model = small(env=Corridor(), eval_env=Corridor(), n_eval_episodes=1).learn(20)
    model.save(tmp_path / "model")
    loaded = ImaginationTrainer.load(
        tmp_path / "model", Corridor(), train_freq=5, device="cpu", eval_env=Corridor(), learning_rate=0.5
    )
    assert loaded.train_freq == 5
    assert loaded.agent.learning_rate == 0.5
    loaded.world.save(tmp_path / "world")
    assert loaded.world.digest == model.world.digest
    loaded.learn(5, reset_num_timesteps=False)
    assert loaded.replay_buffer.num_steps == 5
    with pytest.raises(ValueError, match="learn\\(\\) needs a real environment"):
        ImaginationTrainer.load(tmp_path / "model", device="cpu").learn(5)
    without = ImaginationTrainer.load(tmp_path / "model", device="cpu")
    assert without.replay_buffer is None
    with pytest.raises(ValueError, match="no experience to save"):
        without.save_replay_buffer(tmp_path / "replay")
    with pytest.raises(ValueError, match=r"call set_env\(\) first"):
        without.load_replay_buffer(tmp_path / "replay")
    with pytest.raises(StorageError):
        loaded.load_replay_buffer(tmp_path / "replay")


def test_set_parameters_is_what_the_world_dreams_with(tmp_path: Path) -> None:
    model, other = small().learn(20), small(seed=1).learn(20)
    digest = model.world.digest
    model.set_parameters(other.get_parameters())
    assert parameters(model) == parameters(other)
    assert model.world.digest == other.world.digest != digest


def test_gsde_noise_is_drawn_for_loaded_weights(tmp_path: Path) -> None:
    kwargs = {**OFF_POLICY, "use_sde": True, "gradient_steps": 1}
    model = small(env="Pendulum-v1", algorithm=SAC, algorithm_kwargs=kwargs, policy_kwargs=SMALL_POLICY).learn(20)
    model.save(tmp_path / "model")
    loaded = ImaginationTrainer.load(tmp_path / "model", device="cpu")
    drawn = []
    for agent in (model, loaded):
        torch.manual_seed(0)
        agent.policy.reset_noise()
        drawn.append(agent.predict(observations(model))[0])
    np.testing.assert_array_equal(*drawn)


def test_set_env_goes_on_with_the_same_experience() -> None:
    model = small(env=Corridor(7)).learn(20)
    corridor = Corridor(9)
    model.set_env(corridor)
    model.learn(20, reset_num_timesteps=False)
    assert len(corridor.actions) == 20
    assert model.replay_buffer.num_steps == 40
    assert max(episode.num_steps for episode in model.replay_buffer.episodes()) == 9
    env = model.get_env()
    model.set_env(env, force_reset=False)
    resets = len(corridor.seeds)
    model.learn(1, reset_num_timesteps=False)
    assert len(corridor.seeds) == resets + (corridor.step_number == 0)
    with pytest.raises(ValueError, match="Observation spaces do not match"):
        model.set_env(gym.make("CartPole-v1"))
    with pytest.raises(AssertionError, match="number of environments"):
        model.set_env(DummyVecEnv([Corridor, Corridor]))


# --- masks ----------------------------------------------------------------------------------------------------------


def test_maskable_ppo_heeds_masks_in_reality_in_dreams_and_in_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    masks_in_dreams: list[np.ndarray] = []
    from sb3_contrib.ppo_mask import ppo_mask as module

    def get_action_masks(env: Any) -> np.ndarray:
        masks_in_dreams.append(real(env))
        return masks_in_dreams[-1]

    real = module.get_action_masks
    monkeypatch.setattr(module, "get_action_masks", get_action_masks)
    env, evaluation = Corridor(masked=True), Corridor(masked=True)  # which refuse invalid actions
    model = small(env=env, algorithm=MaskablePPO, eval_env=evaluation, n_eval_episodes=1).learn(60)
    assert len(env.actions) == 60
    assert model.world_model.action_mask
    assert masks_in_dreams
    assert all(masks.shape == (4, 2) for masks in masks_in_dreams)
    assert evaluation.actions
    seen = observations(model)
    only = np.arange(32).reshape(16, 2) % 2 == 0
    assert model.predict(seen, action_masks=only)[0].tolist() == [0] * 16
    assert model.predict(seen, action_masks=~only)[0].tolist() == [1] * 16


def test_an_environment_with_masks_serves_other_algorithms_too() -> None:
    class Lenient(Corridor):
        def step(self, action: Any) -> Any:
            masks, self.__dict__["action_masks"] = self.action_masks, lambda: np.ones(2, bool)
            result = super().step(action)
            self.action_masks = masks
            return result

    model = small(env=Lenient(masked=True)).learn(40)
    assert model.num_timesteps == 40
    assert model.predict(observations(model), action_masks=np.ones((16, 2), bool))[0].shape == (16,)


def test_maskable_ppo_without_masks_is_refused() -> None:
    with pytest.raises(ValueError, match="MaskablePPO needs an environment with action_masks"):
        small(algorithm=MaskablePPO)


# --- latent dreams --------------------------------------------------------------------------------------------------


@pytest.fixture
def families(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (Memory, Pictures):
        monkeypatch.setitem(FAMILIES, cls.family, cls)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """What the inner PPO was asked about, one entry for each batch."""
    seen: list[np.ndarray] = []
    real = PPO.predict

    def predict(self: Any, observation: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        seen.append(np.array(observation))
        return real(self, observation, *args, **kwargs)

    monkeypatch.setattr(PPO, "predict", predict)
    return seen


def filtered(replay: Replay, env: int, count: int) -> list[list[float]]:
    """What ``Memory`` makes of the records before each of the last ``count`` actions of a stream."""
    features, memory = [], [0.0, 0.0, 0.0]
    records = replay.windows([env], max(e.stop for e in replay.episodes() if e.env == env))[0]
    for t in range(len(records.first)):
        begins = bool(records.first[t])
        before = [0.0, 0.0] if begins else memory
        last = -1.0 if begins else float(records.action[t])
        memory = [before[0] + 1, before[1] + float(records.observation[t, 0]), last]
        ended = bool(records.terminated[t] | records.truncated[t])
        if not ended:
            features.append(memory)
    newest_leads_nowhere = features[:-1] if not ended else features
    return newest_leads_nowhere[-count:]


@pytest.mark.usefixtures("families")
@pytest.mark.parametrize("num_envs", [1, 3])
def test_a_latent_policy_acts_on_features_in_reality(num_envs: int, asked: list[np.ndarray]) -> None:
    lengths = iter([11, 8, 7])
    env = DummyVecEnv([lambda: Corridor(next(lengths)) for _ in range(num_envs)])
    model = small(env=env, world_model="memory", learning_starts=20 * num_envs, train_freq=15 * num_envs)
    assert model.latent
    assert model.policy.observation_space.shape == (3,)
    model.learn(50 * num_envs)
    assert len(asked) == 30  # in two parts, each of which begins in the middle of an episode
    for row in range(num_envs):
        expected = filtered(model.replay_buffer, row, 30)
        assert [batch[row].tolist() for batch in asked] == expected
    assert max(batch[:, 0].max() for batch in asked) == {1: 11, 3: 11}[num_envs]


@pytest.mark.usefixtures("families")
def test_a_latent_policy_is_evaluated_on_features_and_predicts_from_them(
    asked: list[np.ndarray], tmp_path: Path
) -> None:
    evaluation = Corridor(5)
    model = small(env=Corridor(), world_model="memory", eval_env=evaluation, n_eval_episodes=2).learn(20)
    assert [batch[0, 0] for batch in asked] == [1, 2, 3, 4, 5] * 2
    asked.clear()
    returns, _ = evaluate_policy(
        model, LatentObservation(Corridor(5), model.world), n_eval_episodes=1, return_episode_rewards=True, warn=False
    )
    assert [batch[0, 0] for batch in asked] == [1, 2, 3, 4, 5]
    assert len(returns) == 1
    model.save(tmp_path / "model")
    loaded = ImaginationTrainer.load(tmp_path / "model", Corridor(), device="cpu")
    loaded.learn(20, reset_num_timesteps=False)
    assert loaded.latent
    assert loaded.policy.observation_space.shape == (3,)


def test_latent_dreams_of_a_world_that_could_decode(asked: list[np.ndarray]) -> None:
    model = small(dream_kwargs={"observation": "latent"}).learn(40)
    assert model.latent
    real = model.replay_buffer.transitions().observation[-20:, 0]
    assert [batch[0].tolist() for batch in asked] == real.tolist()  # an ensemble's features are the observation


@pytest.mark.usefixtures("families")
def test_worlds_of_images_keep_the_channels_last(tmp_path: Path) -> None:
    model = small(
        "CnnPolicy", Corridor(image=True), world_model="pictures", algorithm_kwargs={"n_epochs": 1},
        eval_env=Corridor(image=True), n_eval_episodes=1,
    )  # fmt: skip
    assert model.observation_space.shape == model.policy.observation_space.shape == (3, 36, 37)
    model.learn(25)
    assert model.replay_buffer.observation_space.shape == (36, 37, 3)
    assert model.world.observation_space.shape == (36, 37, 3)
    image = Corridor(image=True).reset()[0]
    assert model.predict(image)[0] in model.action_space
    model.save(tmp_path / "model")
    assert ImaginationTrainer.load(tmp_path / "model", device="cpu").world.observation_space.shape == (36, 37, 3)


# --- noise ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_envs", [1, 2])
def test_action_noise_is_scaled_clipped_and_each_environments_own(num_envs: int) -> None:
    model = small(env="Pendulum-v1", algorithm=SAC, algorithm_kwargs=OFF_POLICY, policy_kwargs=SMALL_POLICY)
    noise = NormalActionNoise(np.array([0.5]), np.array([0.0]))
    seen = observations(model, num_envs)
    plain = model.predict(seen, deterministic=True)[0]
    starts = np.ones(num_envs, bool)
    noisy = Noisy(model.agent, noise).predict(seen, episode_start=starts, deterministic=True)[0]
    np.testing.assert_allclose(noisy, np.clip(plain + 1.0, -2, 2), atol=1e-5)  # half of the range of [-2, 2]
    assert noisy.dtype == np.float32
    far = NormalActionNoise(np.array([9.0]), np.array([0.0]))
    assert (Noisy(model.agent, far).predict(seen, episode_start=starts)[0] == 2).all()


def test_noise_of_several_environments_is_independent_and_restarts_with_the_episode() -> None:
    noise = OrnsteinUhlenbeckActionNoise(np.zeros(1), np.ones(1))
    model = small(
        **{**PENDULUM, "env": make_vec_env("Pendulum-v1", n_envs=2), "algorithm": "TD3", "action_noise": noise}
    )
    model.learn(60)
    actions = model.replay_buffer.sequences(1).action.reshape(2, -1)[:, -15:]
    assert (actions[0] != actions[1]).all()
    assert small(env="Pendulum-v1", action_noise=noise).learn(40).num_timesteps == 40


# --- what it refuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"learning_starts": 0}, ValueError, "learning_starts=0 must be a whole number of at least 1"),
        ({"train_freq": 0}, ValueError, "train_freq=0 must be a whole number of at least 1"),
        ({"dream_timesteps": 0}, ValueError, "dream_timesteps=0 must be a whole number of at least 1"),
        ({"final_dream_timesteps": 0}, ValueError, "final_dream_timesteps=0 must be a whole number of at least 1"),
        ({"n_eval_episodes": 0}, ValueError, "n_eval_episodes=0 must be a whole number of at least 1"),
        ({"stop_rule_freq": 0}, ValueError, "stop_rule_freq=0 must be a whole number of at least 1"),
        ({"num_dreams": 0}, ValueError, "num_dreams=0 must be a whole number of at least 1"),
        ({"refit": "cold"}, ValueError, "refit='cold' must be 'warm' or 'fresh'"),
        ({"stop_rule": 0.0}, ValueError, "stop_rule=0.0 must be a fraction"),
        ({"stop_rule": 1.5}, ValueError, "stop_rule=1.5 must be a fraction"),
        ({"stop_rule": 0.7, "world_model": "copy"}, ValueError, "stop_rule needs an ensemble"),
        ({"exploration_bonus": -1.0}, ValueError, "exploration_bonus=-1.0 must be finite and not negative"),
        ({"exploration_bonus": float("nan")}, ValueError, "exploration_bonus=nan must be finite"),
        ({"exploration_bonus": 1.0, "world_model": "copy"}, ValueError, "exploration_bonus needs a world with uncert"),
        ({"action_noise": NormalActionNoise(np.zeros(1), np.ones(1))}, ValueError, "action_noise needs a Box action"),
        ({"fit_kwargs": {"epochs": 3}}, ValueError, "fit_kwargs has epochs; expected some of .*max_epochs"),
        ({"dream_kwargs": {"horizons": 3}}, ValueError, "dream_kwargs has horizons; expected some of .*horizon"),
        ({"world_model": "oracle"}, ValueError, "unknown world model family 'oracle'"),
        ({"world_model_kwargs": {"members": 0}}, ValueError, "elites=5 must lie between 1 and members=0"),
        ({"algorithm": "PPPO"}, ValueError, "unknown algorithm 'PPPO'; expected a class, or one of .*PPO"),
        ({"algorithm": Ensemble}, TypeError, "algorithm must be a Stable-Baselines3 algorithm class"),
        ({"algorithm": 3}, TypeError, "algorithm must be a Stable-Baselines3 algorithm class"),
        ({"algorithm_kwargs": {"n_step": 3}}, TypeError, "n_step"),
        ({"policy": "TransformerPolicy"}, ValueError, "Policy TransformerPolicy unknown"),
        ({"env": None}, ValueError, "env is None"),
        ({"algorithm": "SAC"}, AssertionError, "only supports .*Box.* as action spaces"),
        ({"algorithm": "DQN", "env": "Pendulum-v1"}, AssertionError, "only supports .*Discrete.* as action spaces"),
        ({"eval_env": "Acrobot-v1"}, ValueError, "Observation spaces do not match"),
    ],
)  # fmt: skip
def test_bad_arguments_get_one_clear_error(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    if kwargs.get("world_model_kwargs") is None:
        with pytest.raises(error, match=message):
            small(**kwargs)
    else:
        with pytest.raises(error, match=message):
            ImaginationTrainer("MlpPolicy", "CartPole-v1", **kwargs)


def test_unsupported_environments_are_refused() -> None:
    with pytest.raises(ValueError, match="VecNormalize; give the bare environment"):
        small(env=VecNormalize(make_vec_env("CartPole-v1")))
    model = small()
    with pytest.raises(ValueError, match="VecNormalize; give the bare environment"):
        model.set_env(VecNormalize(make_vec_env("CartPole-v1")))
    with pytest.raises(ValueError, match="Ensemble needs a flat Box observation space"):
        small("CnnPolicy", Corridor(image=True))
    corridor = Corridor()
    corridor.observation_space = spaces.Dict({"a": spaces.Box(0, 1, (1,))})
    with pytest.raises(ValueError, match="Ensemble needs a flat Box observation space"):
        small("MultiInputPolicy", corridor)
    corridor = Corridor()
    corridor.action_space = spaces.MultiBinary(3)
    with pytest.raises(ValueError, match="Ensemble needs a Discrete or a flat Box action space"):
        small(env=corridor)
    with pytest.raises(ValueError, match="eval_env is the training environment"):
        small(env=corridor, eval_env=corridor)


def test_a_given_model_must_fit_and_is_the_one_that_learns() -> None:
    box, discrete = Corridor().observation_space, spaces.Discrete(2)
    given = Ensemble(box, discrete, hidden=[4], members=2, elites=1)
    model = small(env=Corridor(), world_model=given).learn(20)
    assert model.world_model is model.world.model is given
    assert model.world_model_kwargs["hidden"] == [4]
    for space, name in ((spaces.Box(-1, 1, (3,)), "observation_space"), (box, "action_space")):
        wrong = Ensemble(space, discrete if name == "observation_space" else spaces.Discrete(3))
        with pytest.raises(ValueError, match=f"the world model's {name} is .*; the environment's is"):
            small(env=Corridor(), world_model=wrong)
    with pytest.raises(ValueError, match="world_model is made already"):
        small(env=Corridor(), world_model=given, world_model_kwargs=SMALL_WORLD)
    assert small(env=Corridor(), world_model=CopyModel(box, discrete)).learn(20).num_timesteps == 20


def test_a_world_that_never_terminates_is_said_once() -> None:
    with pytest.warns(UserWarning, match="none of the .* transitions terminates") as record:
        small(env="Pendulum-v1").learn(60)
    assert [str(warning.message)[:15] for warning in record] == ["none of the 20 "]


def test_too_few_steps_to_split_are_said() -> None:
    with pytest.raises(ValueError, match="too little data to split"):
        small().learn(1)
