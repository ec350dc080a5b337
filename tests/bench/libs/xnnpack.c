// SPDX-License-Identifier: GPL-2.0
/*
 * The operators of XNNPACK as Debian packages it, without a runtime around
 * them. LiteRT has a newer copy inside. It does not tell its version: what it
 * is given for its path is that.
 */
#include <math.h>
#include <xnnpack.h>

#include "libs.h"

static const char *version;

const char *library_open(const char *path)
{
	version = path;
	return xnn_initialize(NULL) == xnn_status_success ? NULL :
							    "it does not start";
}

const char *library_version(void)
{
	return version;
}

static enum xnn_status codes(const struct net *net, struct layer *l,
			     const void *x, xnn_operator_t *op)
{
	const double unit = (double)l->scales[0] * l->scales[1];
	int *bias = aligned(l->n * sizeof(*bias));
	enum xnn_status status;

	for (long r = 0; r < l->n; r++)
		bias[r] = l->bias ? lrint(l->bias[r] / unit) : 0;
	status = xnn_create_fully_connected_nc_qs8(
		l->k, l->n, l->k, l->n, l->zeros[0], l->scales[0], l->scales[1],
		l->w, bias, l->zeros[1], l->scales[2],
		l->relu ? l->zeros[1] : -128, 127, 0, op);
	if (status)
		return status;
	return xnn_setup_fully_connected_nc_qs8(*op, net->batch, x, l->y, NULL);
}

static enum xnn_status floats(const struct net *net, struct layer *l,
			      const void *x, xnn_operator_t *op)
{
	enum xnn_status status = xnn_create_fully_connected_nc_f32(
		l->k, l->n, l->k, l->n, l->w, l->bias, l->relu ? 0 : -INFINITY,
		INFINITY, 0, op);

	if (status)
		return status;
	return xnn_setup_fully_connected_nc_f32(*op, net->batch, x, l->y, NULL);
}

const char *library_prepare(struct net *net)
{
	const void *x = net->x;

	if (net->type == LSTM)
		return "no recurrent layers";
	for (int i = 0; i < net->count; i++) {
		struct layer *l = &net->layers[i];
		xnn_operator_t op = NULL;

		if ((net->type == I8 ? codes : floats)(net, l, x, &op) !=
		    xnn_status_success)
			return "an operator is refused";
		l->own = op;
		x = l->y;
	}
	return NULL;
}

void library_predict(struct net *net)
{
	for (int i = 0; i < net->count; i++)
		xnn_run_operator(net->layers[i].own, NULL);
}
