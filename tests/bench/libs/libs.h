/* SPDX-License-Identifier: GPL-2.0 */
/* What libs.c and the file of each library share. */
#ifndef NEURAL_BENCH_LIBS_H
#define NEURAL_BENCH_LIBS_H

#include <stddef.h>
#include <stdint.h>

#define LAYERS_MAX 8

/*
 * A dense layer, or one step of a long short-term memory, in the first layer
 * of a network of type LSTM: k inputs, n outputs, weights row by row.
 */
struct layer {
	long k, n;
	int relu;
	/* Of codes of the input, the weights, the output: what a step is worth. */
	float scales[3];
	/* The codes of 0.0 of the input and the output. */
	int zeros[2];
	void *w;
	/* NULL if there is none. */
	float *bias;
	/* Where the result goes. */
	void *y;
	/* What the library keeps. */
	void *own;
};

enum type { F32, I8, LSTM };

struct net {
	char key[64];
	enum type type;
	long batch;
	int count;
	struct layer layers[LAYERS_MAX];
	void *x;
	long calls;
	struct net *next;
};

/* Zeroed memory, at a multiple of 64, with some bytes behind it that may be read. */
void *aligned(size_t bytes);
/* Rows of biases as a start for products that are added to it, and ReLU on the sums. */
void start_with_bias(const struct net *net, const struct layer *l);
void apply_relu(const struct net *net, const struct layer *l);

/*
 * The library: opened, by its path if that is needed; its name and version;
 * what it does once for a network, and with each prediction. NULL is success,
 * everything else says why not.
 */
const char *library_open(const char *path);
const char *library_version(void);
const char *library_prepare(struct net *net);
void library_predict(struct net *net);

#endif
