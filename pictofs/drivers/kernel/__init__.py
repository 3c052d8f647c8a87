"""The kernel driver: the FUSE wire protocol on /dev/fuse, without a library in between."""

from pictofs.drivers.kernel.loop import KernelDriver

__all__ = ["KernelDriver"]
