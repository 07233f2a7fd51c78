"""No text gives a traceback, a small share of the campaign; and scripts that did not load once."""

from __future__ import annotations

import ctypes
import errno
from itertools import islice
from random import Random

import pytest
from campaign import loading, mutants, outcome
from script_strategies import script
from script_support import compiled, load
from tracing import trace

from bpfscript.diagnostics import ScriptError
from bpfscript.runtime.errors import BpfError, TooComplex, VerifierFault
from bpfscript.runtime.sys import Cmd, Kernel, ProgLoad

# Loops hide bounds from the verifier: of the index of a name, of the length of a string.
HIDDEN_INDEX = """
uprobe:/lib/x86_64-linux-gnu/libc.so.6:malloc,uprobe:/lib/x86_64-linux-gnu/libc.so.6:free {
  @m2[str(numaid), (255 != $1), comm, (comm == curtask.comm), probe] = curtask.comm;
  if (((a = @m3[uid], b = (32767, 2)) != (a = @m3[arg1], b = (cpid, 2147483647)))) {
  } else {
    while (((rand / curtask.parent.pid) > (false ? 0 : tid))) {
      delete(@m3, (delete(@m2, (probe, false, probe, (pid == 1), probe)) ? (uint32)-255 : 7));
    }
  }
}
begin { @m3[(uint64)1] = (int64)2; }
"""
HIDDEN_LENGTH = """
begin { @m0[bswap(pid)] = str((int64)curtask.prio, 1); }
software:cpu-clock:1000000 {
  unroll (20) {
    @m1[str(usermode, usermode)] <<= (cpid ^ 65536);
    @m1[@m0[cpu]] = -(reg("sp") + ((bool)-1 ? len(kstack(3)) : (cgroup << numaid)));
  }
}
"""
# The range of a counter that was compared moves by one each round.
MOVING_RANGE = "begin { for ($i : 1000..(-3)) { while ($i < 9223372036854775807) { ++$i; } } }"
SPLIT_RANGE = """
begin { @m[1, false, false, false] = 1; while (strcontains(str($1), "x")) {
  for ($i : pid..gid) { ++@m[tid, $i > 5, $i > 2147483647, $i == 9]; @k[$i > 7, $i > 8, $i] = $i; }
} }
"""
# Each truth doubles what a round may look like.
TRUTHS = """
begin { for ($i : 0..rand) { while (strcontains(comm, str($1))) {
  @m[(rand > 1, rand > 2, rand > 3, rand > 4)] = rand > 5;
  @n[@m[(rand > 1, rand > 2, rand > 3, rand > 4)], rand > 6 && rand > 7, rand > 8] =
    (rand > 9, comm);
} } }
"""
# A pointer that may be null and an index that starts at zero have that constant in common.
SHARED_ZERO = """
begin /(1)/ {
  let $v1 = str(pid);
  $v1 = $v1;
  @m1[1]--;
  @m0[1] = ~(usermode + (strcontains($v1, comm) ? ~(1) : -(rand + curtask.files.fdt.max_fds)));
}
"""
# What was written to the stack in one of two ways is two states, and of many slots all products.
_FILL = 'if (rand) { %s = "a"; } else if (rand > 1) { %s = "bc"; } else { %s = str(pid); }'
_NAMES = [f"$s{i}" for i in range(12)]
FILLED_BY_ROUNDS = f"""
config = {{ max_strlen = 8 }}
begin {{
  {"".join(f"{name} = comm; " for name in _NAMES)}
  while (rand) {{
    {"".join(_FILL.replace("%s", name) for name in _NAMES)}
    print(({", ".join(_NAMES)}));
  }}
}}
"""
HUGE_SHIFT = 'begin { print(str("abcdef")[(rand << 9223372036854775807) % 4]); }'
DECIDED = "begin { print(comptime (1 + 2) ? comm : str($1)); print(comptime (1 - 1) ? $1 : comm); }"
LOADING = {
    "decided": DECIDED,
    "shift": HUGE_SHIFT,
    "index": HIDDEN_INDEX,
    "length": HIDDEN_LENGTH,
    "moving": MOVING_RANGE,
    "split": SPLIT_RANGE,
    "truths": TRUTHS,
    "zero": SHARED_ZERO,
    "filled": FILLED_BY_ROUNDS,
}


@pytest.mark.requires("root", "btf")
@pytest.mark.parametrize("text", LOADING.values(), ids=LOADING)
def test_loads(text: str) -> None:
    assert loading(text) == "loaded"


# Two to the power of 24 values, each of which is compared with what it is not.
TOO_MANY_WAYS = (
    f"begin {{ $x = 0; {''.join(f'if (rand) {{ $x += {1 << i}; }} ' for i in range(24))}\n"
    "if ($x == 12345) { exit(); } }"
)


@pytest.mark.requires("root", "btf")
def test_what_the_verifier_cannot_follow_is_no_bug() -> None:
    with pytest.raises(TooComplex, match=r"^t\.bt:.* ways lead through begin.*too large") as caught:
        load(compiled(TOO_MANY_WAYS))
    assert caught.value.status == 1 and caught.value.hint


@pytest.mark.requires("root", "btf")
def test_a_fault_of_the_verifier_is_no_bug_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    bpf = Kernel.bpf

    def falls(self: Kernel, cmd: Cmd, attr: ctypes.Structure, what: str = "") -> int:
        if cmd is not Cmd.PROG_LOAD or what != "begin_1":
            return bpf(self, cmd, attr, what)
        assert isinstance(attr, ProgLoad)
        if attr.log_buf:
            ctypes.memmove(attr.log_buf, b"; exit(); @ t.bt:1\nverifier bug: REG INVARIANTS", 48)
        raise BpfError("BPF_PROG_LOAD", errno.EFAULT, what)

    monkeypatch.setattr(Kernel, "bpf", falls)
    with pytest.raises(VerifierFault) as caught:
        load(compiled("begin { exit(); }"))
    assert str(caught.value).startswith(
        "t.bt:1: this kernel's verifier has a fault, which begin makes it show: verifier bug: REG"
    )
    assert caught.value.status == 1 and caught.value.hint


@pytest.mark.requires("root", "btf")
def test_a_program_has_64_maps() -> None:
    for others, expected in ((0, "loaded"), (1, "refused")):
        maps = "\n".join(f"@m{i} = pid;" for i in range(64 + others))
        assert loading(f"begin {{ {maps} }}") == expected
    with pytest.raises(ScriptError, match="uses 65 maps") as caught:
        compiled(f"begin {{ {maps} }}")
    assert caught.value.diagnostics[0].span.place.startswith("t.bt:65:1-")


@pytest.mark.requires("root", "btf")
def test_the_context_is_not_there_in_loops() -> None:
    script = "tracepoint:sched:sched_switch { @a[1] = 1; for ($i : %s) { print(args.prev_pid); } }"
    for over in ("@a", "0..3"):
        assert outcome(script % over) == "refused"


@pytest.mark.requires("root", "btf")
@pytest.mark.parametrize("seed", range(4))
def test_broken_scripts_end_in_diagnostics(seed: int) -> None:
    for text in islice(mutants(seed), 500):
        assert outcome(text) in ("accepted", "refused"), text


@pytest.mark.requires("root", "btf")
@pytest.mark.parametrize("backend", ["native", "llvm"])
def test_stacks_in_loops_over_maps(backend: str) -> None:
    script = """begin {
        @[1] = 1; @[2] = 2;
        for ($kv : @) { for ($of : @) { @s[kstack(3)] = count(); @n = max(len(kstack)); } }
        for ($kv : @s) { print($kv.1); }
        print(@n > 3);
        clear(@s); clear(@); clear(@n);
    }"""
    assert trace(script, "true", "--backend", backend) == "4\ntrue"


@pytest.mark.requires("root", "btf")
@pytest.mark.parametrize("seed", range(6))
def test_generated_scripts_load(seed: int) -> None:
    r = Random(seed)
    for _ in range(50):
        text = script(r)
        assert loading(text) in ("loaded", "refused"), text
