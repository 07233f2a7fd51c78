"""What parses to what, and what is said, where, when it does not."""

from __future__ import annotations

import marshal
import subprocess
import sys
from pathlib import Path

import pytest

from bpfscript.diagnostics import ScriptError, Source
from bpfscript.frontend import nodes, tables
from bpfscript.frontend.parser import MAX_DEPTH, parse, parse_expression
from bpfscript.frontend.printer import dump, show


def expression(text: str) -> nodes.Expr:
    return parse_expression(Source("text", text))


def body(text: str) -> nodes.Block:
    (probe,) = parse(Source("text", f"begin {{ {text} }}")).items
    assert isinstance(probe, nodes.Probe)
    return probe.body


def fault(text: str) -> str:
    with pytest.raises(ScriptError) as caught:
        parse(Source("s", text))
    return caught.value.diagnostics[0].render().split("\n")[0]


# Structure

GROUPINGS = {
    "1 + 2 * 3": "1 + (2 * 3)",
    "1 * 2 + 3": "(1 * 2) + 3",
    "1 - 2 - 3": "(1 - 2) - 3",
    "1 || 2 && 3 | 4 ^ 5 & 6": "1 || (2 && (3 | (4 ^ (5 & 6))))",
    "1 & 2 == 3 < 4 << 5 + 6 / 7": "1 & (2 == (3 < (4 << (5 + (6 / 7)))))",
    "1 ? 2 : 3 ? 4 : 5": "1 ? 2 : (3 ? 4 : 5)",
    "1 ?: 2 ?: 3": "1 ?: (2 ?: 3)",
    "-$x++": "-($x++)",
    "$x-- -1": "($x--) - 1",
    "(int32)1 + 2": "((int32)1) + 2",
    "(cpu) - 1": "(cpu)(-1)",
    "(pid) - 1": "pid - 1",
    "(uid) & 0xff": "uid & 0xff",
    "(foo)*arg0": "(foo)(*arg0)",
    "(foo)/3": "foo / 3",
    "(foo)[1]": "foo[1]",
    "f(a) - 1": "f(a) - 1",
    "(int32)$x.y": "(int32)$x.y",
    "comptime 1 + 2": "(comptime 1) + 2",
    "$x->y.0x1": "$x.y.1",
}


@pytest.mark.parametrize(("text", "grouped"), GROUPINGS.items())
def test_grouping(text: str, grouped: str) -> None:
    assert show(expression(text)) == grouped


PARENTHESES = {
    "(1)": nodes.Integer,
    "(1,)": nodes.TupleLiteral,
    "()": nodes.TupleLiteral,
    "(1, 2,)": nodes.TupleLiteral,
    "(a=1)": nodes.RecordLiteral,
    "(a == 1)": nodes.Binary,
    "(a)b": nodes.Cast,
    "(struct a*)b": nodes.Cast,
    "(typeof($x))b": nodes.Cast,
    "(a)": nodes.Identifier,
    "a(b)": nodes.Call,
}


@pytest.mark.parametrize(("text", "kind"), PARENTHESES.items())
def test_parentheses(text: str, kind: type[nodes.Node]) -> None:
    assert type(expression(text)) is kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("sizeof(x)", nodes.TypeName),
        ("sizeof(x[1])", nodes.TypeName),
        ("sizeof(x *)", nodes.TypeName),
        ("sizeof(struct x)", nodes.TypeName),
        ("sizeof(typeof(x))", nodes.Typeof),
        ("sizeof((x))", nodes.Identifier),
        ("sizeof((x)[1])", nodes.Index),
        ("sizeof(x * 1)", nodes.Binary),
        ("sizeof(pid)", nodes.Identifier),
        ("sizeof(x.y)", nodes.FieldAccess),
    ],
)
def test_a_type_or_an_expression(text: str, kind: type[nodes.Node]) -> None:
    sizeof = expression(text)
    assert isinstance(sizeof, nodes.Sizeof)
    assert type(sizeof.of) is kind


def test_the_value_of_a_block_is_the_last_expression_without_semicolon() -> None:
    assert isinstance(body("1; 2").result, nodes.Integer)
    assert body("1; 2;").result is None
    assert isinstance(body("1; if 2 { }").result, nodes.If)
    assert [type(s) for s in body("if 1 { } { 2 } $x = 3").statements] == [
        nodes.ExprStatement,
        nodes.ExprStatement,
        nodes.Assign,
    ]


def test_an_if_or_a_block_goes_on_as_an_operand() -> None:
    assert isinstance(body("if 1 { 2 } - 1").result, nodes.Binary)
    assert isinstance(body("{ 2 } * 1").result, nodes.Binary)


def test_spans() -> None:
    text = "begin { $a = foo(1) + @m[2]; }"
    (probe,) = parse(Source("text", text)).items
    assert isinstance(probe, nodes.Probe)
    (assign,) = probe.body.statements
    assert isinstance(assign, nodes.Assign) and isinstance(assign.value, nodes.Binary)
    assert assign.span.text == "$a = foo(1) + @m[2]"
    assert assign.value.span.text == "foo(1) + @m[2]"
    assert assign.value.op_span.text == "+"
    assert assign.value.left.span.text == "foo(1)"
    assert isinstance(assign.value.left, nodes.Call)
    assert assign.value.left.name_span.text == "foo"
    assert assign.value.right.span.text == "@m[2]"
    assert probe.attach_points[0].span.text == "begin"


ATTACH_POINTS = {
    "begin{}": ["begin"],
    "begin,end,{}": ["begin", "end"],
    "begin/1/{}": ["begin"],
    "kprobe:a/b {}": ["kprobe:a/b"],
    'uprobe:"/bin/b sh":"a,{b" {}': ['uprobe:"/bin/b sh":"a,{b"'],
    'kprobe:"a\\"b" {}': ['kprobe:"a\\"b"'],
    "BEG$1 /* c */ , // d\n *:x {}": ["BEG$1", "*:x"],
    "struct:probe {}": ["struct:probe"],
}


@pytest.mark.parametrize(("text", "points"), ATTACH_POINTS.items())
def test_attach_points(text: str, points: list[str]) -> None:
    (probe,) = parse(Source("text", text)).items
    assert isinstance(probe, nodes.Probe)
    assert [point.text for point in probe.attach_points] == points


def test_the_parts_of_a_program() -> None:
    program = parse(
        Source(
            "text",
            "#!/x\n#include <a.h>\nstruct A { int x; /* } */ }\nenum { B };\n"
            'config = { a = 1; b = "x y"; c = d; e = true }\nimport "lib.bt";\n'
            "let @m = hash(10); macro f(a, $b, @c) { a } fn g($x : int8) : void { } begin { }",
        )
    )
    assert program.shebang == "#!/x"
    assert [d.text for d in program.c_definitions] == [
        "#include <a.h>",
        "struct A { int x; /* } */ };",
        "enum { B };",
    ]
    assert program.config
    entries = [(entry.key, entry.value) for entry in program.config.entries]
    assert entries == [("a", 1), ("b", "x y"), ("c", "d"), ("e", True)]
    assert [entry.path for entry in program.imports] == ["lib.bt"]
    assert [type(item) for item in program.items] == [
        nodes.MapDeclaration,
        nodes.Macro,
        nodes.Function,
        nodes.Probe,
    ]


# Faults, as upstream 0.27.1 reports them

FAULTS = {
    "begin { print(1) print(2); }": "1:18-23: expected ';'",
    "begin { 1 = 2; }": "1:11-12: expected ';'",
    "begin { 1": "1:10-10: expected ';'",
    "begin {": "1:8-8: expected '}'",
    "begin { 1;": "1:11-11: expected '}'",
    "begin { print(1 }": "1:17-18: expected ')'",
    "begin { @x[1 2] }": "1:14-15: expected ']'",
    "begin { $x[ }": "1:13-14: expected expression",
    "begin { f(": "1:11-11: expected expression",
    "begin { print(1,) }": "1:17-18: expected expression",
    "begin { print(1);; }": "1:18-19: expected expression",
    "begin { 1 + }": "1:13-14: expected expression",
    "begin { é }": "1:9-10: expected expression",
    "begin { $x.; }": "1:12-13: expected field name after '.'",
    "begin { $x-> }": "1:14-15: expected field name after '->'",
    "begin { 1 ? 2 3 }": "1:15-16: expected ':'",
    "begin { if (a) == 1 { } }": "1:16-17: expected '{'",
    "begin { if 1 { } else 3 }": "1:23-24: expected '{' or 'if' after 'else'",
    "begin { for ($x : @m[1]) { } }": "1:26-27: expected map or range in for loop",
    "begin { for $x : $y { } }": "1:21-22: expected map or range in for loop",
    "begin { for x }": "1:13-14: expected variable in for loop",
    "begin { let @x; }": "1:13-15: expected variable after 'let'",
    "begin { let $x : 1 }": "1:18-19: expected type name",
    "begin { let $x: int32[4 = 1 }": "1:25-26: expected ']'",
    "begin { sizeof }": "1:16-17: expected '('",
    "begin { offsetof(x) }": "1:19-20: expected ','",
    "begin { &1 }": "1:10-11: address-of operator (&) can only be used on a map or variable",
    "begin { &@x[1]; }": "1:12-13: expected ';'",
    "begin { 1++; }": "1:10-12: increment/decrement requires a variable or map",
    "begin { ++$x.y }": "1:11-15: increment/decrement requires a variable or map",
    "begin { $x[1] = 2 }": "1:9-18: invalid assignment target",
    "begin { $t.0 = 3; }": (
        "1:9-17: Tuples and records are immutable once created. "
        "Consider creating a new value and assigning it instead."
    ),
    "begin { $r = (a=1, a=2); }": "1:20-23: Named argument list already contains name: a",
    "begin { (a=1, 2) }": "1:15-16: expected identifier",
    "begin { $ = 1; }": "1:9-10: expected identifier after '$'",
    "begin { $0 }": "1:9-11: param $0 is out of integer range [1, 9223372036854775807]",
    'begin { "abc }': "1:15-15: unterminated string",
    'begin { "ab\n c" }': "2:2-3: unterminated string",
    'begin { "\\q" }': "1:11-12: invalid escape character '\\q'",
    'begin { "\\400" }': "1:10-14: octal escape sequence out of range '\\400'",
    'begin { "\\xg" }': "1:12-13: invalid hex escape sequence",
    "begin { 12abc }": "1:11-14: invalid integer suffix 'abc'",
    "begin { 0b11 }": "1:10-13: invalid integer suffix 'b11'",
    "begin { 1_s }": "1:10-11: trailing underscore in integer literal",
    "begin { 0x1g }": "1:12-13: expected ';'",
    "begin { 5e-9 }": "1:9-11: invalid trailing bytes: 5e",
    "begin { 1 $x 0b1 }": "1:11-13: expected ';'",
    "begin /1 { }": "1:10-11: expected '/' to close predicate",
    "begin /1": "1:9-9: expected '/' to close predicate",
    "begin / / { }": "1:9-10: expected expression",
    "begin end { }": "1:7-10: expected '{'",
    "begin": "1:6-6: expected '{'",
    "begin,,end { }": "1:7-8: expected attach point",
    "{ 1 }": "1:1-2: expected attach point",
    "begin { } config = { }": "1:11-17: config must appear before probes and functions",
    'begin { } import "x";': "1:11-17: root imports must appear before probes and functions",
    "begin { } struct A { int x; }": (
        "1:11-30: C definitions must appear before probes and functions"
    ),
    "config = {} #define x": "1:13-22: C definitions must appear before probes and functions",
    "config = {} config = {} begin {}": "1:13-19: duplicate config block",
    "config = { a = 1, b = 2 }": "1:17-18: expected ';'",
    "config = { a = -1 }": "1:16-17: expected string, int, boolean, or ident",
    "config = { 1 = 1 }": "1:12-13: expected config key",
    "import a;": "1:8-9: expected string after 'import'",
    'import "a"': "1:11-11: expected ';' after import",
    "let $a = 1;": (
        "1:1-4: root-level let statements need to be map declarations, e.g. let @a = hash(2);"
    ),
    "let @x = 1;": "1:10-11: expected map type name",
    "let @x = hash();": "1:15-16: expected positive integer for map declaration max entries",
    "macro (a) { }": "1:7-8: expected macro name",
    "macro a(1) { }": "1:9-10: expected macro argument ($var, @map, or identifier)",
    "macro a(pid) { }": "1:9-12: builtin 'pid' can't be used as a macro argument",
    "fn f(a) { }": "1:6-7: expected variable in function argument",
    "fn f() { }": "1:8-9: expected ':'",
    "struct P { char c; } __attribute__(packed) begin { }": (
        "1:35-36: __attribute__ syntax error, expected '(('"
    ),
    "struct P { int x;": "1:18-18: expected '}'",
}


@pytest.mark.parametrize(("text", "expected"), FAULTS.items())
def test_faults(text: str, expected: str) -> None:
    place, message = expected.split(": ", 1)
    assert fault(text) == f"s:{place}: ERROR: syntax: {message}"


def test_an_expression_ends_with_its_text() -> None:
    with pytest.raises(ScriptError, match="unexpected input"):
        expression("1 2")
    with pytest.raises(ScriptError, match="expected expression"):
        expression("")


# Size

DEEP = {
    "signs": "- " * 5000 + "1",
    "sums": "1" + " + 1" * 5000,
    "calls": "f(" * 5000 + "1" + ")" * 5000,
    "blocks": "{ " * 5000 + "} " * 5000,
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_deep_trees_are_refused(text: str) -> None:
    assert f"nested too deeply (over {MAX_DEPTH} levels)" in fault(f"begin {{ {text} }}")


def test_parentheses_add_no_depth() -> None:
    assert isinstance(expression("(" * 2000 + "1" + ")" * 2000), nodes.Integer)


@pytest.mark.parametrize(
    "text",
    ["begin { " + c * 20_000 for c in ("(", "{", "[", "\0", "'", "(a", "(a*", "_ ", "if ")]
    + ["struct a " * 5000, "struct (" * 5000, "k:a," * 5000, '"' * 20_001, "\0" * 20_000]
    + ["begin /" + "/ " * 5000, "begin { /*" + "/" * 20_000, "begin { " + "1" * 20_000],
)
def test_long_nonsense_is_refused(text: str) -> None:
    assert "ERROR: syntax: " in fault(text)


def test_long_scripts_parse() -> None:
    assert len(body("$x = $y + 1; " * 3000).statements) == 3000


# Tables


def test_tables_made_by_lark_equal_the_prebuilt_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "PREBUILT", tmp_path / "tables")
    made = tables.load()  # there is no file
    tables.prebuild()
    assert tables.load() == made
    kept = Path(tables.PREBUILT).read_bytes()
    starts, ends, actions, gotos, rules = marshal.loads(kept)["tables"]
    stale = {"grammar": "another", "tables": (starts, ends, actions, gotos, rules[:-1])}
    for other in (marshal.dumps(stale), b"{", b'{"grammar":"of old"}', kept[:-100], b""):
        Path(tables.PREBUILT).write_bytes(other)
        assert tables.load() == made


def test_lark_is_not_imported_when_the_tables_are_there(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from bpfscript.frontend import parser, tables\n"
        f"tables.PREBUILT = Path({str(tmp_path / 'tables')!r}); tables.prebuild()\n"
        "for name in [name for name in sys.modules if name.split('.')[0] == 'lark']:\n"
        "    del sys.modules[name]\n"
        "from bpfscript.diagnostics import Source; parser.parse(Source('x', 'begin { }'))\n"
        "assert 'lark' not in sys.modules"
    )
    root = str(Path(tables.GRAMMAR).parents[2])
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": root})


def test_dump_is_the_same_for_equal_structure() -> None:
    assert dump(expression("(1)+2")) == dump(expression(" 1 + /* c */ (2)"))
