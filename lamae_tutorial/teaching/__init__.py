"""Helpers of the book's chapters."""
