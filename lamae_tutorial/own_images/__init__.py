"""Detectors on your own images."""
