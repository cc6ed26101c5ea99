"""Detectors on one's own images."""
