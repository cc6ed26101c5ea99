"""Images in, and who is in-distribution."""
