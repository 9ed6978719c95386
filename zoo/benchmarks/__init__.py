"""What was measured, and the scripts that measured it."""
