// SPDX-License-Identifier: GPL-2.0
/*
 * ggml as the package libggml-python has it: a graph of all layers. 8-bit
 * codes are given to it as floats, and 8-bit weights in its blocks of 32, for
 * which the codes become floats, too.
 */
#include <ggml-cpu.h>
#include <stdlib.h>
#include <string.h>

#include "libs.h"

/* For tensors and graph, besides the data. */
#define OVERHEAD (1 << 20)

struct work {
	struct ggml_cgraph *graph;
	struct ggml_cplan plan;
};

const char *library_open(const char *path)
{
	(void)path;
	ggml_cpu_init();
	return NULL;
}

const char *library_version(void)
{
	static char text[32] = "ggml ";

	strncat(text, ggml_version(), sizeof(text) - sizeof("ggml "));
	return text;
}

static float *floats(const void *values, long count, enum type type,
		     float scale, int zero)
{
	float *f = aligned(count * sizeof(*f));

	for (long i = 0; i < count; i++)
		f[i] = type == I8 ? scale * (((int8_t *)values)[i] - zero) :
				    ((float *)values)[i];
	return f;
}

static struct ggml_tensor *weights(struct ggml_context *context,
				   const struct net *net, const struct layer *l)
{
	enum ggml_type type = net->type == I8 ? GGML_TYPE_Q8_0 : GGML_TYPE_F32;
	struct ggml_tensor *w = ggml_new_tensor_2d(context, type, l->k, l->n);
	float *values = floats(l->w, l->k * l->n, net->type, l->scales[1], 0);

	if (net->type == I8)
		ggml_quantize_chunk(type, values, w->data, 0, l->n, l->k, NULL);
	else
		memcpy(w->data, values, ggml_nbytes(w));
	free(values);
	return w;
}

const char *library_prepare(struct net *net)
{
	struct layer *first = &net->layers[0],
		     *last = &net->layers[net->count - 1];
	struct ggml_init_params params = { .mem_size = OVERHEAD };
	struct work *work = calloc(1, sizeof(*work));
	struct ggml_threadpool_params threads;
	struct ggml_context *context;
	struct ggml_tensor *h;

	if (net->type == LSTM || !work)
		return "no recurrent layers";
	for (int i = 0; i < net->count; i++) {
		struct layer *l = &net->layers[i];

		if (net->type == I8 && l->k % 32)
			return "no blocks of 32 weights";
		params.mem_size +=
			sizeof(float) *
			(l->k * l->n + l->n + net->batch * (l->k + 3 * l->n));
	}
	context = ggml_init(params);
	if (!context)
		return "no memory";
	h = ggml_new_tensor_2d(context, GGML_TYPE_F32, first->k, net->batch);
	memcpy(h->data,
	       floats(net->x, first->k * net->batch, net->type,
		      first->scales[0], first->zeros[0]),
	       ggml_nbytes(h));
	for (int i = 0; i < net->count; i++) {
		struct layer *l = &net->layers[i];

		h = ggml_mul_mat(context, weights(context, net, l), h);
		if (l->bias) {
			struct ggml_tensor *b = ggml_new_tensor_1d(
				context, GGML_TYPE_F32, l->n);

			memcpy(b->data, l->bias, ggml_nbytes(b));
			h = ggml_add_inplace(context, h, b);
		}
		if (l->relu)
			h = ggml_relu_inplace(context, h);
	}
	work->graph = ggml_new_graph(context);
	ggml_build_forward_expand(work->graph, h);
	ggml_threadpool_params_init(&threads, 1);
	work->plan =
		ggml_graph_plan(work->graph, 1, ggml_threadpool_new(&threads));
	work->plan.work_data = aligned(work->plan.work_size);
	first->own = work;
	last->y = h->data;
	net->type = F32;
	return NULL;
}

void library_predict(struct net *net)
{
	struct work *work = net->layers[0].own;

	ggml_graph_compute(work->graph, &work->plan);
}
