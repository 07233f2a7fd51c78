"""Script text → tokens. Everything that takes more look-ahead than one token is decided here.

Between items the text is attach points and C definitions, which are cut out whole; inside them it
is ordinary tokens. The reader is lazy: what is wrong further down is not seen before the parser
gets there, and a malformed literal is a token with a fault, reported if a literal may stand there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bpfscript.frontend.literals import LiteralFault, integer, string
from bpfscript.frontend.patterns import Pattern
from bpfscript.plain import dataclass, replace

BUILTINS = frozenset(
    (
        *("args", "ctx", "kstack", "ustack", "nsecs", "pid", "tid"),
        *(f"{kind}{n}" for kind in ("arg", "sarg") for n in range(10)),
        *(f"__builtin_{name}" for name in ("comm", "cpid", "cpu", "dw_ustack", "elapsed")),
        *(f"__builtin_{name}" for name in ("func", "ncpus", "probe", "retval", "usermode")),
    )
)

# A run of blanks and comments, never given back. A block comment may end with the text.
GAP = r"(?:[ \t\r\n]++|//[^\n]*+|/\*(?s:.*?)(?:\*/|\Z))*+"
WORD = r"[A-Za-z_][A-Za-z0-9_]*+"
TYPE = (
    rf"{GAP}(?:(?:struct|union|enum)\b{GAP}(?={WORD}))?(?P<type>{WORD})"
    rf"(?:{GAP}(?:\*|\[{GAP}[0-9_]*+{GAP}\]))*+{GAP}"
)
QUOTED = r'"(?:[^"\\]|\\(?s:.))*+(?:"|\Z)'

TOKEN = Pattern(
    rf"""(?P<word>{WORD})
    |(?P<VARIABLE>\${WORD})|(?P<POSITIONAL>\$(?:[0-9]++|\#))|(?P<dollar>\$)|(?P<MAP>@(?:{WORD})?+)
    |(?P<INT>0[xX][0-9a-fA-F_]*+|[0-9][0-9_]*+(?:[eE][0-9_]*+)?+
        (?:ns|us|ms|[smhd]|[uU](?:[lL][lL]?+)?+|[lL][lL]?+)?+)
    |(?P<STRING>"(?:[^"\\\n]|\\.)*+"?+)
    |(?P<COMPOUND>(?:<<|>>|[-+*/%&|^])=)
    |(?P<OPERATOR><<|>>|[<>=!]=|&&|\|\||\+(?!\+)|[%|^<>])
    |(?P<other>\+\+|--|->|\.\.|.|\n)""",
    re.ASCII | re.VERBOSE,
)
LAYOUT = Pattern(GAP)
PLACE = Pattern(r"[$@]?\w+|.|\n|\Z")
CAST = Pattern(rf"{TYPE}\){GAP}(?:[0-9$@\"(~*A-Za-z_]|!(?!=)|-(?!>)|&{GAP}[$@])")
TYPED = Pattern(rf"{TYPE}[),]")
SUFFIX = Pattern(r"\w+")
TRAILING = Pattern(r"_(?=[A-Za-z]|\Z)")
DISCARD = Pattern(rf"{GAP}=(?!=)")
BRACE = Pattern(rf"{GAP}\{{")

SHEBANG = Pattern(r"#![^\n]*")
DIRECTIVE = Pattern(r"#[^\n]*")
DEFINITION = Pattern(
    rf"(?:struct|union|enum)\b(?:{GAP}(?:{WORD}"
    r"|\((?:[^()]|\((?:[^()]|\([^()]*+\))*+\))*+\)|\[[^\]]*+\]))*+" + rf"{GAP}\{{"
)
C_PIECE = Pattern(rf"/\*(?s:.*?)(?:\*/|\Z)|//[^\n]*|{QUOTED}|'(?:[^'\\\n]|\\.)*+'|[{{}}]")
ATTRIBUTE = Pattern(rf"{GAP}__attribute__{GAP}")
SECTION = Pattern(r"(config|import|macro|fn|let)\b")
ATTACH_POINT = Pattern(rf'(?:{QUOTED}|[^{{,\s":/]|/[/*])*+(?::(?:{QUOTED}|[^{{,\s"])*+)?+')

CONDITIONAL = ("if", "while", "unroll")
INSPECTING = ("sizeof", "offsetof", "typeof", "typeinfo")
OPERAND_AFTER = ("return", "comptime")


@dataclass(slots=True)
class Fault:
    message: str
    start: int
    end: int


@dataclass(slots=True)
class Token:
    """`kind` is a terminal of the grammar; for a literal one and for a lower-case word, the text.

    `value` is what a good INT or STRING stands for.
    """

    kind: str
    text: str
    start: int
    end: int
    value: int | bytes | None = None
    fault: Fault | None = None


class Lexer:
    """One reading of one text."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.words = ("", "")  # the two tokens before: texts of words, "" otherwise

    def script(self) -> Iterator[Token]:
        """Tokens of a whole script; the last is `$END`."""
        self._skip()
        if self.text.startswith("#!", self.at):
            yield self._cut("SHEBANG", SHEBANG)
        while self._skip() < len(self.text):
            if self.text[self.at] == "#":
                yield self._cut("C_DEFINITION", DIRECTIVE)
            elif self.text[self.at] in "sue" and DEFINITION.match(self.text, self.at):
                yield self._definition()
            elif match := SECTION.match(self.text, self.at):
                yield from self._section(match[1])
            else:
                yield from self._probe()
        yield Token("$END", "", self.at, self.at)

    def expression(self) -> Iterator[Token]:
        """Tokens of a text that holds one expression."""
        while self._skip() < len(self.text):
            yield self._token()
        yield Token("$END", "", self.at, self.at)

    def place(self, offset: int) -> tuple[int, int]:
        """The word or character that a fault found at this offset is shown at."""
        start = self._after_gap(offset)
        match = PLACE.match(self.text, start)
        return start, match.end() if match else start

    # Items

    def _section(self, keyword: str) -> Iterator[Token]:
        # `import` ends with `;`, a map declaration with `)` and perhaps `;`, the rest with a block
        if keyword == "import":
            yield from self._until(";")
        elif keyword == "let":
            yield from self._until(")")
            if self._skip() < len(self.text) and self.text[self.at] == ";":
                yield self._token()
        else:
            yield from self._block()

    def _probe(self) -> Iterator[Token]:
        while True:
            point = self._cut("ATTACH_POINT", ATTACH_POINT)
            if point.text:
                yield point
            else:
                yield replace(point, fault=Fault("expected attach point", *self.place(self.at)))
            self._skip()
            if not self.text.startswith(",", self.at):
                break
            yield self._token()
            self._skip()
            if self.text.startswith(("{", "/"), self.at):
                break
        if self.text.startswith("/", self.at):
            yield self._one("_OPEN_PREDICATE")
            yield from self._predicate()
        yield from self._block()

    def _predicate(self) -> Iterator[Token]:
        while self._skip() < len(self.text):
            if self.text[self.at] == "/" and BRACE.match(self.text, self.at + 1):
                yield self._one("_CLOSE_PREDICATE")
                return
            yield self._token()

    def _block(self) -> Iterator[Token]:
        depth = 0
        while self._skip() < len(self.text):
            token = self._token()
            yield token
            depth += (token.kind == "{") - (token.kind == "}")
            if token.kind == "}" and depth <= 0:
                return

    def _until(self, kind: str) -> Iterator[Token]:
        while self._skip() < len(self.text):
            token = self._token()
            yield token
            if token.kind == kind:
                return

    def _definition(self) -> Token:
        start, depth = self.at, 0
        fault: Fault | None = None
        for piece in C_PIECE.compiled.finditer(self.text, start):
            depth += (piece[0] == "{") - (piece[0] == "}")
            if piece[0] == "}" and depth == 0:
                self.at = piece.end()
                break
        else:
            self.at = len(self.text)
            fault = Fault("expected '}'", self.at, self.at)
            return Token("C_DEFINITION", self.text[start:], start, self.at, None, fault)
        while fault is None and (match := ATTRIBUTE.match(self.text, self.at)):
            self.at = _closing(self.text, match.end())
            if not self.text.startswith("((", match.end()) or not self.at:
                place = self.place(match.end())
                fault = Fault("__attribute__ syntax error, expected '(('", *place)
                self.at = match.start()
        end = self.at
        if self._skip() < len(self.text) and self.text[self.at] == ";":
            self.at += 1
        return Token("C_DEFINITION", self.text[start:end] + ";", start, end, None, fault)

    # Tokens

    def _token(self) -> Token:
        """The token here. The position is at its first character."""
        start = self.at
        match = TOKEN.match(self.text, start)
        assert match and match.lastgroup
        kind, text, self.at = match.lastgroup, match[0], match.end()
        before, self.words = self.words, (self.words[1], text if kind == "word" else "")
        if kind == "word":
            return Token(self._word(text), text, start, self.at)
        if kind == "other":
            return Token(self._parenthesis(before) if text == "(" else text, text, start, self.at)
        if kind == "INT":
            return self._integer(text, start)
        if kind == "STRING":
            return self._string(text, start)
        if kind == "dollar":
            fault = Fault("expected identifier after '$'", start, start + 1)
            return Token("VARIABLE", text, start, self.at, None, fault)
        if kind == "POSITIONAL":
            return self._positional(text, start)
        return Token(kind, text, start, self.at)

    def _word(self, text: str) -> str:
        if text in BUILTINS:
            return "BUILTIN"
        if text == "_" and DISCARD.match(self.text, self.at):
            return "_DISCARD"
        return text if text.islower() else "IDENT"  # so that no script can spell a terminal

    def _parenthesis(self, before: tuple[str, str]) -> str:
        word = before[1]
        if word in CONDITIONAL:
            return "_CONDITION"
        if word and word not in OPERAND_AFTER and word not in INSPECTING:
            return "("  # of a call
        match = (TYPED if word in INSPECTING else CAST).match(self.text, self.at)
        if not match or match["type"] in BUILTINS or match["type"] in ("true", "false", "typeof"):
            return "("
        return "_TYPED" if word in INSPECTING else "_CAST"

    def _integer(self, text: str, start: int) -> Token:
        end, fault, value = self.at, None, None
        hexadecimal = text[1:2] in ("x", "X")
        tail = None if hexadecimal else SUFFIX.match(self.text, end)
        underscore = TRAILING.compiled.search(text)
        if underscore and not (hexadecimal and underscore.end() < len(text)):
            place = start + underscore.start()
            fault = Fault("trailing underscore in integer literal", place, place + 1)
        elif tail:
            fault = Fault(f"invalid integer suffix '{tail[0]}'", end, tail.end())
        else:
            try:
                value = integer(text)
            except LiteralFault as e:
                fault = Fault(e.message, start, end)
        return Token("INT", text, start, end, value, fault)

    def _string(self, text: str, start: int) -> Token:
        fault = None
        try:
            if len(text) < 2 or text[-1] != '"':
                fault = Fault("unterminated string", *self.place(self.at))
            else:
                return Token("STRING", text, start, self.at, string(text[1:-1]))
        except LiteralFault as e:
            fault = Fault(e.message, start + 1 + e.start, start + 1 + e.end)
        return Token("STRING", text, start, self.at, None, fault)

    def _positional(self, text: str, start: int) -> Token:
        if text == "$#":
            return Token("POSITIONAL", text, start, self.at, 0)
        digits = text[1:].lstrip("0")
        if digits and len(digits) < 20 and int(digits) < 2**63:
            return Token("POSITIONAL", text, start, self.at, int(digits))
        message = f"param {text} is out of integer range [1, {2**63 - 1}]"
        return Token("POSITIONAL", text, start, self.at, None, Fault(message, start, self.at))

    # Text

    def _after_gap(self, offset: int) -> int:
        match = LAYOUT.match(self.text, offset)
        return match.end() if match else offset

    def _skip(self) -> int:
        self.at = self._after_gap(self.at)
        return self.at

    def _one(self, kind: str) -> Token:
        self.at += 1
        self.words = ("", "")
        return Token(kind, self.text[self.at - 1], self.at - 1, self.at)

    def _cut(self, kind: str, pattern: Pattern) -> Token:
        start, match = self.at, pattern.match(self.text, self.at)
        assert match
        self.at, self.words = match.end(), ("", "")
        return Token(kind, match[0], start, self.at)


def _closing(text: str, at: int) -> int:
    """Where the parentheses that open at a place are closed; 0: nowhere."""
    depth = 0
    for place in range(at, len(text)):
        depth += (text[place] == "(") - (text[place] == ")")
        if depth <= 0:
            return place + 1
    return 0
