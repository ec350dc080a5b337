// SPDX-License-Identifier: GPL-2.0
/*
 * Predicts samples, of any type of elements, again and again, one by one and as
 * a batch, from several threads, and compares the answers:
 *
 *	codes_predict NETWORK INPUTS ANSWERS [THREADS ROUNDS]
 *	codes_predict NETWORK GOLD
 *
 * The files hold one sample after the other; at the end of a .gold file each input
 * is followed by its answer, "runs" of them. Prints what the kernel says of
 * the network and how many answers were compared. Answers are the same when all
 * bits are, but where there is to be no number (NaN), any of those will do.
 */
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/neural.h>

#define MOST (1 << 20)

static int dev, rounds = 1;
static struct neural_info info;
static uint8_t inputs[MOST], answers[MOST];
static unsigned int count, in_bytes, out_bytes;

static int call(unsigned long cmd, void *arg, const char *what)
{
	if (!ioctl(dev, cmd, arg))
		return 0;
	perror(what);
	return 1;
}

static size_t read_file(const char *path, uint8_t *to)
{
	int fd = open(path, O_RDONLY);
	ssize_t size = read(fd, to, MOST);

	if (size <= 0) {
		perror(path);
		exit(2);
	}
	close(fd);
	return size;
}

/* The samples of a golden file, which are those at its end. */
static int read_gold(const char *path)
{
	static uint8_t text[MOST + 1];
	size_t size = read_file(path, text), both = in_bytes + out_bytes;
	const char *line;
	unsigned int i;

	text[size] = 0;
	line = strstr((char *)text, "\nruns ");
	count = line ? atoi(line + 6) : 0;
	if (!count || count > size / both) {
		fprintf(stderr, "%s: no runs of this network\n", path);
		return 1;
	}
	for (i = 0; i < count; i++) {
		const uint8_t *run = text + size - (count - i) * both;

		memcpy(inputs + i * in_bytes, run, in_bytes);
		memcpy(answers + i * out_bytes, run + in_bytes, out_bytes);
	}
	return 0;
}

static int same(const uint8_t *got, const uint8_t *want, size_t bytes)
{
	size_t i;

	if (info.dtype != NEURAL_DTYPE_F32)
		return !memcmp(got, want, bytes);
	for (i = 0; i < bytes; i += sizeof(float)) {
		float x, y;

		memcpy(&x, got + i, sizeof(x));
		memcpy(&y, want + i, sizeof(y));
		if (memcmp(&x, &y, sizeof(x)) && !(isnan(x) && isnan(y)))
			return 0;
	}
	return 1;
}

static unsigned int element_bytes(void)
{
	switch (info.dtype) {
	case NEURAL_DTYPE_I8:
		return 1;
	case NEURAL_DTYPE_I16:
		return 2;
	default:
		return 4;
	}
}

static const char *elements(void)
{
	switch (info.dtype) {
	case NEURAL_DTYPE_I8:
	case NEURAL_DTYPE_I16:
		return "codes";
	default:
		return "numbers";
	}
}

static int find(const char *name)
{
	static struct neural_info infos[64];
	struct neural_list list = { .infos = (uintptr_t)infos, .capacity = 64 };
	unsigned int i;

	if (call(NEURAL_IOC_LIST, &list, "list"))
		return 1;
	for (i = 0; i < list.count && i < list.capacity; i++) {
		if (!strcmp(infos[i].name, name)) {
			info = infos[i];
			return 0;
		}
	}
	fprintf(stderr, "no network %s\n", name);
	return 1;
}

/* Returns the number of answers that are wrong. */
static void *work(void *arg)
{
	uint8_t *got = calloc(count, out_bytes);
	struct neural_predict predict = { .id = info.id,
					  .input_bytes = in_bytes,
					  .output_bytes = out_bytes };
	uintptr_t wrong = 0;
	unsigned int i;
	int round;

	(void)arg;
	for (round = 0; round < rounds; round++) {
		for (i = 0; i < count; i++) {
			predict.count = 1;
			predict.input = (uintptr_t)(inputs + i * in_bytes);
			predict.output = (uintptr_t)got;
			if (call(NEURAL_IOC_PREDICT, &predict, "predict") ||
			    !same(got, answers + i * out_bytes, out_bytes))
				wrong++;
		}
		predict.count = count;
		predict.input = (uintptr_t)inputs;
		predict.output = (uintptr_t)got;
		memset(got, 0x55, count * out_bytes);
		if (call(NEURAL_IOC_PREDICT_BATCH, &predict, "batch") ||
		    !same(got, answers, count * out_bytes))
			wrong++;
	}
	free(got);
	return (void *)wrong;
}

int main(int argc, char **argv)
{
	pthread_t threads[64];
	uintptr_t wrong = 0;
	size_t in, out;
	int i, n = 1;
	void *ret;

	dev = open("/dev/neural", O_RDWR);
	if (dev < 0 || (argc != 3 && argc != 4 && argc != 6)) {
		fprintf(stderr,
			"usage: codes_predict NETWORK GOLD|INPUTS ANSWERS [THREADS ROUNDS], with the module loaded\n");
		return 2;
	}
	if (argc == 6) {
		n = atoi(argv[4]);
		rounds = atoi(argv[5]);
	}
	if (find(argv[1]))
		return 1;
	in_bytes = info.input_dim * element_bytes();
	out_bytes = info.output_dim * element_bytes();
	if (argc == 3) {
		if (read_gold(argv[2]))
			return 1;
		in = (size_t)count * in_bytes;
		out = (size_t)count * out_bytes;
	} else {
		in = read_file(argv[2], inputs);
		out = read_file(argv[3], answers);
		count = in / in_bytes;
	}
	if (in % in_bytes || out != count * out_bytes || n < 1 || n > 64) {
		fprintf(stderr, "these files are not for this network\n");
		return 1;
	}
	for (i = 0; i < n; i++)
		pthread_create(&threads[i], NULL, work, NULL);
	for (i = 0; i < n; i++) {
		pthread_join(threads[i], &ret);
		wrong += (uintptr_t)ret;
	}
	printf("%u -> %u %s, input %#x %d, output %#x %d: %u answers, %lu wrong\n",
	       info.input_dim, info.output_dim, elements(), info.input_scale,
	       info.input_zero_point, info.output_scale, info.output_zero_point,
	       2 * n * rounds * count, (unsigned long)wrong);
	return wrong != 0;
}
