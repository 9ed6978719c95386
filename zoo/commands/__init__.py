"""The commands of ``imagine``, one module each, with a ``main(argv)``."""
