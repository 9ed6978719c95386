"""What can be stepped: learned worlds, their dreams, real tasks, and the experience they are made from.

Importing this package registers every ``Imagine/…`` id with Gymnasium.
"""

from imagine_envs.registration import register_environments

register_environments()
