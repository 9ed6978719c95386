"""Other libraries, measured beside this one; each script runs in a virtual environment of its own."""
