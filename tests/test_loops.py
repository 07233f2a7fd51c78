"""Loops run to their end on the kernel, or say that they do not."""

from __future__ import annotations

import pytest
from script_support import compiled, load, target

import bpfscript
from bpfscript.diagnostics import ScriptError, Source
from bpfscript.driver import compile
from bpfscript.target import RecordedTarget

COUNTS = {
    # bodies that take longer than may_goto gives in all
    "for ($i : 0..1000000) { $n++; @[$n % 100] = count(); }": 1_000_000,
    "for ($i : 0..20000000) { $n++; }": 20_000_000,
    "for ($i : 3..65538) { $n++; }": 65_535,
    "for ($i : 0..2000) { for ($j : 0..1000) { $n++; } }": 2_000_000,
    "for ($i : 0..20) { for ($j : 0..1000) { $n++; } }": 20_000,
    "for ($i : 0..3000000) { $n++; if ($i == 2500000) { break; } }": 2_500_001,
    "for ($i : 0..3000000) { if ($i % 3 == 0) { continue; } $n++; }": 2_000_000,
    "for ($i : 0..2000) { for ($j : 0..1000) { $n++; if ($j == 99) { break; } } }": 200_000,
    "while ($n < 10000000) { $n++; }": 10_000_000,
    "$to = (uint64)9000000 + rand % 1; while ($n < $to) { $n += 2; }": 9_000_000,
    "while (1) { $n++; if ($n == 700000) { break; } }": 700_000,
    "while ($n < 900000) { $j = 0; while ($j < 1000) { $j++; $n++; } }": 900_000,
    "@m[1] = 1; @m[2] = 2; for ($kv : @m) { for ($i : 0..300000) { $n++; } }": 600_000,
    'while ($n < 300000) { $n++; if (strcontains(str($n), "no")) { break; } }': 300_000,
}


ASM = frozenset({"asm"})


@pytest.fixture(scope="module", autouse=True)
def types() -> None:
    """Those of the kernel, mapped before the tests, none of which leaks them."""
    _ = target().btf


def run(text: str) -> list[bpfscript.Event]:
    with bpfscript.trace(text) as session:
        assert session.wait(60)
        return list(session.events())


@pytest.mark.kernel
@pytest.mark.parametrize("loop", COUNTS)
def test_rounds(loop: str) -> None:
    shown = run(f"begin {{ $n = (uint64)0; {loop} print($n); exit(); }}")
    assert [event.args[0] for event in shown] == [COUNTS[loop]]


@pytest.mark.kernel
def test_return_leaves_all_loops() -> None:
    loops = "while ($n < 1000000) { $j = 0; while ($j < 1000) { $j++; $n++; %s } }"
    leave = "if ($n == 600600) { print($j); exit(); return; }"
    shown = run("begin { $n = 0; " + loops % leave + " print(-1); }")
    assert [event.args[0] for event in shown] == [600]


@pytest.mark.kernel
def test_a_loop_that_does_not_end_is_told_of() -> None:
    shown = run(
        "begin { while (1) { @n++; } @after = 1; } end { print((@n, @after)); } i:ms:1 { exit(); }"
    )
    assert [event.kind for event in shown] == ["runtime_error", "print"]
    assert shown[0].text.startswith("Loop stopped after 8388608 rounds.")
    assert shown[1].args[0] == (1 + (1 << 23), 0)


def test_loops_of_minutes_are_refused() -> None:
    for loop in (
        "for ($i : 0..5000000000) { }",
        "for ($i : 0..100000) { for ($j : 0..100000) { } }",
    ):
        with pytest.raises(ScriptError, match="goes round") as caught:
            compiled(f"begin {{ {loop} }}")
        assert "t.bt:1:" in caught.value.diagnostics[0].span.place


FILLED = '@m[1] = 10; @m[2] = 20; $s = "hello"; $t = str(0, 200); $u = comm; $n = 0;'
SHARED = (
    'for ($a : @m) { $s = str("abc", 100); $t = $s; $n += $a.1; '
    'for ($b : @m) { $n += $b.1; if ($b.0 == 2) { $t = "q"; $s = strcap; } } } '
).replace("strcap", '$t == "q" ? "yes" : "no"')


@pytest.mark.kernel
@pytest.mark.parametrize("max_strlen", [64, 300, 1024])
def test_frames_of_any_size(max_strlen: int) -> None:
    text = f"config = {{ max_strlen = {max_strlen}; }} begin {{ {FILLED} {SHARED}"
    shown = run(text + "print($n); print($s); print($t); print($u == comm); exit(); }")
    assert [event.args[0] for event in shown] == [90, "yes", "q", True]


@pytest.mark.kernel
@pytest.mark.parametrize("backend", ["native", "llvm"])
def test_deep_loops_over_maps(backend: str) -> None:
    names = [f"$v{n}" for n in range(20)]
    values = " ".join(f"{name} = rand % 1 + {n};" for n, name in enumerate(names))
    loops = "".join(f"for ($k{n} : @m) {{ " for n in range(7))
    sums = " ".join(f"$n += {name} + $k{n % 7}.1;" for n, name in enumerate(names))
    text = f"begin {{ @m[1] = 1; $n = 0; {values} {loops} {sums} {'}' * 7} @r = $n; exit(); }}"
    load(compiled(text, backend=backend))
    assert run(text.replace("@r = $n", "print($n)"))[0].args == (210,)
    with pytest.raises(ScriptError, match="nested more than 7"):
        compiled(text.replace(loops, loops + "for ($kx : @m) {").replace("}" * 7, "}" * 8))


@pytest.mark.kernel
@pytest.mark.parametrize("left", ["return;", "$z = $k.0;", "$z = $k.0; return;"])
def test_loops_in_what_the_kernel_calls_back(left: str) -> None:
    """Linux 6.17 and later: EFAULT, or an oops, where the verifier misses states it has freed."""
    text = f"""
        fn f($a : int64) : int64 {{ for ($i : 0..1000) {{ }} return 256; }}
        begin {{
            @m[comm] = 1; @w = comm; $z = comm;
            for ($k : @m) {{
                if ((strcontains(@w, comm) ? 7 : 2) < (uint64)f(64)) {{ @n[1] = 1; }}
                {left}
            }}
            print($z); exit();
        }}
    """
    load(compiled(text))


@pytest.mark.kernel
@pytest.mark.requires("tracefs")
def test_names_of_probes_in_loops() -> None:
    """A helper gets a place among names, which varies: it has to be inside them."""
    load(compiled('t:syscalls:sys_enter_* { while (tid > getopt("a", 5)) { @[comm] = probe; } }'))


@pytest.mark.parametrize(
    ("release", "rounds"), [((6, 16, 9), 1), ((6, 17, 0), 2), ((7, 1, 9), 2), ((7, 2, 0), 1)]
)
def test_a_round_around_a_call_back(release: tuple[int, int, int], rounds: int) -> None:
    text = "begin { @m[1] = 1; for ($k : @m) { for ($i : 0..9) { @n += nsecs; } } }"
    stages: list[str] = []
    target = RecordedTarget(release=release)
    compile(Source("t.bt", text), target, show=lambda _, t: stages.append(t), wanted=ASM)
    assert stages[0].count("may_goto") == rounds


@pytest.mark.kernel
def test_a_call_back_with_loops_is_made_once() -> None:
    text = """begin {
        @m[1] = 1; @m[2] = 1; $n = 0;
        for ($k : @m) { for ($i : 0..3) { for ($l : @m) { $n++; } } }
        print($n); exit();
    }"""
    assert run(text)[0].args == (12,)
