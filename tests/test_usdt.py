"""Static probes: notes of real programs, resolving, tracing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from resolving import faults, machine, names, resolved
from tracing import trace

from bpfscript.frontend.typed import Options
from bpfscript.runtime.usdt import usdt_probes
from bpfscript.target import MachineError, UsdtProbe, UserSymbol

SOURCE = """#include <sys/sdt.h>
#include <stdint.h>
int global_value = 77;
struct { int a, b; } pair = {1, 2};
__extension__ unsigned short app_guarded_semaphore __attribute__((unused, section(".probes")));
__attribute__((noinline)) void tick(int n)
{
  signed char small = -3; uint32_t big = 4000000000u; int64_t wide = -5; char text[] = "hello";
  volatile int numbers[4] = {10, 11, 12, 13};
  DTRACE_PROBE4(app, kinds, small, big, wide, text);
  DTRACE_PROBE2(app, places, numbers[n & 3], -7);
  DTRACE_PROBE1(app, twice, n);
  DTRACE_PROBE1(app, twice, 1000);
  DTRACE_PROBE1(other, twice, 5);
  DTRACE_PROBE2(app, globals, global_value, pair.b);
  DTRACE_PROBE12(app, twelve, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
  DTRACE_PROBE(app, done);
}
#undef _SDT_SEMAPHORE
"""
GUARDED = """#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
extern unsigned short app_guarded_semaphore;
__attribute__((noinline)) void guarded(int n)
{
  if (app_guarded_semaphore) { DTRACE_PROBE1(app, guarded, n); }
}
void tick(int n);
int main(void) { for (int i = 0; i < 3; i++) { tick(i); guarded(i); } return 0; }
"""


@pytest.fixture(scope="module", params=["-O0", "-O2"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("usdt")
    (folder / "app.c").write_text(SOURCE)
    (folder / "guarded.c").write_text(GUARDED)
    files = ["app.c", "guarded.c"]
    subprocess.run(["gcc", request.param, "-o", "app", *files], cwd=folder, check=True)
    return str(folder / "app")


class TestNotes:
    def test_of_a_program(self, program: str) -> None:
        found = usdt_probes(program)
        assert [(p.provider, p.name) for p in found if p.name == "twice"] == [
            ("app", "twice"), ("app", "twice"), ("other", "twice"),
        ]  # fmt: skip
        (twelve,) = (p for p in found if p.name == "twelve")
        assert twelve.arguments.split()[11] == "-4@$12" and twelve.semaphore == 0
        (guarded,) = (p for p in found if p.name == "guarded")
        assert guarded.semaphore > 0

    def test_no_notes(self) -> None:
        assert usdt_probes("/bin/true") == []

    def test_damaged(self, program: str, tmp_path: Path) -> None:
        data = Path(program).read_bytes()
        at = data.index(b"stapsdt\0")
        for size in (0xFFFFFFFF, 0, 5):
            copy = bytearray(data)
            copy[at - 8 : at - 4] = size.to_bytes(4, "little")
            (tmp_path / "copy").write_bytes(copy)
            assert len(usdt_probes(str(tmp_path / "copy"))) < len(usdt_probes(program))
        (tmp_path / "copy").write_bytes(data[:100])
        with pytest.raises(MachineError):
            usdt_probes(str(tmp_path / "copy"))


MARKERS = [
    UsdtProbe("tp", "one", 0x1100, 0x100, 0, "-4@%edi"),
    UsdtProbe("tp", "two", 0x1104, 0x104, 0x2010, "4@$5 8f@%xmm0"),
    UsdtProbe("tp", "two", 0x1108, 0x108, 0x2010, "4@$6 8f@%xmm0"),
    UsdtProbe("x", "one", 0x110C, 0x10C, 0, "-4@%edi"),
]
RECORDED = machine(usdt={"./prog": MARKERS, "/proc/7/maps": MARKERS[:1]})


class TestResolving:
    @pytest.mark.parametrize(
        ("point", "found"),
        [
            ("usdt:./prog:tp:one", ["tp:one"]),
            ("usdt:./prog:one", ["tp:one", "x:one"]),
            ("usdt:./prog:*:one", ["tp:one", "x:one"]),
            ('usdt:./prog:"":one', ["tp:one", "x:one"]),
            ("U:./prog:tp:*", ["tp:one", "tp:two"]),
        ],
    )
    def test_names(self, point: str, found: list[str]) -> None:
        files: dict[str, list[UserSymbol]] = {"./prog": [], "/proc/7/maps": []}
        target = machine(files=files, usdt=RECORDED.usdt)
        assert names(f"{point} {{ }}", target=target) == [f"usdt:./prog:{n}" for n in found]

    @pytest.mark.parametrize("point", ["one", '"":one', '"":tp:one', "*:one"])
    def test_of_a_process(self, point: str) -> None:
        target = machine(files={"/proc/7/maps": []}, usdt=RECORDED.usdt)
        found = names(f"usdt:{point} {{ }}", target=target, options=Options(pid=7))
        assert found == ["usdt:/proc/7/maps:tp:one"]

    def test_locations_of_one_probe(self) -> None:
        (instance,) = resolved("usdt:./prog:tp:two { }", target=RECORDED)
        assert [(a.offset, a.semaphore, a.cookie) for a in instance.attachments] == [
            (0x104, 0x2010, 0), (0x108, 0x2010, 0),
        ]  # fmt: skip
        first, second = resolved("usdt:./prog:tp:two { print(arg0) }", target=RECORDED)
        assert (first.usdt[0].value, second.usdt[0].value) == (5, 6)
        assert (first.repeated, second.repeated) == (0, 1)

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            ("usdt:./prog:tp:nope { }", "No matches for usdt ./prog:nope."),
            (
                "usdt:./none:nope { }",
                "usdt target file './none' does not exist or is not executable",
            ),
            (
                "usdt:./prog:tp:two { print(arg1) }",
                "Cannot read arg1 of usdt:./prog:tp:two: it is a floating-point number",
            ),
        ],
    )
    def test_faults(self, script: str, message: str) -> None:
        assert faults(script, target=RECORDED)[0] == message

    def test_wildcards_may_match_nothing(self) -> None:
        (fault,) = faults("usdt:./prog:nope:* { }", target=RECORDED)
        assert fault.startswith("Probe has no valid attach points.")


class TestTracing:
    def test_kinds_of_arguments(self, program: str) -> None:
        script = "usdt:PROGRAM:kinds { print((arg0, arg1, arg2, str(arg3), arg4)); exit(); }"
        found = trace(script.replace("PROGRAM", program), program)
        assert found == "(-3, 4000000000, -5, hello, 0)"

    def test_places(self, program: str) -> None:
        script = f"usdt:{program}:app:places {{ print((arg0, arg1)); }}"
        assert trace(script, program).split("\n") == ["(10, -7)", "(11, -7)", "(12, -7)"]
        script = f"usdt:{program}:app:globals {{ print((arg0, arg1)); exit(); }}"
        assert trace(script, program) == "(77, 2)"
        script = f"usdt:{program}:app:twelve {{ print((arg0, arg11)); exit(); }}"
        assert trace(script, program) == "(1, 12)"

    def test_several_locations(self, program: str) -> None:
        script = f"usdt:{program}:twice {{ @[probe] = sum(arg0); }}"
        found = trace(script, program)
        name = f"usdt:{program}"
        assert set(found.split("\n")) == {
            f"@[{name}:app:twice]: 3003",
            f"@[{name}:other:twice]: 15",
        }

    def test_semaphore(self, program: str) -> None:
        script = f"usdt:{program}:guarded {{ @ = sum(arg0 + 1); }}"
        assert trace(script, program) == "@: 6"
