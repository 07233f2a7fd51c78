"""The instruction table. Its rows drive builder, verifier, printer, reader, interpreter and passes.

Kinds in signatures: `I` an integer (all `I` operands of a row have one width), `i1 i8 i64` exactly
that, `P` any pointer, `D` a pointer to direct memory, `F` a pointer to kernel or user memory, `V`
any value, `V*` any number of values, `-` nothing, `=` the type of the operand before it or, as a
result, of the first operand, `second` that of the second, `any` an explicit result type (printed
after the colon), `stack`, `map`, … a pointer into that space.

High operations stand for what a probe wants, not how it is done; `legalise` replaces each of them
by others. Those whose result is `stack` give read-only memory that belongs to the value: nothing
may write to it.
"""

from __future__ import annotations

from bpfscript.plain import dataclass

# What an instruction does beside giving its result, as bits.
PURE = 0
READS = 1  # memory that may change: not merged, not moved over WRITES
WRITES = 2  # memory, maps, events: never removed
CALLS = 4  # r1–r5 die
ENDS = 8  # a terminator


@dataclass(frozen=True, slots=True)
class OpDef:
    """`attrs`: names of the attributes, all required; those with a trailing `?` may be absent."""

    name: str
    args: tuple[str, ...]
    result: str
    effects: int
    doc: str
    attrs: tuple[str, ...] = ()
    high: bool = False
    commutes: bool = False


def _table(*rows: OpDef) -> dict[str, OpDef]:
    return {row.name: row for row in rows}


def _binary(name: str, doc: str, commutes: bool = False) -> OpDef:
    return OpDef(name, ("I", "I"), "=", PURE, doc, commutes=commutes)


def _compare(name: str, doc: str, commutes: bool = False) -> OpDef:
    return OpDef(name, ("I", "I"), "i1", PURE, doc, commutes=commutes)


OPS: dict[str, OpDef] = _table(
    # Integers
    OpDef(
        "const", (), "any", PURE, "The integer `value`, any sign; kept in the result's width.",
        ("value",),
    ),
    OpDef(
        "core", (), "i64", PURE,
        "A number that the loader takes from the kernel's BTF, see core_relocations: what `of` "
        "asks; `value` on the machine compiled for.", ("of", "value"),
    ),
    _binary("add", "Sum, wrapping.", True),
    _binary("sub", "Difference, wrapping."),
    _binary("mul", "Product, wrapping.", True),
    _binary("udiv", "Unsigned quotient; x / 0 is 0, as the BPF ISA defines it (see `divide`)."),
    _binary("urem", "Unsigned remainder; x % 0 is x, as the BPF ISA defines it (see `divide`)."),
    _binary("sdiv", "Signed quotient towards zero; x / 0 is 0."),
    _binary("and", "Bitwise and.", True),
    _binary("or", "Bitwise or.", True),
    _binary("xor", "Bitwise exclusive or.", True),
    _binary("shl", "Left shift; the amount is taken modulo the width."),
    _binary("lshr", "Right shift filling with zeros; amount modulo the width."),
    _binary("ashr", "Right shift filling with the sign; amount modulo the width."),
    OpDef("bswap", ("I",), "=", PURE, "Bytes in reverse order; 16, 32 or 64 bits."),
    _compare("eq", "a = b.", True),
    _compare("ne", "a ≠ b.", True),
    _compare("ult", "a < b, unsigned."),
    _compare("ule", "a ≤ b, unsigned."),
    _compare("slt", "a < b, signed."),
    _compare("sle", "a ≤ b, signed."),
    OpDef("zext", ("I",), "any", PURE, "To a wider integer, filling with zeros."),
    OpDef("sext", ("I",), "any", PURE, "To a wider integer, filling with the sign."),
    OpDef(
        "trunc", ("I",), "any", PURE,
        "To a narrower integer, dropping high bits; to i1 the lowest bit.",
    ),
    OpDef(
        "select", ("i1", "V", "="), "second", PURE,
        "Second operand if the first is 1, else the third.",
    ),
    OpDef(
        "opaque", ("I",), "=", READS,
        "Its operand, which neither optimiser nor verifier may know anything of.",
    ),
    # Pointers and direct memory
    OpDef(
        "slot", (), "stack", WRITES, "Memory of this run, undefined at first, aligned to 8.",
        ("size",),
    ),
    OpDef("rodata", (), "rodata", PURE, "The bytes `data`, constant.", ("data",)),
    OpDef("ptr_add", ("P", "i64"), "=", PURE, "Pointer moved by a number of bytes."),
    OpDef("is_null", ("P",), "i1", PURE, "Whether a pointer is null."),
    OpDef("to_int", ("P",), "i64", PURE, "Address as an integer."),
    OpDef("to_ptr", ("i64",), "any", PURE, "An integer as address of kernel or user memory."),
    OpDef("load", ("D",), "any", READS, "Integer at pointer + `off`, little-endian.", ("off",)),
    OpDef("store", ("D", "I"), "-", WRITES, "Integer to pointer + `off`.", ("off",)),
    OpDef(
        "cmpxchg", ("D", "i64", "i64"), "i64", WRITES | CALLS,
        "What was at pointer + `off`; in one step the third operand, if it was the second.",
        ("off",),
    ),
    OpDef("fill", ("D",), "-", WRITES, "`size` zero bytes from pointer + `off`.", ("off", "size")),
    OpDef(
        "copy", ("D", "D"), "-", WRITES,
        "`size` bytes to the first pointer + `off` from the second + `from`.",
        ("off", "from", "size"),
    ),
    # Calls and maps, legal
    OpDef("map_ptr", (), "map_object", PURE, "The map itself, to hand to a helper.", ("map",)),
    OpDef("map_value", (), "map", PURE, "The first value of an array map; never null.", ("map",)),
    OpDef(
        "call", ("V*",), "any", WRITES | CALLS, "A row of HELPERS; effects are that row's.",
        ("helper",),
    ),
    OpDef(
        "func_ptr", (), "i64", PURE, "Address of a function, to hand to a helper as callback.",
        ("function",),
    ),
    OpDef(
        "call_function", ("V*",), "i64", WRITES | CALLS, "A function of this module.",
        ("function",),
    ),
    OpDef(
        "call_c", ("V*",), "i64", WRITES | CALLS, "A function of the module's library.",
        ("name",),
    ),
    OpDef(
        "may_continue", (), "i1", WRITES | CALLS,
        "0 once the kernel wants the loop to end (may_goto).",
    ),
    # Control
    OpDef("jump", (), "-", ENDS, "To the only target."),
    OpDef("branch", ("i1",), "-", ENDS, "To the first target if 1, else to the second."),
    OpDef("return", ("i64",), "-", ENDS | WRITES, "Leave the function."),
    # High: where the program runs
    OpDef(
        "probe_id", (), "i64", PURE, "Which of the program's matches fired: index in its `names`.",
        high=True,
    ),
    OpDef(
        "probe_name", (), "rodata", PURE, "Name of that match in `size` bytes, NUL-padded.",
        ("size",), high=True,
    ),
    OpDef(
        "argument", (), "i64", PURE,
        "The `index`-th argument of the traced function, syscall or raw tracepoint.",
        ("index",), high=True,
    ),
    OpDef(
        "return_value", (), "i64", PURE, "What the traced function or syscall returns.", high=True,
    ),
    OpDef("register", (), "i64", PURE, "A register by its name in arch.py.", ("name",), high=True),
    OpDef("function_address", (), "i64", PURE, "Address of the traced function.", high=True),
    OpDef("user_mode", (), "i64", PURE, "1 if user code was interrupted, else 0.", high=True),
    OpDef(
        "comm", (), "stack", PURE | CALLS, "Name of the current thread, 16 bytes, NUL-padded.",
        high=True,
    ),
    OpDef(
        "current_task", (), "kernel", PURE | CALLS, "struct task_struct of the current thread.",
        high=True,
    ),
    OpDef(
        "stack_trace", (), "stack", READS | CALLS,
        "types.Stack of up to `limit` frames; `kind`: kernel, user, or dwarf, the user's unwound.",
        ("kind", "limit"), high=True,
    ),
    # High: memory that only probe reads reach, and aggregates
    OpDef(
        "read_int", ("F",), "any", READS | CALLS,
        "Integer at pointer + `off`; 0 if it cannot be read.", ("off",), high=True,
    ),
    OpDef(
        "read_sized", ("F", "i64"), "i64", READS | CALLS,
        "The integer of so many bytes (the second operand, up to 8) at a pointer; 0 if it cannot "
        "be read.", high=True,
    ),
    OpDef(
        "read_mem", ("F",), "stack", READS | CALLS,
        "`size` bytes at pointer + `off`; zeros if they cannot be read.",
        ("off", "size"), high=True,
    ),
    OpDef(
        "read_string", ("F", "i64"), "stack", READS | CALLS,
        "String at a pointer, at most the second operand's bytes (NUL included, ≤ size), in "
        "`size` bytes, NUL-padded.", ("size",), high=True,
    ),
    OpDef(
        "read_buffer", ("F", "i64"), "stack", READS | CALLS,
        "types.Buffer of `size` bytes: uint32 length = min(second operand, size - 4), then that "
        "many bytes, zeros after.", ("size",), high=True,
    ),
    OpDef(
        "pack", ("V*",), "stack", PURE,
        "`size` bytes: operand i at offsets[i], an integer in its width or sizes[i] bytes "
        "behind a direct pointer; zeros between.", ("offsets", "sizes", "size"), high=True,
    ),
    OpDef(
        "bound", ("i64",), "i64", WRITES,
        "The operand if it is below `count` (unsigned), else 0 and a runtime error.",
        ("count",), high=True,
    ),
    OpDef(
        "divide", ("i64", "i64"), "i64", WRITES,
        "Unsigned quotient, or with `op`=\"urem\" remainder; 1 and a runtime error if the divisor "
        "is 0.", ("op",), high=True,
    ),
    # High: strings. NUL-terminated within the capacity of their memory
    OpDef(
        "string_eq", ("D", "D"), "i1", READS,
        "Whether two strings agree in their first `limit` bytes or up to NUL.",
        ("sizes", "limit"), high=True,
    ),
    OpDef(
        "string_find", ("D", "D"), "i64", READS, "Index of the second string in the first, or -1.",
        ("sizes",), high=True,
    ),
    OpDef(
        "frame_count", ("D",), "i64", READS, "Frames of a types.Stack of `size` bytes.",
        ("size",), high=True,
    ),
    OpDef("string_length", ("D",), "i64", READS, "Bytes before the NUL.", ("size",), high=True),
    OpDef(
        "memory_eq", ("D", "D"), "i1", READS, "Whether `size` bytes are the same.",
        ("size",), high=True,
    ),
    # High: maps. The key is an integer of the map's key size, or a direct pointer to key_size
    # bytes; a scalar map's key is the constant i32 0. Values likewise.
    OpDef(
        "map_read", ("V",), "any", READS | CALLS, "Integer value of a key, 0 if it is not there.",
        ("map",), high=True,
    ),
    OpDef(
        "map_read_mem", ("V",), "stack", READS | CALLS,
        "Copy of the value of a key, zeros if it is not there.", ("map",), high=True,
    ),
    OpDef("map_has", ("V",), "i1", READS | CALLS, "Whether a key is there.", ("map",), high=True),
    OpDef(
        "map_write", ("V", "V"), "-", WRITES | CALLS, "Set the value (second operand) of a key.",
        ("map",), high=True,
    ),
    OpDef(
        "map_delete", ("V",), "i1", WRITES | CALLS, "Remove a key; whether it was there.",
        ("map",), high=True,
    ),
    OpDef("map_length", (), "i64", READS | CALLS, "Number of entries.", ("map",), high=True),
    OpDef(
        "map_clear", (), "-", WRITES | CALLS, "Remove the entry of a scalar map.",
        ("map",), high=True,
    ),
    OpDef(
        "aggregate", ("V", "V*"), "-", WRITES | CALLS,
        "Update this CPU's aggregate of a key (first operand) with i64 arguments; its kind is "
        "the map's value type.", ("map",), high=True,
    ),
    OpDef(
        "aggregate_read", ("V",), "i64", READS | CALLS,
        "count, sum, min, max or avg of a key over all CPUs; 0 if it is not there.",
        ("map",), high=True,
    ),
    OpDef(
        "for_each", ("stack",), "-", WRITES | CALLS,
        "Call `function`(key: ptr<map>, value: ptr<map>, frame) → i64 for each entry until it "
        "returns 1; frame is the operand.", ("map", "function"), high=True,
    ),
    # High: events to user space
    OpDef(
        "emit", ("V*",), "-", WRITES | CALLS, "Send the event; an operand a field, as for `pack`.",
        ("event",), high=True,
    ),
)  # fmt: skip
