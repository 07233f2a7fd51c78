"""vmlinux.py BZIMAGE OUT: the ELF file inside a bzImage, which boots without decompressing itself.

Layout: Documentation/arch/x86/boot.rst, offsets 0x1f1 setup_sects, 0x248 payload_offset, 0x24c
payload_length. The payload ends in its uncompressed size, 4 bytes, unless it is gzip.
"""

from __future__ import annotations

import lzma
import struct
import subprocess
import sys
import zlib
from pathlib import Path

SECTOR = 512
PROGRAMS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4"}  # by magic number


def payload(image: bytes) -> bytes:
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * SECTOR + offset
    return image[start : start + length]


def decompressed(data: bytes) -> bytes:
    """Raises SystemExit for a compression that distributions do not use."""
    for magic, tool in PROGRAMS.items():
        if data.startswith(magic):
            return subprocess.run(
                [tool, "-dcq"], input=data[:-4], stdout=subprocess.PIPE, check=True
            ).stdout
    if data.startswith(b"\xfd7zXZ\0"):
        return lzma.decompress(data[:-4])
    if data.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(wbits=31).decompress(data)
    raise SystemExit(f"a kernel compressed in an unknown way: {data[:8].hex()}")


if __name__ == "__main__":
    elf = decompressed(payload(Path(sys.argv[1]).read_bytes()))
    if not elf.startswith(b"\x7fELF"):
        raise SystemExit("no ELF file inside")
    Path(sys.argv[2]).write_bytes(elf)
