"""Programs that count what they execute count right, and do what they did."""

from __future__ import annotations

import struct

import pytest
from backend_support import OUT, compile_text, program, run

from bpfscript.backends import BACKENDS, isa
from conformance.counters import MAP, instrument

pytestmark = pytest.mark.kernel

LOOP = """\
start:
  %1 = load %0 {off=0} : i64
  %2 = const {value=7} : i64
  %3 = and %1, %2 : i64
  %4 = const {value=0} : i64
  jump head(%4, %1)
head(%5: i64, %6: i64):
  %7 = ult %5, %3 : i1
  branch %7, body, done
body:
  %8 = call {helper="get_current_pid_tgid"} : i64
  %9 = xor %6, %5 : i64
  %10 = const {value=1} : i64
  %11 = add %5, %10 : i64
  jump head(%11, %9)
done:
  %12 = map_value {map=".out"} : ptr<map>
  store %12, %6 {off=0}
  return %4
"""


@pytest.mark.parametrize("name", BACKENDS)
def test_rounds_of_a_loop(name: str) -> None:
    plain = compile_text(program(LOOP), name)
    counting = instrument(plain)
    found = {}
    for rounds in (0, 1, 2, 7):
        context = (64 + rounds).to_bytes(8, "little") + bytes(56)
        left = run(counting, context, runs=2)
        assert left[OUT] == run(plain, context)[OUT]
        executed, calls = struct.unpack("<QQ", left[MAP])
        assert calls == 2
        found[rounds] = executed / 2
    straight = len(isa.decode(plain.functions["f"].code))
    assert 0 < found[0] < straight
    each = found[2] - found[1]
    assert 4 <= each < straight
    assert found[7] == found[2] + 5 * each
