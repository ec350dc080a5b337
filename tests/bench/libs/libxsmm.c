// SPDX-License-Identifier: GPL-2.0
/*
 * LIBXSMM as Debian packages it: code for the shape of each layer, which adds
 * to the bias; weights transposed beforehand; the ReLU is applied here.
 */
#include <libxsmm.h>

#include "libs.h"

const char *library_open(const char *path)
{
	(void)path;
	libxsmm_init();
	return NULL;
}

const char *library_version(void)
{
	return "LIBXSMM " LIBXSMM_VERSION;
}

const char *library_prepare(struct net *net)
{
	const float alpha = 1;

	if (net->type != F32)
		return "products of single precision only";
	for (int i = 0; i < net->count; i++) {
		struct layer *l = &net->layers[i];
		/* Column by column: y[n, batch] = w[n, k] x[k, batch]. */
		const int k = l->k, n = l->n;
		const float beta = l->bias ? 1 : 0, *w = l->w;
		float *turned = aligned(l->k * l->n * sizeof(float));

		for (long r = 0; r < l->n; r++)
			for (long c = 0; c < l->k; c++)
				turned[c * l->n + r] = w[r * l->k + c];
		l->w = turned;
		l->own = (void *)libxsmm_smmdispatch(n, net->batch, k, &n, &k,
						     &n, &alpha, &beta, NULL,
						     NULL);
		if (!l->own)
			return "no code for a layer of this size";
	}
	return NULL;
}

void library_predict(struct net *net)
{
	const float *x = net->x;

	for (int i = 0; i < net->count; i++) {
		struct layer *l = &net->layers[i];

		if (l->bias)
			start_with_bias(net, l);
		((libxsmm_smmfunction)l->own)(l->w, x, l->y);
		if (l->relu)
			apply_relu(net, l);
		x = l->y;
	}
}
