"""Legal IR → LLVM IR text for the BPF target. Nothing here needs LLVM.

A symbol's name says what it is: `fn:` a function, `map:` a map, `value:` its only value, `rodata:`
an offset in the constants. There is no inline assembly but the empty one: LLVM as llvmlite builds
it has no BPF assembler and would end the process.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.backends.assemble import constants
from bpfscript.backends.llvm_instructions import EFFECTS, PURE, name, number, type_name
from bpfscript.backends.memory import alignments, divides
from bpfscript.diagnostics import CompilerBug, Source, Span
from bpfscript.ir.core import Block, Edge, Function, Instr, Module, Value
from bpfscript.ir.types import I64, STACK, I
from bpfscript.passes.values import operands
from bpfscript.types import align_up

SECTION = "code:"  # each function gets a section of its own: this, then its name

_MAX_COLUMN = 1023  # struct bpf_line_info has 10 bits for it
_HEADER = 'target triple = "bpfel"\n'
_DEBUG = """\
!llvm.dbg.cu = !{!0}
!llvm.module.flags = !{!1}
!0 = distinct !DICompileUnit(language: DW_LANG_C, file: !2, isOptimized: true, runtimeVersion: 0, \
emissionKind: LineTablesOnly)
!1 = !{i32 2, !"Debug Info Version", i32 3}
!2 = !DIFile(filename: "script", directory: "", source: " ")
!3 = !DISubroutineType(types: !4)
!4 = !{null}
"""
_FIRST_METADATA = 5
PLACELESS = (
    "slot",
    "const",
    "core",
    "map_ptr",
    "map_value",
    "rodata",
    "func_ptr",
)  # operands, see `literal`


def to_text(module: Module, source: Source) -> str:
    """LLVM IR of a legal module. Instructions that come from `source` get a debug location."""
    return _Module(module, source).text()


class _Module:
    """What functions share: names of constants, declarations, debug metadata."""

    def __init__(self, module: Module, source: Source) -> None:
        self.module, self.source = module, source
        self.constants = constants(module)[1]
        self.declared: dict[str, None] = {}  # lines, in order of first use
        self.metadata: list[str] = []
        self.locations: dict[tuple[int, int, int], int] = {}

    def text(self) -> str:
        bodies = [FunctionText(self, f).text() for f in self.module.functions]
        numbered = (f"!{n} = {m}" for n, m in enumerate(self.metadata, _FIRST_METADATA))
        parts = [_HEADER, *(f"{line}\n" for line in self.declared), *bodies, _DEBUG]
        return "".join([*parts, "\n".join(numbered), "\n"])

    def external(self, symbol: str) -> str:
        quoted = _quoted(symbol)
        self.declared[f"@{quoted} = external global i8"] = None
        return f"@{quoted}"

    def intrinsic(self, result: str, intrinsic: str, params: str) -> str:
        self.declared[f"declare {result} @{intrinsic}({params})"] = None
        return f"@{intrinsic}"

    def describe(self, text: str) -> int:
        self.metadata.append(text)
        return _FIRST_METADATA + len(self.metadata) - 1

    def place(self, span: Span | None) -> tuple[int, int] | None:
        """Line and column, if the span is of the script and not of an imported file."""
        if span is None or span.source.text != self.source.text:
            return None
        return span.source.position(span.start)

    def location(self, scope: int, place: tuple[int, int]) -> int:
        line, column = place
        key = scope, line, min(column, _MAX_COLUMN)
        if key not in self.locations:
            text = f"!DILocation(line: {key[1]}, column: {key[2]}, scope: !{scope})"
            self.locations[key] = self.describe(text)
        return self.locations[key]


class FunctionText:
    """Text of one function. `names` gives each value as an operand; constants stand where used."""

    def __init__(self, module: _Module, function: Function) -> None:
        self.module, self.function = module, function
        self.blocks = {b: f"b{n}" for n, b in enumerate(function.blocks)}
        self.aligned = alignments(function)
        self.made = {i.result: i for i in function.instructions() if i.result}
        self.names: dict[Value, str] = {}
        for value in [*(p for b in function.blocks for p in b.params), *self.made]:
            made = self.made.get(value)
            self.names[value] = (made and self.literal(made)) or f"%v{len(self.names)}"
        self.home = {i: b for b in function.blocks for i in b.instrs}
        self.steady = _steady(function, self.made)
        self.ways: dict[Block, list[tuple[str, Edge, Block]]] = {b: [] for b in function.blocks}
        self.body: list[str] = []
        self.temporaries = 0
        places = (module.place(i.span) for i in function.instructions())
        line = next((place[0] for place in places if place), 1)
        self.scope = module.describe(
            f'distinct !DISubprogram(name: "f", scope: !2, file: !2, line: {line}, type: !3, '
            f"scopeLine: {line}, spFlags: DISPFlagDefinition, unit: !0)"
        )
        self.fallback = module.describe(
            f"!DILocation(line: {line}, column: 1, scope: !{self.scope})"
        )

    def text(self) -> str:
        f = self.function
        for block in f.blocks:
            self.edges(block)
        params = ", ".join(f"{type_name(p.type)} {self.names[p]}" for p in f.params)
        section = _quoted(SECTION + f.name)
        attributes = f"nounwind noinline section {section} !dbg !{self.scope}"
        lines = [f"define i64 {self.symbol(f.name)}({params}) {attributes} {{"]
        for block in f.blocks:
            self.body = []
            for instr in block.instrs:
                self.instruction(instr)
            lines += [f"{self.blocks[block]}:", *self.phis(block)]
            if block is f.blocks[0]:
                lines += self.slots()
            lines += self.body
        return "\n".join([*lines, "}\n"])

    def literal(self, instr: Instr) -> str | None:
        """The result as a constant of LLVM, if it is one."""
        attrs = instr.attrs
        match instr.op:
            case "const":
                assert instr.result and isinstance(instr.result.type, I)
                return _integer(number(attrs["value"]), instr.result.type.bits)
            case "core":
                of = self.module.external(f"core:{name(attrs['of'])}")
                return f"ptrtoint (ptr {of} to i64)"
            case "map_ptr":
                return self.module.external(f"map:{name(attrs['map'])}")
            case "map_value":
                return self.module.external(f"value:{name(attrs['map'])}")
            case "rodata":
                data = attrs["data"]
                assert isinstance(data, bytes)
                return self.module.external(f"rodata:{self.module.constants[data]}")
            case "func_ptr":
                return f"ptrtoint (ptr {self.symbol(name(attrs['function']))} to i64)"
        return None

    def symbol(self, function: str) -> str:
        return f"@{_quoted(f'fn:{function}')}"

    def slots(self) -> Iterator[str]:
        """They are first in the frame and whole words, so aligned to 8; were LLVM told, it would
        add small offsets to them by `or`, which the kernel refuses on pointers."""
        for instr in self.function.instructions():
            if instr.op == "slot" and instr.result:
                size = align_up(number(instr.attrs["size"]), 8)
                yield f"  {self.names[instr.result]} = alloca [{size} x i8], align 1"

    def edges(self, block: Block) -> None:
        """Note the ways to successors. Two ways from here to one block get blocks of their own."""
        targets = block.terminator.targets
        twice = len(targets) == 2 and targets[0].block is targets[1].block
        for n, edge in enumerate(targets):
            label = f"{self.blocks[block]}.{n}" if twice else self.blocks[block]
            self.ways[edge.block].append((label, edge, block))

    def phis(self, block: Block) -> Iterator[str]:
        if block is self.function.blocks[0]:
            return
        for n, param in enumerate(block.params):
            ways = ", ".join(
                f"[ {self.names[e.args[n]]}, %{way} ]" for way, e, _ in self.ways[block]
            )
            yield f"  {self.names[param]} = phi {type_name(param.type)} {ways}"

    def add(self, text: str, span: Span | None, *, located: bool = False) -> None:
        place = self.module.place(span)
        location = self.module.location(self.scope, place) if place else self.fallback
        self.body.append(f"  {text}" + (f", !dbg !{location}" if place or located else ""))

    def temporary(self, text: str, span: Span | None) -> str:
        self.temporaries += 1
        made = f"%t{self.temporaries}"
        self.add(f"{made} = {text}", span)
        return made

    def typed(self, value: Value) -> str:
        return f"{type_name(value.type)} {self.names[value]}"

    def instruction(self, instr: Instr) -> None:
        """Append the text of one instruction."""
        if effect := EFFECTS.get(instr.op):
            effect(self, instr)
        elif instr.result and (expression := PURE.get(instr.op)):
            text = expression(self, instr)
            if instr.result in self.steady:
                text = f'call i64 asm "", "=r,0"(i64 {self.temporary(text, instr.span)})'
            self.add(f"{self.names[instr.result]} = {text}", instr.span)
        elif instr.op not in PLACELESS:
            raise CompilerBug(f"the llvm backend has no {instr.op}")

    def address(self, pointer: Value, offset: int, span: Span | None) -> str:
        if offset == 0:
            return self.names[pointer]
        return self.temporary(f"getelementptr i8, ptr {self.names[pointer]}, i64 {offset}", span)

    def alignment(self, pointer: Value, offset: int) -> int:
        """Bytes; off the stack the machine takes any, which LLVM calls aligned."""
        return min(self.aligned.get(pointer, 8), divides(offset)) if pointer.type == STACK else 8


def _steady(function: Function, made: dict[Value, Instr]) -> set[Value]:
    """Values that a comparison bounds: LLVM must compare the register that it uses afterwards.

    It makes `zext (trunc x)` twice, for the comparison in 32 bits and for the use in 64, and then
    the verifier sees no connection. Empty inline assembly is what LLVM cannot look through.
    """
    tests = [i for i in function.instructions() if i.op in ("ult", "ule", "eq")]
    compared = {i.args[0] for i in tests if (limit := made.get(i.args[1])) and limit.op == "const"}
    others = (i for i in function.instructions() if i.op not in ("ult", "ule", "eq"))
    used = {v for i in others for v in operands(i)}
    steady = {v for v in compared & used if v.type == I64 and v in made}
    return {v for v in steady if made[v].op in PURE}


def _integer(value: int, bits: int) -> str:
    value &= (1 << bits) - 1
    if bits == 1:
        return "true" if value else "false"
    return str(value - (1 << bits) if value >> (bits - 1) else value)


def _quoted(symbol: str) -> str:
    safe = "".join(
        c if c.isascii() and c.isprintable() and c not in '"\\' else
        "".join(f"\\{b:02X}" for b in c.encode()) for c in symbol
    )  # fmt: skip
    return f'"{safe}"'
