/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * User ABI of /dev/neural: load a model file, predict, read statistics.
 *
 * Every structure has a fixed layout without implicit padding, the same for
 * 32 and 64 bit callers. Pointers are carried as __u64. Reserved fields and
 * unknown flags must be zero, otherwise the call fails with EINVAL.
 *
 * Every request starts with a struct neural_msg. When a call fails, the kernel
 * writes one NUL-terminated line there that says which field is wrong and why.
 */
#ifndef _UAPI_LINUX_NEURAL_H
#define _UAPI_LINUX_NEURAL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define NEURAL_ABI_VERSION 1

/*
 * Bytes of a network name with its terminating NUL. Allowed: [A-Za-z0-9_.-],
 * not starting with '.' or '-'.
 */
#define NEURAL_NAME_LEN 32

/* Bytes that an error line never exceeds, with its terminating NUL. */
#define NEURAL_MSG_LEN 160

/*
 * Buckets of the latency histogram: bucket i counts [2^i, 2^(i+1)) ns, bucket 0
 * also 0 ns, the last one all above.
 */
#define NEURAL_HIST_BUCKETS 40

/* A network id that means all networks, loaded and unloaded, since the module was loaded. */
#define NEURAL_ID_TOTAL 0

/* Samples in one batch. */
#define NEURAL_BATCH_MAX (1U << 20)

/**
 * struct neural_msg - where the kernel may write why a call failed
 * @text: address of a buffer of @len bytes, or 0
 * @len: size of the buffer, in bytes; a longer line is cut, NEURAL_MSG_LEN is always enough
 * @reserved: must be 0
 */
struct neural_msg {
	__u64 text;
	__u32 len;
	__u32 reserved;
};

/* neural_query.features */
#define NEURAL_FEATURE_Q16 (1ULL << 0) /* Q16.16 networks */
#define NEURAL_FEATURE_CACHE (1ULL << 1) /* prediction cache */
#define NEURAL_FEATURE_NUMA (1ULL << 2) /* NUMA placement */
#define NEURAL_FEATURE_REPLACE (1ULL << 3) /* live replacement */
#define NEURAL_FEATURE_I8 (1ULL << 4) /* networks of 8-bit codes */
/* networks of single precision, for which this CPU has vector code */
#define NEURAL_FEATURE_F32 (1ULL << 5)
#define NEURAL_FEATURE_I16 (1ULL << 6) /* networks of 16-bit codes */

/**
 * struct neural_query - what this module is and can do
 * @msg: see struct neural_msg
 * @abi_version: out: NEURAL_ABI_VERSION of the module
 * @networks: out: number of networks that are loaded
 * @features: out: NEURAL_FEATURE_*
 * @max_model_bytes: out: largest model file that is taken
 * @reserved: must be 0
 */
struct neural_query {
	struct neural_msg msg;
	__u32 abi_version;
	__u32 networks;
	__u64 features;
	__u64 max_model_bytes;
	__u64 reserved[2];
};

/* neural_load.flags */
/* Take neural/NAME.nnm from the firmware path; data and size are 0. */
#define NEURAL_LOAD_FIRMWARE (1U << 0)

/**
 * struct neural_load - load a model as a new network, or replace the model of one
 * @msg: see struct neural_msg
 * @data: address of the model file's bytes
 * @size: number of bytes
 * @name: name of the network; when empty, the name that stands in the file
 * @flags: NEURAL_LOAD_*
 * @id: out: id of the network, never 0, never used again
 * @reserved: must be 0
 *
 * To replace, input and output must have the same size and type as before.
 */
struct neural_load {
	struct neural_msg msg;
	__u64 data;
	__u64 size;
	char name[NEURAL_NAME_LEN];
	__u32 flags;
	__u32 id;
	__u64 reserved[2];
};

/**
 * struct neural_name - a network by name
 * @msg: see struct neural_msg
 * @name: name of the network
 * @id: out: its id
 * @reserved: must be 0
 */
struct neural_name {
	struct neural_msg msg;
	char name[NEURAL_NAME_LEN];
	__u32 id;
	__u32 reserved;
};

/* neural_info.dtype: the element type of input and output */
#define NEURAL_DTYPE_Q16 1 /* __s32, Q16.16 */
#define NEURAL_DTYPE_I8 \
	2 /* __s8, a code q for the number scale * (q - zero_point) */
#define NEURAL_DTYPE_I16 3 /* __s16, a code q for the number scale * q */
#define NEURAL_DTYPE_F32 5 /* float, IEEE 754 single precision */

/**
 * struct neural_info - what a network is
 * @name: its name, NUL-terminated
 * @id: its id
 * @dtype: NEURAL_DTYPE_*
 * @input_dim: elements of an input
 * @output_dim: elements of an output
 * @layers: number of layers
 * @generation: 1 when loaded, one more with each replacement or new placement
 * @macs: multiply-accumulates of one prediction
 * @weight_bytes: bytes of weights and biases
 * @memory_bytes: all memory that the network holds, caches and scratch included
 * @input_scale: of codes: the scale of the input, the bits of a float; else 0
 * @input_zero_point: of codes: the zero point of the input, -128 to 127; else 0
 * @output_scale: of codes: the scale of the output, the bits of a float; else 0
 * @output_zero_point: of codes: the zero point of the output, -128 to 127; else 0
 *
 * A replacement may change scales and zero points, and then changes @generation.
 */
struct neural_info {
	char name[NEURAL_NAME_LEN];
	__u32 id;
	__u32 dtype;
	__u32 input_dim;
	__u32 output_dim;
	__u32 layers;
	__u32 generation;
	__u64 macs;
	__u64 weight_bytes;
	__u64 memory_bytes;
	__u32 input_scale;
	__s32 input_zero_point;
	__u32 output_scale;
	__s32 output_zero_point;
};

/**
 * struct neural_list - the loaded networks
 * @msg: see struct neural_msg
 * @infos: address of an array of struct neural_info
 * @capacity: elements of the array
 * @count: out: number of networks, of which the first @capacity were written, ordered by id
 */
struct neural_list {
	struct neural_msg msg;
	__u64 infos;
	__u32 capacity;
	__u32 count;
};

/**
 * struct neural_predict - predict one sample or a batch
 * @msg: see struct neural_msg
 * @id: id of the network
 * @count: samples; 1 for NEURAL_IOC_PREDICT, 1 to NEURAL_BATCH_MAX for NEURAL_IOC_PREDICT_BATCH
 * @input: address of @count inputs, one after the other without gaps
 * @output: address of @count outputs, one after the other without gaps
 * @input_bytes: bytes of one input
 * @output_bytes: bytes of one output
 * @flags: must be 0
 * @reserved: must be 0
 */
struct neural_predict {
	struct neural_msg msg;
	__u32 id;
	__u32 count;
	__u64 input;
	__u64 output;
	__u32 input_bytes;
	__u32 output_bytes;
	__u32 flags;
	__u32 reserved;
};

/* Indices into neural_stats.errors. */
#define NEURAL_ERR_INPUT 0 /* wrong size, count or address */
/* too costly where the caller may not sleep, no allowed CPU within its reach, or no vector code */
#define NEURAL_ERR_CONTEXT 1
#define NEURAL_ERR_MEMORY 2 /* an allocation failed */
#define NEURAL_ERR_MODEL 3 /* a model file was refused */
#define NEURAL_ERR_INTERRUPTED 4 /* a signal ended a long call */
#define NEURAL_ERR_CONFIG 5 /* a setting was refused */
#define NEURAL_ERR_KINDS 6

/**
 * struct neural_stats - statistics of a network, or of all
 * @msg: see struct neural_msg
 * @id: id of the network, or NEURAL_ID_TOTAL
 * @reserved: must be 0
 * @predictions: predictions made, those from the cache included
 * @batches: batch calls
 * @cache_hits: predictions answered by the cache
 * @cache_misses: look-ups that found nothing
 * @cache_expired: look-ups that found an answer past its time-out (a miss, too)
 * @simd_ops: operations done by vector code
 * @total_ns: time spent in predictions, in ns
 * @p50_ns: half of the predictions took at most this long, interpolated in the histogram
 * @p99_ns: 99 % of them
 * @p999_ns: 99.9 % of them
 * @memory_bytes: memory held now
 * @memory_peak_bytes: the most memory that was held at any time
 * @errors: errors by kind, NEURAL_ERR_*
 * @histogram: latency histogram
 */
struct neural_stats {
	struct neural_msg msg;
	__u32 id;
	__u32 reserved;
	__u64 predictions;
	__u64 batches;
	__u64 cache_hits;
	__u64 cache_misses;
	__u64 cache_expired;
	__u64 simd_ops;
	__u64 total_ns;
	__u64 p50_ns;
	__u64 p99_ns;
	__u64 p999_ns;
	__u64 memory_bytes;
	__u64 memory_peak_bytes;
	__u64 errors[NEURAL_ERR_KINDS];
	__u64 histogram[NEURAL_HIST_BUCKETS];
};

/**
 * struct neural_config - settings of a network as text, the lines of its debugfs file "config"
 * @msg: see struct neural_msg
 * @id: id of the network
 * @len: bytes at @text; get: size of the buffer, out: bytes of the text
 * @text: address of the text
 */
struct neural_config {
	struct neural_msg msg;
	__u32 id;
	__u32 len;
	__u64 text;
};

#define NEURAL_IOC_MAGIC 0xb7

#define NEURAL_IOC_QUERY _IOWR(NEURAL_IOC_MAGIC, 0x00, struct neural_query)
#define NEURAL_IOC_LOAD _IOWR(NEURAL_IOC_MAGIC, 0x01, struct neural_load)
#define NEURAL_IOC_REPLACE _IOWR(NEURAL_IOC_MAGIC, 0x02, struct neural_load)
#define NEURAL_IOC_UNLOAD _IOWR(NEURAL_IOC_MAGIC, 0x03, struct neural_name)
#define NEURAL_IOC_FIND _IOWR(NEURAL_IOC_MAGIC, 0x04, struct neural_name)
#define NEURAL_IOC_LIST _IOWR(NEURAL_IOC_MAGIC, 0x05, struct neural_list)
#define NEURAL_IOC_PREDICT _IOWR(NEURAL_IOC_MAGIC, 0x06, struct neural_predict)
#define NEURAL_IOC_PREDICT_BATCH \
	_IOWR(NEURAL_IOC_MAGIC, 0x07, struct neural_predict)
#define NEURAL_IOC_STATS _IOWR(NEURAL_IOC_MAGIC, 0x08, struct neural_stats)
#define NEURAL_IOC_CONFIG_GET \
	_IOWR(NEURAL_IOC_MAGIC, 0x09, struct neural_config)
#define NEURAL_IOC_CONFIG_SET \
	_IOWR(NEURAL_IOC_MAGIC, 0x0a, struct neural_config)

#endif /* _UAPI_LINUX_NEURAL_H */
