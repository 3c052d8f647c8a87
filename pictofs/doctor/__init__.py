"""What is wrong on this machine, and how to mend it: facts are gathered, checks over them are pure."""

from pictofs.doctor.examine import examine
from pictofs.doctor.finding import Finding, Level

__all__ = ["Finding", "Level", "examine"]
