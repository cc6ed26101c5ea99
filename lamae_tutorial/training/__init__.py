"""Training of networks: the loop, and several networks side by side."""
