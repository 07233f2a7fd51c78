"""What the parts of the checker share: the tables they fill, and how they report.

The checker walks every body again and again until no type changes; what the last walk reported is
what counts. In between, the type of an expression may be unknown: None, about which nothing further
is said.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from bpfscript.c_library import CFunction
from bpfscript.diagnostics import Reporter, Span
from bpfscript.plain import dataclass
from bpfscript.target import Target
from bpfscript.types import BOOL, VOID, Field, Int, String, Struct, Type

from . import nodes
from .config import Configuration, unstable_text, unstable_warning
from .join import literal_type
from .scopes import Scopes
from .typed import Checked, Constant, Instance, Local

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


class CNames(Protocol):
    """What C definitions, headers and the kernel's own types say about names."""

    def named(self, keyword: str | None, name: str) -> Type | None:
        """`struct S` or a typedef."""

    def fields(self, struct: Struct) -> tuple[Field, ...]:
        """Members of a struct, those of anonymous members among them."""

    def enum_constant(self, name: str) -> tuple[int, str] | None:
        """Value, and name of its enum."""

    def enum(self, name: str) -> dict[int, str] | None:
        """Constants of an enum by value."""

    def macro(self, name: str) -> str | None:
        """Text of a #define without parameters."""

    def of_kernel(self, keyword: str, name: str) -> bool:
        """Whether a struct, union or enum is the kernel's and not the script's or a program's."""


@dataclass(eq=False, slots=True)
class MapState:
    """What is known of a map so far. `keyed` None: never accessed."""

    name: str
    span: Span
    keyed: bool | None = None
    key: Type | None = None
    key_span: Span | None = None  # of its first access
    value: Type | None = None
    operand: Int | None = None  # what its aggregations aggregate
    written: bool = False  # by an assignment, whose type may be unknown
    default: Int | None = None  # its value unless more is known: of what is read or stepped


@dataclass(eq=False, slots=True)
class Option:
    """A named parameter: what `getopt` says about it, everywhere the same."""

    default: Constant
    description: Constant | None


class CheckerBase(ABC):
    instance: Instance  # whose body is walked

    def __init__(
        self, checked: Checked, target: Target, names: CNames, configuration: Configuration
    ) -> None:
        self.checked, self.target, self.names = checked, target, names
        self.configuration, self.limits = configuration, checked.limits
        self.types, self.constants = checked.types, checked.constants
        self.report, self.scopes, self.changed = Reporter(), Scopes(), False
        self.maps: dict[str, MapState] = {}
        self.options: dict[str, Option] = {}
        self.loops: list[nodes.While | nodes.For | nodes.Unroll] = []  # around what is walked
        self.calls: list[tuple[nodes.Inlined, Type | None]] = []  # of `fn`, around what is walked
        self.elements: dict[nodes.Expr, nodes.Expr] = {}  # accesses of literals to what they get
        self.aggregate_loops: set[str] = set()  # `$kv` of loops over maps of aggregates
        self.operands: dict[nodes.Expr, Int] = {}  # of aggregations
        self.told: dict[str, Span] = {}  # unstable features to where each is used first

    def error(
        self, span: Span, message: str, hint: str | None = None, *context: tuple[Span, str]
    ) -> None:
        self.report.error(span, message, hint, *context)

    def missing_types(self) -> str | None:
        """Why no type of the kernel is known, if that is so."""
        return None if self.target.btf else "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)"

    def expression(self, node: nodes.Expr) -> Type | None:
        """Type of an expression, kept in the side tables; None if it is not known."""
        self.constants.pop(node, None)
        self.checked.questions.pop(node, None)
        type = self.type_of(node)
        if type is None:
            self.types.pop(node, None)
        else:
            self.types[node] = type
        return type

    def literal(self, node: nodes.Expr, value: Constant, type: Type | None = None) -> Type:
        """Note that an expression is known while compiling."""
        self.constants[node] = value
        return type or constant_type(value)

    def asked(self, node: nodes.Expr, value: int, kind: str, root: str, *steps: str) -> bool:
        """Whether a constant is the kernel's, and its loader's to know; if so it is noted."""
        from bpfscript.core_relocations import CoreKind, Question, answer

        keyword, _, name = root.partition(" ")
        btf = self.target.btf if self.checked.options.portable else None
        if btf is None or "{" in name or not self.names.of_kernel(keyword, name):
            return False
        question = Question(CoreKind[kind], root, steps)
        if answer(btf, question) != value:
            return False
        self.checked.questions[node] = question
        return True

    def assume(self, kind: str, name: str, value: int) -> None:
        """Note what a portable object takes for granted; see manifest.Assumption."""
        if self.checked.options.portable:
            self.checked.assumed[kind, name] = str(value)

    def allows(self, span: Span, feature: str, shown: str = "") -> bool:
        """Whether the configuration has an unstable feature, which may come with a warning,
        once."""
        match self.configuration.unstable(feature):
            case "error":
                self.error(span, unstable_text(feature, shown))
                return False
            case "warn" if self.told.setdefault(feature, span) == span:
                self.report.warning(span, unstable_warning(feature, shown))
        return True

    def number(self, node: nodes.Node) -> int | None:
        """Value of an integer literal."""
        value = self.constants.get(node)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    @property
    def string_size(self) -> int:
        """Bytes of a string of unknown length. One that fills them was cut, and has no NUL."""
        return self.limits.max_strlen

    @abstractmethod
    def fields_of(self, struct: Struct) -> tuple[Field, ...]:
        """Members of a struct; none if it is unknown."""

    @abstractmethod
    def typeinfo_field(self, operand: nodes.Typeinfo, node: nodes.FieldAccess) -> Type | None:
        """Type of `typeinfo(…).name`."""

    @abstractmethod
    def type_of(self, node: nodes.Expr) -> Type | None:
        """Type of an expression, after those of the expressions in it."""

    @abstractmethod
    def block(self, node: nodes.Block, *, callback: bool = False) -> Type:
        """Check a block in a scope of its own. Its type is that of its result."""

    @abstractmethod
    def inlined(self, node: nodes.Inlined) -> Type | None:
        """Check the arguments and the body of a function that is called."""

    @abstractmethod
    def c_call(self, node: nodes.Call, function: CFunction) -> Type | None:
        """Check a call of imported C."""

    @abstractmethod
    def return_from(self, node: nodes.Return, type: Type | None) -> None:
        """Let a function return a value of a type."""

    @abstractmethod
    def named_type(
        self, node: nodes.TypeName | nodes.Typeof, of: Type | None = None
    ) -> Type | None:
        """The type that a type in the script means; `of` gives `[]` its length."""

    @abstractmethod
    def assign_variable(
        self, local: Local, value: nodes.Expr | None, type: Type | None, span: Span
    ) -> None:
        """Let a variable take a value of a type."""


def constant_type(value: Constant) -> Type:
    if isinstance(value, bool):
        return BOOL
    return literal_type(value) if isinstance(value, int) else String(len(value) + 1)


def known(local: Local) -> Type | None:
    """Type of a variable, as far as it is known."""
    return None if local.type == VOID else local.type
