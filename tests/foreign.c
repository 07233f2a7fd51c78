#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct key { __u32 fd; char comm[16]; };
struct value { __u64 calls; __s32 last; enum { SMALL, LARGE = 7 } size; };

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 64);
    __type(key, struct key);
    __type(value, struct value);
} writes SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} total SEC(".maps");

const volatile char wanted[16] = "dd";
__u64 seen;
int start = 40;

static __attribute__((noinline)) int same(const char *a)
{
    for (int i = 0; i < 3; i++)
        if (a[i] != wanted[i])
            return 0;
    return 1;
}

struct args { __u64 pad; __s64 nr; __u64 fd; __u64 buf; __u64 count; };

SEC("tracepoint/syscalls/sys_enter_write")
int on_write(struct args *ctx)
{
    struct key key = { .fd = ctx->fd };
    struct value none = {}, *value;
    __u32 zero = 0;
    __u64 *n;

    bpf_get_current_comm(key.comm, sizeof(key.comm));
    if (!same(key.comm))
        return 0;
    bpf_map_update_elem(&writes, &key, &none, BPF_NOEXIST);
    value = bpf_map_lookup_elem(&writes, &key);
    if (value) {
        value->calls++;
        value->last = -(int)ctx->count;
        value->size = ctx->count > 100 ? LARGE : SMALL;
    }
    n = bpf_map_lookup_elem(&total, &zero);
    if (n)
        *n += ctx->count;
    __sync_fetch_and_add(&seen, 1);
    start++;
    return 0;
}

SEC("raw_tp/sched_process_exit")
int on_exit(void *ctx)
{
    return 0;
}

SEC("xdp")
int packet(struct xdp_md *ctx)
{
    return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
