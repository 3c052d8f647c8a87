"""The tree over a real catalog."""
