from __future__ import annotations

import contextlib
import copy
import functools
import io
import json
import pickle
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env
from torch import nn

from imagine_agents import Dreamer, Dyna
from imagine_envs.storage import save_json
from imagine_envs.world_models import Ensemble
from zoo.benchmarks import (
    dreamer_learning,
    dreamer_speed_report,
    dyna_learning,
    learning_curves,
    real_steps,
    resumable,
    rssm_dreams,
    rssm_fidelity,
)
from zoo.benchmarks.dream_speed import DoNothing, multiplications
from zoo.benchmarks.dream_speed_report import report
from zoo.benchmarks.dreamer_speed import CASES, Ours, commands, compared
from zoo.benchmarks.environments import environment
from zoo.benchmarks.measure import Contestant, interleaved, spread
from zoo.benchmarks.model_free import model_free, wrapped_alike
from zoo.benchmarks.peers import processes
from zoo.benchmarks.peers.dreamerv3_torch import merged, numbers
from zoo.benchmarks.peers.processes import Peer
from zoo.benchmarks.peers.serving import Learner, operations, parameters, serve
from zoo.benchmarks.pixel_pendulum import draw


def contestant(log: list[tuple[str, int]], name: str, seconds: float) -> Contestant:
    """Claims that each call takes so long."""

    def run(times: int) -> float:
        log.append((name, times))
        return times * seconds

    return run


def test_contestants_take_turns_and_fill_their_blocks() -> None:
    log: list[tuple[str, int]] = []
    runs = {"fast": contestant(log, "fast", 0.001), "slow": contestant(log, "slow", 0.5)}
    seconds = interleaved(runs, rounds=3, block=0.02)
    assert log[-6:] == [("fast", 20), ("slow", 1), ("slow", 1), ("fast", 20), ("fast", 20), ("slow", 1)]
    np.testing.assert_allclose(seconds["fast"], [0.001] * 3)
    np.testing.assert_allclose(seconds["slow"], [0.5] * 3)


def test_a_block_of_no_time_is_one_call() -> None:
    log: list[tuple[str, int]] = []
    interleaved({"long": contestant(log, "long", 60.0)}, rounds=2, block=0.0)
    assert log == [("long", 1)] * 3  # the first one warms up


def test_spread_is_median_and_quartiles() -> None:
    assert spread(np.array([5.0, 1.0, 2.0, 4.0, 3.0])) == {"low": 2.0, "median": 3.0, "high": 4.0}


def test_useful_arithmetic_is_that_of_one_member() -> None:
    env = gym.make("Pendulum-v1")
    model = Ensemble(env.observation_space, env.action_space)
    world: Any = SimpleNamespace(model=model)
    assert multiplications(world) == 2 * (4 * 200 + 3 * 200 * 200 + 200 * 8)


def test_ppo_learns_where_nothing_happens() -> None:
    env = gym.make("Pendulum-v1")
    nothing = DoNothing(8, env.observation_space, env.action_space)
    agent = PPO("MlpPolicy", nothing, n_steps=4, batch_size=32, n_epochs=1, device="cpu")
    assert agent.learn(64).num_timesteps == 64


def test_what_misses_its_target_says_so() -> None:
    def single(rate: float, above: float) -> dict[str, Any]:
        return {"steps_per_second": {"median": rate}, "difference": {"median": above}}

    results = {
        "machine": {"processor": "Abacus"},
        "threads": {"1": {"single": single(4999, 100)}, "2": {"single": single(5000, 101)}},
    }
    one, two = report(results).split("**2 threads**")
    assert "**1 thread** (Abacus)" in one
    assert "4,999 (**missed**: ≥ 5,000) | 100 µs (≤ 100 µs)" in one
    assert "5,000 (≥ 5,000) | 101 µs (**missed**: ≤ 100 µs)" in two


@pytest.mark.parametrize(("kind", "limit"), [("Pendulum, 5 elites", 1.10), ("CartPole, 5 elites", 1.30)])
def test_restarting_batches_have_a_limit_of_their_own(kind: str, limit: float) -> None:
    row = {
        "microseconds": {name: {"median": 1000.0} for name in ("imagine", "DreamVectorEnv", "SB3VecEnv")},
        "ratio": {"DreamVectorEnv": {"median": limit}, "SB3VecEnv": {"median": 1.31}},
        "rows_ended_per_step": 50.0,
    }
    table = report({"machine": {"processor": ""}, "threads": {"1": {"overhead": {kind: row}}}})
    assert f"1,000 µs, {limit:.2f} × (≤ {limit:.2f})" in table
    assert "1.31 × (**missed**" in table


# --- Dreamer ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("case", "theirs"),
    [  # counted in sheeprl 0.8.4 and dreamerv3-torch
        ("1M, vectors", (521_411, 49_666, 66_111)),
        ("XS, vectors", (2_434_307, 328_706, 393_727)),
        ("XS, images", (7_537_699, 328_706, 393_727)),
        ("default, vectors", (7_491_843, 1_051_650, 1_181_439)),
    ],
)
def test_sizes_are_those_of_the_peers(case: str, theirs: tuple[int, int, int]) -> None:
    ours = parameters(Ours(CASES[case], records=2))
    np.testing.assert_allclose([ours["world"], ours["actor"], ours["critic"]], theirs, rtol=0.004)


def test_an_update_of_ours_is_one_update_of_every_part() -> None:
    ours = Ours(CASES["1M, vectors"], records=64)
    before = {name: [p.detach().clone() for p in part] for name, part in ours.parts().items()}
    assert ours.agent._n_updates == 0
    ours.update()
    assert ours.agent._n_updates == 1
    for name, part in ours.parts().items():
        assert not all(torch.equal(old, new) for old, new in zip(before[name], part, strict=True)), name


def test_acting_goes_on_from_the_state_before() -> None:
    ours = Ours(CASES["1M, vectors"], records=2)
    ours.act()
    first = ours._state
    ours.act()
    assert not np.array_equal(first[0], ours._state[0])


def test_operations_of_a_product_and_of_its_gradients() -> None:
    layer, inputs = nn.Linear(3, 5), torch.randn(7, 3, requires_grad=True)
    forward = 2 * 7 * 3 * 5
    assert operations(lambda: layer(inputs)) == {"products": forward, "convolutions": 0}
    assert operations(lambda: layer(inputs).sum().backward()) == {"products": 3 * forward, "convolutions": 0}


def test_operations_of_a_convolution() -> None:
    layer, planes = nn.Conv2d(3, 5, 4, 2, 1), torch.randn(2, 3, 8, 8)
    assert operations(lambda: layer(planes)) == {"products": 0, "convolutions": 2 * (2 * 4 * 4) * (3 * 4 * 4) * 5}


class Scales(Learner):
    """Counts what is asked of it."""

    def __init__(self, weights: int) -> None:
        self.layer, self.updates = nn.Linear(weights, 1, bias=False), 0
        print("Building")

    def parts(self) -> dict[str, Iterable[nn.Parameter]]:
        return {"world": self.layer.parameters()}

    def update(self) -> None:
        self.updates += 1


def test_a_peer_answers_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Scales] = []

    def make(weights: int) -> Scales:
        made.append(Scales(weights))
        return made[-1]

    def request(weights: int, do: str, **more: int) -> str:
        return json.dumps({"learner": {"weights": weights}, "do": do, **more}) + "\n"

    asked = [request(3, "parameters"), request(3, "update", calls=4), request(5, "parameters"), request(5, "update")]
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(asked)))
    monkeypatch.setattr(sys, "stdout", out)
    serve(make, {"abacus": "1.0"})
    answers = [json.loads(line) for line in out.getvalue().splitlines()]  # "Building" is not among them
    assert [set(answer) for answer in answers[2::2]] == [{"seconds"}] * 2
    assert answers[0] == {"abacus": "1.0"}
    assert answers[1::2] == [{"world": 3}, {"world": 5}]
    assert [learner.updates for learner in made] == [4, 1]


def test_a_peer_process_is_asked_line_by_line() -> None:
    program = """
import json, sys
print(json.dumps({"abacus": "1.0"}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["beads"] < 0:
        sys.exit(3)
    print(json.dumps({"beads": asked["beads"] + 1}), flush=True)
"""
    with contextlib.closing(Peer(sys.executable, "-c", program)) as peer:
        assert peer.versions == {"abacus": "1.0"}
        assert [peer.ask(beads=count) for count in (1, 5)] == [{"beads": 2}, {"beads": 6}]
        with pytest.raises(RuntimeError, match="ended with status 3"):
            peer.ask(beads=-1)


def test_half_a_virtual_environment_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installs: list[list[str]] = []

    def pip(command: list[str], check: bool) -> None:
        assert check
        installs.append(command[1:])
        if "second" in command and len(installs) == 2:
            raise KeyboardInterrupt

    def create(directory: Path, with_pip: bool) -> None:
        assert with_pip
        (directory / "bin").mkdir()  # refuses to exist already, as symbolic links in a real one do

    monkeypatch.setattr(processes.subprocess, "run", pip)
    monkeypatch.setattr(processes.venv, "create", create)
    place = tmp_path / "venv"
    with pytest.raises(KeyboardInterrupt):
        processes.installed(place, ("first",), ("--no-deps", "second"))
    assert processes.installed(place, ("first",), ("--no-deps", "second")) == place / "bin" / "python"
    call = ["-m", "pip", "install", "--quiet"]
    assert installs == [[*call, "first"], [*call, "--no-deps", "second"]] * 2
    processes.installed(place, ("first",))
    assert len(installs) == 4  # whole, and left alone


def test_a_directory_of_something_else_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(ValueError, match=r"not made here; .* touch .*\.installed"):
        processes.installed(tmp_path, ("first",))
    assert (tmp_path / "thesis.txt").exists()


def test_recipes_are_merged_part_by_part() -> None:
    defaults = {"units": 512, "encoder": {"act": "SiLU", "mlp_keys": "$^"}, "lr": "1e-4", "actor": {"entropy": "3e-4"}}
    settings = numbers(merged(defaults, {"encoder": {"mlp_keys": ".*"}, "units": 64}))
    assert settings == {
        "units": 64,
        "encoder": {"act": "SiLU", "mlp_keys": ".*"},
        "lr": 1e-4,
        "actor": {"entropy": 3e-4},
    }
    assert defaults["encoder"] == {"act": "SiLU", "mlp_keys": "$^"}


def test_a_peer_without_a_checkout_is_left_out(tmp_path: Any) -> None:
    assert list(commands(tmp_path / "python", 2, None)) == ["sheeprl"]
    found = commands(tmp_path / "python", 2, tmp_path)
    assert found["dreamerv3-torch"][-4:] == ["--checkout", str(tmp_path), "--threads", "2"]


def test_sides_are_compared_round_by_round() -> None:
    log: list[tuple[str, int]] = []
    found = compared(contestant(log, "ours", 1.0), contestant(log, "theirs", 4.0), rounds=2, block=0.0)
    assert found["ratio"] == {"low": 0.25, "median": 0.25, "high": 0.25}
    assert found["seconds"]["theirs"]["median"] == 4.0
    assert "ratio" not in compared(contestant(log, "ours", 1.0), None, rounds=2, block=0.0)


def test_the_floor_takes_each_kind_at_its_rate() -> None:
    rates = {"products": {"median": 100.0}, "convolutions": {"median": 50.0}}
    assert dreamer_speed_report.floor({"products": 20e9, "convolutions": 5e9}, rates) == pytest.approx(0.3)


def test_updates_and_actions_that_miss_their_targets_say_so() -> None:
    def values(median: float) -> dict[str, float]:
        return {"low": median, "median": median, "high": median}

    def threads(update: float, act: float) -> dict[str, Any]:
        return {
            "rates": {"products": values(100.0), "convolutions": values(50.0)},
            "update": {"1M": {"seconds": {"ours": values(update), "theirs": values(2.0)}, "ratio": values(update / 2)}},
            "act": {"1M": {"seconds": {"ours": values(act)}}},
        }

    parts, done = {"world": 1_000, "actor": 20, "critic": 30}, {"products": 40e9, "convolutions": 5e9}
    size = {"peer": "abacus", "parameters": {"ours": parts, "theirs": parts}, "operations": {"ours": done}}
    results = {
        "machine": {"processor": "Abacus"},
        "sizes": {"1M": size},
        "threads": {"1": threads(1.0, 0.0021), "2": threads(1.2, 0.002)},
    }
    sizes, one, two = re.split(r"\*\*\d threads?\*\*", dreamer_speed_report.report(results))
    assert "| 1M | abacus | 1,000, 20, 30 | 1,000, 20, 30 | 45.0 |  |" in sizes
    assert "0.50 × (≤ 0.50) | 0.50 s, 50% of ours" in one
    assert "2.10 ms (2.10–2.10) (**missed**: ≤ 2.0 ms)" in one
    assert "0.60 × (**missed**: ≤ 0.50)" in two
    assert "2.00 ms (2.00–2.00) (≤ 2.0 ms)" in two


# --- learning ---------------------------------------------------------------------------------------------------------


def run_of(task: str, variant: str, seed: int, mean: float = 0.0) -> learning_curves.Run:
    curve = [[10, mean - 2.0], [20, mean]]
    return {"task": task, "variant": variant, "seed": seed, "mean_return": mean, "seconds": 1.0, "curve": curve}


def test_only_what_is_missing_is_measured_and_kept_at_once(tmp_path: Path) -> None:
    results, measured = tmp_path / "results.json", []
    save_json(results, {"machine": {}, "runs": [run_of("Pole", "ours", 0)]})

    def measure(task: str, variant: str, seed: int) -> learning_curves.Run:
        measured.append((task, variant, seed))
        if seed == 1:  # another process adds a run meanwhile
            found = learning_curves.read(results)
            save_json(results, {**found, "runs": [*found["runs"], run_of("Pole", "ours", 2)]})
        if seed == 3:
            raise KeyboardInterrupt
        return run_of(task, variant, seed)

    wanted = [("Pole", "ours", seed) for seed in range(5)]
    with pytest.raises(KeyboardInterrupt):
        learning_curves.add_missing(results, wanted, measure)
    assert measured == [("Pole", "ours", 1), ("Pole", "ours", 3)]
    kept = learning_curves.read(results)
    assert kept["machine"] == {}
    assert [run["seed"] for run in kept["runs"]] == [0, 2, 1]


def test_cells_are_mean_and_deviation_over_the_seeds() -> None:
    runs = [run_of("Pole", "ours", 0, 1.0), run_of("Pole", "ours", 1, 4.0), run_of("Pole", "theirs", 0, 7.0)]
    assert learning_curves.outcome(runs, "Pole", "ours") == "2.5 ± 1.5 (2)"
    assert learning_curves.outcome(runs, "Cart", "ours") == "–"
    assert learning_curves.markdown(("a", "b"), [("1", "2")]) == "| a | b |\n|---|---|\n| 1 | 2 |"


def test_curves_have_a_panel_for_each_task_and_a_line_for_each_variant() -> None:
    runs = [run_of("Pole", "ours", seed, float(seed)) for seed in (0, 2)]
    targets = {"Pole": 5.0, "Cart": None, **dict.fromkeys("ABC", 0.0)}
    figure = learning_curves.curves(runs, targets, {"ours": "#0072B2", "theirs": "#CC79A7"})
    pole, cart = figure.axes[:2]
    assert [axes.get_title() for axes in figure.axes if axes.axison] == list(targets)
    mean, target = pole.get_lines()
    np.testing.assert_array_equal(mean.get_xydata(), [[10, -1], [20, 1]])
    np.testing.assert_array_equal(target.get_ydata(), [5, 5])
    assert mean.get_label() == "ours (2)"
    assert len(cart.get_lines()) == 0


def test_the_published_table_of_real_steps_is_that_of_its_runs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    results = tmp_path / "real_steps.json"
    save_json(results, {"machine": {}, "runs": [run_of("CartPole-v1", "copy", 0, 11.04)]})
    real_steps.main(["--report", "--results", str(results)])
    header, _, cartpole, *_ = capsys.readouterr().out.splitlines()
    assert header == "| task | real steps | target | imagination | unfitted | copy | perfect | model-free |"
    assert cartpole == "| CartPole-v1 | 300 | 475 | – | – | 11.0 ± 0.0 (1) | – | – |"
    assert results.with_suffix(".png").stat().st_size > 0


# --- tasks beyond the classic ones ------------------------------------------------------------------------------------

DM_TASK = "dm_control/cartpole-swingup-v0"


def test_the_pendulum_is_drawn_where_it_is() -> None:
    for angle, (row, column) in {0.0: (6, 31), np.pi / 2: (31, 6), np.pi: (57, 31), -np.pi / 2: (31, 57)}.items():
        frame = draw(angle)
        assert (frame.shape, frame.dtype) == ((64, 64, 3), np.uint8)
        np.testing.assert_array_equal(frame[row, column], (204, 77, 77), err_msg=f"{angle}")  # near the rod's tip
        np.testing.assert_array_equal(frame[63 - row, 63 - column], 255)  # and nothing on the other side
        np.testing.assert_array_equal(frame[31:33, 31:33], 0)  # the axle
    # Of the white, the rod takes its area: 0.2 m × 1 m and the two halves of a circle, without the axle.
    missing = (255 - draw(0.7)[..., 1].astype(float)).sum() * (2.5 / 64) ** 2
    axle = np.pi * 0.05**2
    assert missing == pytest.approx((0.2 + np.pi * 0.1**2 - axle) * (255 - 77) + axle * 255, rel=0.01)


@pytest.mark.filterwarnings("ignore:.*symmetric and normalized")  # it is Pendulum's own action space
def test_pixel_pendulum_is_pendulum() -> None:
    pixels, numbers = gym.make("PixelPendulum-v0"), gym.make("Pendulum-v1")
    seen, _ = pixels.reset(seed=5)
    numbers.reset(seed=5)
    numbers.action_space.seed(0)
    for step in range(200):
        np.testing.assert_array_equal(seen, draw(numbers.unwrapped.state[0]))
        action = numbers.action_space.sample()
        seen, *ours = pixels.step(action)
        _, *theirs = numbers.step(action)
        assert ours[:3] == theirs[:3]
        assert ours[2] == (step == 199)
    check_env(gym.make("PixelPendulum-v0").unwrapped)


def test_pixel_pendulum_is_pickled_in_an_episode_and_after_rendering() -> None:
    env = environment("PixelPendulum-v0")
    env.reset(seed=1)
    env.step(np.ones(1, np.float32))
    shown = gym.make("PixelPendulum-v0", render_mode="rgb_array")
    shown.reset(seed=1)
    shown.step(np.ones(1, np.float32))
    frame = shown.render()
    for original in (env, shown):
        copies = [pickle.loads(pickle.dumps(original)), copy.deepcopy(original)]
        expected = original.step(np.full(1, -0.5, np.float32))
        for other in copies:
            np.testing.assert_equal(other.step(np.full(1, -0.5, np.float32)), expected)
    np.testing.assert_array_equal(copies[0].render(), shown.render())
    assert frame is not None
    assert not np.array_equal(frame, shown.render())


def test_model_free_algorithms_see_three_pictures_and_are_judged_so() -> None:
    model = model_free("PixelPendulum-v0", "ppo", 0, functools.partial(environment, "PixelPendulum-v0"))
    assert model.n_envs == 4
    assert model.observation_space.shape == (9, 64, 64)
    judged = wrapped_alike(make_vec_env("PixelPendulum-v0", n_envs=2, seed=0), model)
    assert judged.observation_space.shape == (64, 64, 9)
    first = judged.reset()
    seen, *_ = judged.step(np.ones((2, 1), np.float32))
    np.testing.assert_array_equal(seen[..., 3:6], first[..., 6:])  # the newest picture is the last
    assert model.predict(seen)[0].shape == (2, 1)


def test_every_task_has_settings_for_everything_that_it_is_compared_with() -> None:
    for task in dreamer_learning.TARGETS:
        for variant in dreamer_learning.COLORS:
            if variant in (*dreamer_learning.VARIANTS, *dreamer_learning.MODEL_FREE[task]):
                chosen = dreamer_learning.settings(task, variant)
                assert {"n_timesteps", "policy"} <= set(chosen), (task, variant)
                json.dumps(chosen)
    assert dreamer_learning.settings("CartPole-v1", "contrastive")["representation"] == "contrastive"
    assert set(dreamer_learning.DEFAULT) < set(dreamer_learning.TARGETS)
    for task, points in dreamer_learning.PUBLISHED.items():
        for variant in ("reconstruction", "sac"):
            chosen = dreamer_learning.settings(task, variant)
            (repeat,) = chosen["env_wrapper"]
            assert repeat == {"gymnasium.wrappers.RepeatAction": {"num_repeats": dreamer_learning.REPEAT}}
            assert points[int(chosen["n_timesteps"]) * dreamer_learning.REPEAT] == dreamer_learning.TARGETS[task]


def test_published_points_stand_beside_ours_at_the_same_simulator_steps() -> None:
    run = {**run_of(DM_TASK, "reconstruction", 0), "curve": [[20_000, 100.0], [30_000, 300.0], [49_000, 500.0]]}
    rows = dreamer_learning.table([run]).splitlines()
    assert f"| {DM_TASK} | 50,000 | 322 | 200.0 ± 0.0 (1) |" in rows
    assert f"| {DM_TASK} | 100,000 | 528 | – |" in rows  # it never got there


@pytest.mark.parametrize("task", ["PixelPendulum-v0", DM_TASK])
def test_a_killed_run_is_the_run_that_was_not(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if task == DM_TASK:
        pytest.importorskip("dm_control")
    own = dreamer_learning.settings(task, "reconstruction")
    small = {"architecture": {"deter": 16, "hidden": 8, "units": 8, "stoch": 2, "blocks": 2, "depth": 2}}
    own |= {"n_timesteps": 60, "learning_starts": 15, "train_ratio": 8, "horizon": 3, "policy_kwargs": small}
    own |= {"batch_size": 2, "batch_length": 8}
    deadly: list[int] = []

    def judge(model: Dreamer, make: Any, count: int, seed: int) -> list[float]:
        make().close()
        if model.num_timesteps in deadly:
            raise KeyboardInterrupt
        weights = torch.cat([parameter.detach().flatten() for parameter in model.policy.parameters()])
        return [float(weights.square().sum()), float(model.replay_buffer.replay.num_steps)]

    monkeypatch.setattr(resumable, "POINTS", 3)
    monkeypatch.setattr(dreamer_learning, "settings", lambda task, variant: dict(own))
    monkeypatch.setattr(resumable, "episodes", judge)
    whole = dreamer_learning.measure(task, "reconstruction", 0, tmp_path / "whole")
    deadly.append(40)
    with pytest.raises(KeyboardInterrupt):
        dreamer_learning.measure(task, "reconstruction", 0, tmp_path / "killed")
    deadly.clear()
    own["train_ratio"] = 16
    with pytest.raises(ValueError, match=r"was begun with .*'train_ratio': 8"):
        dreamer_learning.measure(task, "reconstruction", 0, tmp_path / "killed")
    own["train_ratio"] = 8
    resumed = dreamer_learning.measure(task, "reconstruction", 0, tmp_path / "killed")
    for run in (whole, resumed):
        del run["seconds"]
    assert json.dumps(resumed) == json.dumps(whole)
    assert [steps for steps, _ in whole["curve"]] == [20, 40, 60]
    assert whole["updates"] > 10
    assert whole["settings"] == own
    assert not any((tmp_path / "killed").iterdir())


def test_dm_control_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dm_control", None)
    with pytest.raises(ImportError, match=r"imagine-rl\[dm-control\]"):
        environment(DM_TASK)


def test_actions_of_dm_control_are_taken_twice() -> None:
    pytest.importorskip("dm_control")
    env = environment(DM_TASK, dreamer_learning.settings(DM_TASK, "reconstruction")["env_wrapper"])
    env.reset(seed=0)
    ends = [env.step(np.zeros(1))[2:4] for _ in range(500)]
    assert ends == [*[(False, False)] * 499, (False, True)]


# --- RSSM -------------------------------------------------------------------------------------------------------------


def test_every_variant_of_rssm_dreams_has_the_same_real_steps_and_turns() -> None:
    for task, turns in rssm_dreams.TASKS.items():
        found = {variant: rssm_dreams.settings(task, variant) for variant in rssm_dreams.VARIANTS}
        assert {steps for steps, _ in found.values()} == {turns["n_timesteps"]}
        for steps, params in found.values():
            assert params["learning_starts"] == turns["learning_starts"] <= steps
            assert params["train_freq"] == turns["train_freq"]
            assert params["algorithm"] == "ppo"
        latent, decoded = found["RSSM, latent"][1], found["RSSM, decoded"][1]
        assert latent == {**decoded, "dream_kwargs": {**decoded["dream_kwargs"], "observation": "latent"}}
        assert decoded["dream_kwargs"]["observation"] == "decoded"
        assert found["ensemble"][1]["world_model"] == "ensemble"


@pytest.mark.parametrize("variant", ["RSSM, latent", "RSSM, decoded", "model-free"])
def test_policies_of_rssm_dreams_act_in_reality(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"deter": 16, "hidden": 8, "units": 8, "stoch": 2, "blocks": 2}

    def settings(task: str, variant: str) -> tuple[int, dict[str, Any]]:
        _, params = rssm_dreams.settings(task, variant)
        params |= {"learning_starts": 130, "train_freq": 100, "num_dreams": 8, "final_dream_timesteps": 256}
        params |= {"dream_timesteps": 256, "fit_kwargs": {"max_updates": 2}}
        params["world_model_kwargs"] = {"sequence_length": 8, "architecture": small}
        return 200, params

    judged: list[int] = []
    monkeypatch.setattr(real_steps, "evaluate_policy", few_of(judged, real_steps.evaluate_policy))
    if variant == "model-free":
        ppo = functools.partial(PPO, "MlpPolicy", "CartPole-v1", n_steps=50, batch_size=50, device="cpu")
        monkeypatch.setattr(real_steps, "model_free", lambda task, name, seed: ppo(seed=seed))
    run = real_steps.measure("CartPole-v1", variant, 3, settings)
    assert (run["real_steps"], run["algorithm"]) == (200, "PPO")
    assert run["dream_steps"] == (0 if variant == "model-free" else 512)
    points = [20 * part for part in range(1, 11)] if variant == "model-free" else [130]
    assert [steps for steps, _ in run["curve"]] == [*points, 200]
    assert judged == [10] * len(points) + [100]
    assert 8 <= run["mean_return"] <= 500
    assert real_steps.measure("CartPole-v1", variant, 3, settings)["curve"] == run["curve"]


def few_of(judged: list[int], evaluate: Any) -> Any:
    """``evaluate_policy`` that plays two episodes, and notes how many it was asked for."""

    def judge(policy: Any, env: Any, episodes: int, **kwargs: Any) -> Any:
        judged.append(episodes)
        return evaluate(policy, env, 2, **kwargs)

    return judge


def test_rssm_and_ensemble_are_measured_on_the_same_contexts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tiny = {
        "RSSM, latent": {
            "sequence_length": 8,
            "architecture": {"deter": 16, "hidden": 8, "units": 8, "stoch": 2, "blocks": 2},
        },
        "ensemble": {"members": 2, "elites": 1, "hidden": [8]},
    }
    monkeypatch.setattr(rssm_fidelity, "settings", lambda task, variant: (150, {"world_model_kwargs": tiny[variant]}))
    monkeypatch.setattr(rssm_fidelity, "UPDATES", 2)
    monkeypatch.setattr(rssm_fidelity, "HELD_OUT", 200)
    monkeypatch.setattr(rssm_fidelity, "RESULTS", tmp_path / "fidelity.json")
    rssm_fidelity.main(["--tasks", "Pendulum-v1", "--seeds", "0", "--threads", "1"])
    ours, theirs = learning_curves.read(tmp_path / "fidelity.json")["runs"]
    assert [ours["variant"], theirs["variant"]] == ["rssm", "ensemble"]
    assert ours["steps"] == list(range(1, 51))
    for same in ("rows", "reward_spread", "steps"):
        assert ours[same] == theirs[same]
    assert ours["observation"]["copy"] == theirs["observation"]["copy"]
    assert ours["reward"]["model"] != theirs["reward"]["model"]
    header, _, *rows = rssm_fidelity.table([ours, theirs]).splitlines()
    assert header.endswith("| 1 step | 5 steps | 10 steps | 20 steps | 50 steps |")
    error = f"{ours['observation']['model'][4]:.3f} ± 0.000"
    assert next(row for row in rows if "| Pendulum-v1 | observation | rssm (1) |" in row).split(" | ")[4] == error
    assert "| CartPole-v1 | reward | copy (0) | – | – | – | – | – |" in rows
    figure = rssm_fidelity.picture([ours, theirs])
    assert [len(axes.get_lines()) for axes in figure.axes] == [0, 3, 0, 3]


# --- Dyna -------------------------------------------------------------------------------------------------------------


def test_every_task_of_dyna_has_settings_for_everything_that_it_is_compared_with() -> None:
    for task, (budget, _) in dyna_learning.PUBLISHED.items():
        own = dyna_learning.settings(task, "dyna")
        assert own["n_timesteps"] * 4 <= budget, task
        for variant in dyna_learning.variants(task):
            chosen = dyna_learning.settings(task, variant)
            assert {"n_timesteps", "policy"} <= set(chosen), (task, variant)
            json.dumps(chosen)
            if variant in dyna_learning.VARIANTS:
                params = {key: value for key, value in chosen.items() if key not in ("n_timesteps", "policy")}
                changed = {key for key in params if params[key] != own.get(key)}
                assert changed <= set(dyna_learning.VARIANTS[variant]), (task, variant)
    assert set(dyna_learning.DEFAULT) < set(dyna_learning.PUBLISHED)
    assert "perfect" not in dyna_learning.variants("InvertedPendulum-v5")


@pytest.mark.parametrize("variant", ["dyna", "copy", "real only"])
def test_a_killed_run_of_dyna_is_the_run_that_was_not(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = dyna_learning.settings("CartPole-v1", variant)
    own |= {"n_timesteps": 60, "learning_starts": 15, "gradient_steps": 1, "batch_size": 4, "rollouts_per_step": 2}
    own |= {"model_train_freq": 10, "rollout_freq": 5, "retain_steps": 10, "policy_kwargs": {"net_arch": [8]}}
    if variant != "real only":
        own["real_ratio"] = 0.5
    if variant != "copy":
        own |= {"world_model_kwargs": {"hidden": [8], "members": 2, "elites": 1}, "fit_kwargs": {"max_epochs": 1}}
    deadly: list[int] = []

    def judge(model: Dyna, make: Any, count: int, seed: int) -> list[float]:
        make().close()
        if model.num_timesteps in deadly:
            raise KeyboardInterrupt
        weights = torch.cat([parameter.detach().flatten() for parameter in model.policy.parameters()])
        return [float(weights.square().sum()), float(model.dream_steps)]

    monkeypatch.setattr(resumable, "POINTS", 3)
    monkeypatch.setattr(dyna_learning, "settings", lambda task, variant: dict(own))
    monkeypatch.setattr(resumable, "episodes", judge)
    whole = dyna_learning.measure("CartPole-v1", variant, 0, tmp_path / "whole")
    deadly.append(40)
    with pytest.raises(KeyboardInterrupt):
        dyna_learning.measure("CartPole-v1", variant, 0, tmp_path / "killed")
    deadly.clear()
    resumed = dyna_learning.measure("CartPole-v1", variant, 0, tmp_path / "killed")
    for run in (whole, resumed):
        del run["seconds"]
    assert json.dumps(resumed) == json.dumps(whole)
    assert (whole["dream_steps"] == 0) == (variant == "real only")
    assert whole["updates"] > 10


def test_the_table_of_dyna_reads_model_free_runs_at_both_budgets() -> None:
    steps = int(dyna_learning.settings("Pendulum-v1", "dyna")["n_timesteps"])
    free = {
        **run_of("Pendulum-v1", "model-free", 0, -150.0),
        "curve": [[0, -1500.0], [2 * steps, -500.0], [20_000, -150.0]],
    }
    ours = run_of("Pendulum-v1", "dyna", 0, -160.0)
    row = dyna_learning.table([free, ours]).splitlines()[2]
    assert row.startswith(f"| Pendulum-v1 | {steps:,} | -160.0 ± 0.0 (1) | – | – | – | – | -1000.0 ± 0.0 | 20,000 |")
    (panel,) = dyna_learning.picture([free]).axes
    np.testing.assert_array_equal(panel.get_lines()[0].get_xydata(), [[0, -1500], [steps, -1000]])
