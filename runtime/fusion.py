"""A kprobe and a kretprobe on the same functions → one program of a session (since 6.10).

    call bpf_session_is_return; if r0 != 0 goto back; (the kprobe's code) back: (the kretprobe's)

The kernel then hooks every function once for both. Only where nothing else is on those functions:
the order in which probes run must not change.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from bpfscript.manifest import Artifact, CodeFunction, CoreRelocation, Line, ProbeInfo, Relocation
from bpfscript.plain import replace

from .links import SESSION

_KINDS = ("kprobe", "kretprobe")
_SLOT = 8  # bytes of an instruction
_FARTHEST = 0x7FFF  # slots that a jump takes
_SAVE, _RESTORE = struct.pack("<Q", 0x16BF), struct.pack("<Q", 0x61BF)  # r6 = r1, r1 = r6
_CALL, _TRUTH = struct.pack("<Q", 0x2085), struct.pack("<BBhi", 0x57, 0, 0, 0xFF)  # r0 &= 0xff
_HEAD = 5  # slots before the kprobe's code
_IS_RETURN = "bpf_session_is_return"


def fuse(artifact: Artifact, has: Callable[[str], bool]) -> Artifact:
    """The artifact with sessions in place of such pairs."""
    probes, found = artifact.manifest.probes, list[tuple[ProbeInfo, ProbeInfo]]()
    hooks = [info for info in probes if any(p.kind in _KINDS for p in info.attachments)]
    for entry in hooks:
        others = [info for info in hooks if info is not entry and _places(info) & _places(entry)]
        if len(others) == 1 and _is_pair(entry, others[0]) and has(SESSION):
            found.append((entry, others[0]))
    for entry, back in found:
        artifact = _fused(artifact, entry, back)
    return artifact


def _places(info: ProbeInfo) -> set[str]:
    return {place.target for place in info.attachments}


def _is_pair(entry: ProbeInfo, back: ProbeInfo) -> bool:
    kinds = [{place.kind for place in info.attachments} for info in (entry, back)]
    if kinds != [{"kprobe"}, {"kretprobe"}]:
        return False
    if any(p.offset or not p.target for p in entry.attachments):
        return False
    cookies = [{p.target: p.cookie for p in info.attachments} for info in (entry, back)]
    return cookies[0] == cookies[1] and len(cookies[0]) == len(entry.attachments)


def _fused(artifact: Artifact, entry: ProbeInfo, back: ProbeInfo) -> Artifact:
    programs = {program.name: program for program in artifact.programs}
    first, second = programs[entry.program], programs[back.program]
    one, other = (artifact.functions[p.functions[0]] for p in (first, second))
    if len(one.code) // _SLOT > _FARTHEST:
        return artifact
    rest = dict.fromkeys((*first.functions[1:], *second.functions[1:]))
    program = replace(first, functions=(first.name, *rest))
    places = tuple(replace(place, kind=SESSION) for place in entry.attachments)
    session = replace(entry, attachments=places)
    probes = [session if i is entry else i for i in artifact.manifest.probes if i is not back]
    return replace(
        artifact,
        programs=[program if p is first else p for p in artifact.programs if p is not second],
        functions=artifact.functions | {first.name: _joined(one, other)},
        manifest=replace(artifact.manifest, probes=probes),
    )


def _joined(entry: CodeFunction, back: CodeFunction) -> CodeFunction:
    length = len(entry.code) // _SLOT
    jump = struct.pack("<BBhi", 0x55, 0, length + 1, 0)  # if r0 != 0
    code = b"".join(
        (_SAVE, _CALL, _TRUTH, jump, _RESTORE, entry.code, _RESTORE, back.code)
    )  # fmt: skip
    relocations, lines = [Relocation(1, "kfunc", _IS_RETURN)], list[Line]()
    core = list[CoreRelocation]()
    for function, at in ((entry, _HEAD), (back, _HEAD + length + 1)):
        relocations += (replace(r, instruction=r.instruction + at) for r in function.relocations)
        lines += (replace(line, instruction=line.instruction + at) for line in function.lines)
        core += (replace(c, instruction=c.instruction + at) for c in function.core)
    if lines:
        lines[0] = replace(lines[0], instruction=0)
    return replace(
        entry, code=code, relocations=tuple(relocations), lines=tuple(lines), core=tuple(core)
    )
