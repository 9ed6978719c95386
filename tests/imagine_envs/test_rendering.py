import pickle

import gymnasium as gym
import numpy as np
import pygame
import pytest
from gymnasium import spaces

from imagine_envs.dreams.rendering import FrameRenderer, Window, caption
from imagine_envs.world_models.classic_control import TASKS


@pytest.fixture(autouse=True)
def _no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame.display.quit()
    yield
    pygame.display.quit()


def unbounded(size: int) -> spaces.Box:
    return spaces.Box(-np.inf, np.inf, (size,), np.float32)


def check_frame(frame: np.ndarray) -> None:
    assert frame.dtype == np.uint8
    assert frame.ndim == 3
    assert frame.shape[2] == 3
    assert frame.flags.writeable


# --- the environment's own renderer ---------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", TASKS)
def test_the_real_environment_draws_its_own_observations(env_id):
    env = gym.make(env_id, render_mode="rgb_array")
    renderer = FrameRenderer(env_id, {}, env.observation_space)
    for seed in range(3):
        observation, _ = env.reset(seed=seed)
        for _ in range(0 if env_id == "Pendulum-v1" else 5):  # a pendulum that was pushed shows its torque as an arrow
            observation, *_ = env.step(env.action_space.sample())
        frame = renderer.render(observation)
        check_frame(frame)
        assert np.array_equal(frame, env.render())


@pytest.mark.parametrize(
    ("env_id", "kwargs"),
    [
        ("Imagine/DynaMaze-v0", {}),
        ("Imagine/DynaMaze-v0", {"observation": "coordinates"}),
        ("Imagine/ScaledMaze-v0", {"size": 94}),
        ("Imagine/RodManeuvering-v0", {}),
        ("Imagine/TrajectorySampling-v0", {"branching": 3}),
    ],
)
def test_tasks_draw_their_own_observations(env_id, kwargs):
    env = gym.make(env_id, render_mode="rgb_array", **kwargs)
    renderer = pickle.loads(pickle.dumps(FrameRenderer(env_id, kwargs, env.observation_space)))
    observation, _ = env.reset(seed=0)
    for action in (1, 3, 0, 1):
        frame = renderer.render(observation)
        check_frame(frame)
        assert np.array_equal(frame, env.render())
        observation, *_ = env.step(action % env.action_space.n)


def test_tasks_whose_observations_tell_too_little_are_plotted_or_shown_as_they_are():
    hidden = gym.make("Imagine/BlockingMaze-v0")
    assert FrameRenderer("Imagine/BlockingMaze-v0", {}, hidden.observation_space).render(5).shape == (320, 480, 3)
    env = gym.make("Imagine/MiniPacman-Rush-v0")
    frame = FrameRenderer("Imagine/MiniPacman-Rush-v0", {}, env.observation_space).render(env.reset(seed=0)[0])
    assert frame.shape == (15 * 14, 19 * 14, 3)
    other = FrameRenderer("Imagine/DynaMaze-v0", {}, spaces.Discrete(3))
    assert other.render(1).shape == (320, 480, 3)


def test_rendering_frames_needs_no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "no-such-driver")
    for env_id in TASKS:
        env = gym.make(env_id)
        check_frame(FrameRenderer(env_id, None, env.observation_space).render(env.reset(seed=0)[0]))
    check_frame(FrameRenderer(None, None, unbounded(3)).render(np.zeros(3)))
    assert not pygame.display.get_init()


def test_frames_are_fresh():
    renderer = FrameRenderer("CartPole-v1", {}, gym.make("CartPole-v1").observation_space)
    first = renderer.render(np.zeros(4, np.float32))
    kept = first.copy()
    renderer.render(np.array([1.0, 0.0, 0.1, 0.0], np.float32))
    assert np.array_equal(first, kept)


def test_a_dream_that_runs_away_is_still_drawn():
    renderer = FrameRenderer("CartPole-v1", {}, gym.make("CartPole-v1").observation_space)
    drawn = renderer.render(np.array([1e30, 1e30, 1e30, 1e30], np.float32))
    plotted = renderer.render(np.array([np.nan, np.inf, 0.0, 1.0], np.float32))
    check_frame(drawn)
    check_frame(plotted)
    assert drawn.shape != plotted.shape


def test_a_wrapped_observation_is_plotted():
    space = gym.wrappers.RescaleObservation(gym.make("MountainCarContinuous-v0"), -1, 1).observation_space
    wrapped = FrameRenderer("MountainCarContinuous-v0", {}, space).render(np.array([0.5, -0.5]))
    assert np.array_equal(wrapped, FrameRenderer(None, {}, space).render(np.array([0.5, -0.5])))


# --- images ---------------------------------------------------------------------------------------------------------


def test_images_are_enlarged_by_whole_factors():
    image = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
    frame = FrameRenderer(None, None, spaces.Box(0, 255, image.shape, np.uint8)).render(image)
    check_frame(frame)
    assert frame.shape == (256, 192, 3)
    assert np.array_equal(frame[::4, ::4], image)
    assert np.array_equal(frame[3::4, 3::4], image)


@pytest.mark.parametrize(
    ("shape", "newest"),
    [
        ((300, 280), lambda image: image[:, :, None]),
        ((300, 280, 1), lambda image: image),
        ((300, 280, 3), lambda image: image),
        ((3, 300, 280), lambda image: image.transpose(1, 2, 0)),
        ((1, 300, 280), lambda image: image.transpose(1, 2, 0)),
        ((4, 300, 280), lambda image: image[3][:, :, None]),
        ((300, 280, 6), lambda image: image[:, :, 3:]),
        ((4, 300, 280, 3), lambda image: image[3]),
    ],
)
def test_every_layout_of_an_image_shows_its_newest_frame(shape, newest):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    frame = FrameRenderer(None, None, spaces.Box(0, 255, shape, np.uint8)).render(image)
    assert np.array_equal(frame, np.broadcast_to(newest(image), (300, 280, 3)))


# --- plots ----------------------------------------------------------------------------------------------------------

BLUE, ORANGE = (66, 133, 190), (214, 110, 62)


def pixels(frame: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((frame == np.array(color)).all(axis=2).sum())


def test_bars_are_as_long_as_their_values():
    renderer = FrameRenderer(None, None, spaces.Box(-2.0, 2.0, (1,)))
    full = pixels(renderer.render([2.0]), BLUE)
    assert pixels(renderer.render([1.0]), BLUE) == pytest.approx(full / 2, rel=0.03)
    assert pixels(renderer.render([-1.0]), BLUE) == 0
    assert pixels(renderer.render([-2.0]), ORANGE) == pytest.approx(full, rel=0.03)


def test_the_scale_of_an_unbounded_observation_never_shrinks():
    renderer = FrameRenderer(None, None, unbounded(1))
    before = renderer.render([3.0])
    renderer.render([40.0])
    after = renderer.render([3.0])
    assert pixels(after, BLUE) < pixels(before, BLUE)
    assert np.array_equal(renderer.render([3.0]), after)


@pytest.mark.parametrize("size", [1, 7, 12, 13, 32, 33, 376])
def test_any_number_of_dimensions_is_plotted(size):
    renderer = FrameRenderer("Ant-v5", {}, unbounded(size))
    frame = renderer.render(np.random.default_rng(0).normal(size=size))
    check_frame(frame)
    assert frame.shape == (320, 480, 3)
    assert pixels(frame, BLUE) + pixels(frame, ORANGE) > 0


def test_bars_beyond_32_are_means_of_neighbours():
    renderer = FrameRenderer(None, None, spaces.Box(-1.0, 1.0, (64,)))
    assert pixels(renderer.render(np.tile([1.0, -1.0], 32)), ORANGE) == 0
    assert pixels(renderer.render(np.tile([-1.0, 0.0], 32)), ORANGE) > 0


@pytest.mark.parametrize(
    "space",
    [
        spaces.Discrete(5, start=2),
        spaces.MultiBinary(4),
        spaces.MultiDiscrete([3, 4]),
        spaces.Dict({"achieved_goal": unbounded(3), "time": spaces.Box(0, 1, (1,))}),
        spaces.Box(0, 255, (128,), np.uint8),
        spaces.Box(-1e8, 1e8, (3, 2)),
        spaces.Box(5.0, 10.0, (2,)),
    ],
    ids=str,
)
def test_other_spaces_are_plotted(space):
    space.seed(0)
    check_frame(FrameRenderer(None, None, space).render(space.sample()))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1.7e308, 5e-324])
def test_impossible_values_are_plotted(value):
    renderer = FrameRenderer(None, None, unbounded(2))
    check_frame(renderer.render([value, 1.0]))
    check_frame(renderer.render([0.0, 1.0]))


def test_a_caption_stands_below_the_frame():
    frame = np.random.default_rng(0).integers(0, 256, (100, 120, 3), np.uint8)
    kept = frame.copy()
    with_text = caption(frame, "dream   step 7" + " and so on" * 50)
    check_frame(with_text)
    assert with_text.shape == (124, 120, 3)
    assert np.array_equal(with_text[:100], frame)
    assert np.array_equal(frame, kept)
    assert not np.array_equal(with_text[100:], caption(frame, "")[100:])


def test_a_long_caption_is_written_smaller_before_it_is_cut():
    frame = np.zeros((10, 300, 3), np.uint8)
    long, longer = "step 7   and so on" * 3, "step 7   and so on" * 20
    assert not np.array_equal(caption(frame, f"{long}1"), caption(frame, f"{long}2"))
    assert np.array_equal(caption(frame, f"{longer}1"), caption(frame, f"{longer}2"))


# --- pickling and windows -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("env_id", ["CartPole-v1", None])
def test_a_renderer_can_be_pickled_before_and_after_use(env_id):
    renderer = FrameRenderer(env_id, {}, gym.make("CartPole-v1").observation_space)
    fresh = pickle.loads(pickle.dumps(renderer))
    observation = np.array([0.1, 0.2, 0.05, 0.0], np.float32)
    frame = renderer.render(observation)
    used = pickle.loads(pickle.dumps(renderer))
    renderer.close()
    for other in (fresh, used, renderer):
        assert np.array_equal(other.render(observation), frame)


GREEN, RED, BLACK = (10, 200, 30), (200, 30, 10), (0, 0, 0)


def plain(color: tuple[int, int, int], height: int = 64, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), color, np.uint8)


def pixel(window: Window, x: int = 0, y: int = 0) -> tuple[int, ...]:
    return tuple(window._window.get_surface().get_at((x, y)))[:3]


def user_closes(window: Window) -> None:
    pygame.event.post(pygame.event.Event(pygame.WINDOWCLOSE, window=window._window))


def test_a_window_shows_frames_until_it_is_closed():
    window = Window("a dream", fps=0)
    frame = plain(BLACK, 128, 64)
    frame[:, 32:] = GREEN
    assert window.show(frame)
    assert window._window.size == (256, 512)
    assert window._window.get_surface().get_size() == (256, 512)
    assert (pixel(window, 127, 100), pixel(window, 128, 100)) == (BLACK, GREEN)
    assert window._window.title == "a dream"
    assert window.show(plain(RED, 2000, 1000))
    assert window._window.get_surface().get_size() == (512, 1024)
    assert pixel(window, 511, 1023) == pytest.approx(RED, abs=3)
    again = pickle.loads(pickle.dumps(window))
    shown = window._window
    window.close()
    window.close()
    with pytest.raises(pygame.error, match="Invalid window"):
        assert shown.id
    assert again.show(frame)
    assert window.show(frame)
    again.close()
    window.close()


def test_every_window_is_one_of_its_own():
    green, red = Window("same title", fps=0), Window("same title", fps=0)
    assert green.show(plain(GREEN))
    assert red.show(plain(RED, 400, 600))
    assert (pixel(green), pixel(red)) == (GREEN, RED)
    assert (green._window.size, red._window.size) == ((512, 512), (600, 400))
    red.close()
    assert green.show(plain(BLACK))
    assert pixel(green) == BLACK


def test_a_window_that_the_user_closed_stays_closed():
    window, other = Window(fps=0), Window(fps=0)
    assert window.show(plain(GREEN))
    assert other.show(plain(GREEN))
    user_closes(window)
    assert other.show(plain(RED))  # reads the events of both
    assert not window.show(plain(RED))
    assert window._window is None
    window.close()
    assert not window.show(plain(RED))
    user_closes(other)
    assert not other.show(plain(RED))


def test_quitting_closes_all_windows_and_none_that_is_opened_later():
    first, second = Window(fps=0), Window(fps=0)
    assert first.show(plain(GREEN))
    assert second.show(plain(GREEN))
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert Window(fps=0).show(plain(GREEN))
    assert not first.show(plain(GREEN))
    assert not second.show(plain(GREEN))


def test_the_user_may_close_a_window_of_someone_else():
    window = Window(fps=0)
    assert window.show(plain(GREEN))
    pygame.event.post(pygame.event.Event(pygame.WINDOWCLOSE, window=None))
    pygame.event.post(pygame.event.Event(pygame.WINDOWCLOSE, window=pygame.Window("another", (10, 10))))
    assert window.show(plain(GREEN))


def test_a_window_appears_beside_those_of_real_environments_and_outlives_them():
    window = Window("a dream", fps=0)
    for _ in range(2):
        real = gym.make("CartPole-v1", render_mode="human")
        real.reset(seed=0)
        assert window.show(plain(GREEN))
        real.reset()
        assert pygame.display.get_surface().get_at((0, 0))[:3] == (255, 255, 255)
        assert pixel(window) == GREEN
        real.close()  # shuts pygame's display down, with all its windows
    assert window.show(plain(RED))
    assert pixel(window) == RED


def test_no_window_takes_another_for_the_one_it_lost():
    window, other = Window("a dream", fps=0), Window("a dream", fps=0)
    assert window.show(plain(GREEN))
    assert other.show(plain(GREEN))
    stranger = window._window
    stranger.title = "pygame window"  # as a new one looks that lies where the lost one lay in memory
    assert window.show(plain(RED))
    assert window._window is not stranger
    pygame.display.quit()
    assert window.show(plain(RED))
    assert other._window is None  # all is forgotten before anything new can take its place


def test_closing_a_window_leaves_a_real_environment_alone():
    real = gym.make("CartPole-v1", render_mode="human")
    real.reset(seed=0)
    window = Window(fps=0)
    assert window.show(plain(GREEN))
    window.close()
    real.reset()
    assert pygame.display.get_surface().get_size() == (600, 400)
    real.close()
    window.close()


def test_renderers_leave_the_window_alone():
    window = Window(fps=0)
    window.show(plain(GREEN))
    shown = window._window
    renderer = FrameRenderer("CartPole-v1", {}, gym.make("CartPole-v1").observation_space)
    window.show(renderer.render(np.zeros(4, np.float32)))
    renderer.close()
    assert window.show(plain(GREEN))
    assert window._window is shown


def test_a_window_without_a_display_says_so_once_and_clearly(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "no-such-driver")
    with pytest.raises(RuntimeError, match=r"no display to open a window on .*render_mode='rgb_array'"):
        Window().show(np.zeros((64, 64, 3), np.uint8))
