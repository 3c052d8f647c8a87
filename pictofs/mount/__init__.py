"""The composition root: settings are read, processes started and ended, and the rooms joined to a mount."""
