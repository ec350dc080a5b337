// SPDX-License-Identifier: GPL-2.0
/*
 * OpenBLAS as the package scipy-openblas64 has it, opened at run time: it
 * multiplies, the bias and the ReLU are added here.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

#include "libs.h"

/* cblas.h: the layout of the matrices and whether they are transposed. */
#define ROWS 101
#define PLAIN 111
#define TRANSPOSED 112

static void (*gemm)(int, int, int, long, long, long, float, const float *, long,
		    const float *, long, float, float *, long);
static void (*gemv)(int, int, long, long, float, const float *, long,
		    const float *, long, float, float *, long);
static char *(*config)(void);

const char *library_open(const char *path)
{
	void *library = dlopen(path, RTLD_NOW);

	if (!library)
		return dlerror();
	*(void **)&gemm = dlsym(library, "scipy_cblas_sgemm64_");
	*(void **)&gemv = dlsym(library, "scipy_cblas_sgemv64_");
	*(void **)&config = dlsym(library, "scipy_openblas_get_config64_");
	return gemm && gemv && config ? NULL : "functions are missing";
}

const char *library_version(void)
{
	static char text[64];
	const char *number = config() + strlen("OpenBLAS ");

	snprintf(text, sizeof(text), "OpenBLAS %.*s", (int)strcspn(number, " "),
		 number);
	return text;
}

const char *library_prepare(struct net *net)
{
	return net->type == F32 ? NULL : "products of single precision only";
}

void library_predict(struct net *net)
{
	const float *x = net->x;

	for (int i = 0; i < net->count; i++) {
		struct layer *l = &net->layers[i];
		float beta = l->bias ? 1 : 0;

		if (l->bias)
			start_with_bias(net, l);
		if (net->batch == 1)
			gemv(ROWS, PLAIN, l->n, l->k, 1, l->w, l->k, x, 1, beta,
			     l->y, 1);
		else
			gemm(ROWS, PLAIN, TRANSPOSED, net->batch, l->n, l->k, 1,
			     x, l->k, l->w, l->k, beta, l->y, l->n);
		if (l->relu)
			apply_relu(net, l);
		x = l->y;
	}
}
