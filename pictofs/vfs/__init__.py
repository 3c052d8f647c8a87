"""File system operations in inode terms: what a driver calls, whatever the way it reaches the kernel."""

from pictofs.vfs.vfs import Vfs

__all__ = ["Vfs"]
