"""A formatted script is the same script, keeps its comments, and is formatted already."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import tool
from test_printer import CORPUS

from bpfscript.diagnostics import ScriptError, Source
from bpfscript.frontend import nodes
from bpfscript.frontend.comments import Comments
from bpfscript.frontend.format import format
from bpfscript.frontend.layout import WIDTH
from bpfscript.frontend.lexer import Lexer
from bpfscript.frontend.parser import MAX_DEPTH, parse
from bpfscript.frontend.printer import dump


def formatted(text: str) -> str:
    return format(Source("x.bt", text))


def structure(text: str) -> str:
    """The tree without spans; what a probe, a loop or a function ends with is a statement."""
    return dump(_settled(parse(Source("x.bt", text))))


def _settled(node: nodes.Node) -> nodes.Node:
    made = nodes.rebuild(node, _settled, lambda span: span)
    if isinstance(made, nodes.Probe | nodes.Function | nodes.While | nodes.Unroll | nodes.For):
        return nodes.evolve(made, body=_void(made.body))
    return made


def _void(block: nodes.Block) -> nodes.Block:
    statements, last = list(block.statements), block.result
    if last is None and statements and isinstance(final := statements[-1], nodes.ExprStatement):
        statements.pop()
        last = final.value
    if last is None:
        return block
    if isinstance(last, nodes.Block):
        last = _void(last)
    elif isinstance(last, nodes.If):
        last = _void_if(last)
    ended = nodes.ExprStatement(span=last.span, value=last)
    return nodes.evolve(block, statements=(*statements, ended), result=None)


def _void_if(node: nodes.If) -> nodes.If:
    otherwise = node.otherwise
    if isinstance(otherwise, nodes.If):
        otherwise = _void_if(otherwise)
    elif otherwise:
        otherwise = _void(otherwise)
    return nodes.evolve(node, then=_void(node.then), otherwise=otherwise)


def comments(text: str) -> list[str]:
    """The words of the comments, in order."""
    return [word for line in _comment_lines(text) for word in line.split()]


def _comment_lines(text: str) -> list[str]:
    reader = Comments(text)
    return [line.removeprefix("//") for c in reader._take(len(text)) for line in c.lines]


def check(text: str) -> str:
    made = formatted(text)
    assert structure(made) == structure(text), made
    assert formatted(made) == made
    assert comments(made) == comments(text)
    assert not any(line != line.rstrip() for line in made.split("\n") if not line.startswith("#"))
    return made


SCRIPTS = [
    "\n\n// a\n\n\nbegin{print( 1 ) ;}// b\n",
    "/* a\n * b\n *   c\n */\nbegin { /* d */ print(1); // e\n\n\n // f\n }\n// g",
    'config = { // a\n b = 0x10; // c\n\n d = "x // y" /* e */; // f\n // g\n} // h\n',
    "begin { f(1, /* a */ 2, // b\n 3); $x = 1 + // c\n 2; /* d */ /* e */ }",
    "begin { if 1 { 2 } // a\n else { 3 } // b\n $x = { 1 // c\n }; $y = { 1 /* d */ }; }",
    "begin { if (1) /* a */ { 2 } /* b */ else /* c */ if 3 { } /* d */ }",
    "k:a, // a\n k:b /* b */ /1/ // c\n { // d\n } // e\n let @a = hash(1) // f\n ; // g",
    "macro m(/* a */ x /* b */) /* c */ { x /* d */ } fn f(/* e */) : void { } // f",
    "begin { if 1 { f(1) } else { f(2) } }",
    "begin { if 1 { 2 } else if 3 { 4 } else { { 5 } } }",
    "begin { if 1 { 2 } else { 3 }; }",
    "begin { $x = { if 1 { 2 } else { 3 }; }; { if 1 { 2 } } }",
    "begin { if 1 { 2 } // a\n ; -3; { 4 } ; *$x; { 5 } ; ++$y }",
    "fn f() : int64 { if 1 { return 1; } else { 2 } }",
    "struct A { int x; } // a\nstruct B { int y; }; // b\n#define A 1 // c\nbegin { }",
    'uprobe:"/a b//c":f /* a */ { } uprobe:/bin/x*/y:z { } // b',
    'begin { print("// no", "/* no */"); print("é\\x41\\0") }',
    "BEGIN /1 / 2 /* a */ > 3/ { }\r\nEND { // b\r\n }\r\n",
    "begin { unroll (1 + 2) { } unroll $1 { } while (1 == 2) { 3 } }",
    "begin { if ((1, 2)) { } if (($x).y) { } if (((foo)$x).y) { } }",
    "begin { /**/ /***/ //\n ////\n } /* unterminated ",
]


@pytest.mark.parametrize("text", [*SCRIPTS, *CORPUS])
def test_the_same_script_and_formatted_already(text: str) -> None:
    check(text)


def test_layout() -> None:
    assert check(
        "#!/usr/bin/env bpfscript\nstruct A{int x;};\n\nconfig={max_strlen=64}\nmacro m(x){x+1}\n"
        'k:f,k:g /pid==1||comm=="x"/{@[args->fd,comm]=count();if($1>2){print(1)}else{print(2)}\n\n'
        "for($i:0..3){@x+=$i}// sum\n if(@x){exit()}}\nend{}"
    ) == (
        "#!/usr/bin/env bpfscript\nstruct A{int x;};\n\nconfig = {\n  max_strlen = 64;\n}\n"
        "macro m(x)\n{\n  x + 1\n}\n"
        'k:f,\nk:g\n/pid == 1 || comm == "x"/\n{\n'
        "  @[args.fd, comm] = count();\n"
        "  if ($1 > 2) { print(1) } else { print(2) }\n\n"
        "  for $i : 0..3 {\n    @x += $i;\n  } // sum\n"
        "  if @x {\n    exit();\n  }\n}\n"
        "end\n{}\n"
    )


def test_parentheses() -> None:
    expressions = {
        "1+2*3-4/5": "(1 + (2 * 3)) - (4 / 5)",
        "-(-$x)+!$y": "(-(-$x)) + (!$y)",
        "$a==1&&$b==2||$c": "($a == 1 && $b == 2) || $c",
        "$a&&$b&&$c": "$a && $b && $c",
        "$a&&($b&&$c)": "$a && ($b && $c)",
        "$x==($y==1)": "$x == ($y == 1)",
        "1?2:3?4+5:6": "1 ? 2 : (3 ? (4 + 5) : 6)",
        "(uint64*)(int32)-1": "(uint64*)((int32)(-1))",
        "((foo)$x)->y[(@x)[2]]": "((foo)$x).y[(@x)[2]]",
        "@x[(1,2)]+@y[(1,)]": "@x[1, 2] + @y[(1,)]",
    }
    for given_, wanted in expressions.items():
        assert check(f"begin {{ f({given_}); }}") == f"begin\n{{\n  f({wanted});\n}}\n"


def test_what_is_too_wide() -> None:
    long, text = "$" + "a" * 30, '"' + "b" * 40 + '"'
    assert check(f"begin {{ printf({text}, {long}, {long}, 3); }}").splitlines()[2:-1] == [
        f"  printf({text},",
        f"         {long}, {long}, 3);",
    ]
    assert check(f"begin {{ @x[{text}, {long}, $c] = {text}; }}").splitlines()[2:-1] == [
        "  @x[",
        f"    {text}, {long}, $c",
        f"  ] = {text};",
    ]
    assert check(f"begin {{ if ({text} == {long} && {long} == 2) {{ }} }}").splitlines()[2:-1] == [
        f"  if ({text} == {long} &&",
        f"      {long} == 2) {{}}",
    ]
    assert check(f"begin {{ $x = {long} ? {text} : {text}; }}").splitlines()[2:-1] == [
        f"  $x = {long}",
        f"       ? {text}",
        f"       : {text};",
    ]
    nested = f"f({long}, g({text}, h({long}, {text}, ({long}, {long}))), {text})"
    lines = check(f"begin {{ $x = {nested} == {nested}; }}").splitlines()
    assert max(map(len, lines)) <= WIDTH + 1


@pytest.mark.parametrize(
    "text",
    [
        "$x = " + "f(1, $aaaaaaaa, " * 90 + "1" + ")" * 90,
        "if 1 { // a\n" * 60 + "}" * 60,
        "$x = " + "1 + " * 190 + "1",
        "$x = " + "1 * 2 - 3 / 4 + " * 45 + "1",
        "$x = " + "1 == 2 || 3 && 4 || " * 45 + "1",
        "$x = " + "(1 + " * 95 + "1" + ")" * 95,
        "f(" * (MAX_DEPTH - 5) + "1" + ")" * (MAX_DEPTH - 5),
        "{ " * 95 + "1" + " }" * 95,
        "$x = { " * 60 + "1 " + "}; " * 60,
        "if 1 { }" + " else if 1 { }" * (MAX_DEPTH - 10),
    ],
)
def test_whatever_parses_can_be_formatted(text: str) -> None:
    made = formatted(f"begin {{ {text} }}")
    assert formatted(made) == made


words = st.sampled_from([" ", "\n", "\n\n\n", "// c\n", "/* d */", "/* e\n * f\n */", "\t"])


@settings(deadline=None)
@given(st.sampled_from([*SCRIPTS, *CORPUS]), st.data())
def test_comments_anywhere(text: str, data: st.DataObject) -> None:
    """Layout between any two tokens changes nothing but the place of comments."""
    tokens = list(Lexer(text).script())
    for token in reversed(tokens[1:]):
        if data.draw(st.booleans(), label=f"before {token.text}"):
            text = text[: token.start] + data.draw(words) + text[token.start :]
    try:
        parse(Source("x.bt", text))
    except ScriptError:
        return  # a comment that joined an attach point, say
    check(text)


def test_the_command_formats_without_privileges(tmp_path: Path) -> None:
    script, out = tmp_path / "a.bt", tmp_path / "out.bt"
    script.write_text("begin{print( 1 ) ;}")
    assert tool("--fmt", str(script)) == (0, "begin\n{\n  print(1);\n}\n", "")
    assert tool("--mode", "format", "-e", "end{}") == (0, "end\n{}\n", "")
    assert tool("--fmt", str(script), "-o", str(out))[0] == 0
    assert out.read_text() == "begin\n{\n  print(1);\n}\n"
    script.write_text("begin { print( ")
    code, shown, err = tool("--fmt", str(script), "-o", str(out))
    assert (code, shown) == (1, "") and ": ERROR: syntax: " in err
    assert out.read_text() == "begin\n{\n  print(1);\n}\n"
    assert [path.name for path in tmp_path.iterdir()] in (["a.bt", "out.bt"], ["out.bt", "a.bt"])
