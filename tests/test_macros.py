"""Expansion of macros (LANGUAGE §1.9): what comes out, where errors point, what is refused."""

from __future__ import annotations

import subprocess
import sys

import pytest
from check_support import FakeNames, checked, errors, warnings

from bpfscript.diagnostics import Diagnostic, Reporter, ScriptError, Source
from bpfscript.frontend import functions, nodes, stdlib
from bpfscript.frontend.builtins import BUILTINS
from bpfscript.frontend.jumps import check_jumps
from bpfscript.frontend.macros import expand
from bpfscript.frontend.parser import parse
from bpfscript.frontend.printer import dump
from bpfscript.frontend.typed import Options
from bpfscript.manifest import Place


def fault(text: str) -> Diagnostic:
    with pytest.raises(ScriptError) as caught:
        checked(text)
    return caught.value.diagnostics[0]


def places(diagnostic: Diagnostic) -> list[str]:
    """Text at the place of a diagnostic and of all that it was expanded from."""
    return [diagnostic.span.text, *(span.text for span in diagnostic.span.origins())]


class TestExpansion:
    @pytest.mark.parametrize(
        ("macro", "body", "result"),
        [
            ("macro two() { 2 }", "print(two);", "print({ 2 });"),
            ("macro two() { 2 }", "print(two());", "print({ 2 });"),
            ("macro inc($x) { $x += 1; }", "$a = 1; inc($a);", "$a = 1; { $a += 1; };"),
            ("macro put(@m) { @m[1] = 2; }", "put(@z);", "{ @z[1] = 2; };"),
            ("macro up(x) { $y = x; $y }", "up(1);", "{ $own_up_y = 1; $own_up_y };"),
            ("macro m(x) { x + x }", "m($a);", "{ { $a } + { $a } };"),
            ("macro m() { 1 } macro m(a) { 2 }", "m() + m(0);", "{ 1 } + { 2 };"),
            ("macro m($x) { 1 } macro m(@x) { 2 } macro m(x) { 3 }", "m(@a);", "{ 2 };"),
            ("macro size(t) { sizeof(t*) }", "size(typeof(uint8));", "{ sizeof(uint8*) };"),
            ("macro size(t) { sizeof(struct t) }", "size(typeof(b));", "{ sizeof(struct b) };"),
            ("macro size(t) { sizeof(t) }", "size(1);", "{ sizeof(1) };"),
            ("macro to(t) { (t)5 }", "to(typeof(uint8));", "{ (typeof(uint8))5 };"),
            (
                "macro off(t, f) { offsetof(t, f) }",
                "off(typeof(struct O), i.b);",
                "{ offsetof(typeof(struct O), i.b) };",
            ),
        ],
    )  # fmt: skip
    def test_body_in_place_of_the_call(self, macro: str, body: str, result: str) -> None:
        assert shape(expand_probe(f"{macro} begin {{ {body} }}")) == shape(written(result))

    def test_same_macro_inside_of_its_argument_has_variables_of_its_own(self) -> None:
        text = "macro m(x) { let $y = 2; $y + x } begin { print(m(m(1))); }"
        names = {n.name for n in _walk(expand_probe(text)) if isinstance(n, nodes.Variable)}
        assert names == {"$$m_$y", "$$m#1_$y"}
        checked(text)

    def test_parser_builtins_stay_what_they_are_without_parentheses(self) -> None:
        probe = expand_probe("macro pid() { 3 } macro comm() { 4 } begin { print((pid, comm)); }")
        kinds = [type(n) for n in _walk(probe) if isinstance(n, nodes.Identifier | nodes.Integer)]
        assert kinds == [nodes.Identifier, nodes.Integer]

    def test_arguments_keep_the_meaning_that_they_have_at_the_call(self) -> None:
        text = (
            "macro a(x) { b(x) } macro b(y) { let $v = 1; y + $v } begin { $v = 7; print(a($v)); }"
        )
        checked(text)
        used = [n.name for n in _walk(expand_probe(text)) if isinstance(n, nodes.Variable)]
        assert used == ["$v", "$$b_$v", "$v", "$$b_$v"]

    def test_dropped_branch_is_not_checked(self) -> None:
        checked(
            'macro m(x) { if comptime (is_str(x)) { x } else { x + 1 } } begin { m("a"); m(1); }'
        )

    def test_used_before_it_is_defined(self) -> None:
        checked("begin { print(z()); } macro z() { 8 }")


class TestErrors:
    def test_unhygienic_map(self) -> None:
        found = fault("macro m() { @x++ } begin { @x = 1; m(); }")
        assert found.message.startswith("Unhygienic access to map: @x. Maps must be passed")
        assert places(found) == ["@x", "m()"]

    def test_caller_variables_are_not_seen(self) -> None:
        found = fault("macro m() { $z } begin { $z = 1; print(m); }")
        assert found.message == "Undefined or undeclared variable: $z"

    @pytest.mark.parametrize(
        ("macro", "call", "want", "got"),
        [
            ("macro m(@x) { 1 }", "m(3)", "a map for arg @x", "an expression"),
            ("macro m($x) { 1 }", "m(3)", "a variable for arg $x", "an expression"),
            ("macro m($x) { 1 }", "m(@a)", "a variable for arg $x", "a map"),
            ("macro m(@x) { 1 }", "m(@a[1])", "a map for arg @x", "an expression"),
            ("macro m(q, @y) { 1 } macro m(@x, $y) { 1 }", "m(1, 2)", "a map for arg @y",
             "an expression"),
        ],
    )  # fmt: skip
    def test_mismatch(self, macro: str, call: str, want: str, got: str) -> None:
        found = fault(f"{macro} begin {{ @a[1] = 1; print({call}); }}")
        assert found.message == "Call to m() has arguments that do not match any definition."
        assert found.span.text == call
        assert [message for _, message in found.context] == [
            f"Mismatched arg. m() expects {want} but got {got}.",
            "This is the argument in the closest definition.",
        ]

    @pytest.mark.parametrize(("call", "count"), [("m(1, 2)", 2), ("m()", 0), ("m", 0)])
    def test_wrong_count(self, call: str, count: int) -> None:
        found = fault(f"macro m(x) {{ 1 }} begin {{ print({call}); }}")
        ((span, message),) = found.context
        assert found.span.text == call and span.text == "macro m"
        assert message.endswith(f"different number of arguments. Expected: 1 but got {count}")

    def test_variable_passed_as_expression_cannot_be_written(self) -> None:
        text = "macro inc($v) { $v += 1; } macro m(x) { inc(x); } begin { $a = 1; m($a); }"
        assert fault(text).context[0][1].endswith("for arg $v but got an expression.")

    def test_recursion(self) -> None:
        found = fault("macro a() { b() } macro b() { c() } macro c() { b() } begin { a(); }")
        assert found.message == "Recursive macro call detected. Call chain: b > c > b"
        assert places(found) == ["b()", "c()", "b()", "a()"]

    @pytest.mark.parametrize("second", ["macro a(y) { y }", "macro a($y) { $y }"])
    def test_redefinition(self, second: str) -> None:
        found = fault(f"macro a(x) {{ x }} {second} begin {{ }}")
        assert found.message == "Redefinition of macro: a"
        assert found.span.start == 17 and found.span.text == "macro a"
        assert found.context[0][1] == "This is the original definition."

    def test_types_in_wrong_places(self) -> None:
        assert errors("macro m(x) { (x)-1 } begin { print(m(5)); }") == [
            "38: Invalid replacement for macro 'm' type parameter 'x' which makes up the type 'x'"
        ]
        assert errors("macro m(t) { sizeof(t*) } begin { print(m(typeof(1))); }") == [
            "43: Invalid replacement for macro 'm' type parameter 't' which makes up the type 't*'"
        ]
        found = fault("macro m(t) { t } begin { print(m(typeof(uint8))); }")
        assert found.message.startswith("When used as a call argument, `typeof` builtin only valid")
        assert places(found) == ["typeof(uint8)", "t", "m(typeof(uint8))"]

    def test_error_in_a_body_names_the_calls(self) -> None:
        found = fault("macro a() { foo } macro b() { a() } begin { print(b()); }")
        assert places(found) == ["foo", "a()", "b()"]
        lines = found.render().splitlines()
        assert lines[3] == "stdin:1:31-34: ERROR: expanded from"

    def test_each_call_has_its_warnings(self) -> None:
        text = "macro m() { let $y; } begin { m(); m(); }"
        assert warnings(text) == ["13: Variable $$m_$y was never assigned to."] * 2

    @pytest.mark.parametrize(
        ("body", "word"), [("return;", "return"), ("break;", "break"), ("continue;", "continue")]
    )
    def test_jumps(self, body: str, word: str) -> None:
        text = f"macro m() {{ {body} }} begin {{ }}"
        assert errors(text) == [f"13: '{word}' statement is not allowed in a macro"]

    def test_jumps_of_own_loops_are_fine(self) -> None:
        report = Reporter()
        check_jumps(
            parse(Source("t", "macro m() { for ($i : 0..2) { break; } } begin { }")), report
        )
        assert not report.errors

    def test_functions_return_what_they_say(self) -> None:
        assert errors("fn f(): int64 { return; } begin { }") == [
            "17: Function f is of type int64, cannot return void"
        ]
        checked("fn f(): void { return; } begin { print(1); }")

    @pytest.mark.parametrize(
        ("parameter", "body", "last", "message"),
        [
            ("x", "{next}(x + x)", "x", "too much comes out of macros (over 20000 copies)"),
            ("", "{next}() + {next}()", "1", "too much comes out of macros (over 20000 copies)"),
            ("x", "{next}(x)", "x", "nested too deeply (over 120 levels)"),
        ],
    )
    def test_hostile_macros_end(self, parameter: str, body: str, last: str, message: str) -> None:
        count = 300 if message.startswith("nested") else 20
        text = "".join(
            f"macro a{i}({parameter}) {{ {body.format(next=f'a{i + 1}')} }}\n" for i in range(count)
        )
        call = "a0(1)" if parameter else "a0"
        found = fault(f"{text} macro a{count}({parameter}) {{ {last} }} begin {{ print({call}); }}")
        assert found.message == message


class TestLibrary:
    def test_the_list_of_names_is_the_list_of_texts(self) -> None:
        assert tuple(stdlib.TEXTS) == functions.MACROS
        for name in functions.MACROS:
            assert name in functions.FUNCTIONS or name in BUILTINS
            assert {macro.name for macro in stdlib.macros(name)} == {name}

    def test_user_macros_do_not_reach_into_it(self) -> None:
        probe = expand_probe('macro exit(x) { 1 } begin { assert(1, "m"); }')
        assert "exit" in {n.name for n in _walk(probe) if isinstance(n, nodes.Call)}

    def test_user_macros_come_first(self) -> None:
        probe = expand_probe("macro ppid() { 3 } begin { print(ppid); }")
        assert not [n for n in _walk(probe) if isinstance(n, nodes.FieldAccess)]

    def test_assert_may_stand_in_a_loop(self) -> None:
        checked('begin { for ($i : 0..3) { assert($i < 9, "no"); } }')
        assert errors("begin { for ($i : 0..3) { exit(); } }")

    def test_wrong_count_is_told_as_of_any_function(self) -> None:
        assert errors("begin { assert(1); }") == ["9: assert() requires 2 arguments (1 provided)"]

    def test_place_at_run_time_knows_the_call(self) -> None:
        found = checked('macro bad() { errorf("boom"); } begin { bad(); }')
        call = next(n for n in _walk(found.instances[0].probe) if isinstance(n, nodes.Call))
        place = Place.at(call.span)
        assert (place.column, [origin.column for origin in place.origins]) == (15, [41])

    def test_what_c_macros_stand_for_may_call_macros(self) -> None:
        names = FakeNames(macros={"SEVEN": "7"})
        checked(
            "#define SEVEN 7\nmacro m(x) { x + SEVEN } begin { print(m(SEVEN)); }", Options(), names
        )


def test_nothing_is_loaded_for_scripts_without_macros() -> None:
    code = (
        "import sys\n"
        "from bpfscript.diagnostics import Source\n"
        "from bpfscript.frontend.check import check\n"
        "from bpfscript.frontend.parser import parse\n"
        "from bpfscript.frontend.typed import Options\n"
        "from bpfscript.target import RecordedTarget\n"
        "check(parse(Source('t', 'begin { @[comm] = count(); }')), RecordedTarget(), Options())\n"
        "print([n for n in ('macros', 'stdlib', 'imports', 'jumps')"
        " if f'bpfscript.frontend.{n}' in sys.modules])\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def expand_probe(text: str) -> nodes.Probe:
    report = Reporter()
    program = expand(parse(Source("stdin", text)), report)
    report.raise_errors()
    (probe,) = program.items
    assert isinstance(probe, nodes.Probe)
    return probe


def written(body: str) -> nodes.Probe:
    """A probe with this body, which no macro had a part in."""
    probe = parse(Source("stdin", f"begin {{ {body} }}")).items[0]
    assert isinstance(probe, nodes.Probe)
    return probe


def shape(probe: nodes.Probe) -> str:
    """The tree as text; variables of a macro's own as the `$own_…` that a script can write."""
    return dump(probe).replace("$$", "$own_").replace("_$", "_")


def _walk(node: nodes.Node) -> list[nodes.Node]:
    return [node, *(inner for child in nodes.children(node) for inner in _walk(child))]
