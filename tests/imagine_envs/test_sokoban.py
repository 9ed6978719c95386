from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check_env
from plain_sokoban import PlainSokoban
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as sb3_check_env

import imagine_envs  # noqa: F401 (registers the ids)
from imagine_envs.tasks import TaskEnv, TaskVectorEnv
from imagine_envs.tasks.sokoban import Generator, Level, LevelError, LevelPool, Sokoban, generate_levels, write_levels
from imagine_envs.tasks.sokoban.levels import BOX, PLAYER, SYMBOLS, TARGET, WALL
from imagine_envs.tasks.sokoban.looks import looks
from wrappers import SB3VecEnv

CORRIDOR = "######\n#@$ .#\n######"
ROOM = "######\n# @  #\n# $. #\n#    #\n######"
UP, DOWN, LEFT, RIGHT = 1, 2, 3, 4


def rows_of(env: TaskEnv | TaskVectorEnv, row: int = 0) -> tuple[str, ...]:
    return Level.from_grid(env.snapshot()["cells"][row]).rows


def test_the_ids_are_of_their_sizes() -> None:
    for env_id, shape, boxes in (
        ("Imagine/Sokoban-v0", (10, 10), 4),
        ("Imagine/Sokoban-7x7-1-v0", (7, 7), 1),
        ("Imagine/Sokoban-7x7-2-v0", (7, 7), 2),
        ("Imagine/Sokoban-8x8-2-v0", (8, 8), 2),
    ):
        env: Any = gym.make(env_id).unwrapped
        observation, info = env.reset(seed=0)
        assert observation.shape == (*shape, 4)
        assert (env.action_space, env.max_steps) == (gym.spaces.Discrete(5), 120)
        assert (observation[..., 2] == 255).sum() == (observation[..., 1] == 255).sum() == boxes
        assert 0 <= info["level"] < 10_000
        assert info["solution_length"] > 0


def test_solved_in_the_last_step_is_terminated_not_truncated() -> None:
    for waits, actions in ((1, [0, RIGHT, RIGHT]), (2, [0, 0, RIGHT])):
        env = TaskEnv(Sokoban(levels=[CORRIDOR], max_steps=3))
        env.reset(seed=0)
        steps = [env.step(action) for action in actions]
        assert [reward for _, reward, *_ in steps] == pytest.approx([[-0.1, -0.1, 10.9], [-0.1, -0.1, -0.1]][waits - 1])
        assert [(terminated, truncated) for _, _, terminated, truncated, _ in steps] == [
            (False, False),
            (False, False),
            (waits == 1, waits == 2),
        ]
    endless = TaskEnv(Sokoban(levels=[CORRIDOR], max_steps=None))
    endless.reset(seed=0)
    assert not any(endless.step(0)[3] for _ in range(300))


@pytest.mark.parametrize("observation", ["planes", "tiny", "rgb"])
def test_observations_show_the_board(observation: str) -> None:
    env = TaskEnv(Sokoban(levels=[ROOM], observation=observation, actions=13))
    game = PlainSokoban(tuple(ROOM.splitlines()))
    seen, _ = env.reset(seed=0)
    look = looks(observation)
    side = look.shape[1]
    rng = np.random.default_rng(0)
    for _ in range(60):
        assert seen.shape == (5 * side, 6 * side, look.shape[3])
        for y, row in enumerate(game.show()):
            for x, symbol in enumerate(row):
                part = seen[y * side : (y + 1) * side, x * side : (x + 1) * side]
                np.testing.assert_array_equal(part, look[SYMBOLS[symbol]])
        action = int(rng.integers(13))
        game.step(action)
        seen = env.step(action)[0]


def test_a_hundred_thousand_steps_of_the_environment_are_those_of_the_plain_rules() -> None:
    envs = TaskVectorEnv(Sokoban(size=7, boxes=1, actions=13), 250)
    envs.reset(seed=0)
    state = envs.snapshot()
    games = [PlainSokoban(Level.from_grid(grid).rows) for grid in state["cells"]]
    elapsed, levels = np.zeros(250, int), set(state["level"].tolist())
    rng = np.random.default_rng(0)
    ends = {"solved": 0, "late": 0}
    for _ in range(400):
        actions = rng.integers(13, size=250)
        _, rewards, terminations, truncations, infos = envs.step(actions)
        expected = [game.step(action) for game, action in zip(games, actions.tolist(), strict=True)]
        elapsed += 1
        np.testing.assert_allclose(rewards, [reward for reward, _ in expected], atol=1e-12)
        np.testing.assert_array_equal(terminations, [solved for _, solved in expected])
        np.testing.assert_array_equal(truncations, (elapsed >= 120) & ~terminations)
        ends["solved"] += int(terminations.sum())
        ends["late"] += int(truncations.sum())
        for row in np.flatnonzero(terminations | truncations):
            games[row], elapsed[row] = PlainSokoban(rows_of(envs, row)), 0
            levels.add(int(infos["level"][row]))
    cells = envs.snapshot()["cells"]
    planes = np.stack([(cells & bit > 0) for bit in (WALL, TARGET, BOX, PLAYER)], -1)
    np.testing.assert_array_equal(envs.step(np.zeros(250, int))[0] > 0, planes)
    assert min(ends.values()) > 5
    assert len(levels) > 700


@pytest.mark.parametrize("levels", ["pool", "generate"])
def test_random_play_from_restored_states_is_bit_identical(levels: str) -> None:
    envs = TaskVectorEnv(Sokoban(size=7, boxes=2, levels=levels, actions=13, max_steps=20), 12)
    envs.reset(seed=1)
    rng = np.random.default_rng(1)
    for _ in range(15):
        envs.step(rng.integers(13, size=12))
    saved, actions = envs.snapshot(), rng.integers(13, size=(40, 12))
    runs = []
    for _ in range(2):
        first = envs.restore(saved)
        runs.append([first.tobytes(), *(b"".join(part.tobytes() for part in envs.step(a)[:4]) for a in actions)])
    assert runs[0] == runs[1]


# --- levels ---------------------------------------------------------------------------------------------------------


def test_levels_of_a_list_a_file_a_folder_and_a_pool(tmp_path: Path) -> None:
    made = generate_levels(3, size=7, boxes=1, seed=5, states=300)
    (tmp_path / "folder").mkdir()
    write_levels(tmp_path / "folder" / "levels.txt", made)
    LevelPool.of(made).save(tmp_path / "levels.npz")
    texts = ["\n".join(level.rows) for level in made]
    for levels, known in (
        (texts, False),
        (made, True),
        (tmp_path / "folder", False),
        (str(tmp_path / "folder" / "levels.txt"), False),
        (str(tmp_path / "levels.npz"), True),
    ):
        env: Any = gym.make("Imagine/Sokoban-v0", levels=levels, size=7).unwrapped
        for number, level in enumerate(made):
            _, info = env.reset(seed=0, options={"level": number})
            assert rows_of(env) == level.rows
            assert info == {"level": number} | ({"solution_length": len(level.plan or ())} if known else {})
        assert {env.reset()[1]["level"] for _ in range(40)} == {0, 1, 2}


def test_the_pool_is_the_default_and_its_plans_solve_it() -> None:
    env = TaskEnv(Sokoban(size=8, boxes=2))
    _, info = env.reset(seed=3, options={"level": 17})
    level = Generator(8, 2, 0, states=50_000).level(17)
    assert rows_of(env) == level.rows
    assert info == {"level": 17, "solution_length": len(level.plan or ())}
    ends = [env.step(action)[2] for action in level.plan or ()]
    assert ends == [False] * (info["solution_length"] - 1) + [True]


def test_fresh_levels_are_numbered_too_and_are_none_of_the_pool() -> None:
    env = TaskEnv(Sokoban(size=7, boxes=2, levels="generate"))
    _, info = env.reset(seed=0)
    _, other = env.reset()
    assert info["level"] != other["level"]
    level = Generator(7, 2, seed=1).level(other["level"])
    assert rows_of(env) == level.rows
    assert other["solution_length"] == len(level.plan or ())
    assert env.reset(seed=9, options={"level": other["level"]})[1] == other
    assert rows_of(env) == level.rows
    envs = TaskVectorEnv(Sokoban(size=7, boxes=2, levels="generate"), 3)
    _, infos = envs.reset(seed=4, options={"level": [5, 2, 5]})
    assert infos["level"].tolist() == [5, 2, 5]
    assert rows_of(envs, 0) == rows_of(envs, 2) == Generator(7, 2, seed=1).level(5).rows


def test_a_level_drawn_does_not_hang_on_the_one_asked_for() -> None:
    envs = [TaskEnv(Sokoban(size=7, boxes=1)) for _ in range(2)]
    envs[0].reset(seed=0)
    envs[1].reset(seed=0, options={"level": 3})
    assert envs[0].reset()[1] == envs[1].reset()[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 9}, "there is no pool of levels of 9 × 9 cells with 4 boxes, only of"),
        ({"size": 4, "boxes": 3}, "size=4 cannot hold boxes=3"),
        ({"levels": "nowhere.txt"}, "nowhere.txt is missing"),
        ({"levels": "nowhere.npz"}, "nowhere.npz is missing"),
        ({"levels": []}, "must be 'pool', 'generate', the path of a file or folder, or a list"),
        ({"levels": [3]}, "must be 'pool', 'generate'"),
        ({"levels": CORRIDOR}, f"levels is a text:\n{CORRIDOR}\nA list of levels was expected"),
        ({"levels": [CORRIDOR, "###\n#@#\n###"]}, "levels[1], there are no boxes"),
        ({"levels": [CORRIDOR, "###\n#x#\n###"]}, "levels[1], row 2: 'x' is no symbol"),
        ({"levels": [CORRIDOR, ROOM]}, "levels: level 1 has 5 × 6 cells; 3 × 6 were expected, as of level 0"),
        ({"levels": [CORRIDOR], "size": 10}, "level 0 has 3 × 6 cells; 10 × 10 were expected, as of size=10"),
        ({"levels": [CORRIDOR], "boxes": 2}, "level 0 has 1 boxes; boxes=2 was asked for"),
        ({"observation": "text"}, "observation='text' must be one of 'planes', 'tiny', 'rgb'"),
        ({"actions": 4}, "actions=4 must be one of 5, 9, 13"),
        ({"max_steps": 0}, "max_steps=0 must be a whole number of at least 1, or None"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Sokoban(**arguments)


def test_bad_levels_are_level_errors_and_bad_numbers_are_named() -> None:
    with pytest.raises(LevelError, match="there are no boxes"):
        Sokoban(levels=["###\n#@#\n###"])
    env = TaskEnv(Sokoban(levels=[CORRIDOR, CORRIDOR]))
    for number, message in ((2, "there are levels from 0 to 1"), (-1, "from 0 to 1"), ("a", "a whole number, or 1 of")):
        with pytest.raises(ValueError, match=message):
            env.reset(seed=0, options={"level": number})


# --- what others see of it ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("observation", ["planes", "tiny", "rgb"])
@pytest.mark.parametrize("actions", [5, 9, 13])
def test_the_checkers_of_both_libraries_say_nothing(observation: str, actions: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "The minimal resolution for an image is 36x36")
        env = gym.make("Imagine/Sokoban-v0", observation=observation, actions=actions, render_mode="rgb_array")
        gymnasium_check_env(env.unwrapped)
        sb3_check_env(env)


def test_stock_ppo_trains_on_sprites_with_its_own_cnn_and_on_planes() -> None:
    for observation, policy in (("rgb", "CnnPolicy"), ("planes", "MlpPolicy")):
        envs = SB3VecEnv(gym.make_vec("Imagine/Sokoban-7x7-1-v0", num_envs=4, observation=observation))
        agent = PPO(policy, envs, n_steps=8, batch_size=32, n_epochs=1, device="cpu", seed=0)
        assert agent.learn(64).num_timesteps == 64


@pytest.mark.parametrize("observation", ["planes", "tiny", "rgb"])
def test_boards_are_read_off_their_pictures(observation: str) -> None:
    task = Sokoban(size=7, boxes=2, observation=observation, actions=13)
    envs = TaskVectorEnv(task, 32)
    envs.reset(seed=0)
    for action in np.random.default_rng(0).integers(13, size=(50, 32)):
        seen = envs.step(action)[0]
    state, recalled = envs.snapshot(), task.allocate(32)
    task.recall(recalled, seen)
    for name in ("cells", "player", "missing"):
        np.testing.assert_array_equal(recalled[name], state[name])
    with pytest.raises(ValueError, match="an observation shows 0 players"):
        task.recall(task.allocate(32), np.zeros_like(seen))


def test_pictures_have_the_size_that_was_asked_for() -> None:
    env = TaskEnv(Sokoban(levels=[ROOM]), render_mode="rgb_array", render_size=60)
    env.reset(seed=0)
    assert env.render().shape == (50, 60, 3)  # type: ignore[union-attr]


def test_keys_and_status() -> None:
    assert Sokoban().keys == {"space": 0, "up": 1, "down": 2, "left": 3, "right": 4}
    keys = Sokoban(actions=13).keys
    assert {keys[key] for key in ("up", "down", "left", "right")} == {1, 2, 3, 4}
    assert [keys[key] for key in "wsad"] == [5, 6, 7, 8]
    assert [keys[key] for key in "ikjl"] == [9, 10, 11, 12]
    env = TaskEnv(Sokoban(levels=["#######\n#@$.$ #\n#   . #\n#######"]))
    env.reset(seed=0)
    assert env.status() == "level 0   boxes 0/2"
    env.step(RIGHT)
    assert env.status() == "level 0   boxes 1/2"
