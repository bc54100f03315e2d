"""What this processor offers, and the one table of block sizes that follow from it, never from its name."""

import os
from pathlib import Path

CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
UNITS = {"K": 1 << 10, "M": 1 << 20}


def cache_bytes(level: int, otherwise: int) -> int:
    """The size of the data cache of a level as Linux tells it, or ``otherwise``."""
    try:
        for index in sorted(CACHES.glob("index*")):
            if (index / "type").read_text().strip() == "Instruction":
                continue
            if int((index / "level").read_text()) == level:
                size = (index / "size").read_text().strip()
                return int(size[:-1]) * UNITS[size[-1]] if size[-1] in UNITS else int(size)
    except (OSError, ValueError):
        pass
    return otherwise


L2_BYTES = min(max(cache_bytes(2, 1 << 20), 1 << 18), 1 << 21) if os.name == "posix" else 1 << 20
"""Between 256 KiB and 2 MiB: what a core has for itself; more is usually shared."""

# Shares of L2. A convolution's block: inputs, outputs, and the rest for the weights. Winograd: the transformed tiles of
# a group, beside which inputs, outputs and the transformed weights are streamed.
BLOCK_BYTES = L2_BYTES // 4
GROUP_BYTES = L2_BYTES // 2
