"""Strings: NUL-terminated within the capacity of their memory, zeros after the NUL.

string_eq %s, rodata "sh\\0"  →  words of %s against constants, without a branch
string_eq %s, %t             →  a loop over bytes until they differ or end
string_find %s, rodata "sh\\0"  →  a loop over places in %s, then as above
"""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.ir.core import Instr, Value
from bpfscript.ir.types import I1, I64

from .code import Code
from .legal_memory import INLINE, aligned, byte_at, chunks

FOUND_INLINE = 16  # bytes of a literal that is searched for without an inner loop


def string_eq(code: Code, instr: Instr) -> Value:
    (left, right), sizes, limit = instr.args, instr.attrs["sizes"], instr.attrs["limit"]
    assert isinstance(sizes, tuple) and isinstance(limit, int)
    for string, size, literal in ((left, sizes[0], right), (right, sizes[1], left)):
        text = _literal(code, literal)
        if text is not None:
            text = text[:limit]
            end = text.find(b"\0") + 1 or len(text)  # with its NUL, if it is within the limit
            if end <= min(size, INLINE):
                return _equals_literal(code, string, text[:end])
    return _equal(code, left, right, min(limit, *sizes))


def _literal(code: Code, pointer: Value) -> bytes | None:
    made = code.definitions.get(pointer)
    data = made.attrs["data"] if made and made.op == "rodata" else None
    return data if isinstance(data, bytes) else None


def _equals_literal(code: Code, string: Value, text: bytes) -> Value:
    different: Value | None = None
    for offset, type in chunks(len(text), aligned(code, string)):
        part = int.from_bytes(text[offset : offset + type.bits // 8], "little")
        signed = part - (1 << type.bits if part >> (type.bits - 1) else 0)
        found = code.op("xor", code.load(string, type, offset), signed)
        wide = code.resize(found, 64)
        different = wide if different is None else code.op("or", different, wide)
    return code.const(1, I1) if different is None else code.op("eq", different, 0)


def _equal(code: Code, left: Value, right: Value, count: int) -> Value:
    """Whether two strings agree in `count` bytes or up to NUL."""
    head, inside = code.block("compare", I64), code.block("byte")
    same, done = code.block("same_byte"), code.block("compared", I1)
    step = code.block("next")
    yes, no = code.const(1, I1), code.const(0, I1)
    code.jump(head, code.const(0))
    code.at(head)
    i = head.params[0]
    code.branch(code.op("ult", i, count), inside, done, else_args=(yes,))
    code.at(inside)
    a, b = byte_at(code, left, i), byte_at(code, right, i)
    code.branch(code.op("eq", a, b), same, done, else_args=(no,))
    code.at(same)
    code.branch(code.op("eq", a, 0), done, step, then_args=(yes,))
    code.at(step)
    code.jump(head, code.add(i, 1))
    code.at(done)
    return done.params[0]


def string_length(code: Code, instr: Instr) -> Value:
    (string,), size = instr.args, instr.attrs["size"]
    assert isinstance(size, int)
    return _until_zero(code, size, lambda i: byte_at(code, string, i))


def frame_count(code: Code, instr: Instr) -> Value:
    """Addresses of a types.Stack before the first zero."""
    (stack,), size = instr.args, instr.attrs["size"]
    assert isinstance(size, int)

    def frame(i: Value) -> Value:
        offset = code.op("mul", i, 8)
        return code.load(code.value("ptr_add", stack, offset), I64, 8)

    return _until_zero(code, size // 8 - 1, frame)


def _until_zero(code: Code, count: int, element: Callable[[Value], Value]) -> Value:
    """Index of the first element that is zero, or `count`."""
    head, inside = code.block("measure", I64), code.block("element")
    step, done = code.block("next"), code.block("measured", I64)
    code.jump(head, code.const(0))
    code.at(head)
    i = head.params[0]
    code.branch(code.op("ult", i, count), inside, done, else_args=(code.const(count),))
    code.at(inside)
    end = code.op("eq", element(i), 0)
    code.branch(end, done, step, then_args=(i,))
    code.at(step)
    code.jump(head, code.add(i, 1))
    code.at(done)
    return done.params[0]


def string_find(code: Code, instr: Instr) -> Value:
    """Index of the first place in one string where another stands, or -1."""
    (text, part), sizes = instr.args, instr.attrs["sizes"]
    assert isinstance(sizes, tuple)
    literal = _literal(code, part)
    needle = literal.partition(b"\0")[0] if literal is not None else None
    if needle is not None and len(needle) <= FOUND_INLINE:
        return _find_literal(code, text, needle, sizes[0])
    return _find(code, text, part, sizes)


def _find_literal(code: Code, text: Value, needle: bytes, size: int) -> Value:
    """A loop over places; after the first byte there is one comparison, of all others."""
    if not needle or len(needle) > size:
        return code.const(-1 if needle else 0)
    head, inside = code.block("search", I64), code.block("place")
    first, other, step = code.block("first"), code.block("other"), code.block("next")
    done, minus = code.block("found", I64), code.const(-1)
    code.jump(head, code.const(0))
    code.at(head)
    i = head.params[0]
    places = size - len(needle) + 1
    code.branch(code.op("ult", i, places), inside, done, else_args=(minus,))
    code.at(inside)
    found = byte_at(code, text, i)
    code.branch(code.op("eq", found, needle[0]), first, other)
    code.at(first)
    rest = code.at_offset(code.value("ptr_add", text, i), 1)
    code.branch(_equals_literal(code, rest, needle[1:]), done, step, then_args=(i,))
    code.at(other)
    code.branch(code.op("eq", found, 0), done, step, then_args=(minus,))
    code.at(step)
    code.jump(head, code.add(i, 1))
    code.at(done)
    return done.params[0]


def _find(code: Code, text: Value, part: Value, sizes: tuple[int, ...]) -> Value:
    """Naive search: a loop over places, and at each a loop over bytes that agree."""
    head, place, match = code.block("search", I64), code.block("place"), code.block("match", I64)
    want, have, inside = code.block("want"), code.block("have"), code.block("inside")
    again, differ, step = code.block("again"), code.block("differ"), code.block("next")
    done, minus, zero = code.block("found", I64), code.const(-1), code.const(0)
    code.jump(head, zero)
    code.at(head)
    start = head.params[0]
    code.branch(code.op("ult", start, sizes[0]), place, done, else_args=(minus,))
    code.at(place)
    code.jump(match, zero)
    code.at(match)
    at = match.params[0]
    code.branch(code.op("ult", at, sizes[1]), want, done, else_args=(start,))
    code.at(want)
    wanted = byte_at(code, part, at)
    code.branch(code.op("eq", wanted, 0), done, have, then_args=(start,))
    code.at(have)
    where = code.add(start, at)
    code.branch(code.op("ult", where, sizes[0]), inside, done, else_args=(minus,))
    code.at(inside)
    found = byte_at(code, text, where)
    code.branch(code.op("eq", found, wanted), again, differ)
    code.at(again)
    code.jump(match, code.add(at, 1))
    code.at(differ)
    code.branch(code.op("eq", found, 0), done, step, then_args=(minus,))
    code.at(step)
    code.jump(head, code.add(start, 1))
    code.at(done)
    return done.params[0]
