// SPDX-License-Identifier: Apache-2.0
//
// The XDP program of every interface the switch holds: a packet goes to the
// socket of the queue it came in on, or it is dropped. It is pinned with its map,
// so that it outlives the switch: without a socket nothing passes (fail closed).
//
//      queue q ---> sockets[q] ---> AF_XDP socket of a worker
//                      | none
//                      `----------> XDP_DROP
//
// Section `xdp.frags`: without it the kernel refuses the program on an interface
// whose MTU is above 3498. It reads nothing of the packet; everything is judged by
// the worker.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	// As many as the interface has queues: set by the loader.
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

SEC("xdp.frags")
int lockgate(struct xdp_md *ctx)
{
	// The last argument is the verdict where the queue has no socket.
	return bpf_redirect_map(&sockets, ctx->rx_queue_index, XDP_DROP);
}

char _license[] SEC("license") = "Apache-2.0";
