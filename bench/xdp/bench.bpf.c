// SPDX-License-Identifier: Apache-2.0
// The two ends of a speed measurement: a generator and a sink.
//
// The generator runs on frames that the kernel makes for it (BPF_PROG_TEST_RUN with live frames)
// and redirects them out of the pod's own interface, as the pod's stack would send them, at about
// ten times the rate of a socket. The sink counts what reaches the other pod and drops it before
// its stack sees it, so that neither end is what is measured.
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct counter {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
};

struct counter received SEC(".maps");
struct counter made SEC(".maps");

// Set by the loader before the program is loaded.
volatile const __u32 out_ifindex = 0;
volatile const __u32 flow_mask = 0; // number of flows less one; a power of two less one
#define HEADERS 42 // Ethernet 14, IPv4 20, UDP 8
volatile const __u8 headers[HEADERS] = {};

static __always_inline __u64 next(void *map)
{
    __u32 zero = 0;
    __u64 *count = bpf_map_lookup_elem(map, &zero);
    return count ? (*count)++ : 0;
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
    void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
    __u8 *bytes = data;
    if (bytes + HEADERS > (__u8 *)end)
        return XDP_DROP;
    // The kernel makes a frame once and then sends it again and again, with whatever the last
    // receiver wrote into it: a router's MACs and TTL. So every frame gets its headers anew.
    for (int i = 0; i < HEADERS; i++)
        bytes[i] = headers[i];
    // The UDP checksum is 0, so that the source port may change.
    __u16 port = bpf_htons(1024 + (next(&made) & flow_mask));
    __builtin_memcpy(bytes + 34, &port, sizeof(port));
    return bpf_redirect(out_ifindex, 0);
}

SEC("xdp")
int count(struct xdp_md *ctx)
{
    next(&received);
    return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
