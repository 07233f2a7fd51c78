"""Events for native code: what it may show, and how it is called."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import cast

from bpfscript.manifest import Event
from bpfscript.pieces import (
    Choice,
    HostCode,
    Literal,
    MakeNative,
    Number,
    Padding,
    Piece,
    Plan,
    Shown,
    Text,
)  # fmt: skip
from bpfscript.types import Bool, Int, Pointer, String, Type

from .host_code import address_of
from .printf import PREFIX, Conversion, split
from .printf_runs import Wrap
from .ringbuf import RingBuffer
from .values import Values, harmless

_ROOM = 1 << 20  # bytes of text made at a time
_OK, _FULL = 0, 2  # what drain returns, see HostCode
_BASES = {"o": 8, "x": 16, "X": 16, "p": 16}


def plan(events: list[Event], values: Values, wrap: Wrap | None) -> Plan:
    """Those printf events that native code can show. wrap: around each text, None for plain text.

    What depends on more than the record stays away, and the kinds of values that are rare.
    """
    shown = [
        Shown(number, event.size, pieces)
        for number, event in enumerate(events)
        if event.kind == "printf" and (pieces := _pieces(event, values, wrap))
    ]
    return Plan(tuple(shown), _table(values, wrap))


def _table(values: Values, wrap: Wrap | None) -> tuple[bytes, ...]:
    """Beyond ASCII, bytes mean something only together."""
    if wrap:
        change = wrap.quote
    elif values.escape:
        change = harmless
    else:
        return ()
    return tuple(change(chr(b)).encode() if b < 128 else b"" for b in range(256))


def _pieces(event: Event, values: Values, wrap: Wrap | None) -> tuple[Piece, ...] | None:
    literals, conversions = split(event.text)
    texts = [_bytes(text, wrap) for text in literals]
    if wrap and not all(text.isascii() for text in literals):
        return None
    head, tail, _ = wrap or Wrap()
    pieces: list[Piece] = [Literal(head.encode() + texts[0])]
    parts = zip(conversions, event.fields, event.offsets, texts[1:], strict=True)
    for conversion, type, offset, text in parts:
        piece = _piece(conversion, type, offset, values, wrap)
        if piece is None:
            return None
        pieces += [piece, Literal(text)]
    return (*pieces, Literal(tail.encode()))


def _bytes(text: str, wrap: Wrap | None) -> bytes:
    return (wrap.quote(text) if wrap else text).encode("utf-8", "surrogateescape")


def _piece(c: Conversion, t: Type, offset: int, values: Values, wrap: Wrap | None) -> Piece | None:
    padding = Padding(c.width, c.left, "0" if c.zero else " ")
    if c.kind == "s":
        return _value(t, offset, c.plus, padding, values, wrap)
    if c.kind == "c":
        return None
    if c.kind in "diuoxXp" and isinstance(t, Int | Bool | Pointer):
        extend = isinstance(t, Int) and t.signed
        based = c.kind == "p" or c.base
        return Number(
            offset, t.size, 64 if c.kind == "p" else c.bits, extend, signed=c.kind in "di",
            base=_BASES.get(c.kind, 10), plus=c.plus and c.kind in "di", upper=c.kind == "X",
            prefix=("0x" if c.kind == "p" else PREFIX.get(c.kind, "")).encode() if based else b"",
            padding=padding,
        )  # fmt: skip
    return None


def _value(
    t: Type, offset: int, plus: bool, padding: Padding, values: Values, wrap: Wrap | None
) -> Piece | None:
    """As `Values` shows it."""
    match t:
        case Int() if not t.enum:
            return Number(
                offset, t.size, 8 * t.size, t.signed, t.signed, plus=plus and t.signed,
                padding=padding,
            )  # fmt: skip
        case Bool():
            return Choice(offset, b"false", b"true", padding)
        case Pointer():
            return Number(
                offset, 8, 64, False, False, 16, prefix=b"0x", always=True, padding=padding
            )
        case String():
            trailer = values.manifest.settings.str_trunc_trailer if t.size else ""
            if not trailer.isascii() or _bytes(trailer, wrap) != harmless(trailer).encode():
                return None
            exact = values.escape and padding.width > 0
            table = wrap is not None or values.escape
            return Text(offset, t.size, trailer.encode(), table, exact, padding)
    return None


def native(
    events: list[Event], values: Values, wrap: Wrap | None, make: MakeNative
) -> NativeDrain | None:
    """Native code for those events that it can show, if there are any and it can be made."""
    wanted = plan(events, values, wrap)
    code = make(wanted) if wanted.events else None
    return NativeDrain(code) if code else None


class NativeDrain:
    """Shows records by native code (`stream.Drain`)."""

    def __init__(self, code: HostCode) -> None:
        u64, pointer = ctypes.c_uint64, ctypes.c_void_p
        kind = ctypes.CFUNCTYPE(u64, pointer, u64, u64, u64, pointer, pointer, pointer)
        self._function = cast(Callable[..., int], kind(code.address))
        self._owner = code.owner
        self._room = bytearray(_ROOM)
        self._text = memoryview(self._room)
        self._buffer = (ctypes.c_char * _ROOM).from_buffer(self._room)
        self._start = ctypes.addressof(self._buffer)
        self._result = (u64 * 2)()

    def __call__(self, ring: RingBuffer, stop: int, write: Callable[[memoryview], None]) -> bool:
        while True:
            position, end = ring.consumed, self._start + _ROOM
            why = self._function(
                address_of(ring.data), ring.size - 1, position, stop, self._start, end, self._result
            )
            size = self._result[1] - self._start
            ring.consumed = self._result[0]
            if size:
                write(self._text[:size])
            if why == _OK:
                return True
            if why != _FULL or not size:
                return False
