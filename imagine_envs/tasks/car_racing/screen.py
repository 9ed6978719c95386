"""The screen that gymnasium's CarRacing-v3 draws, in pixels; pictures are parts of it, whatever their size."""

__all__ = ["BAR_TOP", "CAR_X", "CAR_Y", "SCREEN_HEIGHT", "SCREEN_WIDTH"]

SCREEN_WIDTH, SCREEN_HEIGHT = 1000, 800

CAR_X, CAR_Y = 500.0, 600.0
"""Where the car is, from the left and from the top."""

BAR_TOP = 700.0
"""Where the bar with the instruments begins."""
