"""Image sets, their readers, and scenarios that say which images are in-distribution."""
