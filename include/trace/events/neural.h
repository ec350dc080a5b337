/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Trace events of the neural module: /sys/kernel/tracing/events/neural/.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM neural

#if !defined(_TRACE_NEURAL_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_NEURAL_H

#include <linux/tracepoint.h>

TRACE_EVENT(neural_load,

	TP_PROTO(const char *name, u32 id, u32 generation, u64 bytes),

	TP_ARGS(name, id, generation, bytes),

	TP_STRUCT__entry(
		__string(name, name)
		__field(u32, id)
		__field(u32, generation)
		__field(u64, bytes)
	),

	TP_fast_assign(
		__assign_str(name);
		__entry->id = id;
		__entry->generation = generation;
		__entry->bytes = bytes;
	),

	TP_printk("name=%s id=%u generation=%u bytes=%llu", __get_str(name), __entry->id,
		  __entry->generation, __entry->bytes)
);

TRACE_EVENT(neural_unload,

	TP_PROTO(const char *name, u32 id),

	TP_ARGS(name, id),

	TP_STRUCT__entry(
		__string(name, name)
		__field(u32, id)
	),

	TP_fast_assign(
		__assign_str(name);
		__entry->id = id;
	),

	TP_printk("name=%s id=%u", __get_str(name), __entry->id)
);

TRACE_EVENT(neural_predict,

	TP_PROTO(u32 id, u64 ns, u32 samples, int ret),

	TP_ARGS(id, ns, samples, ret),

	TP_STRUCT__entry(
		__field(u32, id)
		__field(u64, ns)
		__field(u32, samples)
		__field(int, ret)
	),

	TP_fast_assign(
		__entry->id = id;
		__entry->ns = ns;
		__entry->samples = samples;
		__entry->ret = ret;
	),

	TP_printk("id=%u ns=%llu samples=%u ret=%d", __entry->id, __entry->ns, __entry->samples,
		  __entry->ret)
);

TRACE_EVENT(neural_cache,

	TP_PROTO(u32 id, u32 result),

	TP_ARGS(id, result),

	TP_STRUCT__entry(
		__field(u32, id)
		__field(u32, result)
	),

	TP_fast_assign(
		__entry->id = id;
		__entry->result = result;
	),

	TP_printk("id=%u result=%s", __entry->id,
		  __print_symbolic(__entry->result, { 0, "hit" }, { 1, "miss" }, { 2, "expired" }))
);

#endif /* _TRACE_NEURAL_H */

#include <trace/define_trace.h>
