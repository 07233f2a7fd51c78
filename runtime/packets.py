"""Packets in a file for tcpdump and its kin: classic pcap, times in µs, IP without a link's header.

https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-05.html
"""

from __future__ import annotations

import os
import struct

_HEADER = struct.Struct("<IHHiIII")  # magic, version, zone, accuracy, longest packet, link type
_PACKET = struct.Struct("<IIII")  # s and µs since 1970, bytes that follow, bytes that there were
_MAGIC, _VERSION, _LONGEST, _RAW_IP = 0xA1B2C3D4, (2, 4), 65535, 101


def append(path: str, time: int, length: int, content: bytes, new: bool) -> None:
    """A packet of `length` bytes, as much of it as is known, at a time in ns since 1970.

    new: the file begins with it. Raises OSError.
    """
    seconds, below = divmod(time, 1_000_000_000)
    header = _HEADER.pack(_MAGIC, *_VERSION, 0, 0, _LONGEST, _RAW_IP) if new else b""
    packet = _PACKET.pack(seconds, below // 1000, len(content), length) + content
    with open(os.fsencode(path), "wb" if new else "ab") as file:
        file.write(header + packet)
