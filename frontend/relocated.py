"""What objects for other kernels leave to their loader: where fields lie, sizes, values of enums.

    curtask.se.vruntime  →  %o = core "byte_offset struct task_struct:se:vruntime"
                            %s = core "byte_size …"; read_sized (%task + %o), %s; shifted twice

The size and the shifts make an integer of what the other kernel has there, a bitfield or not. What
cannot be left to the loader is assumed, and compared before the object is loaded.
"""

from __future__ import annotations

from bpfscript.core_relocations import CoreKind, Question, Steps, answer, layout
from bpfscript.ir.core import Value
from bpfscript.ir.types import CTX, I1, KERNEL
from bpfscript.types import Array, Bool, Int, Struct, Type

from . import nodes
from .body import Body, ir_type, is_signed
from .typed import Argument, Constant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .locations import Location


def kernels(body: Body, type: Type) -> str:
    """Name of a struct that is the kernel's, in a script for other kernels; else nothing."""
    return type.name if isinstance(type, Struct) and type.name in body.checked.of_kernel else ""


def path(body: Body, where: Location, name: str) -> Steps:
    """The way to a field from the nearest struct that has a name; nothing where it stands fixed."""
    struct = kernels(body, where.type)
    if struct and where.pointer.type == CTX:
        assume_layout(body, where)
    if not struct or where.pointer.type != KERNEL:
        return ()
    if where.core:
        return (*where.core, name)
    if not _named(body, struct):
        assume_release(body)
        return ()
    return (struct, name)


def _named(body: Body, struct: str) -> bool:
    """Whether another kernel's BTF is likely to know it: it has a name, and no module made it."""
    return known_here(body, Question(CoreKind.TYPE_EXISTS, struct)) == 1


def ask(body: Body, question: Question) -> Value:
    """A number that the loader fills in."""
    value = known_here(body, question)
    assert value is not None, question
    return body.emit("core", of=str(question), value=value)


def known_here(body: Body, question: Question) -> int | None:
    btf = body.target.btf
    return answer(btf, question) if btf else None


def field(steps: Steps, kind: CoreKind) -> Question:
    return Question(kind, str(steps[0]), steps[1:])


def address(body: Body, where: Location) -> Value:
    """Where a field lies, as a pointer."""
    pointer = where.pointer
    if where.offset:
        pointer = body.emit("ptr_add", pointer, body.const(where.offset))
    if not where.core:
        return pointer
    return body.emit("ptr_add", pointer, ask(body, field(where.core, CoreKind.BYTE_OFFSET)))


def integer(body: Body, where: Location) -> Value | None:
    """An integer field, however wide it is where the object is loaded; None for what is none."""
    if not isinstance(where.type, Int | Bool) or not isinstance(where.core[-1], str):
        return None
    kinds = (CoreKind.BYTE_SIZE, CoreKind.LSHIFT_U64, CoreKind.RSHIFT_U64)
    size, left, right = (ask(body, field(where.core, kind)) for kind in kinds)
    word = body.emit("shl", body.emit("read_sized", address(body, where), size), left)
    value = body.emit("ashr" if is_signed(where.type) else "lshr", word, right)
    wanted = ir_type(where.type)
    if wanted == I1:
        return body.as_condition(value)
    return body.int_of(value, True, 8 * where.type.size)


def stride(body: Body, type: Type) -> Value:
    """Bytes from one element to the next."""
    struct = kernels(body, type)
    if not struct:
        return body.const(type.size)
    if not _named(body, struct):
        assume_release(body)
        return body.const(type.size)
    return ask(body, Question(CoreKind.TYPE_SIZE, struct))


# What is assumed


def assume_release(body: Body) -> None:
    body.module.assumes["release", ""] = ""  # the driver knows which


def assume_layout(body: Body, where: Location) -> None:
    """A whole struct is copied: all of it must be where it is here."""
    type = where.type
    while isinstance(type, Array):
        type = type.of
    if not (struct := kernels(body, type)):
        return
    what = ":".join(map(str, where.core)) or struct
    if "{" not in what and body.target.btf and (text := layout(body.target.btf, what)):
        body.module.assumes["layout", what] = text
    else:
        assume_release(body)


def assume_argument(body: Body, argument: Argument) -> None:
    """`args.NAME` is where the tracepoint's format, or the function's prototype, says."""
    instance = body.instance
    if not body.checked.options.portable:
        return
    for attach in instance.attachments:
        if argument.source in ("context", "data_loc") and attach.kind == "tracepoint":
            what = f"{attach.target}:{argument.name}"
            body.module.assumes["tracepoint", what] = str(argument.offset)
        elif argument.source in ("raw", "registers"):
            name = attach.target.rpartition(":")[2]
            name = f"__traceiter_{name}" if attach.kind == "raw_tracepoint" else name
            body.module.assumes["parameter", f"{name}:{argument.name}"] = str(argument.offset)


def constant(body: Body, node: nodes.Node) -> Constant | None:
    """What an expression is while compiling; what that rests on is assumed."""
    found = body.checked.constants.get(node)
    if found is not None and body.checked.questions:
        for question in _rests_on(body, node):
            body.module.assumes["answer", str(question)] = str(known_here(body, question))
    return found


def foldable(body: Body, node: nodes.Node) -> bool:
    """Whether a folded expression is the same on every kernel, or cannot but be as it is here."""
    computed = isinstance(node, nodes.Unary | nodes.Binary | nodes.Cast | nodes.Ternary)
    if isinstance(node, nodes.Ternary) and isinstance(node.condition, nodes.Comptime):
        computed = False  # only one of its arms was looked at
    return not (computed and body.checked.questions and _rests_on(body, node))


def _rests_on(body: Body, node: nodes.Node) -> list[Question]:
    questions = body.checked.questions
    found = [questions[node]] if node in questions else []
    for child in nodes.children(node):
        found += _rests_on(body, child)
    return found
