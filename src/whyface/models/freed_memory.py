"""Let freed memory stay with the process between backward passes (needs the extra ``torch``).

A backward pass takes and frees blocks of megabytes. glibc gets a block that is larger than a threshold from the system
and gives it back when it is freed, so that the next one comes as fresh pages, each of which costs a fault when it is
first touched. The threshold adapts: it rises to the size of the largest such block that was freed so far, up to 32 MiB
("man 3 mallopt", M_MMAP_THRESHOLD). Faults took a quarter of FGGB's time where we measured.
"""

from __future__ import annotations

from typing import Final

import torch

_LARGEST: Final = 32 * 2**20 - 2**16
"""Bytes; a little less than what glibc adapts to at most, since it adds a header."""


def keep_freed_memory() -> None:
    """Free one block of nearly 32 MiB, which is never touched and so costs nothing.

    Up to 64 MiB of freed memory then stay with the process. Other allocators than glibc's do as they always do.
    """
    block = torch.empty(_LARGEST, dtype=torch.uint8)
    del block
