"""Arguments that must be whole numbers."""

import numpy as np
import pytest

from imagine_envs.whole_numbers import check_whole, is_whole


@pytest.mark.parametrize("value", [0, 7, -1, np.int32(3), np.uint8(3)])
def test_integers_of_python_and_numpy_are_whole(value):
    assert is_whole(value)


@pytest.mark.parametrize("value", [True, np.True_, 1.5, 0.0, np.float32(1), "1", None, float("nan"), [1]])
def test_nothing_else_is_whole(value):
    assert not is_whole(value)
    with pytest.raises(ValueError, match=r"^horizon=.* must be a whole number of at least 1$"):
        check_whole("horizon", value)


def test_the_least_is_allowed_and_what_is_below_is_not():
    check_whole("horizon", 1)
    check_whole("horizon", np.int64(0), 0)
    with pytest.raises(ValueError, match=r"^horizon=0 must be a whole number of at least 1$"):
        check_whole("horizon", 0)
    with pytest.raises(ValueError, match=r"^horizon=-1 must be a whole number of at least 0$"):
        check_whole("horizon", -1, 0)


def test_none_is_allowed_where_it_is_said():
    check_whole("max_steps", None, or_none=True)
    check_whole("max_steps", 1, or_none=True)
    with pytest.raises(ValueError, match=r"^max_steps=0 must be a whole number of at least 1, or None$"):
        check_whole("max_steps", 0, or_none=True)


def test_a_float_that_would_do_is_told_how_to_write_it():
    assert not is_whole(1e4)
    with pytest.raises(ValueError, match=r"^horizon=10000.0 must be a whole number of at least 1 \(write 10000\)$"):
        check_whole("horizon", 1e4)
