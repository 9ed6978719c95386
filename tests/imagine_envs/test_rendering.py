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


def test_a_window_shows_frames_until_it_is_closed():
    window = Window("a dream", fps=0)
    frame = np.zeros((128, 64, 3), np.uint8)
    frame[:, 32:] = (10, 200, 30)
    assert window.show(frame)
    surface = pygame.display.get_surface()
    assert surface.get_size() == (256, 512)
    assert surface.get_at((127, 100))[:3] == (0, 0, 0)
    assert surface.get_at((128, 100))[:3] == (10, 200, 30)
    assert pygame.display.get_caption()[0] == "a dream"
    assert window.show(np.zeros((2000, 1000, 3), np.uint8))
    assert pygame.display.get_surface().get_size() == (512, 1024)
    again = pickle.loads(pickle.dumps(window))
    window.close()
    window.close()
    assert not pygame.display.get_init()
    assert again.show(frame)
    again.close()


def test_a_window_that_the_user_closed_stays_closed():
    window = Window(fps=0)
    frame = np.zeros((64, 64, 3), np.uint8)
    assert window.show(frame)
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert not window.show(frame)
    assert not window.show(frame)
    assert not pygame.display.get_init()


def test_renderers_leave_the_window_alone():
    window = Window(fps=0)
    window.show(np.zeros((64, 64, 3), np.uint8))
    renderer = FrameRenderer("CartPole-v1", {}, gym.make("CartPole-v1").observation_space)
    window.show(renderer.render(np.zeros(4, np.float32)))
    renderer.close()
    assert window.show(np.zeros((64, 64, 3), np.uint8))


def test_a_window_without_a_display_says_so_once_and_clearly(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "no-such-driver")
    with pytest.raises(RuntimeError, match=r"no display to open a window on .*render_mode='rgb_array'"):
        Window().show(np.zeros((64, 64, 3), np.uint8))
