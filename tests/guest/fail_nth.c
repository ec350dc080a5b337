// SPDX-License-Identifier: GPL-2.0
/*
 * Lets the first, the second, the third ... allocation of each request fail
 * until none is left to fail: each failure must be ENOMEM with a line that says
 * so, or EFAULT for a copy from or to user space, and must change nothing.
 * Prints KTAP.
 *
 *	fail_nth MODEL.nnm
 *
 * Needs a kernel with fault injection (/proc/self/fail-nth).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/neural.h>

#define TRIES 2000

static char text[NEURAL_MSG_LEN];
static uint8_t model[16 << 20];
static ssize_t model_size;
static int dev, nth;
static unsigned int number, failures;
static uint32_t id;

static struct neural_msg msg(void)
{
	memset(text, 0, sizeof(text));
	return (struct neural_msg){ .text = (uintptr_t)text,
				    .len = sizeof(text) };
}

static struct neural_load load_of(const char *name)
{
	struct neural_load load = { .msg = msg(),
				    .data = (uintptr_t)model,
				    .size = model_size };

	strncpy(load.name, name, sizeof(load.name) - 1);
	return load;
}

static int do_load(void)
{
	struct neural_load load = load_of("fail");

	return ioctl(dev, NEURAL_IOC_LOAD, &load);
}

static int do_firmware(void)
{
	struct neural_load load = { .msg = msg(),
				    .name = "digits",
				    .flags = NEURAL_LOAD_FIRMWARE };

	return ioctl(dev, NEURAL_IOC_LOAD, &load);
}

static int do_replace(void)
{
	struct neural_load load = load_of("base");

	return ioctl(dev, NEURAL_IOC_REPLACE, &load);
}

static int set(const char *line)
{
	struct neural_config config = { .msg = msg(),
					.id = id,
					.text = (uintptr_t)line,
					.len = strlen(line) };

	return ioctl(dev, NEURAL_IOC_CONFIG_SET, &config);
}

static int do_config(void)
{
	static unsigned int size;
	char line[96];

	size = size % 4096 + 64;
	snprintf(line, sizeof(line),
		 "cache_size %u\nnuma_policy interleave\nallowed_cpus 0\n",
		 size);
	return set(line);
}

static int do_config_get(void)
{
	static char settings[4096];
	struct neural_config config = { .msg = msg(),
					.id = id,
					.text = (uintptr_t)settings,
					.len = sizeof(settings) };

	return ioctl(dev, NEURAL_IOC_CONFIG_GET, &config);
}

static int do_batch(void)
{
	static uint8_t in[64 * 4096], out[64 * 4096];
	struct neural_predict p = { .msg = msg(),
				    .id = id,
				    .count = 64,
				    .input = (uintptr_t)in,
				    .output = (uintptr_t)out,
				    .input_bytes = 256,
				    .output_bytes = 40 };

	return ioctl(dev, NEURAL_IOC_PREDICT_BATCH, &p);
}

static int do_open(void)
{
	int fd = open("/dev/neural", O_RDWR);

	if (fd < 0) {
		snprintf(text, sizeof(text), "open");
		return -1;
	}
	close(fd);
	return 0;
}

/* Made by neural_test.ko, in this task. */
static int do_batch_create(void)
{
	int fd = open("/sys/module/neural_test/parameters/batch", O_WRONLY);
	int ret, error;

	snprintf(text, sizeof(text), "batch");
	if (fd < 0)
		return -1;
	ret = write(fd, "4096", 4) == 4 ? 0 : -1;
	error = errno;
	close(fd);
	errno = error;
	return ret;
}

static void forget(const char *name)
{
	struct neural_name request = { .msg = msg() };

	strncpy(request.name, name, sizeof(request.name) - 1);
	ioctl(dev, NEURAL_IOC_UNLOAD, &request);
}

static unsigned int networks(void)
{
	struct neural_query query = { .msg = msg() };

	return ioctl(dev, NEURAL_IOC_QUERY, &query) ? ~0U : query.networks;
}

/* Arms the nth allocation of this task to fail, or disarms with 0; tells what is still armed. */
static int arm(int n)
{
	char buf[16];
	ssize_t len = snprintf(buf, sizeof(buf), "%d", n);

	if (pwrite(nth, buf, len, 0) != len)
		return -1;
	return 0;
}

static int armed(void)
{
	char buf[16] = "";

	if (pread(nth, buf, sizeof(buf) - 1, 0) < 0)
		return -1;
	return atoi(buf);
}

static void each(const char *name, int (*request)(void), const char *undo)
{
	unsigned int before = networks(), failed = 0, wrong = 0;
	int n;

	for (n = 1; n <= TRIES; n++) {
		int ret, error, left;

		errno = 0;
		arm(n);
		ret = request();
		error = errno;
		left = armed();
		arm(0);
		/* The last copy may fail after all was done. */
		if ((!ret || error == EFAULT) && undo)
			forget(undo);
		if (left > 0 && !ret)
			break; /* fewer than n allocations: all have failed once */
		if (!ret)
			continue; /* the kernel did without the one that failed */
		failed++;
		/* Copies from and to user space fail, too, those of the line among them. */
		if (error != EFAULT && (error != ENOMEM || !text[0])) {
			printf("# allocation %d: %s: '%s'\n", n,
			       strerror(error), text);
			wrong++;
		}
		if (networks() != before)
			wrong++;
	}
	number++;
	printf("# %s: %u of %d allocations made it fail\n", name, failed,
	       n - 1);
	if (wrong || n > TRIES || networks() != before) {
		failures++;
		printf("not ");
	}
	printf("ok %u %s\n", number, name);
}

int main(int argc, char **argv)
{
	struct neural_load base;
	int fd = argc == 2 ? open(argv[1], O_RDONLY) : -1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	dev = open("/dev/neural", O_RDWR);
	nth = open("/proc/self/fail-nth", O_RDWR);
	model_size = fd < 0 ? -1 : read(fd, model, sizeof(model));
	if (model_size < 0 || dev < 0 || nth < 0) {
		fprintf(stderr,
			"usage: fail_nth MODEL.nnm, with the module and fault injection\n");
		return 2;
	}
	printf("KTAP version 1\n# script: fault_01\n1..8\n");
	base = load_of("base");
	if (ioctl(dev, NEURAL_IOC_LOAD, &base)) {
		printf("Bail out! %s\n", text);
		return 1;
	}
	id = base.id;
	each("load from memory", do_load, "fail");
	each("load from the firmware path", do_firmware, "digits");
	each("replace", do_replace, NULL);
	each("configure", do_config, NULL);
	each("read the settings", do_config_get, NULL);
	each("predict a batch", do_batch, NULL);
	each("open the device", do_open, NULL);
	each("make a batch in the kernel", do_batch_create, NULL);
	return failures != 0;
}
