"""LLVM IR of each operation. A function gives the expression that its result is, or appends lines.

What the BPF ISA defines and LLVM does not (division by zero, wide shifts) is spelled out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bpfscript.backends.memory import INLINE_LIMIT, chunks
from bpfscript.diagnostics import CompilerBug, Span
from bpfscript.ir.core import Instr, Value
from bpfscript.ir.helpers import HELPERS, Helper
from bpfscript.ir.types import CTX, I, Ptr, Type
from bpfscript.manifest import Internal

if TYPE_CHECKING:
    from bpfscript.backends.llvm_text import FunctionText

MAY_CONTINUE = 0x7FFFFFF1
"""Number of the helper that `may_continue` calls until `llvm.py` puts other code in its place."""


def load(f: FunctionText, instr: Instr) -> str:
    pointer, offset = instr.args[0], number(instr.attrs["off"])
    assert instr.result and isinstance(instr.result.type, I)
    bits = instr.result.type.bits
    if pointer.type == CTX:
        return _load_ctx(f, pointer, offset, bits)
    align = min(f.alignment(pointer, offset), bits // 8)
    return f"load i{bits}, ptr {f.address(pointer, offset, instr.span)}, align {align}"


def _load_ctx(f: FunctionText, pointer: Value, offset: int, bits: int) -> str:
    """By an intrinsic that keeps the offset: the kernel refuses moved context pointers."""
    while (made := f.made.get(pointer)) and made.op == "ptr_add":
        step = f.made.get(made.args[1])
        if step is None or step.op != "const":
            raise CompilerBug("context memory is read at an offset that is not constant")
        pointer, offset = made.args[0], offset + number(step.attrs["value"])
    params = "ptr, i1 immarg, i8 immarg, i8 immarg, i8 immarg, i1 immarg, ..."
    callee = f.module.intrinsic(f"i{bits}", f"llvm.bpf.getelementptr.and.load.i{bits}", params)
    # not volatile, not atomic, one thread; the alignment as its logarithm
    flags = f"i1 false, i8 0, i8 0, i8 {(bits // 8).bit_length() - 1}, i1 true, i64 {offset}"
    signature = f"i{bits} (ptr, i1, i8, i8, i8, i1, ...)"
    return f"call {signature} {callee}(ptr elementtype(i8) {f.names[pointer]}, {flags})"


def store(f: FunctionText, instr: Instr) -> None:
    pointer, value = instr.args
    assert isinstance(value.type, I)
    offset = number(instr.attrs["off"])
    align = min(f.alignment(pointer, offset), value.type.bits // 8)
    place = f.address(pointer, offset, instr.span)
    f.add(f"store {f.typed(value)}, ptr {place}, align {align}", instr.span)


def cmpxchg(f: FunctionText, instr: Instr) -> str:
    pointer, expected, new = instr.args
    place = f.address(pointer, number(instr.attrs["off"]), instr.span)
    values = f"{f.typed(expected)}, {f.typed(new)}"
    pair = f.temporary(f"cmpxchg ptr {place}, {values} seq_cst seq_cst", instr.span)
    return f"extractvalue {{i64, i1}} {pair}, 0"


def fill(f: FunctionText, instr: Instr) -> None:
    to, span = instr.args[0], instr.span
    start, size = number(instr.attrs["off"]), number(instr.attrs["size"])
    align = f.alignment(to, start)
    if size // align > INLINE_LIMIT // 8:
        _probe_read(f, f.address(to, start, span), size, "null", span)
        return
    for offset, width in chunks(size, align):
        place = f.address(to, start + offset, span)
        f.add(f"store i{8 * width} 0, ptr {place}, align {width}", span)


def copy(f: FunctionText, instr: Instr) -> None:
    to, source = instr.args
    span, size = instr.span, number(instr.attrs["size"])
    start, begin = number(instr.attrs["off"]), number(instr.attrs["from"])
    align = min(f.alignment(to, start), f.alignment(source, begin))
    if size // align > INLINE_LIMIT // 8 and source.type != CTX:
        memory = f.address(source, begin, span)
        _probe_read(f, f.address(to, start, span), size, memory, span)
        return
    for offset, width in chunks(size, align):
        if source.type == CTX:
            expression = _load_ctx(f, source, begin + offset, 8 * width)
        else:
            place = f.address(source, begin + offset, span)
            expression = f"load i{8 * width}, ptr {place}, align {width}"
        word = f.temporary(expression, span)
        place = f.address(to, start + offset, span)
        f.add(f"store i{8 * width} {word}, ptr {place}, align {width}", span)


def _probe_read(f: FunctionText, to: str, size: int, source: str, span: Span | None) -> None:
    callee = _helper(HELPERS["probe_read_kernel"].number)
    f.add(f"call i64 {callee}(ptr {to}, i64 {size}, ptr {source})", span)


def opaque(f: FunctionText, instr: Instr) -> str:
    type = type_name(instr.args[0].type)
    word = f.module.external(f"value:{Internal.ZERO}")
    zero = f.temporary(f"load volatile i64, ptr {word}, align 8", instr.span)
    if type != "i64":
        zero = f.temporary(f"trunc i64 {zero} to {type}", instr.span)
    return f"add {type} {zero}, {f.names[instr.args[0]]}"


def binary(f: FunctionText, instr: Instr) -> str:
    a, b = instr.args
    return f"{instr.op} {f.typed(a)}, {f.names[b]}"


def shift(f: FunctionText, instr: Instr) -> str:
    a, b = instr.args
    assert isinstance(a.type, I)
    amount = f.made.get(b)
    mask = a.type.bits - 1
    if amount and amount.op == "const":
        return f"{instr.op} {f.typed(a)}, {number(amount.attrs['value']) & mask}"
    by = f.temporary(f"and {f.typed(b)}, {mask}", instr.span)
    return _unknown(type_name(a.type), f.temporary(f"{instr.op} {f.typed(a)}, {by}", instr.span))


def divide(f: FunctionText, instr: Instr) -> str:
    """To LLVM, division by zero is undefined; the ISA says x / 0 = 0, x % 0 = x."""
    a, b = instr.args
    type, left = type_name(a.type), f.names[a]
    if _nonzero(f, instr, b):
        return _unknown(type, f.temporary(binary(f, instr), instr.span))
    zero, divisor = _divisor(f, f.typed(b), instr)
    quotient = f.temporary(f"{instr.op} {type} {left}, {divisor}", instr.span)
    otherwise = "0" if instr.op == "udiv" else left
    chosen = f.temporary(f"select i1 {zero}, {type} {otherwise}, {type} {quotient}", instr.span)
    return _unknown(type, chosen)


def _unknown(type: str, name: str) -> str:
    """The same, of which LLVM knows nothing: it leaves out checks of what a division or a shift by
    something computed has bounded, which the kernel's verifier wants to see.
    """
    return f'call {type} asm "", "=r,0"({type} {name})'


def _divisor(f: FunctionText, typed: str, instr: Instr) -> tuple[str, str]:
    """Whether an operand is zero, and the operand or, in that case, 1."""
    type, name = typed.split()
    zero = f.temporary(f"icmp eq {typed}, 0", instr.span)
    one = zero if type == "i1" else f.temporary(f"zext i1 {zero} to {type}", instr.span)
    return zero, f.temporary(f"or {type} {name}, {one}", instr.span)


def _nonzero(f: FunctionText, instr: Instr, value: Value) -> bool:
    """Whether a value is constant, or was compared with zero on the only way here."""
    made = f.made.get(value)
    if made and made.op == "const":
        return f.names[value] not in ("0", "false")
    block = f.home[instr]
    for _ in f.blocks:
        if len(f.ways[block]) != 1:
            break
        _, edge, block = f.ways[block][0]
        end = block.terminator
        test = f.made.get(end.args[0]) if end.op == "branch" else None
        if not test or test.op not in ("eq", "ne") or test.args[0] is not value:
            continue
        if f.names[test.args[1]] == "0":
            return (test.op == "ne") == (edge is end.targets[0])
    return False


def signed_divide(f: FunctionText, instr: Instr) -> str:
    """By unsigned division, for the instruction for it came with cpu v4."""
    span = instr.span
    a, b = (f.names[x] for x in instr.args)
    t = instr.args[0].type
    assert isinstance(t, I)
    type, top = type_name(t), t.bits - 1

    def absolute(x: str) -> tuple[str, str]:
        sign = f.temporary(f"ashr {type} {x}, {top}", span)
        flipped = f.temporary(f"xor {type} {x}, {sign}", span)
        return sign, f.temporary(f"sub {type} {flipped}, {sign}", span)

    (sign_a, size_a), (sign_b, size_b) = absolute(a), absolute(b)
    zero, divisor = _divisor(f, f"{type} {size_b}", instr)
    quotient = f.temporary(f"udiv {type} {size_a}, {divisor}", span)
    sign = f.temporary(f"xor {type} {sign_a}, {sign_b}", span)
    flipped = f.temporary(f"xor {type} {quotient}, {sign}", span)
    signed = f.temporary(f"sub {type} {flipped}, {sign}", span)
    return f"select i1 {zero}, {type} 0, {type} {signed}"


def swap(f: FunctionText, instr: Instr) -> str:
    type = type_name(instr.args[0].type)
    callee = f.module.intrinsic(type, f"llvm.bswap.{type}", type)
    return f"call {type} {callee}({f.typed(instr.args[0])})"


def compare(f: FunctionText, instr: Instr) -> str:
    a, b = instr.args
    return f"icmp {instr.op} {f.typed(a)}, {f.names[b]}"


def convert(f: FunctionText, instr: Instr) -> str:
    assert instr.result
    op = {"to_int": "ptrtoint", "to_ptr": "inttoptr"}.get(instr.op, instr.op)
    return f"{op} {f.typed(instr.args[0])} to {type_name(instr.result.type)}"


def move(f: FunctionText, instr: Instr) -> str:
    pointer, by = instr.args
    return f"getelementptr i8, ptr {f.names[pointer]}, {f.typed(by)}"


def is_null(f: FunctionText, instr: Instr) -> str:
    return f"icmp eq {f.typed(instr.args[0])}, null"


def select(f: FunctionText, instr: Instr) -> str:
    return "select " + ", ".join(map(f.typed, instr.args))


def call(f: FunctionText, instr: Instr) -> None:
    helper = HELPERS[str(instr.attrs["helper"])]
    args = []
    for value in instr.args:
        operand = f.typed(value)
        if isinstance(value.type, I) and value.type.bits < 64:
            operand = f"i64 {f.temporary(f'zext {operand} to i64', instr.span)}"
        args.append(operand)
    result = "i64" if helper.result == "i64" else "ptr"
    effects = _memory(helper)
    callee = _kfunc(f, helper) if helper.kfunc else _helper(helper.number)
    signature = ", ".join(arg.split()[0] for arg in args)
    text = f"call {result} ({signature}) {callee}({', '.join(args)}){effects}"
    _give(f, instr, text, located=bool(helper.kfunc))


def _kfunc(f: FunctionText, helper: Helper) -> str:
    return f.module.intrinsic("i64", f'"kfunc:{helper.kfunc}"', "...")


def call_function(f: FunctionText, instr: Instr) -> None:
    callee = f.symbol(name(instr.attrs["function"]))
    args = ", ".join(map(f.typed, instr.args))
    _give(f, instr, f"call i64 {callee}({args})", located=True)


def call_c(f: FunctionText, instr: Instr) -> None:
    callee = f.module.intrinsic("i64", f'"fn:{name(instr.attrs["name"])}"', "...")
    args = ", ".join(map(f.typed, instr.args))
    types = ", ".join("i64" for _ in instr.args)
    _give(f, instr, f"call i64 ({types}) {callee}({args})", located=True)


def may_continue(f: FunctionText, instr: Instr) -> None:
    memory = " memory(inaccessiblemem: readwrite)"
    answer = f.temporary(f"call i64 {_helper(MAY_CONTINUE)}(){memory}", instr.span)
    _give(f, instr, f"icmp ne i64 {answer}, 0")


def _give(f: FunctionText, instr: Instr, text: str, *, located: bool = False) -> None:
    target = f"{f.names[instr.result]} = " if instr.result else ""
    f.add(target + text, instr.span, located=located)


def jump(f: FunctionText, instr: Instr) -> None:
    f.add(f"br label %{f.blocks[instr.targets[0].block]}", instr.span)


def branch(f: FunctionText, instr: Instr) -> None:
    condition = f.typed(instr.args[0])
    then, otherwise = (f.blocks[e.block] for e in instr.targets)
    if then != otherwise:
        f.add(f"br {condition}, label %{then}, label %{otherwise}", instr.span)
        return
    ways = f.ways[instr.targets[0].block]
    first, second = (label for label, edge, _ in ways if edge in instr.targets)
    f.add(f"br {condition}, label %{first}, label %{second}", instr.span)
    for label in (first, second):
        f.body.append(f"{label}:\n  br label %{then}")


def leave(f: FunctionText, instr: Instr) -> None:
    f.add(f"ret {f.typed(instr.args[0])}", instr.span)


PURE: dict[str, Callable[[FunctionText, Instr], str]] = {
    **dict.fromkeys(("add", "sub", "mul", "and", "or", "xor"), binary),
    **dict.fromkeys(("shl", "lshr", "ashr"), shift),
    **dict.fromkeys(("udiv", "urem"), divide),
    **dict.fromkeys(("eq", "ne", "ult", "ule", "slt", "sle"), compare),
    **dict.fromkeys(("zext", "sext", "trunc", "to_int", "to_ptr"), convert),
    "sdiv": signed_divide, "bswap": swap, "select": select, "opaque": opaque,
    "ptr_add": move, "is_null": is_null, "load": load, "cmpxchg": cmpxchg,
}  # fmt: skip
EFFECTS: dict[str, Callable[[FunctionText, Instr], None]] = {
    "store": store, "fill": fill, "copy": copy, "call": call,
    "call_function": call_function, "call_c": call_c, "may_continue": may_continue,
    "jump": jump, "branch": branch, "return": leave,
}  # fmt: skip


def _memory(helper: Helper) -> str:
    if helper.pure:
        return " nounwind willreturn memory(none)"
    return "" if helper.writes else " memory(argmem: read, inaccessiblemem: readwrite)"


def _helper(number: int) -> str:
    return f"inttoptr (i64 {number} to ptr)"


def type_name(type: Type) -> str:
    return "ptr" if isinstance(type, Ptr) else str(type)


def number(attr: object) -> int:
    assert isinstance(attr, int)
    return attr


def name(attr: object) -> str:
    assert isinstance(attr, str)
    return attr
