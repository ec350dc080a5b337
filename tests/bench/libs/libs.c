// SPDX-License-Identifier: GPL-2.0
/*
 * Runs layers with a library for bench.py, which says on standard input what
 * to do, as it does to neural-bench:
 *
 *	libs-NAME LIBRARY DIR
 *
 * This file reads networks and takes the time; the file of the library, which
 * is linked to it, does the rest.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libs.h"

#define SAMPLE_NS 50000
#define SAMPLES_MAX 65536
#define ALIGN 64
#define BEHIND 128

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

void *aligned(size_t bytes)
{
	size_t whole = (bytes + BEHIND + ALIGN - 1) / ALIGN * ALIGN;
	void *p = aligned_alloc(ALIGN, whole);

	if (!p)
		exit(1);
	memset(p, 0, whole);
	return p;
}

void start_with_bias(const struct net *net, const struct layer *l)
{
	for (long r = 0; r < net->batch; r++)
		memcpy((float *)l->y + r * l->n, l->bias, l->n * sizeof(float));
}

void apply_relu(const struct net *net, const struct layer *l)
{
	float *y = l->y;

	for (long i = 0; i < net->batch * l->n; i++)
		y[i] = y[i] < 0 ? 0 : y[i];
}

static const char *read_data(struct net *net, FILE *f)
{
	size_t size = net->type == I8 ? 1 : 4;

	for (int i = 0; i < net->count; i++) {
		struct layer *l = &net->layers[i];
		long rows = net->type == LSTM ? 4 * l->n : l->n;
		long columns = net->type == LSTM ? l->k + l->n : l->k;
		int biased = 0;

		l->w = aligned(rows * columns * size);
		l->bias = aligned(rows * 4);
		l->y = aligned(net->batch * l->n * size);
		if (fread(l->w, size, rows * columns, f) !=
			    (size_t)(rows * columns) ||
		    fread(l->bias, 4, rows, f) != (size_t)rows)
			return "weights are missing";
		for (long r = 0; r < rows; r++)
			biased |= l->bias[r] != 0;
		if (!biased)
			l->bias = NULL;
	}
	net->x = aligned(net->batch * net->layers[0].k * size);
	return NULL;
}

static const char *read_net(struct net *net, const char *dir)
{
	char path[512], type[8];
	const char *why;
	size_t elements;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.dense", dir, net->key);
	f = fopen(path, "rb");
	if (!f ||
	    fscanf(f, "%7s %ld %d", type, &net->batch, &net->count) != 3 ||
	    net->count > LAYERS_MAX)
		return "no such network";
	net->type = !strcmp(type, "i8")	  ? I8 :
		    !strcmp(type, "lstm") ? LSTM :
					    F32;
	for (int i = 0; i < net->count; i++) {
		struct layer *l = &net->layers[i];

		if (fscanf(f, "%ld %ld %d %f %f %f %d %d", &l->k, &l->n,
			   &l->relu, &l->scales[0], &l->scales[1],
			   &l->scales[2], &l->zeros[0], &l->zeros[1]) != 8)
			return "a bad description";
	}
	if (fgetc(f) != '\n' || fgetc(f) != '\n')
		return "a bad description";
	why = read_data(net, f);
	fclose(f);
	if (why)
		return why;
	snprintf(path, sizeof(path), "%s/%s.in", dir, net->key);
	f = fopen(path, "rb");
	elements = net->batch * net->layers[0].k;
	if (!f ||
	    fread(net->x, net->type == I8 ? 1 : 4, elements, f) != elements)
		return "the input is missing";
	fclose(f);
	return NULL;
}

static double timed(struct net *net, long calls)
{
	double start = now();

	while (calls--)
		library_predict(net);
	return now() - start;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure(struct net *net, long ms)
{
	static double samples[SAMPLES_MAX];
	double end;
	long n = 0;

	/* The best of five: the first calls after another engine's turn are slow. */
	for (double best = net->calls ? INFINITY : 0; best < SAMPLE_NS;) {
		net->calls = net->calls ? 2 * net->calls : 1;
		best = INFINITY;
		for (int i = 0; i < 5; i++)
			best = fmin(best, timed(net, net->calls));
	}
	timed(net, net->calls);
	end = now() + ms * 1e6;
	while ((now() < end || n < 5) && n < SAMPLES_MAX)
		samples[n++] = timed(net, net->calls) / net->calls;
	qsort(samples, n, sizeof(*samples), compare);
	printf("{\"min_ns\":%.1f,\"med_ns\":%.1f,\"samples\":%ld}\n",
	       samples[0], samples[n / 2], n);
}

static struct net *find(const char *key, const char *dir, const char **why)
{
	static struct net *nets;
	struct net *net;

	for (net = nets; net; net = net->next)
		if (!strcmp(net->key, key))
			return net;
	net = calloc(1, sizeof(*net));
	if (!net)
		exit(1);
	snprintf(net->key, sizeof(net->key), "%s", key);
	*why = read_net(net, dir);
	if (!*why)
		*why = library_prepare(net);
	if (*why)
		return NULL;
	net->next = nets;
	nets = net;
	return net;
}

static void answer(struct net *net)
{
	struct layer *last = &net->layers[net->count - 1];

	library_predict(net);
	for (long i = 0; i < net->batch * last->n; i++)
		printf("%c%.9g", i ? ',' : '[',
		       net->type == I8 ? ((int8_t *)last->y)[i] :
					 ((float *)last->y)[i]);
	printf("]\n");
}

int main(int argc, char **argv)
{
	char line[256], verb[16], key[64];
	const char *why;
	long ms;

	if (argc != 3)
		return 2;
	why = library_open(argv[1]);
	if (why) {
		fprintf(stderr, "%s\n", why);
		return 1;
	}
	while (fgets(line, sizeof(line), stdin)) {
		int words = sscanf(line, "%15s %63s %ld", verb, key, &ms);
		struct net *net = NULL;

		why = NULL;
		if (words > 1)
			net = find(key, argv[2], &why);
		if (words == 1)
			printf("\"%s\"\n", library_version());
		else if (!net)
			printf("{\"error\": \"%s\"}\n", why);
		else if (words == 3)
			measure(net, ms);
		else
			answer(net);
		fflush(stdout);
	}
	return 0;
}
