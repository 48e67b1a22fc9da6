"""How a process that runs a model should allocate memory: variables that glibc reads when it starts."""

from __future__ import annotations

_KEPT_BYTES = 256 << 20

ALLOCATION = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(_KEPT_BYTES),
    "MALLOC_TRIM_THRESHOLD_": str(_KEPT_BYTES),
}
"""Activations of many megabytes come and go with each operation. By default glibc gives them back to the
system at once, which faults every page in again and clears it: a tenth of a ViT's time on a CPU. Kept in one
arena they are used again, also by other threads, which takes less memory than an arena for each."""
