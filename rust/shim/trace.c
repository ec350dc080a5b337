// SPDX-License-Identifier: GPL-2.0
/*
 * Trace events, and one function for each that Rust can call. A disabled event
 * costs the caller one call and one predicted branch.
 */
#define CREATE_TRACE_POINTS
#include <trace/events/neural.h>

#include "shim.h"

void neural_shim_trace_load(const char *name, u32 id, u32 generation, u64 bytes)
{
	trace_neural_load(name, id, generation, bytes);
}

void neural_shim_trace_unload(const char *name, u32 id)
{
	trace_neural_unload(name, id);
}

void neural_shim_trace_predict(u32 id, u64 ns, u32 samples, int ret)
{
	trace_neural_predict(id, ns, samples, ret);
}

void neural_shim_trace_cache(u32 id, u32 result)
{
	trace_neural_cache(id, result);
}
