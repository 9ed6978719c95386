"""``imagine play``: keys, undo, restart, and the window."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pygame
import pytest

import imagine_envs  # noqa: F401 (registers the ids)
from imagine_envs.dreams.rendering import Window
from imagine_envs.registration import ENVIRONMENTS
from imagine_envs.tasks import TaskEnv
from imagine_envs.tasks.mazes import GridMaze
from zoo.cli import main
from zoo.play import Game, play

TASKS = [env_id for env_id, entry in ENVIRONMENTS.items() if "kwargs" in entry]


def corridor() -> Game:
    """Three steps to the right reach the goal; four are allowed."""
    return Game(TaskEnv(GridMaze([["S..G"]], max_steps=4), render_mode="rgb_array"), seed=0)


def pressed(game: Game, *keys: str) -> Game:
    for key in keys:
        assert game.press(key)
    return game


def place(game: Game) -> int:
    return int(game.env.snapshot()["state"][0])


def test_arrows_move_and_u_takes_back() -> None:
    game = pressed(corridor(), "right", "right", "left")
    assert (place(game), game.steps) == (1, 3)
    assert (place(pressed(game, "u")), game.steps) == (2, 2)
    assert (place(pressed(game, "u", "u", "u")), game.steps) == (0, 0)
    assert (place(pressed(game, "x", "left shift")), game.steps) == (0, 0)
    assert not game.press("escape")


def test_an_end_can_be_taken_back_and_nothing_is_done_beyond_it() -> None:
    game = pressed(corridor(), "right", "right", "right")
    assert (game.ending, game.total, game.steps) == ("terminated", 1.0, 3)
    assert "return 1   terminated: n next, r again, u undo" in game.status()
    assert pressed(game, "left").steps == 3
    pressed(game, "u")
    assert (game.ending, game.total, place(game)) == ("", 0.0, 2)
    pressed(game, "left", "left")
    assert (game.ending, place(game)) == ("out of steps", 0)
    pressed(game, "u", "u", "right")
    assert (game.ending, game.total) == ("terminated", 1.0)


def test_r_is_the_same_episode_again_and_n_the_next() -> None:
    env = gym.make("Imagine/MiniPacman-Regular-v0", render_mode="rgb_array")
    game = Game(env, seed=4)
    first = game.env.snapshot()
    pressed(game, "right", "up", "up", "r")
    assert (game.steps, game.total) == (0, 0)
    assert all(np.array_equal(first[key], value) for key, value in game.env.snapshot().items())
    pressed(game, "u", "r")
    assert all(np.array_equal(first[key], value) for key, value in game.env.snapshot().items())
    pressed(game, "n")
    assert not np.array_equal(first["board"], game.env.snapshot()["board"])
    assert game.steps == 0


def test_levels_have_numbers_of_which_one_can_be_chosen() -> None:
    game = Game(gym.make("Imagine/Sokoban-7x7-2-v0", render_mode="rgb_array"), level=17)
    assert game.status().startswith("level 17   boxes 0/2   step 0")
    assert pressed(game, "up", "left", "r").status().startswith("level 17 ")
    assert {pressed(game, "n").status().split()[1] for _ in range(5)} != {"17"}


@pytest.mark.parametrize("env_id", TASKS)
def test_every_task_can_be_played(env_id: str) -> None:
    game = Game(gym.make(env_id, render_mode="rgb_array", render_size=200), seed=0)
    begun = game.frame()
    keys = list(game.keys)
    for turn in range(10):
        key = keys[turn % len(keys)]
        game.press(key)
        game.tick([key])  # which does something in tasks that do not wait only
    moved = game.frame()
    assert begun.shape == moved.shape
    assert not np.array_equal(begun, moved)
    assert "step" in game.status()
    assert len(game.legend().split("   ")) == len(keys) + 4
    pressed(game, *["u"] * 10)
    assert np.array_equal(game.frame(), begun)


class Typist:
    """Presses keys in a window, one each time it is shown, once it is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *keys: str) -> None:
        self.frames: list[np.ndarray] = []
        show, waiting = Window.show, list(keys)

        def typed(window: Window, frame: np.ndarray) -> bool:
            if self.frames and waiting:
                key = waiting.pop(0)
                event = pygame.event.Event(pygame.KEYDOWN, key=pygame.key.key_code(key), mod=0, unicode="")
                pygame.event.post(pygame.event.Event(pygame.QUIT) if key == "q" else event)
            self.frames.append(frame)
            assert len(self.frames) < 100
            return show(window, frame)

        monkeypatch.setattr(Window, "show", typed)


def test_a_window_is_played_in(monkeypatch: pytest.MonkeyPatch) -> None:
    typist = Typist(monkeypatch, "right", "right", "u", "right", "right", "escape")
    game = corridor()
    play(game, fps=0)
    assert (game.ending, game.steps) == ("terminated", 3)
    assert len({frame.tobytes() for frame in typist.frames}) == 4


def racing(seed: int = 1) -> Game:
    """A task that does not wait for its player."""
    return Game(gym.make("Imagine/CarRacing-v0", size=64, render_mode="rgb_array", render_size=100), seed=seed)


def test_a_task_that_does_not_wait_begins_with_the_first_key_and_u_takes_a_second_back() -> None:
    game = racing()
    assert game.waits
    game.tick(["up"])
    assert game.steps == 0
    pressed(game, "x")
    assert game.waits
    pressed(game, "up")
    assert not game.waits
    assert game.steps == 0, "keys that are held count, not keys that are pressed"
    poses = []
    for _ in range(70):
        game.tick(["up"])
        poses.append(game.env.snapshot()["body"][0].tolist())
    assert (game.steps, game.waits) == (70, False)
    assert game.status().startswith("tiles ")
    pressed(game, "u")
    assert (game.steps, game.waits) == (20, True)
    assert game.env.snapshot()["body"][0].tolist() == poses[19]
    assert (pressed(game, "u").steps, game.total) == (0, 0.0)
    pressed(game, "up").tick(["up"])
    assert game.env.snapshot()["body"][0].tolist() == poses[0], "the same keys do the same again"
    assert (pressed(game, "r").steps, game.waits) == (0, True)
    game.env.task.max_steps = game.env._batch.max_steps = 3
    pressed(game, "up")
    for _ in range(5):
        game.tick(["up"])
    assert (game.steps, game.ending) == (3, "out of steps")


def test_a_window_is_driven_in(monkeypatch: pytest.MonkeyPatch) -> None:
    typist = Typist(monkeypatch, "up", "left", "left", "escape")
    game = racing()
    play(game, fps=0)
    assert game.steps == 3
    assert game.env.snapshot()["wheels"][0, 2, 8] == pytest.approx(0.3), "the gas went up in three steps"
    assert len({frame.tobytes() for frame in typist.frames}) == 4


def test_another_engine_cannot_be_played() -> None:
    pytest.importorskip("Box2D")
    with pytest.raises(ValueError, match="CarRacing-v0 with backend='box2d' cannot be played"):
        Game(gym.make("Imagine/CarRacing-v0", backend="box2d"))


def test_closing_the_window_ends_the_game(monkeypatch: pytest.MonkeyPatch) -> None:
    Typist(monkeypatch, "right", "q")
    game = corridor()
    play(game, fps=0)
    assert game.steps == 1


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    typist = Typist(monkeypatch, "right", "down", "escape")
    arguments = ["--seed", "1", "--size", "90", "--env-kwargs", "observation:coordinates"]
    assert main(["play", "--env", "Imagine/DynaMaze-v0", *arguments]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "up   down   left   right   u: undo   r: again from the start   n: next episode   escape: quit",
        "step 2   return 0",
    ]
    assert typist.frames[0].shape == (6 * 10 + 24, 90, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "CartPole-v1"], "CartPole-v1 cannot be played"),
        (["--env", "Imagine/DynaMaz-v0"], "did you mean Imagine/DynaMaze-v0"),
        (["--env", "Imagine/DynaMaze-v0", "--env-kwargs", "colour:red"], "colour"),
        (["--env", "Imagine/DynaMaze-v0", "--level", "3"], "the option 'level'; DynaMaze knows none"),
        (["--env", "Imagine/Sokoban-v0", "--level", "10000"], "there are levels from 0 to 9999"),
    ],
)
def test_what_cannot_be_played(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_keys_are_remembered_in_order_and_told_once() -> None:
    window = Window("keys", fps=0)
    frame: Any = np.zeros((8, 8, 3), np.uint8)
    window.show(frame)
    for key in (pygame.K_UP, pygame.K_a, pygame.K_SPACE):
        pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=key))
    window.show(frame)
    assert window.keys() == ["up", "a", "space"]
    assert window.keys() == []
    window.close()
