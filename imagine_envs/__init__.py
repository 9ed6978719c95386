"""What can be stepped: learned worlds, their dreams, real tasks, and the experience they are made from."""
