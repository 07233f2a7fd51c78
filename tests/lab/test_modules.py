"""Functions, structs and raw tracepoints of a module: null_blk, whose zoned devices report."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import check_call

import pytest

from bpfscript import driver
from bpfscript.diagnostics import ScriptError, Source
from bpfscript.frontend.typed import Options
from bpfscript.listing import Listing
from bpfscript.runtime.cache import Cache
from bpfscript.runtime.live_target import LiveTarget

from .conftest import trace_on

pytestmark = [pytest.mark.kernel, pytest.mark.requires("kprobe", "btf", "tracefs")]
needs_fentry = pytest.mark.requires("fentry")

Trace = Callable[..., list[str]]
CONFIGURATION = Path("/sys/kernel/config")
SETTINGS = {"size": 16, "zoned": 1, "zone_size": 4, "memory_backed": 1, "queue_mode": 2}


@pytest.fixture(scope="module", autouse=True)
def device() -> str:
    subprocess.run(["modprobe", "-d", os.environ["LAB_KERNEL"], "null_blk"], check=True)
    if not (CONFIGURATION / "nullb").exists():
        subprocess.run(["mount", "-t", "configfs", "none", CONFIGURATION], check=True)
    directory = CONFIGURATION / "nullb/lab"
    directory.mkdir()
    for name, value in SETTINGS.items():
        (directory / name).write_text(str(value))
    (directory / "power").write_text("1")
    return "/dev/lab"


@pytest.fixture(scope="module")
def target(device: str, cache: Cache) -> LiveTarget:
    """One that looks after the module was loaded."""
    target = LiveTarget(cache=cache)
    assert target.btf and target.module_btf("null_blk")  # mapped from now on: no test leaks them,
    assert not target.callable_by("no_such_function", 0)  # nor what features are looked up in
    return target


@pytest.fixture
def trace(target: LiveTarget) -> Trace:
    return partial(trace_on, target)


@pytest.fixture
def reset(device: str) -> Callable[[], object]:
    """What resets the first zone: `null_queue_rq`, then an event."""
    return lambda: check_call(["blkzone", "reset", "-c", "1", device])


@needs_fentry
@pytest.mark.short
def test_typed_arguments(trace: Trace, reset: Callable[[], object]) -> None:
    script = """
        f:null_queue_rq /str(args.hctx->queue->disk->disk_name) == "lab"/ {
            printf("%s %s %d\\n", probe, func, args.bd->rq->__data_len);
        }
        fr:null_blk:null_queue_rq { @[probe, retval] = count(); }
    """
    assert trace(script, reset) == [
        "fentry:null_blk:null_queue_rq null_queue_rq 0",
        "@[fexit:null_blk:null_queue_rq, 0]: 1",
    ]


@needs_fentry
def test_wildcards(trace: Trace, reset: Callable[[], object]) -> None:
    script = "f:null_b*:null_queue_*,f:null_*:vfs_read { @[func] = count(); }"
    assert "@[null_queue_rq]: 1" in trace(script, reset)


@pytest.mark.short
def test_structs(trace: Trace, reset: Callable[[], object]) -> None:
    script = """
        k:null_blk:null_queue_rq {
            $hctx = (struct blk_mq_hw_ctx *)arg0;
            $queue = (struct nullb_queue *)$hctx->driver_data;
            printf("%s %s %d %d\\n", probe, func, $queue->dev->zone_size, $queue->dev->zoned);
        }
    """
    assert trace(script, reset) == ["kprobe:null_blk:null_queue_rq null_queue_rq 4 1"]


def test_objects_that_read_structs_of_modules_are_for_one_release(target: LiveTarget) -> None:
    script = "k:null_blk:null_queue_rq { print(((struct nullb_queue *)arg0)->dev->zoned); }"
    artifact = driver.compile(Source("a.bt", script), target, Options(portable=True)).artifact
    assert [assumed.kind for assumed in artifact.assumes] == ["release"]


@pytest.mark.parametrize("without", [(), ("kprobe_session",), ("kprobe_session", "kprobe_multi")])
def test_all_functions_of_a_module(
    trace: Trace, reset: Callable[[], object], without: tuple[str, ...]
) -> None:
    script = """
        k:null_blk:null_queue_* { @in[probe] = count(); }
        kr:null_blk:null_queue_* { @out[func] = count(); }
        k:null_blk:null_queue_rq,k:blk_mq_submit_bio { @both[probe, func] = count(); }
    """
    lines = set(trace(script, reset, without=without))
    assert lines >= {
        "@in[kprobe:null_blk:null_queue_rq]: 1",
        "@out[null_queue_rq]: 1",
        "@both[kprobe:null_blk:null_queue_rq, null_queue_rq]: 1",
        "@both[kprobe:blk_mq_submit_bio, blk_mq_submit_bio]: 1",
    }


@pytest.mark.short
def test_raw_tracepoints(trace: Trace, reset: Callable[[], object]) -> None:
    script = """
        rawtracepoint:nullb_zone_op {
            printf("%s %d %d\\n", probe, args.zone_no, args.cmd->nq->dev->zone_size);
        }
        rt:null_blk:nullb_zone_o* { @[probe] = count(); }
        tracepoint:nullb:nullb_zone_op { printf("%s %s\\n", args.disk, args.op); }
    """
    assert sorted(trace(script, reset)) == [
        "@[rawtracepoint:null_blk:nullb_zone_op]: 1",
        "lab REQ_OP_ZONE_RESET",
        "rawtracepoint:null_blk:nullb_zone_op 0 4",
    ]


def test_listing(target: LiveTarget) -> None:
    def lines(pattern: str, *, verbose: bool = False) -> list[str]:
        return list(Listing(target, Options(), said.append).patterns(pattern, verbose))

    said: list[str] = []
    assert lines("rawtracepoint:nullb_zone_op") == ["rawtracepoint:null_blk:nullb_zone_op"]
    assert "kprobe:null_blk:null_queue_rq" in lines("kprobe:null_blk:*")
    assert lines("struct nullb_zone") == ["struct nullb_zone"]
    assert lines("struct nullb_queue", verbose=True)[0].startswith("null_blk: struct nullb_queue {")
    assert lines("rt:null_blk:nullb_zone_op", verbose=True)[1].startswith("    struct nullb_cmd *")
    assert said == []


@needs_fentry
def test_listing_of_typed_functions(target: LiveTarget) -> None:
    found = Listing(target, Options(), print).patterns("fentry:null_blk:null_queue_rq", True)
    assert list(found) == [
        "fentry:null_blk:null_queue_rq",
        "    struct blk_mq_hw_ctx * hctx",
        "    const struct blk_mq_queue_data * bd",
    ]


def test_a_module_that_is_not_there(trace: Trace) -> None:
    with pytest.raises(ScriptError, match="No matches"):
        trace("rawtracepoint:no_module:nullb_zone_op { exit(); }", lambda: None)
