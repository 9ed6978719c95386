"""How near a native task comes to the engine that it stands for, measured with the same seeds and actions in both.

One module for each, with a ``compare``; ``imagine parity`` calls it.
"""
