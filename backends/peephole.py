"""Machine code of one function made shorter: copies that need not be, jumps to jumps.

    r1 = r0; if r1 == 0 goto L   →  if r0 == 0 goto L
    if c goto A; goto B; A:      →  if not c goto B; A:

Works on what an Emitter has, before labels become offsets; what goes is None in its place. Each
step is linear but for liveness, which goes over the code until nothing changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bpfscript.backends.isa import (
    ALU,
    EXIT,
    JA,
    JMP,
    JMP32,
    LD_IMM64,
    MOV64_IMM,
    OPPOSITE,
    ST,
    STX,
    Insn,
    X,
)  # fmt: skip
from bpfscript.backends.registers import MOV, MOV64, made_by, reads_source, used_by
from bpfscript.backends.renaming import rename

if TYPE_CHECKING:
    from bpfscript.backends.emitter import Label

    Code = list[Insn | Label | None]
    Targets = dict[int, Label]
    Relocated = dict[int, tuple[str, str, int]]
    Known = dict[int, object]

_MOVES = (MOV64, ALU | MOV | X, MOV64_IMM, ALU | MOV, LD_IMM64)
_JUMPS, _STORES = (JMP, JMP32), (ST, STX)


def shorten(code: Code, targets: Targets, relocated: Relocated) -> None:
    """Do it all, in place. `relocated`: what instructions refer to by name."""
    _forward(code, targets, relocated)
    rename(code, _drop_dead(code, targets))
    _thread(code, targets)
    _drop_unreachable(code, targets)


# Jumps


def _thread(code: Code, targets: Targets) -> None:
    places = {item: n for n, item in enumerate(code) if not isinstance(item, Insn)}
    for at, label in list(targets.items()):
        seen, onward = {label}, _only_jumps(code, targets, places[label])
        while onward and onward not in seen:
            seen.add(onward)
            targets[at], onward = onward, _only_jumps(code, targets, places[onward])
    for at in sorted(targets):
        insn = code[at]
        if not isinstance(insn, Insn):
            continue
        if insn.code == JA and _reaches(code, at + 1, targets[at]):
            code[at] = None
            del targets[at]
            continue
        after = _next(code, at)
        jump = code[after] if after is not None else None
        over = isinstance(jump, Insn) and jump.code == JA and _conditional(insn)
        if over and after is not None and _reaches(code, after + 1, targets[at]):
            opposite = insn.code & 0x0F | OPPOSITE[insn.code & 0xF0]
            code[at] = Insn(opposite, insn.dst, insn.src, 0, insn.imm)
            targets[at] = targets[after]
            code[after] = None
            del targets[after]


def _conditional(insn: Insn) -> bool:
    return insn.code & 7 in _JUMPS and insn.code & 0xF0 in OPPOSITE


def _only_jumps(code: Code, targets: Targets, at: int) -> Label | None:
    """Where a jump goes that is the first thing at a label."""
    while at < len(code) and not isinstance(code[at], Insn):
        at += 1
    insn = code[at] if at < len(code) else None
    return targets.get(at) if isinstance(insn, Insn) and insn.code == JA else None


def _reaches(code: Code, at: int, label: Label) -> bool:
    """Whether nothing is between a place and a label behind it."""
    while at < len(code) and not isinstance(code[at], Insn):
        if code[at] is label:
            return True
        at += 1
    return False


def _next(code: Code, at: int) -> int | None:
    """The instruction right behind one, unless a label is between."""
    at += 1
    while at < len(code) and code[at] is None:
        at += 1
    return at if at < len(code) and isinstance(code[at], Insn) else None


def _drop_unreachable(code: Code, targets: Targets) -> None:
    """The kernel refuses code that nothing leads to, such as jumps that others now jump over."""
    changed = True
    while changed:
        changed, wanted, reachable = False, set(targets.values()), True
        for at, item in enumerate(code):
            if not isinstance(item, Insn):
                reachable = reachable or item in wanted
            elif not reachable:
                code[at], changed = None, True
                targets.pop(at, None)
            elif item.code in (JA, EXIT):
                reachable = False


# Copies and constants


def _forward(code: Code, targets: Targets, relocated: Relocated) -> None:
    """Use what was copied in place of the copy, as long as both are the same; make no constant or
    address that a register has.

    At a label that is what holds on all ways there; nothing, if one comes from below.
    """
    waiting: dict[Label, int] = {}
    for label in targets.values():
        waiting[label] = waiting.get(label, 0) + 1
    arriving: dict[Label, Known] = {}
    known: Known | None = {}  # register → the original, or a constant; None: no way here so far
    for at, item in enumerate(code):
        if item is None:
            continue
        if not isinstance(item, Insn):
            known = _meet(known, arriving.get(item)) if not waiting.get(item) else {}
            continue
        known = {} if known is None else known
        constant = _constant(item, relocated.get(at))
        if constant is not None and known.get(item.dst) == constant:
            code[at] = None
            continue
        insn = _reading(item, known) if known else item
        if item.code == LD_IMM64 and (has := _having(constant, known)) is not None:
            insn, constant = Insn(MOV64, item.dst, has), None
            relocated.pop(at, None)
        code[at] = insn
        _note(insn, known)
        if constant is not None:
            known[insn.dst] = constant
        if to := targets.get(at):
            waiting[to] -= 1
            arriving[to] = _meet(arriving.get(to), dict(known)) or {}
        if insn.code in (JA, EXIT):
            known = None


def _constant(insn: Insn, relocation: tuple[str, str, int] | None) -> object:
    """What an instruction puts into its register whenever it runs, or None."""
    if insn.code == LD_IMM64 or (insn.code == MOV64_IMM and not relocation):
        return relocation or ("", "", insn.imm)
    return None


def _having(constant: object, known: Known) -> int | None:
    return next((register for register, has in known.items() if has == constant), None)


def _meet(a: Known | None, b: Known | None) -> Known | None:
    if a is None or b is None:
        return b if a is None else a
    return {register: has for register, has in a.items() if b.get(register) == has}


def _reading(insn: Insn, known: Known) -> Insn:
    dst, src = insn.dst, insn.src
    if reads_source(insn):
        src = _original(src, known)
    if insn.code & 7 in _STORES or _conditional(insn):
        dst = _original(dst, known)
    return (
        insn
        if (dst, src) == (insn.dst, insn.src)
        else Insn(insn.code, dst, src, insn.off, insn.imm)
    )


def _original(register: int, known: Known) -> int:
    of = known.get(register)
    return of if isinstance(of, int) else register


def _note(insn: Insn, known: Known) -> None:
    made = made_by(insn)
    if made and known:
        for copy, of in list(known.items()):
            if made >> copy & 1 or (isinstance(of, int) and made >> of & 1):
                del known[copy]
    if insn.code == MOV64 and insn.dst != insn.src:
        known[insn.dst] = insn.src


def _drop_dead(code: Code, targets: Targets) -> list[int]:
    """Leave out moves into registers that nobody reads before they change.

    What lives behind each instruction, as bits; at a label, what lives there.
    """
    at_label: dict[Label, int] = {}
    loops: set[Label] = set()  # whose jumps come from below
    after = [0] * len(code)
    effects = [(made_by(i), used_by(i)) if isinstance(i, Insn) else (0, 0) for i in code]
    changed = True
    while changed:
        changed, live = False, 0
        for at in range(len(code) - 1, -1, -1):
            item = code[at]
            if item is None:
                continue
            if not isinstance(item, Insn):
                changed = changed or (item in loops and at_label.get(item, 0) != live)
                at_label[item] = after[at] = live
                continue
            if item.code in (JA, EXIT):
                live = 0
            if to := targets.get(at):
                if to not in at_label:
                    loops.add(to)
                live |= at_label.get(to, 0)
            after[at] = live
            if item.code in _MOVES and not live >> item.dst & 1:
                continue  # it goes, and with it what only it needs
            made, used = effects[at]
            live = live & ~made | used
    for at, item in enumerate(code):
        if isinstance(item, Insn) and item.code in _MOVES and not after[at] >> item.dst & 1:
            code[at] = None
    return after
