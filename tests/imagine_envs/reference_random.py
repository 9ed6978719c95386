"""SplitMix64 in Python's own integers, for the reference implementations of tasks."""

from __future__ import annotations

_MASK = 2**64 - 1


class ReferenceRandom:
    """The random numbers of one row, from the seed that its environment was given."""

    def __init__(self, seed: int) -> None:
        self.state = self._scrambled(seed + 0x9E3779B97F4A7C15)

    def bits(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & _MASK
        return self._scrambled(self.state)

    def uniform(self) -> float:
        return (self.bits() >> 11) / 2**53

    def below(self, count: int) -> int:
        return ((self.bits() >> 32) * count) >> 32

    @staticmethod
    def _scrambled(bits: int) -> int:
        bits &= _MASK
        bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
        return bits ^ (bits >> 31)
