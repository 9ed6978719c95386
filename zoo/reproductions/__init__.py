"""Figures of Sutton & Barto, "Reinforcement Learning: An Introduction" (2nd edition), drawn again from our own runs.

One module for each figure; ``imagine reproduce`` makes them, and ``results/`` holds what it made.
"""
