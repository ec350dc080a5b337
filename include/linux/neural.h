/* SPDX-License-Identifier: GPL-2.0 */
/*
 * In-kernel API of the neural module: networks, predictions, batches, memory.
 *
 * A network is loaded once, found by name, and predicted from any context.
 * Its model can be replaced while predictions run: each of them sees either
 * the old weights or the new ones.
 */
#ifndef _LINUX_NEURAL_H
#define _LINUX_NEURAL_H

#include <linux/types.h>

/* Elements of a vector from which vector code is used, where it exists. */
#define NEURAL_SIMD_THRESHOLD 64

/* Alignment of weights, scratch and the module's own objects, in bytes. */
#define NEURAL_CACHE_LINE_SIZE 64
#define NEURAL_ALIGN __aligned(NEURAL_CACHE_LINE_SIZE)

/* A node argument: follow the module parameters neural_numa_policy and neural_numa_node. */
#define NEURAL_NODE_POLICY (-1)

/* Multiply-accumulates above which a prediction needs a context that may sleep. */
#define NEURAL_ATOMIC_MACS (1U << 18)

/* Q16.16 from a constant integer, and back with rounding towards minus infinity. */
#define INT_TO_FP(i) ((s32)((u32)(i) << 16))
#define FP_TO_INT(f) ((s32)(f) >> 16)

struct neural_network;

typedef struct neural_network neural_network_t;

/**
 * struct neural_batch - inputs and outputs of several samples
 * @batch_size: number of samples
 * @input_dim: elements of an input
 * @output_dim: elements of an output
 * @inputs: @batch_size pointers, each to @input_dim elements to fill in
 * @outputs: @batch_size pointers, each to @output_dim elements that a prediction fills
 * @private: of the module
 *
 * Elements are Q16.16.
 */
struct neural_batch {
	unsigned int batch_size;
	unsigned int input_dim;
	unsigned int output_dim;
	s32 **inputs;
	s32 **outputs;
	void *private;
};

typedef struct neural_batch neural_batch_t;

struct neural_network *neural_network_load(const char *name, const void *data, size_t size);
struct neural_network *neural_network_create(const char *name, const u32 *dims, unsigned int n,
					     unsigned int activation, u64 seed);
int neural_network_replace(struct neural_network *nn, const void *data, size_t size);
struct neural_network *neural_network_get(const char *name);
void neural_network_put(struct neural_network *nn);
int neural_network_unload(const char *name);
unsigned int neural_network_input_dim(const struct neural_network *nn);
unsigned int neural_network_output_dim(const struct neural_network *nn);
int neural_network_configure(struct neural_network *nn, const char *line);
int neural_network_predict(struct neural_network *nn, const void *input, void *output);

struct neural_batch *neural_batch_create(unsigned int batch_size, unsigned int input_dim,
					 unsigned int output_dim);
int neural_batch_predict(struct neural_network *nn, struct neural_batch *batch);
void neural_batch_free(struct neural_batch *batch);

void *neural_alloc_numa(size_t size, int node);
void neural_free_numa(void *mem);

#endif /* _LINUX_NEURAL_H */
