"""parse → show → parse gives the same tree; mutated scripts raise nothing but ScriptError."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfscript.diagnostics import ScriptError, Source
from bpfscript.frontend.parser import MAX_DEPTH, parse, parse_expression
from bpfscript.frontend.printer import dump, show

CORPUS = [
    "",
    "begin { }",
    "#!/usr/bin/env bpfscript\n// head\n/* a /* b */ begin { print(1) }",
    "#include <linux/sched.h>\n#define N 3\nstruct A { int x; char c[3]; };\nbegin { print(N) }",
    "struct A { struct { int y; } b; /* } */ } __attribute__((packed)) enum { P, Q = 3 } end { }",
    "struct __attribute__((packed)) F { int x; } begin { print(sizeof(struct F)) }",
    'config = { max_strlen = 64; license = "GPL"; stack_mode = raw; on = true; off = false }',
    'config = { } import "lib.bt"; begin { }',
    "let @a = hash(100); let @ = lruhash(0x10) begin { @a[1] = 2 }",
    "macro add(a, $b, @c) { $b = a; @c[1] = a; $b + a }\nbegin { $x = 1; add(2, $x, @) }",
    "macro now() { nsecs }\nbegin { print(now) }",
    "fn f($a : int64, $b : struct A *) : void { return; }",
    "fn g() : int32[4] { return 1 }",
    "kprobe:vfs_*, kretprobe:vfs_read, { @[probe] = count(); }",
    'uprobe:"/bin/b sh":"f,{g" /pid == 3/ { exit(); }',
    "uprobe:/bin/bash:readline/2 { 1 }",
    "name=interval:s:$1 { 1 }",
    'tracepoint:syscalls:sys_enter_open /comm == "a" && uid != 0/ { print(args.filename) }',
    "begin /1 / 2 / /* c */ { 1 }",
    "begin /@a[1/2] / 3/{ 1 }",
    "begin / *$1 / { 1 }",
    "struct:probe { 1 }",
    'BEGIN { $x = (1, "two", $3, $#); print($x.0) }',
    "begin { $t = (1,); $u = (); $v = (1, 2,); $w = (a=1, b=(c=2)) }",
    "begin { $r = (pid, tid).1; (a=1).a }",
    "begin { print(1 + 2 * 3 - 4 / 5 % 6 << 7 >> 8 & 9 ^ 10 | 11) }",
    "begin { print(1 == 2 || 3 != 4 && 5 < 6 || 7 > 8 && 9 <= 10 || 11 >= 12) }",
    "begin { print((1 - 2) - 3, 1 - (2 - 3)) }",
    "begin { 1 ? 2 : 3 ? 4 : 5; 1 ?: 2 ?: 3; (1 ? 2 : 3) ? 4 : 5 }",
    "begin { !-~*$x; - -$x; -(-$x); -$x++; !!$x }",
    "begin { ++$x; --@y[1]; $x++; @y[2]--; print(++$x + $y++, $x - -1, $x-- - 1) }",
    "begin { f(&$x, &@y); $p = &@z; }",
    "begin { $x += 1; $x -= 1; $x *= 1; $x /= 1; $x %= 1; $x &= 1; $x |= 1; $x ^= 1; }",
    'begin { @x[1, "a"] <<= 1; @x[(1, 2)] >>= 1; @ = 1; @x[(1,)] = 2 }',
    "begin { _ = f(1); _ }",
    "begin { let $x; let $y : int32; let $z : struct foo*[4] = 1; let $w : int8[]* }",
    "begin { let $x : typeof($y) = 1; let $x : typeof(struct foo *); }",
    "begin { (int32)1 + 2; (struct foo *)arg0; (uint64 *)(int32)-1; (typeof($x))$y.z }",
    "begin { (int32)(++$x); (int32)({1}); (int32)if 1 {2} else {3}; ((foo)$x).y; (int8[4])$x }",
    "begin { (cpu) - 1; (pid) - 1; (uid) & 0xff; (uid) && 1; (foo) * 3 }",
    "begin { print((args)->x, (curtask)->pid); }",
    "begin { str(arg0) - 1; if (f(a)) { } else if (b) { 2 } return (x) }",
    "begin { sizeof(uint8); sizeof(struct foo); sizeof(x[1]); sizeof((x)[1]); sizeof((x)) }",
    "begin { sizeof($x); sizeof(1 + 2); sizeof(typeof(x)); sizeof(x.y); sizeof(pid) }",
    "begin { offsetof(struct x, a.b.if); offsetof(typeof($x), y); typeinfo($x).full_type }",
    "begin { print(typeof(struct foo *), 1); typeof_(x) }",
    "begin { comptime 1 + 2; if comptime (1) { 2 } else { 3 } }",
    "begin { if $x { 1 } else if !$y { 2 } else { 3 } }",
    "begin { if ($x) { 1 } else { 2 }; }",
    "begin { if 1 { 2 } if 3 { 4 } { 5 } { 6 }; - 7; }",
    "begin { if 1 { 2 } - 1; { 2 } * 3; { 2 }; *$x; if 1 { }; &$x; if 1 { } $y++ }",
    "begin { $x = if $y { 1 } else { 2 }; $z = { let $a = 1; $a }; { { } } }",
    "begin { while ($x < 3) { $x++; break } while $y { continue; } unroll (3) { 1 } }",
    "begin { unroll $1 { } }",
    "begin { for ($kv : @m) { print($kv.0) } for $i : 0..3 { } for ($i : @m[1]..(1 + 2)) { } }",
    "begin { for ($i : (-3)..(int64)$x) { } for ($i : a..b()) { } for $i : $1..$# { } }",
    "begin { return 1; return; break; continue }",
    'begin { import "x.o"; }',
    "begin { $x.if.while.1.struct->else; $x->y.0 }",
    "begin { @x.1.2; @x[1].y; @x[1][2]; (@x)[2]; $x[1][2]; f(1)[2] }",
    "begin { 10ms; 0x1f; 0777; 1_000; 1e3; 18446744073709551615; 5u; 1.2 }",
    'begin { "a\\n\\t\\"\\\\\\x41\\101\\0é"; true; false; !true }',
    "begin { print(let); print(while); else; fn(); macro(); config; struct; typeof }",
    'begin { printf("%d %s\\n", $1, str($2)) } end { clear(@) }',
    "interval:s:1 { @ = hist(nsecs(monotonic)); print(kstack(raw, 3)) }",
    "begin { @[kstack, ustack(3)] = count(); @s = sum($x); delete(@, (1, 2)) }",
    "begin { $x = $y == ($z == 1) }",
    "begin { $a = $b ? ($c ? 1 : 2) : { 3 } }",
    "begin { @a = @b; @a[@b[1], @c] = @d[@e[@f]] }",
    "begin { unroll (comptime 3) { @[1] = 2 } }",
    "begin{if(1){2}else{3}}end{}",
    'begin { ntop(args.x); usym(reg("ip")); buf($x, 3); signal("KILL") }',
    "begin { $s = (struct s *)ctx; $s->a[$s->b].c; *$s; (*$s).a; *($s + 1) }",
    "begin /if 1 { 2 } else { 3 }/ { 1 }",
    "BEG$1 { 1 }",
    "*:foo { } k?robe:[ab]* { }",
    "begin { print(1); // c\n}",
    "begin { /* unterminated } */ } end { /**/ }",
    "begin { @x = stats(1); @y = lhist($1, 0, 100, 10); @z = tseries(1, 1s, 3) }",
    "begin { $x = -9223372036854775808; $y = -1; $z = 1 - -1 - - 1 }",
    'begin { join(args.argv, ","); cat("/proc/%d", pid); time("%H\\n") }',
    "fentry:vmlinux:vfs_read { } rawtracepoint:sched_switch { } profile:hz:99 { }",
]


@pytest.mark.parametrize("text", CORPUS)
def test_round_trip(text: str) -> None:
    tree = parse(Source("corpus", text))
    shown = show(tree)
    again = parse(Source("shown", shown))
    assert dump(again) == dump(tree), shown
    assert show(again) == shown


MUTATIONS = [*"{}()[];,:.\"'/*\\$@#&|=+-!~?<>%^ \n\0é", "if", "else ", "0x", "//", "/*", "..", "("]


@settings(deadline=None)
@given(st.sampled_from(CORPUS), st.data())
def test_mutated_scripts_raise_only_script_errors(text: str, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 6)))
        text = text[:start] + data.draw(st.sampled_from(["", *MUTATIONS])) + text[end:]
    try:
        tree = parse(Source("mutant", text))
    except ScriptError as error:
        span = error.diagnostics[0].span
        assert 0 <= span.start <= span.end <= len(text)
        assert error.diagnostics[0].render()
        return
    assert dump(parse(Source("shown", show(tree)))) == dump(tree)


@settings(deadline=None)
@given(st.text())
def test_any_text_raises_only_script_errors(text: str) -> None:
    for parser in (parse, parse_expression):
        try:
            parser(Source("noise", text))
        except ScriptError as error:
            assert error.diagnostics[0].render()


@pytest.mark.parametrize(
    "text",
    [
        "(1 + " * 95 + "1" + ")" * 95,
        "f(" * (MAX_DEPTH - 5) + "1" + ")" * (MAX_DEPTH - 5),
        "{ " * 95 + "1" + " }" * 95,
        "if 1 { }" + " else if 1 { }" * (MAX_DEPTH - 10),
    ],
    ids=["sums", "calls", "blocks", "else-ifs"],
)
def test_whatever_parses_can_be_shown(text: str) -> None:
    tree = parse(Source("deep", f"begin {{ {text} }}"))
    assert dump(parse(Source("shown", show(tree)))) == dump(tree)


def test_show_lays_out_a_script() -> None:
    text = (
        "config={a=1} k:f,end /$x.y>1/{$y=(int32*)$x+2*3;"
        "if 1{}else{$2} let $z:struct x[4]*;@[1,2]=3}"
    )
    assert show(parse(Source("x", text))) == (
        "config = {\n  a = 1;\n}\n"
        "k:f, end /$x.y > 1/\n"
        "{\n"
        "  $y = ((int32*)$x) + (2 * 3);\n"
        "  if (1) {} else {\n    $2\n  }\n"
        "  let $z : struct x[4]*;\n"
        "  @[1, 2] = 3;\n"
        "}\n"
    )


def test_dump_shows_structure_and_no_spans() -> None:
    assert dump(parse_expression(Source("x", "@a[1, $b] + f()"))) == (
        "Binary op='+'\n"
        "  left: Map name='@a'\n"
        "    key: TupleLiteral\n"
        "      elements:\n"
        "        Integer value=1 text='1'\n"
        "        Variable name='$b'\n"
        "  right: Call name='f'"
    )
