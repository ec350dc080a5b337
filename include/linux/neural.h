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
#include <uapi/linux/neural.h>

/*
 * Multiply-accumulates of a network from which vector code is used at the earliest; what the
 * measurement at load found is crossover_macs in the debugfs file isa.
 */
#define NEURAL_SIMD_THRESHOLD 64

/* Alignment of weights, scratch and the module's own objects, in bytes. */
#define NEURAL_CACHE_LINE_SIZE 64
#define NEURAL_ALIGN __aligned(NEURAL_CACHE_LINE_SIZE)

/* A node argument: follow the module parameters neural_numa_policy and neural_numa_node. */
#define NEURAL_NODE_POLICY (-1)

/*
 * The cost above which a prediction needs a context that may sleep, in
 * multiply-accumulates; activations count for what takes as long.
 */
#define NEURAL_ATOMIC_MACS (1U << 18)

/* Q16.16 from a constant integer, and back with rounding towards minus infinity. */
#define INT_TO_FP(i) ((s32)((u32)(i) << 16))
#define FP_TO_INT(f) ((s32)(f) >> 16)

struct neural_network;

/**
 * struct neural_batch - inputs and outputs of several samples
 * @batch_size: number of samples
 * @input_dim: elements of an input
 * @output_dim: elements of an output
 * @inputs: @batch_size pointers, each to @input_dim elements to fill in
 * @outputs: @batch_size pointers, each to @output_dim elements that a prediction fills
 * @private: of the module
 *
 * Elements are Q16.16. In a batch that neural_batch_create_for() made for a network of another type
 * they are of that type: codes, behind pointers to be cast to s8 pointers, or the bits of numbers
 * in single precision.
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

/**
 * neural_network_load() - load a model file as a new network
 * @name: name of the network, or NULL for the name in the file
 * @data: the bytes of a .nnm file; not needed any more when the function returns
 * @size: number of bytes
 *
 * Why a file is refused stands in the debugfs file neural_network/last_error.
 *
 * Context: Task, may sleep.
 * Return: A reference to the network, to give back by neural_network_put(), or an
 * ERR_PTR: -EBADMSG for a damaged file, -EPROTONOSUPPORT for an unknown version,
 * -EOPNOTSUPP for an unknown operation, or single precision without AVX2, -EINVAL or -ERANGE for a
 * wrong field, -E2BIG for too costly a model, -EEXIST when the name is taken, -ENOSPC when there
 * are no more ids, -EINTR when the caller is being killed, -ENOMEM.
 */
struct neural_network *neural_network_load(const char *name, const void *data,
					   size_t size);

/**
 * neural_network_create() - make a network of dense layers with random weights
 * @name: name of the network
 * @dims: @n sizes: of the input, of each hidden layer, of the output; each from 1 to 4096
 * @n: number of sizes, from 2 to 1024
 * @activation: activation of the hidden layers, as the model file numbers them; the last layer is
 *	linear
 * @seed: the same seed gives the same weights
 *
 * The weights are uniform in +-sqrt(6 / (inputs + outputs)) of their layer (Xavier initialisation),
 * the biases 0.
 *
 * Context: Task, may sleep.
 * Return: As neural_network_load().
 */
struct neural_network *neural_network_create(const char *name, const u32 *dims,
					     unsigned int n,
					     unsigned int activation, u64 seed);

/**
 * neural_network_replace() - replace the model of a network while predictions run
 * @nn: the network
 * @data: the bytes of a .nnm file with the same input and output as the network has
 * @size: number of bytes
 *
 * Each prediction uses either the old model or the new one. When the function returns, the old one
 * is not used any more, except by a prediction that may sleep and is still at work.
 *
 * Context: Task, may sleep.
 * Return: 0, or an error number as of neural_network_load(); then nothing has changed.
 */
int neural_network_replace(struct neural_network *nn, const void *data,
			   size_t size);

/**
 * neural_network_get() - find a network by name
 * @name: its name
 *
 * Context: Any but NMI.
 * Return: A reference to the network, to give back by neural_network_put(), or an
 * ERR_PTR: -ENOENT, or -EINVAL for what is no name.
 */
struct neural_network *neural_network_get(const char *name);

/**
 * neural_network_put() - give back a reference to a network
 * @nn: the network; NULL and an ERR_PTR do nothing
 *
 * Context: Task, may sleep.
 */
void neural_network_put(struct neural_network *nn);

/**
 * neural_network_unload() - unload a network
 * @name: its name
 *
 * It is not found any more from now on. Who holds a reference may go on to predict.
 *
 * Context: Task, may sleep.
 * Return: 0; -ENOENT; -EINVAL for what is no name; -ENOMEM.
 */
int neural_network_unload(const char *name);

/**
 * neural_network_input_dim() - number of elements of an input
 * @nn: the network
 *
 * Context: Any.
 * Return: At least 1; at most 4096 of Q16.16.
 */
unsigned int neural_network_input_dim(const struct neural_network *nn);

/**
 * neural_network_output_dim() - number of elements of an output
 * @nn: the network
 *
 * Context: Any.
 * Return: At least 1; at most 4096 of Q16.16.
 */
unsigned int neural_network_output_dim(const struct neural_network *nn);

/**
 * neural_network_input_bytes() - number of bytes of an input
 * @nn: the network
 *
 * Context: Any.
 * Return: As many as neural_network_input_dim() elements have.
 */
size_t neural_network_input_bytes(const struct neural_network *nn);

/**
 * neural_network_output_bytes() - number of bytes of an output
 * @nn: the network
 *
 * Context: Any.
 * Return: As many as neural_network_output_dim() elements have.
 */
size_t neural_network_output_bytes(const struct neural_network *nn);

/**
 * neural_network_dtype() - type of the elements of input and output
 * @nn: the network
 *
 * A replacement does not change it, nor the number of elements; what the codes of an 8-bit network
 * stand for may change (struct neural_info).
 *
 * Context: Any.
 * Return: NEURAL_DTYPE_Q16 (s32), NEURAL_DTYPE_I8 (s8), NEURAL_DTYPE_I16 (s16) or
 * NEURAL_DTYPE_F32 (the bits of a float).
 */
unsigned int neural_network_dtype(const struct neural_network *nn);

/**
 * neural_network_configure() - change settings of a network
 * @nn: the network
 * @line: lines of the form "key value", as its debugfs file config takes them; all or none of them
 *	are applied
 *
 * Context: Task, may sleep.
 * Return: 0, -EINVAL for an unknown key or a malformed value, -ERANGE for a value out of range,
 * -ENOMEM.
 */
int neural_network_configure(struct neural_network *nn, const char *line);

/**
 * neural_network_predict() - predict one sample
 * @nn: the network
 * @input: neural_network_input_dim() elements of the type that neural_network_dtype() tells
 * @output: room for neural_network_output_dim() elements of the same type, apart from @input
 *
 * Allocates nothing and takes no lock that a load, a replacement or a change of settings holds.
 *
 * Context: Any but NMI, for a network that costs at most NEURAL_ATOMIC_MACS; it runs with
 * preemption off. A costlier one needs a caller that may sleep, and runs preemptible. With a
 * CPU mask set, a caller on another CPU must be a task with interrupts on; if it
 * may not sleep, it waits for an interrupt there, so it must hold no lock that
 * others take with interrupts off. A network of single precision needs a section for vector code:
 * there is none in a hard interrupt that interrupts one, a softirq or code with softirqs off.
 * Return: 0; -EAGAIN when the network is too costly for a caller that may not sleep, or needs more
 * than 64 KiB of scratch memory; -EXDEV when the CPU is not allowed and the caller cannot wait for
 * another one; -ENXIO when no allowed CPU is online; -EBUSY from an NMI or from within a
 * prediction; -EINTR when the caller was killed during a costly one, or got a signal while it
 * waited; -EOPNOTSUPP from a network of single precision where vector code may not run or is
 * switched off; -EINVAL for a NULL pointer, or when @output overlaps @input.
 */
int neural_network_predict(struct neural_network *nn, const void *input,
			   void *output);

/**
 * neural_batch_create() - make room for a batch of samples in Q16.16
 * @batch_size: number of samples, from 1 to 1048576
 * @input_dim: elements of an input
 * @output_dim: elements of an output
 *
 * Context: Task, may sleep.
 * Return: The batch, with zeroed inputs and outputs; NULL when a size is wrong or memory is short.
 */
struct neural_batch *neural_batch_create(unsigned int batch_size,
					 unsigned int input_dim,
					 unsigned int output_dim);

/**
 * neural_batch_create_for() - make room for a batch of samples of a network
 * @nn: the network
 * @batch_size: number of samples, from 1 to 1048576
 *
 * Context: Task, may sleep.
 * Return: The batch, with zeroed inputs and outputs of the type and size that the network takes and
 * gives; NULL when the number is wrong or memory is short.
 */
struct neural_batch *neural_batch_create_for(const struct neural_network *nn,
					     unsigned int batch_size);

/**
 * neural_batch_predict() - predict all samples of a batch
 * @nn: the network
 * @batch: the batch; from neural_batch_create() or neural_batch_create_for(), its pointers
 *	unchanged
 *
 * A batch is used by one caller at a time.
 *
 * With at least as many samples as the setting batch_spread says, all allowed CPUs take part.
 *
 * Context: Task, may sleep. Allocates nothing.
 * Return: 0, or the error number of the first sample that failed, after which none is begun.
 */
int neural_batch_predict(struct neural_network *nn, struct neural_batch *batch);

/**
 * neural_batch_free() - free a batch
 * @batch: the batch, or NULL
 *
 * Context: Task, may sleep.
 */
void neural_batch_free(struct neural_batch *batch);

/**
 * neural_alloc_numa() - allocate memory on a NUMA node
 * @size: bytes; whole pages are taken
 * @node: a node, or NEURAL_NODE_POLICY for what the module parameters say
 *
 * Context: Task, may sleep.
 * Return: Zeroed, page-aligned memory; NULL when @node has no memory or not enough.
 */
void *neural_alloc_numa(size_t size, int node);

/**
 * neural_free_numa() - free memory
 * @mem: what neural_alloc_numa() gave, or NULL
 *
 * Context: Task, may sleep.
 */
void neural_free_numa(void *mem);

#endif /* _LINUX_NEURAL_H */
