"""vfs over a real tree and catalog, the link being a list."""
