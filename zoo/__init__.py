"""The ``imagine`` command: collect, fit, train, enjoy, measure.

``imagine --help`` shows the whole path. Training and enjoying are rl_zoo3's own, with this suite's environments and
agents plugged in.
"""
