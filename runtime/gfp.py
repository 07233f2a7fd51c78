"""Names of GFP flags, for printf's `%gr` (include/linux/gfp_types.h of Linux 6.18)."""

from __future__ import annotations

_SETS = (  # the first that fits takes its bits away from the rest
    (0x21C24CA, "GFP_TRANSHUGE"),
    (0x21C20CA, "GFP_TRANSHUGE_LIGHT"),
    (0x2100CCA, "GFP_HIGHUSER_MOVABLE"),
    (0x0100CC2, "GFP_HIGHUSER"),
    (0x0100CC0, "GFP_USER"),
    (0x0400CC0, "GFP_KERNEL_ACCOUNT"),
    (0x0000CC0, "GFP_KERNEL"),
    (0x0000C40, "GFP_NOFS"),
    (0x0000820, "GFP_ATOMIC"),
    (0x0000C00, "GFP_NOIO"),
    (0x0002800, "GFP_NOWAIT"),
    (0x0000001, "GFP_DMA"),
    (0x0000002, "__GFP_HIGHMEM"),
    (0x0000004, "GFP_DMA32"),
    (0x0000020, "__GFP_HIGH"),
    (0x0000040, "__GFP_IO"),
    (0x0000080, "__GFP_FS"),
    (0x0000100, "__GFP_ZERO"),
    (0x0000400, "__GFP_DIRECT_RECLAIM"),
    (0x0000800, "__GFP_KSWAPD_RECLAIM"),
    (0x0001000, "__GFP_WRITE"),
    (0x0002000, "__GFP_NOWARN"),
    (0x0004000, "__GFP_RETRY_MAYFAIL"),
    (0x0008000, "__GFP_NOFAIL"),
    (0x0010000, "__GFP_NORETRY"),
    (0x0020000, "__GFP_MEMALLOC"),
    (0x0040000, "__GFP_COMP"),
    (0x0080000, "__GFP_NOMEMALLOC"),
    (0x0100000, "__GFP_HARDWALL"),
    (0x0200000, "__GFP_THISNODE"),
    (0x0400000, "__GFP_ACCOUNT"),
    (0x0800000, "__GFP_ZEROTAGS"),
    (0x1000000, "__GFP_SKIP_ZERO"),
    (0x2000000, "__GFP_SKIP_KASAN"),
    (0x4000000, "__GFP_NO_OBJ_EXT"),
)


def gfp_flags(value: int) -> str:
    """`GFP_KERNEL|__GFP_ZERO`; bits without a name come last in hex."""
    names = []
    for bits, name in _SETS:
        if value & bits == bits:
            names.append(name)
            value &= ~bits
    if value or not names:
        names.append(hex(value) if value else "0")
    return "|".join(names)
