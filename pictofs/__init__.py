"""pictofs mounts a Pictograph organization as plain files."""

__version__ = "0.1.0"
