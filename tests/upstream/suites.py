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

# --- the ImaginationTrainer, once for each of three stock algorithms inside ------------------------------------------

_NO_ALGORITHM = "has no algorithm in it"
_OTHER = "is about another algorithm"
_DISCRETE = "has discrete observations; the Ensemble learns flat Box observations"
_IMAGES = "has images; the Ensemble learns flat Box observations"
_MULTI_DIM = "has actions of two dimensions; the Ensemble learns Discrete and flat Box actions"
_INSIDE = "reads attributes of the stock algorithm, which are those of `model.agent` here"
_BUFFER = "is about SB3's replay buffer, where the trainer keeps sequences of real experience (a Replay)"
_QUALITY = "is about how well a few hundred updates learn; stand-ins hardly train"

# For each function the stock algorithms with which it applies, or why it does not. (test_utils.py has four that would
# apply to A2C, but it cannot be imported without Atari.)
_TRAINER_FILES: dict[str, dict[str, set[str] | str]] = {
    "test_save_load.py": {
        "test_save_load": {"PPO", "A2C", "SAC"},
        "test_set_env": {"PPO", "A2C", "SAC"},
        "test_exclude_include_saved_params": {"PPO", "A2C", "SAC"},
        "test_save_load_policy": {"PPO", "A2C", "SAC"},
        "test_load_invalid_object": {"PPO"},
        "test_no_resource_warning": {"PPO"},
        "test_cast_lr_schedule": {"PPO"},
        "test_save_load_net_arch_none": {"PPO"},
        "test_load_bad_zip": {"PPO"},
        "test_save_load_pytorch_var": _INSIDE,
        "test_save_load_backward_compatible": _INSIDE,
        "test_save_load_clip_range_portable": _INSIDE,
        "test_save_load_replay_buffer": _BUFFER,
        "test_warn_buffer": _BUFFER,
        "test_save_load_env_cnn": _IMAGES,
        "test_save_load_q_net": _OTHER,
        "test_save_load_large_model": _OTHER,
        "test_dqn_target_update_interval": _OTHER,
        "test_save_load_no_target_params": _OTHER,
        "test_open_file_str_pathlib": _NO_ALGORITHM,
        "test_open_file": _NO_ALGORITHM,
        "test_open_path_directory_and_missing_parent": _NO_ALGORITHM,
    },
    "test_callbacks.py": {
        "test_callbacks": {"PPO", "A2C", "SAC"},
        "test_callbacks_can_cancel_runs": {"A2C", "SAC"},
        "test_eval_callback_chaining": {"PPO"},
        "test_eval_callback_vec_env": _DISCRETE,
        "test_eval_friendly_error": "wraps its environment in VecNormalize, which the trainer refuses",
        "test_eval_success_logging": _OTHER,
        "test_eval_callback_logs_are_written_with_the_correct_timestep": _OTHER,
        "test_checkpoint_additional_info": _OTHER,
    },
    "test_predict.py": {
        "test_auto_wrap": {"PPO", "A2C", "SAC"},
        "test_predict": {"PPO", "A2C", "SAC"},
        "test_subclassed_space_env": {"PPO", "A2C", "SAC"},
        "test_mixing_gym_vecenv_api": {"PPO"},
        "test_dqn_epsilon_greedy": _OTHER,
        "test_env": _NO_ALGORITHM,
    },
    "test_deterministic.py": {"test_deterministic_training_common": {"PPO", "A2C", "SAC"}},
    "test_identity.py": {"test_discrete": _DISCRETE, "test_continuous": _QUALITY},
    "test_custom_policy.py": {
        "test_flexible_mlp": {"PPO", "A2C"},
        "test_custom_offpolicy": {"SAC"},
        "test_custom_optimizer": {"PPO", "A2C", "SAC"},
        "test_tf_like_rmsprop_optimizer": {"A2C"},
        "test_dqn_custom_policy": _OTHER,
        "test_create_mlp": _NO_ALGORITHM,
    },
    "test_spaces.py": {
        "test_action_spaces": {"PPO", "A2C", "SAC"},
        "test_float64_action_space": {"PPO", "A2C", "SAC"},
        "test_identity_spaces": _DISCRETE,
        "test_discrete_obs_space": _DISCRETE,
        "test_sde_multi_dim": _MULTI_DIM,
        "test_multidim_binary_not_supported": "expects SB3's error; the Ensemble refuses the space before",
        "test_env": _NO_ALGORITHM,
    },
    "test_tensorboard.py": {
        "test_tensorboard": _INSIDE + "; and expects SB3's names of runs",
        "test_escape_log_name": _NO_ALGORITHM,
    },
    "test_logger.py": {
        "test_set_logger": {"A2C"},
        "test_fps_no_div_zero": {"A2C"},
        "test_ep_buffers_stats_window_size": {"A2C"},
        "test_fps_logger": "expects real steps to take all the time; here fits and dreams do",
        "test_rollout_success_rate_onpolicy_algo": _DISCRETE,
        **dict.fromkeys(
            (
                "test_main",
                "test_make_output",
                "test_make_output_fail",
                "test_exclude_keys",
                "test_report_video_to_tensorboard",
                "test_unsupported_video_format",
                "test_log_histogram",
                "test_unsupported_type_histogram",
                "test_report_image_to_tensorboard",
                "test_unsupported_image_format",
                "test_report_figure_to_tensorboard",
                "test_unsupported_figure_format",
                "test_unsupported_hparam",
                "test_key_length",
                "test_env",
                "test_human_output_same_keys_different_tags",
                "test_human_out_custom_text_io",
                "test_pandas_import_error",
                "test_matplotlib_import_error",
                "test_sb3_import_without_optional_deps",
            ),
            _NO_ALGORITHM,
        ),
    },
}


def _files(table: Mapping[str, Mapping[str, set[str] | str]], algorithm: str) -> dict[str, File]:
    """The files of a table in which something applies to an algorithm."""
    files = {}
    for file, functions in table.items():
        applicable = tuple(name for name, where in functions.items() if algorithm in where and isinstance(where, set))
        others = {
            name: where if isinstance(where, str) else _OTHER
            for name, where in functions.items()
            if name not in applicable
        }
        if applicable:
            files[file] = File(applicable, others)
    return files


def _trainer_suite(algorithm: str) -> Suite:
    return Suite(
        replaces=f"stable_baselines3.{algorithm.lower()}.{algorithm.lower()}:{algorithm}",
        by=f"stand_ins:ImaginationOf{algorithm}",
        files=_files(_TRAINER_FILES, algorithm),
        deselected={
            **{other: _OTHER for other in ("PPO", "A2C", "SAC", "TD3", "DDPG", "DQN") if other != algorithm},
            "CnnPolicy": _IMAGES,
            "test_action_spaces[env2": _MULTI_DIM,
            "obs_space2": "has Dict observations; the Ensemble learns flat Box observations",
            "obs_space3": "has Dict observations; the Ensemble learns flat Box observations",
        },
    )


SUITES.update({f"ImaginationTrainer-{algorithm}": _trainer_suite(algorithm) for algorithm in ("PPO", "A2C", "SAC")})

# --- Dreamer, in the places of an algorithm for continuous and of one for discrete actions --------------------------

_SAC_OR_DQN: set[str] = {"SAC", "DQN"}
_SEQUENCES = "reads the arrays of SB3's replay buffer; ours holds sequences, and is saved as a directory of safe files"
_INNARDS = "reads attributes of SAC's policy"
_EXTRACTORS = "is about SB3's feature extractors, where a world model filters what is seen"
_GOALS = "needs HER's replay buffer"
_KINDS = "has MultiDiscrete or MultiBinary observations; an RSSM takes Box, Discrete and Dicts of those"
_UPDATES = "expects real steps to take all the time; here updates do"

_DREAMER_FILES: dict[str, dict[str, set[str] | str]] = {
    "test_save_load.py": {
        "test_save_load": _SAC_OR_DQN,
        "test_set_env": _SAC_OR_DQN,
        "test_exclude_include_saved_params": _SAC_OR_DQN,
        "test_save_load_pytorch_var": _INNARDS,
        "test_save_load_env_cnn": _SAC_OR_DQN,
        "test_save_load_replay_buffer": _SEQUENCES,
        "test_warn_buffer": _SEQUENCES,
        "test_save_load_policy": {"DQN"},  # with SAC it asks the actor alone for actions
        "test_save_load_q_net": _OTHER,
        "test_open_file_str_pathlib": _NO_ALGORITHM,
        "test_open_file": _NO_ALGORITHM,
        "test_save_load_large_model": _OTHER,
        "test_load_invalid_object": _OTHER,
        "test_dqn_target_update_interval": _OTHER,
        "test_no_resource_warning": _SEQUENCES + ", written as a directory",
        "test_cast_lr_schedule": _OTHER,
        "test_save_load_net_arch_none": _OTHER,
        "test_save_load_no_target_params": _OTHER,
        "test_save_load_backward_compatible": _OTHER,
        "test_save_load_clip_range_portable": _OTHER,
        "test_load_bad_zip": _OTHER,
        "test_open_path_directory_and_missing_parent": _NO_ALGORITHM,
    },
    "test_callbacks.py": {
        "test_callbacks": _SAC_OR_DQN,
        "test_eval_callback_vec_env": _SAC_OR_DQN,
        "test_callbacks_can_cancel_runs": _SAC_OR_DQN,
        "test_eval_success_logging": _GOALS,
        "test_eval_callback_logs_are_written_with_the_correct_timestep": _SAC_OR_DQN,
        "test_eval_friendly_error": _OTHER,
        "test_checkpoint_additional_info": _SAC_OR_DQN,
        "test_eval_callback_chaining": _OTHER,
    },
    "test_predict.py": {
        "test_env": _NO_ALGORITHM,
        "test_auto_wrap": _SAC_OR_DQN,
        "test_predict": _SAC_OR_DQN,
        "test_dqn_epsilon_greedy": _OTHER,
        "test_subclassed_space_env": _SAC_OR_DQN,
        "test_mixing_gym_vecenv_api": _SAC_OR_DQN,
    },
    "test_deterministic.py": {
        "test_deterministic_training_common": _SAC_OR_DQN,
    },
    "test_identity.py": {
        "test_discrete": _QUALITY,
        "test_continuous": _QUALITY,
    },
    "test_dict_env.py": {
        "test_env": _NO_ALGORITHM,
        "test_policy_hint": _OTHER,
        "test_goal_env": _SAC_OR_DQN,
        "test_consistency": _SAC_OR_DQN,
        "test_dict_spaces": _SAC_OR_DQN,
        "test_multiprocessing": _SAC_OR_DQN,
        "test_dict_vec_framestack": _SAC_OR_DQN,
        "test_vec_normalize": _SAC_OR_DQN,
        "test_dict_nested": _NO_ALGORITHM,
        "test_vec_normalize_image": _OTHER,
    },
    "test_cnn.py": {
        "test_cnn": _SAC_OR_DQN,
        "test_vec_transpose_skip": _SAC_OR_DQN,
        "test_features_extractor_target_net": _EXTRACTORS,
        "test_channel_first_env": _OTHER,
        "test_image_space_checks": _NO_ALGORITHM,
        "test_image_like_input": _EXTRACTORS,
    },
    "test_spaces.py": {
        "test_env": _NO_ALGORITHM,
        "test_identity_spaces": _KINDS,
        "test_action_spaces": _SAC_OR_DQN,
        "test_sde_multi_dim": _OTHER,
        "test_discrete_obs_space": _SAC_OR_DQN,
        "test_float64_action_space": _SAC_OR_DQN,
        "test_multidim_binary_not_supported": _OTHER,
    },
    "test_logger.py": {
        "test_set_logger": _SAC_OR_DQN,
        "test_main": _NO_ALGORITHM,
        "test_make_output": _NO_ALGORITHM,
        "test_make_output_fail": _NO_ALGORITHM,
        "test_exclude_keys": _NO_ALGORITHM,
        "test_report_video_to_tensorboard": _NO_ALGORITHM,
        "test_unsupported_video_format": _NO_ALGORITHM,
        "test_log_histogram": _NO_ALGORITHM,
        "test_unsupported_type_histogram": _NO_ALGORITHM,
        "test_report_image_to_tensorboard": _NO_ALGORITHM,
        "test_unsupported_image_format": _NO_ALGORITHM,
        "test_report_figure_to_tensorboard": _NO_ALGORITHM,
        "test_unsupported_figure_format": _NO_ALGORITHM,
        "test_unsupported_hparam": _NO_ALGORITHM,
        "test_key_length": _NO_ALGORITHM,
        "test_env": _NO_ALGORITHM,
        "test_fps_logger": _UPDATES,
        "test_fps_no_div_zero": _SAC_OR_DQN,
        "test_human_output_same_keys_different_tags": _NO_ALGORITHM,
        "test_ep_buffers_stats_window_size": _SAC_OR_DQN,
        "test_human_out_custom_text_io": _NO_ALGORITHM,
        "test_rollout_success_rate_onpolicy_algo": _OTHER,
        "test_pandas_import_error": _NO_ALGORITHM,
        "test_matplotlib_import_error": _NO_ALGORITHM,
        "test_sb3_import_without_optional_deps": _NO_ALGORITHM,
    },
    "test_tensorboard.py": {
        "test_tensorboard": _SAC_OR_DQN,
        "test_escape_log_name": _NO_ALGORITHM,
    },
}


def _dreamer_suite(algorithm: str) -> Suite:
    return Suite(
        replaces=f"stable_baselines3.{algorithm.lower()}.{algorithm.lower()}:{algorithm}",
        by=f"stand_ins:DreamerAs{algorithm}",
        files=_files(_DREAMER_FILES, algorithm),
        deselected={
            **{other: _OTHER for other in ("PPO", "A2C", "SAC", "TD3", "DDPG", "DQN") if other != algorithm},
            **{
                f"test_action_spaces[{env}-": f"expects {algorithm} to refuse the actions"
                for env in {"SAC": ("CartPole-v1",), "DQN": ("Pendulum-v1", "env2")}[algorithm]
            },
        },
    )


SUITES.update({f"Dreamer-{algorithm}": _dreamer_suite(algorithm) for algorithm in ("SAC", "DQN")})

# --- Dyna, which is a DQN or a SAC besides ----------------------------------------------------------------------------

_SAC: set[str] = {"SAC"}
_DQN: set[str] = {"DQN"}
_RECORDS = "reads the arrays of SB3's replay buffer; Dyna's holds sequences, and is saved as a directory of safe files"
_NO_WORLD = "has MultiDiscrete or MultiBinary observations, of which there is no world"

_DYNA_FILES: dict[str, dict[str, set[str] | str]] = {
    **_DREAMER_FILES,
    "test_save_load.py": {
        **_DREAMER_FILES["test_save_load.py"],
        "test_save_load_pytorch_var": _SAC,
        "test_save_load_policy": _SAC_OR_DQN,
        "test_save_load_q_net": _DQN,
        "test_save_load_no_target_params": _DQN,
        "test_dqn_target_update_interval": _DQN,
        "test_save_load_replay_buffer": _RECORDS,
        "test_warn_buffer": _RECORDS,
        "test_no_resource_warning": _RECORDS,
    },
    "test_predict.py": {**_DREAMER_FILES["test_predict.py"], "test_dqn_epsilon_greedy": _DQN},
    "test_identity.py": {"test_discrete": _DQN, "test_continuous": _SAC},
    "test_dict_env.py": {
        **_DREAMER_FILES["test_dict_env.py"],
        "test_consistency": "compares a Dict with a flat Box, of which different worlds draw different random numbers",
    },
    "test_cnn.py": {**_DREAMER_FILES["test_cnn.py"], "test_features_extractor_target_net": _SAC_OR_DQN},
    "test_spaces.py": {
        **_DREAMER_FILES["test_spaces.py"],
        "test_identity_spaces": _NO_WORLD,
        "test_sde_multi_dim": _SAC,
    },
    "test_custom_policy.py": {
        "test_custom_offpolicy": _SAC,
        "test_custom_optimizer": _SAC_OR_DQN,
        "test_dqn_custom_policy": _DQN,
        "test_flexible_mlp": _OTHER,
        "test_tf_like_rmsprop_optimizer": _OTHER,
        "test_create_mlp": _NO_ALGORITHM,
    },
    "test_run.py": {
        "test_sac": _SAC,
        "test_n_critics": _SAC,
        "test_train_freq": _SAC,
        "test_train_freq_fail": _SAC,
        "test_dqn": _DQN,
        "test_warn_dqn_multi_env": _DQN,
        "test_offpolicy_multi_env": _SAC_OR_DQN,
        "test_deterministic_pg": _OTHER,
        "test_a2c": _OTHER,
        "test_advantage_normalization": _OTHER,
        "test_ppo": _OTHER,
        "test_ppo_warnings": _OTHER,
    },
    "test_train_eval_mode.py": {
        "test_dqn_train_with_batch_norm": _DQN,
        "test_sac_train_with_batch_norm": _SAC,
        "test_offpolicy_collect_rollout_batch_norm": _SAC_OR_DQN,
        "test_predict_with_dropout_batch_norm": _SAC_OR_DQN,
        "test_td3_train_with_batch_norm": _OTHER,
        "test_a2c_ppo_train_with_batch_norm": _OTHER,
        "test_a2c_ppo_collect_rollouts_with_batch_norm": _OTHER,
    },
}


def _dyna_suite(algorithm: str) -> Suite:
    return Suite(
        replaces=f"stable_baselines3.{algorithm.lower()}.{algorithm.lower()}:{algorithm}",
        by=f"stand_ins:DynaAs{algorithm}",
        files=_files(_DYNA_FILES, algorithm),
        deselected={other: _OTHER for other in ("PPO", "A2C", "SAC", "TD3", "DDPG", "DQN") if other != algorithm},
    )


SUITES.update({f"Dyna-{algorithm}": _dyna_suite(algorithm) for algorithm in ("SAC", "DQN")})

# --- Dyna-Q in the place of DQN ---------------------------------------------------------------------------------------

_NO_BUFFER = "is about SB3's replay buffer; tables need none"
_NO_KINDS = "has other observations than a Discrete or a Box"

_DYNA_Q_FILES: dict[str, dict[str, set[str] | str]] = {
    "test_save_load.py": {
        **_DREAMER_FILES["test_save_load.py"],
        "test_save_load_env_cnn": "has images",
        "test_save_load_replay_buffer": _NO_BUFFER,
        "test_warn_buffer": _NO_BUFFER,
        "test_no_resource_warning": _OTHER,
    },
    "test_callbacks.py": {
        **_DREAMER_FILES["test_callbacks.py"],
        "test_eval_callback_vec_env": _OTHER,
        "test_checkpoint_additional_info": _NO_BUFFER,
    },
    "test_predict.py": {
        **_DREAMER_FILES["test_predict.py"],
        "test_dqn_epsilon_greedy": {"DQN"},
        "test_subclassed_space_env": _OTHER,
        "test_mixing_gym_vecenv_api": _OTHER,
    },
    "test_deterministic.py": _DREAMER_FILES["test_deterministic.py"],
    "test_identity.py": {"test_discrete": {"DQN"}, "test_continuous": _OTHER},
    "test_spaces.py": {**_DREAMER_FILES["test_spaces.py"], "test_identity_spaces": _NO_KINDS},
    "test_logger.py": {**_DREAMER_FILES["test_logger.py"], "test_fps_logger": {"DQN"}},
    "test_tensorboard.py": _DREAMER_FILES["test_tensorboard.py"],
}

SUITES["DynaQ"] = Suite(
    replaces="stable_baselines3.dqn.dqn:DQN",
    by="stand_ins:DynaQAsDQN",
    files=_files(_DYNA_Q_FILES, "DQN"),
    deselected={
        **dict.fromkeys(("PPO", "A2C", "SAC", "TD3", "DDPG"), _OTHER),
        "CnnPolicy": "has images",
        "test_action_spaces[Pendulum-v1-": "expects an AssertionError for the actions, where ours is a ValueError",
        "test_action_spaces[env2-": "expects an AssertionError for the actions, where ours is a ValueError",
    },
)
