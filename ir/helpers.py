"""BPF helpers that scripts compile to: number, argument kinds, result, purity.

Numbers and semantics: include/uapi/linux/bpf.h, the list in enum bpf_func_id. Functions of the
kernel (kfuncs) have no number; they are found by name when a program is loaded.
"""

from __future__ import annotations

from bpfscript.plain import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Result = Literal["i64", "map?", "ring?", "btf"]


@dataclass(frozen=True, slots=True)
class Helper:
    """`pure`: two calls in one run of a program give the same. `writes`: it changes memory we see.
    `kfunc`: the kernel function that it is.

    result "btf" points to kernel memory whose type the verifier knows; "map?" is a pointer into a
    map value, "ring?" into a ring record, and either may be null.
    """

    number: int
    args: int
    result: Result = "i64"
    pure: bool = False
    writes: bool = True
    kfunc: str = ""


HELPERS: dict[str, Helper] = {
    "map_lookup_elem": Helper(1, 2, "map?", writes=False),
    "map_update_elem": Helper(2, 4),
    "map_delete_elem": Helper(3, 2),
    "ktime_get_ns": Helper(5, 0, writes=False),
    "trace_printk": Helper(6, 5),
    "get_prandom_u32": Helper(7, 0, writes=False),
    "get_smp_processor_id": Helper(8, 0, pure=True, writes=False),
    "get_current_pid_tgid": Helper(14, 0, pure=True, writes=False),
    "get_current_uid_gid": Helper(15, 0, pure=True, writes=False),
    "get_current_comm": Helper(16, 2),
    "get_stackid": Helper(27, 3),
    "probe_write_user": Helper(36, 3),
    "get_socket_cookie": Helper(46, 1, writes=False),
    "get_current_task": Helper(35, 0, pure=True, writes=False),
    "get_numa_node_id": Helper(42, 0, pure=True, writes=False),
    "probe_read_str": Helper(45, 3),
    "override_return": Helper(58, 2),
    "get_stack": Helper(67, 4),
    "get_current_cgroup_id": Helper(80, 0, pure=True, writes=False),
    "send_signal": Helper(109, 1),
    "probe_read_user": Helper(112, 3),
    "probe_read_kernel": Helper(113, 3),
    "probe_read_user_str": Helper(114, 3),
    "probe_read_kernel_str": Helper(115, 3),
    "send_signal_thread": Helper(117, 1),
    "jiffies64": Helper(118, 0, writes=False),
    "get_ns_current_pid_tgid": Helper(120, 4),
    "ktime_get_boot_ns": Helper(125, 0, writes=False),
    "seq_printf": Helper(126, 5),
    "ringbuf_output": Helper(130, 4),
    "ringbuf_reserve": Helper(131, 3, "ring?"),
    "ringbuf_submit": Helper(132, 2),
    "ringbuf_discard": Helper(133, 2),
    "ringbuf_query": Helper(134, 2, writes=False),
    "get_current_task_btf": Helper(158, 0, "btf", pure=True, writes=False),
    "for_each_map_elem": Helper(164, 4),
    "d_path": Helper(147, 3),
    "get_func_arg": Helper(183, 3),
    "get_func_ret": Helper(184, 2),
    "snprintf": Helper(165, 5),
    "get_func_ip": Helper(173, 1, pure=True, writes=False),
    "get_attach_cookie": Helper(174, 1, pure=True, writes=False),
    "task_pt_regs": Helper(175, 1, "btf", pure=True, writes=False),
    "loop": Helper(181, 4),
    "strncmp": Helper(182, 3, writes=False),
    "map_lookup_percpu_elem": Helper(195, 3, "map?", writes=False),
    "ktime_get_tai_ns": Helper(208, 0, writes=False),
    # kernel/bpf/helpers.c; a task that is given is to be released
    "task_from_pid": Helper(0, 1, kfunc="bpf_task_from_pid"),
    "task_release": Helper(0, 1, kfunc="bpf_task_release"),
    # kernel/bpf/bpf_iter.c; the result of next is an address, 0 at the end
    "iter_num_new": Helper(0, 3, kfunc="bpf_iter_num_new"),
    "iter_num_next": Helper(0, 1, kfunc="bpf_iter_num_next"),
    "iter_num_destroy": Helper(0, 1, kfunc="bpf_iter_num_destroy"),
}
