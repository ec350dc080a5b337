// SPDX-License-Identifier: GPL-2.0
/*
 * oneDNN as the package onednn-cpu-gomp has it: a primitive a layer, which
 * does all of it, with weights in the order that it asks for.
 */
#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>

#include "libs.h"

#define ARGS_MAX 12

struct work {
	dnnl_primitive_t primitive;
	dnnl_exec_arg_t args[ARGS_MAX];
	int count;
};

static dnnl_engine_t engine;
static dnnl_stream_t stream;
/* The first call that failed; those after it are given NULL and fail as well. */
static const char *failed;

#define TRY(call) note(call, #call)

static void note(dnnl_status_t status, const char *call)
{
	if (status != dnnl_success && !failed)
		failed = call;
}

const char *library_open(const char *path)
{
	(void)path;
	TRY(dnnl_engine_create(&engine, dnnl_cpu, 0));
	TRY(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
	return failed;
}

const char *library_version(void)
{
	static char text[64];
	const dnnl_version_t *v = dnnl_version();

	snprintf(text, sizeof(text), "oneDNN %d.%d.%d", v->major, v->minor,
		 v->patch);
	return text;
}

static dnnl_memory_desc_t describe(int rank, const dnnl_dims_t dims,
				   dnnl_data_type_t type, dnnl_format_tag_t tag)
{
	dnnl_memory_desc_t desc = NULL;

	TRY(dnnl_memory_desc_create_with_tag(&desc, rank, dims, type, tag));
	return desc;
}

/* An argument that stands in memory as it is. */
static void give(struct work *work, int id, const_dnnl_memory_desc_t desc,
		 void *data)
{
	dnnl_memory_t memory = NULL;

	TRY(dnnl_memory_create(&memory, desc, engine, data));
	work->args[work->count++] = (dnnl_exec_arg_t){ id, memory };
}

/* Weights, number `index` of the primitive, in the order that it wants. */
static void give_packed(struct work *work, int id,
			const_dnnl_memory_desc_t from,
			dnnl_primitive_desc_t primitive, int index, void *data)
{
	const_dnnl_memory_desc_t to = dnnl_primitive_desc_query_md(
		primitive, dnnl_query_weights_md, index);
	dnnl_exec_arg_t args[2] = { { DNNL_ARG_FROM, NULL },
				    { DNNL_ARG_TO, NULL } };
	dnnl_primitive_desc_t desc = NULL;
	dnnl_primitive_t reorder = NULL;

	TRY(dnnl_memory_create(&args[0].memory, from, engine, data));
	TRY(dnnl_memory_create(&args[1].memory, to, engine,
			       DNNL_MEMORY_ALLOCATE));
	TRY(dnnl_reorder_primitive_desc_create(&desc, from, engine, to, engine,
					       NULL));
	TRY(dnnl_primitive_create(&reorder, desc));
	TRY(dnnl_primitive_execute(reorder, stream, 2, args));
	TRY(dnnl_stream_wait(stream));
	work->args[work->count++] = (dnnl_exec_arg_t){ id, args[1].memory };
}

/* What makes sums to codes, and the ReLU; gives the arguments that belong to it. */
static dnnl_primitive_attr_t attributes(struct work *work,
					const struct net *net, struct layer *l)
{
	static const int ids[3] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS,
				    DNNL_ARG_DST };
	const dnnl_dims_t one = { 1 };
	dnnl_primitive_attr_t attr = NULL;
	dnnl_post_ops_t ops = NULL;

	TRY(dnnl_primitive_attr_create(&attr));
	if (l->relu) {
		TRY(dnnl_post_ops_create(&ops));
		TRY(dnnl_post_ops_append_eltwise(ops, dnnl_eltwise_relu, 0, 0));
		TRY(dnnl_primitive_attr_set_post_ops(attr, ops));
	}
	for (int i = 0; net->type == I8 && i < 3; i++) {
		TRY(dnnl_primitive_attr_set_scales_mask(attr, ids[i], 0));
		give(work, DNNL_ARG_ATTR_SCALES | ids[i],
		     describe(1, one, dnnl_f32, dnnl_a), &l->scales[i]);
	}
	for (int i = 0; net->type == I8 && i < 2; i++) {
		const int id = ids[2 * i];

		if (!l->zeros[i])
			continue;
		TRY(dnnl_primitive_attr_set_zero_points_mask(attr, id, 0));
		give(work, DNNL_ARG_ATTR_ZERO_POINTS | id,
		     describe(1, one, dnnl_s32, dnnl_a), &l->zeros[i]);
	}
	return attr;
}

static void dense(struct work *work, const struct net *net, struct layer *l,
		  void *x)
{
	const dnnl_data_type_t type = net->type == I8 ? dnnl_s8 : dnnl_f32;
	const dnnl_dims_t xdims = { net->batch, l->k },
			  ydims = { net->batch, l->n };
	const dnnl_dims_t wdims = { l->k, l->n }, bdims = { 1, l->n };
	dnnl_memory_desc_t x_desc = describe(2, xdims, type, dnnl_ab);
	dnnl_memory_desc_t y_desc = describe(2, ydims, type, dnnl_ab);
	dnnl_memory_desc_t b_desc =
		l->bias ? describe(2, bdims, dnnl_f32, dnnl_ab) : NULL;
	dnnl_memory_desc_t any = describe(2, wdims, type, dnnl_format_tag_any);
	dnnl_primitive_attr_t attr = attributes(work, net, l);
	dnnl_primitive_desc_t desc = NULL;

	TRY(dnnl_matmul_primitive_desc_create(&desc, engine, x_desc, any,
					      b_desc, y_desc, attr));
	TRY(dnnl_primitive_create(&work->primitive, desc));
	if (failed)
		return;
	give_packed(work, DNNL_ARG_WEIGHTS, describe(2, wdims, type, dnnl_ba),
		    desc, 0, l->w);
	give(work, DNNL_ARG_SRC, x_desc, x);
	give(work, DNNL_ARG_DST, y_desc, l->y);
	if (l->bias)
		give(work, DNNL_ARG_BIAS, b_desc, l->bias);
}

/* One step. The file has the weights of input and state side by side, gate after gate. */
static void lstm(struct work *work, struct layer *l, void *x)
{
	static const int states[] = { DNNL_ARG_SRC_ITER, DNNL_ARG_SRC_ITER_C,
				      DNNL_ARG_DST_ITER, DNNL_ARG_DST_ITER_C };
	const long k = l->k, n = l->n;
	const dnnl_dims_t xdims = { 1, 1, k }, ydims = { 1, 1, n },
			  bdims = { 1, 1, 4, n };
	const dnnl_dims_t wxdims = { 1, 1, k, 4, n },
			  whdims = { 1, 1, n, 4, n }, sdims = { 1, 1, 1, n };
	float *wx = aligned(4 * n * k * sizeof(*wx)),
	      *wh = aligned(4 * n * n * sizeof(*wh));
	dnnl_memory_desc_t x_desc = describe(3, xdims, dnnl_f32, dnnl_tnc);
	dnnl_memory_desc_t y_desc = describe(3, ydims, dnnl_f32, dnnl_tnc);
	dnnl_memory_desc_t b_desc = describe(4, bdims, dnnl_f32, dnnl_ldgo);
	dnnl_memory_desc_t s_desc = describe(4, sdims, dnnl_f32, dnnl_ldnc);
	dnnl_memory_desc_t wx_any =
		describe(5, wxdims, dnnl_f32, dnnl_format_tag_any);
	dnnl_memory_desc_t wh_any =
		describe(5, whdims, dnnl_f32, dnnl_format_tag_any);
	dnnl_primitive_desc_t desc = NULL;

	for (long i = 0; i < 4 * n * (k + n); i++) {
		const long row = i / (k + n), column = i % (k + n);
		const float w = ((float *)l->w)[i];

		if (column < k)
			wx[row * k + column] = w;
		else
			wh[row * n + column - k] = w;
	}
	TRY(dnnl_lstm_forward_primitive_desc_create(
		&desc, engine, dnnl_forward_inference,
		dnnl_unidirectional_left2right, x_desc, s_desc, s_desc, wx_any,
		wh_any, NULL, NULL, b_desc, y_desc, s_desc, s_desc,
		dnnl_rnn_flags_undef, NULL));
	TRY(dnnl_primitive_create(&work->primitive, desc));
	if (failed)
		return;
	give_packed(work, DNNL_ARG_WEIGHTS_LAYER,
		    describe(5, wxdims, dnnl_f32, dnnl_ldgoi), desc, 0, wx);
	give_packed(work, DNNL_ARG_WEIGHTS_ITER,
		    describe(5, whdims, dnnl_f32, dnnl_ldgoi), desc, 1, wh);
	give(work, DNNL_ARG_SRC_LAYER, x_desc, x);
	give(work, DNNL_ARG_BIAS, b_desc, l->bias);
	give(work, DNNL_ARG_DST_LAYER, y_desc, l->y);
	for (int i = 0; i < 4; i++)
		give(work, states[i], s_desc, aligned(n * sizeof(float)));
}

const char *library_prepare(struct net *net)
{
	void *x = net->x;

	failed = NULL;
	for (int i = 0; i < net->count && !failed; i++) {
		struct layer *l = &net->layers[i];
		struct work *work = calloc(1, sizeof(*work));

		if (!work)
			return "no memory";
		l->own = work;
		if (net->type == LSTM)
			lstm(work, l, x);
		else
			dense(work, net, l, x);
		x = l->y;
	}
	return failed;
}

void library_predict(struct net *net)
{
	for (int i = 0; i < net->count; i++) {
		const struct work *work = net->layers[i].own;

		dnnl_primitive_execute(work->primitive, stream, work->count,
				       work->args);
	}
	dnnl_stream_wait(stream);
}
