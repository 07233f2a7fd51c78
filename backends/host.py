"""Native code that shows events: a `Plan` → LLVM IR text → an object for `runtime.host_code`.

One function for each event writes its text, `drain` calls them for the records of a ring. Whatever
is rare is not done here: a record with a byte that needs thought goes back to Python.
"""

from __future__ import annotations

import llvmlite.binding as llvm

from bpfscript.pieces import Choice, Literal, Number, Padding, Piece, Plan, Shown, Text

_SLACK = 32  # bytes beyond a text that helpers may write to
_DIGITS = {False: b"0123456789abcdef", True: b"0123456789ABCDEF"}
_SHIFTS = {8: 3, 16: 4}

_HELPERS = """
declare i64 @strnlen(ptr, i64)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

define internal ptr @put(ptr %out, ptr %from, i64 %size) {
  call void @llvm.memcpy.p0.p0.i64(ptr %out, ptr %from, i64 %size, i1 false)
  %end = getelementptr i8, ptr %out, i64 %size
  ret ptr %end
}

define internal ptr @decimal(ptr %out, i64 %value) {
start:
  %buffer = alloca [48 x i8]
  %last = getelementptr i8, ptr %buffer, i64 24
  br label %loop
loop:
  %v = phi i64 [ %value, %start ], [ %quotient, %loop ]
  %at = phi ptr [ %last, %start ], [ %next, %loop ]
  %quotient = udiv i64 %v, 10
  %whole = mul i64 %quotient, 10
  %digit = sub i64 %v, %whole
  %byte = trunc i64 %digit to i8
  %character = add i8 %byte, 48
  %next = getelementptr i8, ptr %at, i64 -1
  store i8 %character, ptr %next
  %more = icmp ne i64 %quotient, 0
  br i1 %more, label %loop, label %done
done:
  call void @llvm.memcpy.p0.p0.i64(ptr %out, ptr %next, i64 24, i1 false)
  %a = ptrtoint ptr %last to i64
  %b = ptrtoint ptr %next to i64
  %size = sub i64 %a, %b
  %end = getelementptr i8, ptr %out, i64 %size
  ret ptr %end
}

define internal ptr @digits(ptr %out, i64 %value, i64 %shift, ptr %alphabet) {
start:
  %buffer = alloca [48 x i8]
  %last = getelementptr i8, ptr %buffer, i64 24
  %base = shl i64 1, %shift
  %mask = sub i64 %base, 1
  br label %loop
loop:
  %v = phi i64 [ %value, %start ], [ %quotient, %loop ]
  %at = phi ptr [ %last, %start ], [ %next, %loop ]
  %digit = and i64 %v, %mask
  %quotient = lshr i64 %v, %shift
  %place = getelementptr i8, ptr %alphabet, i64 %digit
  %character = load i8, ptr %place
  %next = getelementptr i8, ptr %at, i64 -1
  store i8 %character, ptr %next
  %more = icmp ne i64 %quotient, 0
  br i1 %more, label %loop, label %done
done:
  call void @llvm.memcpy.p0.p0.i64(ptr %out, ptr %next, i64 24, i1 false)
  %a = ptrtoint ptr %last to i64
  %b = ptrtoint ptr %next to i64
  %size = sub i64 %a, %b
  %end = getelementptr i8, ptr %out, i64 %size
  ret ptr %end
}

; each byte by the table of 8-byte entries, length last; null for a byte without an entry, or with
; more than one byte where that is not wanted
define internal ptr @translate(ptr %out, ptr %from, i64 %size, ptr %table, i64 %most) {
start:
  br label %head
head:
  %i = phi i64 [ 0, %start ], [ %after, %good ]
  %to = phi ptr [ %out, %start ], [ %next, %good ]
  %end = icmp eq i64 %i, %size
  br i1 %end, label %done, label %body
body:
  %place = getelementptr i8, ptr %from, i64 %i
  %byte = load i8, ptr %place
  %index = zext i8 %byte to i64
  %slot = getelementptr i64, ptr %table, i64 %index
  %entry = load i64, ptr %slot
  store i64 %entry, ptr %to, align 1
  %length = lshr i64 %entry, 56
  %low = sub i64 %length, 1
  %fits = icmp ult i64 %low, %most
  br i1 %fits, label %good, label %bad
good:
  %next = getelementptr i8, ptr %to, i64 %length
  %after = add i64 %i, 1
  br label %head
done:
  ret ptr %to
bad:
  ret ptr null
}

define internal ptr @pad(ptr %start, ptr %end, i64 %length, i64 %width, i8 %fill, i1 %left) {
  %narrow = icmp ult i64 %length, %width
  br i1 %narrow, label %more, label %enough
more:
  %count = sub i64 %width, %length
  %shifted = getelementptr i8, ptr %start, i64 %count
  br i1 %left, label %after, label %before
after:
  call void @llvm.memset.p0.i64(ptr %end, i8 %fill, i64 %count, i1 false)
  br label %padded
before:
  %a = ptrtoint ptr %end to i64
  %b = ptrtoint ptr %start to i64
  %size = sub i64 %a, %b
  call void @llvm.memmove.p0.p0.i64(ptr %shifted, ptr %start, i64 %size, i1 false)
  call void @llvm.memset.p0.i64(ptr %start, i8 %fill, i64 %count, i1 false)
  br label %padded
padded:
  %far = getelementptr i8, ptr %end, i64 %count
  ret ptr %far
enough:
  ret ptr %end
}
"""

_DRAIN = """
define i64 @drain(ptr %data, i64 %mask, i64 %from, i64 %stop, ptr %out, ptr %end, ptr %result) {
start:
  %room = getelementptr i8, ptr %end, i64 -LONGEST
  br label %head
head:
  %position = phi i64 [ %from, %start ], [ %next, %go ]
  %text = phi ptr [ %out, %start ], [ %written, %go ]
  %more = icmp ult i64 %position, %stop
  br i1 %more, label %look, label %leave
look:
  %offset = and i64 %position, %mask
  %header = getelementptr i8, ptr %data, i64 %offset
  %word = load atomic i32, ptr %header acquire, align 8
  %busy = icmp slt i32 %word, 0
  br i1 %busy, label %leave, label %complete
complete:
  %plain = and i32 %word, 1073741823
  %length = zext i32 %plain to i64
  %whole = add i64 %length, 15
  %stride = and i64 %whole, -8
  %next = add i64 %position, %stride
  %dropped = icmp ne i32 %plain, %word
  br i1 %dropped, label %go, label %full
full:
  %lack = icmp ugt ptr %text, %room
  br i1 %lack, label %leave, label %choose
choose:
  %record = getelementptr i8, ptr %header, i64 8
  %event = load i64, ptr %record
  switch i64 %event, label %leave [CASES]
BLOCKS
go:
  %written = phi ptr [ %text, %complete ]WRITTEN
  br label %head
leave:
  %reason = phi i64 [ 0, %head ], [ 0, %look ], [ 2, %full ], [ 1, %choose ]REASONS
  store i64 %position, ptr %result
  %second = getelementptr i64, ptr %result, i64 1
  %last = ptrtoint ptr %text to i64
  store i64 %last, ptr %second
  ret i64 %reason
}
"""


def make_native(plan: Plan) -> bytes:
    """An object with the function `drain` (`pieces.HostCode`) for the events of a plan."""
    return to_object(to_text(plan))


def to_object(text: str) -> bytes:
    """A relocatable object for this machine out of LLVM IR."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    machine = target.create_target_machine(opt=2, reloc="pic", codemodel="small")
    module = llvm.parse_assembly(text, llvm.create_context())
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    builder.getModulePassManager().run(module, builder)
    found: bytes = machine.emit_object(module)
    return found


def to_text(plan: Plan) -> str:
    """The LLVM IR of a plan."""
    writers = [_Writer(shown) for shown in plan.events]
    bodies = [writer.function() for writer in writers]
    constants = [_bytes(f"alphabet{int(u)}", d) for u, d in _DIGITS.items()]
    entries = ", ".join(f"i64 {_entry(text)}" for text in plan.table or (b"",) * 256)
    constants.append(f"@table = internal constant [256 x i64] [{entries}]")
    constants += [c for writer in writers for c in writer.constants]
    longest = max((writer.longest for writer in writers), default=0) + _SLACK
    return "\n".join([*constants, _HELPERS, *bodies, _drain(plan, longest)])


def _drain(plan: Plan, longest: int) -> str:
    cases, blocks, written, reasons = [], [], [], []
    for n, shown in enumerate(plan.events):
        cases.append(f"i64 {shown.event}, label %check{n} ")
        blocks.append(
            f"check{n}:\n  %same{n} = icmp eq i64 %length, {shown.size}\n"
            f"  br i1 %same{n}, label %show{n}, label %leave\n"
            f"show{n}:\n  %text{n} = call ptr @event{shown.event}(ptr %record, ptr %text)\n"
            f"  %good{n} = icmp ne ptr %text{n}, null\n"
            f"  br i1 %good{n}, label %go, label %leave\n"
        )
        written.append(f", [ %text{n}, %show{n} ]")
        reasons += [f", [ 1, %check{n} ]", f", [ 1, %show{n} ]"]
    parts = {"LONGEST": str(longest), "CASES": "".join(cases), "BLOCKS": "".join(blocks)}
    parts |= {"WRITTEN": "".join(written), "REASONS": "".join(reasons)}
    text = _DRAIN
    for name, part in parts.items():
        text = text.replace(name, part)
    return text


def _entry(text: bytes) -> int:
    return int.from_bytes(text.ljust(7, b"\0") + bytes([len(text)]), "little")


def _bytes(name: str, data: bytes) -> str:
    text = "".join(f"\\{b:02x}" for b in data)
    return f'@{name} = internal constant [{len(data)} x i8] c"{text}"'


class _Writer:
    """Writes the function of one event. longest: bytes that a text of it takes at most."""

    def __init__(self, shown: Shown) -> None:
        self.constants: list[str] = []
        self.longest = 0
        self._shown, self._count = shown, 0
        self._lines: list[str] = []
        self._fails = False

    def function(self) -> str:
        out = "%out"
        for piece in self._shown.pieces:
            out = self._piece(piece, out)
        tail = ["fail:", "  ret ptr null"] if self._fails else []
        head = f"define internal ptr @event{self._shown.event}(ptr %record, ptr %out) {{"
        return "\n".join([head, *self._lines, f"  ret ptr {out}", *tail, "}"])

    def _emit(self, code: str) -> str:
        name = self._name()
        self._lines.append(f"  {name} = {code}")
        return name

    def _name(self) -> str:
        self._count += 1
        return f"%v{self._count}"

    def _piece(self, piece: Piece, out: str) -> str:
        match piece:
            case Literal():
                return self._literal(piece.text, out)
            case Number():
                return self._number(piece, out)
            case Text():
                return self._text(piece, out)
            case Choice():
                return self._choice(piece, out)

    def _constant(self, data: bytes) -> str:
        name = f"text{self._shown.event}_{len(self.constants)}"
        self.constants.append(_bytes(name, data))
        return f"@{name}"

    def _literal(self, data: bytes, out: str) -> str:
        self.longest += len(data)
        if not data:
            return out
        return self._emit(f"call ptr @put(ptr {out}, ptr {self._constant(data)}, i64 {len(data)})")

    def _padded(self, padding: Padding, start: str, end: str, length: str = "") -> str:
        self.longest += padding.width
        if not padding.width:
            return end
        if not length:
            first, last = (self._emit(f"ptrtoint ptr {p} to i64") for p in (start, end))
            length = self._emit(f"sub i64 {last}, {first}")
        return self._emit(
            f"call ptr @pad(ptr {start}, ptr {end}, i64 {length}, i64 {padding.width},"
            f" i8 {ord(padding.fill)}, i1 {int(padding.left)})"
        )

    def _at(self, offset: int) -> str:
        return self._emit(f"getelementptr i8, ptr %record, i64 {offset}")

    def _load(self, piece: Number) -> str:
        """The number as an i64, with or without its sign."""
        bits = min(8 * piece.size, piece.bits)
        value = self._emit(f"load i{bits}, ptr {self._at(piece.offset)}, align 1")
        steps = [(piece.bits, piece.extend), (64, piece.signed)]
        for wider, sign in steps:
            if wider > bits:
                extend = "sext" if sign else "zext"
                value = self._emit(f"{extend} i{bits} {value} to i{wider}")
                bits = wider
        return value

    def _number(self, piece: Number, start: str) -> str:
        self.longest += 24 + len(piece.prefix)
        value, out = self._load(piece), start
        if piece.signed:
            negative = self._emit(f"icmp slt i64 {value}, 0")
            minus = self._emit(f"sub i64 0, {value}")
            value = self._emit(f"select i1 {negative}, i64 {minus}, i64 {value}")
            sign = self._emit(f"select i1 {negative}, i8 {ord('-')}, i8 {ord('+')}")
            self._lines.append(f"  store i8 {sign}, ptr {out}")
            shows = "true" if piece.plus else negative
            out = self._skip(out, shows, 1)
        if piece.prefix:
            self._literal(piece.prefix, out)
            filled = "true" if piece.always else self._emit(f"icmp ne i64 {value}, 0")
            out = self._skip(out, filled, len(piece.prefix))
        if piece.base == 10:
            end = self._emit(f"call ptr @decimal(ptr {out}, i64 {value})")
        else:
            end = self._emit(
                f"call ptr @digits(ptr {out}, i64 {value}, i64 {_SHIFTS[piece.base]},"
                f" ptr @alphabet{int(piece.upper)})"
            )
        return self._padded(piece.padding, start, end)

    def _skip(self, out: str, condition: str, size: int) -> str:
        step = self._emit(f"select i1 {condition}, i64 {size}, i64 0")
        return self._emit(f"getelementptr i8, ptr {out}, i64 {step}")

    def _text(self, piece: Text, start: str) -> str:
        self.longest += 7 * piece.size + len(piece.trailer) + 8
        source = self._at(piece.offset)
        size = self._emit(f"call i64 @strnlen(ptr {source}, i64 {piece.size})")
        if piece.table:
            most = 1 if piece.exact else 7
            out = self._emit(
                f"call ptr @translate(ptr {start}, ptr {source}, i64 {size}, "
                f"ptr @table, i64 {most})"
            )
            self._check(out)
        else:
            out = self._emit(f"call ptr @put(ptr {start}, ptr {source}, i64 {size})")
        length = size
        if piece.trailer:
            self._literal(piece.trailer, out)
            cut = self._emit(f"icmp eq i64 {size}, {piece.size}")
            out = self._skip(out, cut, len(piece.trailer))
            more = self._emit(f"select i1 {cut}, i64 {len(piece.trailer)}, i64 0")
            length = self._emit(f"add i64 {size}, {more}")
        return self._padded(piece.padding, start, out, length)

    def _check(self, pointer: str) -> None:
        """Leave the record to others if this is null."""
        self._fails = True
        good = self._name()
        self._lines += [
            f"  {good} = icmp ne ptr {pointer}, null",
            f"  br i1 {good}, label {good}.on, label %fail",
            f"{good[1:]}.on:",
        ]

    def _choice(self, piece: Choice, start: str) -> str:
        width = max(len(piece.zero), len(piece.other))
        self.longest += width
        value = self._emit(f"load i8, ptr {self._at(piece.offset)}")
        zero = self._emit(f"icmp eq i8 {value}, 0")
        texts = [self._constant(text) for text in (piece.zero, piece.other)]
        chosen = self._emit(f"select i1 {zero}, ptr {texts[0]}, ptr {texts[1]}")
        size = self._emit(f"select i1 {zero}, i64 {len(piece.zero)}, i64 {len(piece.other)}")
        end = self._emit(f"call ptr @put(ptr {start}, ptr {chosen}, i64 {size})")
        return self._padded(piece.padding, start, end)
