"""Plain modules that know nothing of detectors."""
