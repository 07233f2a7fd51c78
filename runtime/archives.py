"""Files inside of ZIP archives, `archive!/member`: those that are stored whole can be mapped."""

from __future__ import annotations

import os
import struct

from bpfscript.plain import dataclass

SIGN = "!/"
_LOCAL = struct.Struct("<4s22xHH")  # signature, lengths of the name and of the extra field


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file's content lies: `size` bytes from `offset` on in the file at `path`."""

    path: str
    offset: int
    size: int


def place(path: str) -> Place | None:
    """Of a file, or of a member of an archive; None if it is not there, or compressed."""
    archive, sign, member = path.partition(SIGN)
    if not sign or os.path.exists(path):
        return Place(path, 0, -1)
    from zipfile import ZIP_STORED, BadZipFile, ZipFile

    try:
        with open(archive, "rb") as file, ZipFile(file) as opened:
            info = opened.getinfo(member)
            file.seek(info.header_offset)
            signature, name, extra = _LOCAL.unpack(file.read(_LOCAL.size))
    except (OSError, BadZipFile, KeyError, struct.error, ValueError):
        return None
    if info.compress_type != ZIP_STORED or signature != b"PK\3\4":
        return None
    return Place(archive, info.header_offset + _LOCAL.size + name + extra, info.file_size)
