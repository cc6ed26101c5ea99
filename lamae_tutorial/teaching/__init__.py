"""What the book's chapters use."""
