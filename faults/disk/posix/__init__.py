"""The weakest filesystem that POSIX allows. (Model: to be written.)"""

from faults.disk.posix.images import TreeImages
from faults.disk.posix.stage import TreeStage
from faults.disk.posix.tree import TreeDigests

__all__ = ["TreeDigests", "TreeImages", "TreeStage"]
