"""Which of SB3's own test functions apply to which of our classes.

One :class:`Suite` for each class of ours that takes the place of one of SB3's. Every function of a listed file is
decided on: it applies, or it does not for the reason given. A version of SB3 that brings a new one stops the run until
somebody decides. Files that are not listed do not test what the class is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["SUITES", "File", "Suite"]


@dataclass(frozen=True)
class File:
    """The functions of one file of SB3's tests.

    Attributes:
        applicable: Names of the functions to run.
        not_applicable: Names of the others, and why.
    """

    applicable: tuple[str, ...]
    not_applicable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """SB3's tests with one of our classes in the place of one of theirs.

    Attributes:
        replaces: Where SB3 defines its class, ``"module:class"``. It is replaced in all modules of SB3.
        by: Our class, ``"module:class"``.
        files: The test files and what is in them.
        deselected: Parts of the names of parametrised tests that do not apply (``"[SubprocVecEnv"``), and why.
    """

    replaces: str
    by: str
    files: Mapping[str, File]
    deselected: Mapping[str, str] = field(default_factory=dict)


_NO_VEC_ENV = "has no VecEnv in it"
_SUBPROC = "is about SubprocVecEnv, which is not replaced"
_NO_OPTIONS = "an environment whose reset() takes no options, which Gymnasium's API has and SyncVectorEnv hands over"

SUITES: dict[str, Suite] = {
    "SB3VecEnv": Suite(
        replaces="stable_baselines3.common.vec_env.dummy_vec_env:DummyVecEnv",
        by="wrappers:SB3VecEnv",
        deselected={"SubprocVecEnv": _SUBPROC},
        files={
            "test_vec_envs.py": File(
                applicable=(
                    "test_vecenv_func_checker",
                    "test_vecenv_custom_calls",
                    "test_vecenv_terminal_obs",
                    "test_vecenv_single_space",
                    "test_vecenv_dict_spaces",
                    "test_vecenv_wrapper_getattr",
                    "test_framestack_vecenv",
                    "test_vec_env_is_wrapped",
                    "test_vec_deterministic",
                    "test_vec_seeding",
                    "test_render",  # skips itself where there is no display
                    "test_video_recorder",  # skips itself without moviepy
                ),
                not_applicable={
                    "test_vecenv_tuple_spaces": "no algorithm of SB3 takes Tuple observations; SB3VecEnv refuses them",
                    "test_subproc_start_method": _SUBPROC,
                },
            ),
            "test_vec_monitor.py": File(
                applicable=(
                    "test_vec_monitor",
                    "test_vec_monitor_info_keywords",
                    "test_vec_monitor_load_results",
                    "test_vec_monitor_ppo",
                    "test_vec_monitor_warn",
                )
            ),
            "test_vec_normalize.py": File(
                applicable=(
                    "test_obs_rms_vec_normalize",
                    "test_vec_env",
                    "test_get_original",
                    "test_get_original_dict",
                    "test_normalize_external",
                    "test_normalize_dict_selected_keys",
                    "test_her_normalization",
                    "test_offpolicy_normalization",
                    "test_sync_vec_normalize",
                    "test_discrete_obs",
                    "test_non_dict_obs_keys",
                ),
                not_applicable={"test_runningmeanstd": _NO_VEC_ENV, "test_combining_stats": _NO_VEC_ENV},
            ),
            "test_vec_check_nan.py": File(
                applicable=(),
                not_applicable={
                    "test_check_nan": "steps one environment with two rows of actions, of which DummyVecEnv ignores one"
                },
            ),
            "test_dict_env.py": File(
                applicable=(
                    "test_goal_env",
                    "test_consistency",
                    "test_dict_spaces",
                    "test_dict_vec_framestack",
                    "test_vec_normalize",
                    "test_vec_normalize_image",
                ),
                not_applicable={
                    "test_env": _NO_VEC_ENV,
                    "test_policy_hint": _NO_VEC_ENV,
                    "test_multiprocessing": _SUBPROC,
                    "test_dict_nested": "expects NotImplementedError for a nested Dict; SB3VecEnv raises ValueError",
                },
            ),
            "test_her.py": File(
                applicable=("test_her", "test_goal_selection_strategy"),
                not_applicable={
                    "test_import_error": _NO_VEC_ENV,
                    "test_multiprocessing": _SUBPROC,
                    "test_save_load": "is about files of the algorithm",
                    "test_save_load_replay_buffer": "is about files of the replay buffer",
                    "test_full_replay_buffer": "is about the replay buffer",
                    "test_truncate_last_trajectory": "is about the replay buffer",
                    "test_performance_her": "is about how well HER learns",
                },
            ),
            "test_predict.py": File(
                applicable=("test_auto_wrap", "test_predict", "test_mixing_gym_vecenv_api"),
                not_applicable={
                    "test_env": _NO_OPTIONS,
                    "test_subclassed_space_env": _NO_OPTIONS,
                    "test_dqn_epsilon_greedy": _NO_VEC_ENV,
                },
            ),
        },
    ),
}
