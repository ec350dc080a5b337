// SPDX-License-Identifier: GPL-2.0
/*
 * Lets the first, the second, the third ... allocation of each request fail
 * until none is left to fail: each failure must be ENOMEM with a line that says
 * so, or EFAULT for a copy from or to user space, and must change nothing: not
 * which networks there are, nor settings, models and answers. A request that
 * never failed has shown nothing, so that is a failure, too. Prints KTAP.
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
#define INPUTS 64
#define OUTPUTS 10

#define DEBUGFS "/sys/kernel/debug/neural_network/"
#define BASE DEBUGFS "network_base/"
#define CACHE_SIZE "/sys/module/neural/parameters/neural_cache_size"

/* For these a model moves, and memory is taken for each of them. */
#define OTHER_SETTINGS "cache_size 77\nnuma_policy interleave\nallowed_cpus 0\n"

/* What a request may do, and must. */
#define ALLOCATES 1 /* ENOMEM must come */
#define ONLY_COPIES 2 /* nothing but copies, each of which must succeed */
#define NO_LINE 4 /* an error number is all that there is */
#define CHANGES 8 /* where the last copy fails, all was done */

static char text[NEURAL_MSG_LEN];
static uint8_t model[16 << 20];
static ssize_t model_size;
static int dev, nth;
static unsigned int number, failures;
static uint32_t id;

/* A file to read or write, and what it has when nothing fails. */
static const char *path;
static char want[1 << 16], got[1 << 16];
static unsigned int turn;

/* What a request that fails must leave as it was. */
struct state {
	struct neural_info infos[8];
	uint32_t count;
	char settings[4096];
	char cache_size[16];
	int32_t answer[OUTPUTS];
};

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

static int do_unload(void)
{
	struct neural_name name = { .msg = msg(), .name = "spare" };

	return ioctl(dev, NEURAL_IOC_UNLOAD, &name);
}

static int do_find(void)
{
	struct neural_name name = { .msg = msg(), .name = "base" };

	return ioctl(dev, NEURAL_IOC_FIND, &name);
}

static int list_to(struct neural_info *infos, uint32_t *count)
{
	struct neural_list list = { .msg = msg(),
				    .infos = (uintptr_t)infos,
				    .capacity = 8 };
	int ret = ioctl(dev, NEURAL_IOC_LIST, &list);

	*count = list.count;
	return ret;
}

static int do_list(void)
{
	struct neural_info infos[8];
	uint32_t count;

	return list_to(infos, &count);
}

static int do_query(void)
{
	struct neural_query query = { .msg = msg() };

	return ioctl(dev, NEURAL_IOC_QUERY, &query);
}

static int do_stats(void)
{
	struct neural_stats stats = { .msg = msg(), .id = id };

	return ioctl(dev, NEURAL_IOC_STATS, &stats);
}

static int predict(int32_t first, int32_t *output)
{
	int32_t input[INPUTS] = { first };
	struct neural_predict p = { .msg = msg(),
				    .id = id,
				    .count = 1,
				    .input = (uintptr_t)input,
				    .output = (uintptr_t)output,
				    .input_bytes = sizeof(input),
				    .output_bytes = 4 * OUTPUTS };

	return ioctl(dev, NEURAL_IOC_PREDICT, &p);
}

/* A new sample each time, which the cache does not have. */
static int do_predict(void)
{
	int32_t output[OUTPUTS];

	return predict(++turn, output);
}

static int set(const char *line)
{
	struct neural_config config = { .msg = msg(),
					.id = id,
					.text = (uintptr_t)line,
					.len = strlen(line) };

	return ioctl(dev, NEURAL_IOC_CONFIG_SET, &config);
}

static void set_plain(void)
{
	if (set("cache_size 1\nnuma_policy local\nallowed_cpus all\n"))
		printf("Bail out! %s\n", text);
}

static int do_config(void)
{
	return set(OTHER_SETTINGS);
}

static int get(char *settings, size_t size)
{
	struct neural_config config = {
		.msg = msg(), .id = id, .text = (uintptr_t)settings, .len = size
	};

	return ioctl(dev, NEURAL_IOC_CONFIG_GET, &config);
}

static int do_config_get(void)
{
	static char settings[4096];

	return get(settings, sizeof(settings));
}

static int do_batch(void)
{
	static uint8_t in[64 * 4 * INPUTS], out[64 * 4 * OUTPUTS];
	struct neural_predict p = { .msg = msg(),
				    .id = id,
				    .count = 64,
				    .input = (uintptr_t)in,
				    .output = (uintptr_t)out,
				    .input_bytes = 4 * INPUTS,
				    .output_bytes = 4 * OUTPUTS };

	return ioctl(dev, NEURAL_IOC_PREDICT_BATCH, &p);
}

static int do_open(void)
{
	int fd = open("/dev/neural", O_RDWR);

	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

/* All of a file; the number of bytes, or -1. */
static ssize_t read_file(const char *name, char *to, size_t size)
{
	int fd = open(name, O_RDONLY), error;
	ssize_t len = 0, ret = -1;

	if (fd < 0)
		return -1;
	while (len < (ssize_t)size - 1) {
		ret = read(fd, to + len, size - 1 - len);
		if (ret <= 0)
			break;
		len += ret;
	}
	error = errno;
	close(fd);
	errno = error;
	to[len] = 0;
	return ret < 0 ? -1 : len;
}

static int write_file(const char *name, const char *value)
{
	int fd = open(name, O_WRONLY), ret, error;

	if (fd < 0)
		return -1;
	ret = write(fd, value, strlen(value)) < 0 ? -1 : 0;
	error = errno;
	close(fd);
	errno = error;
	return ret;
}

static int do_read(void)
{
	return read_file(path, got, sizeof(got)) < 0 ? -1 : 0;
}

static int config = -1;

/* Opens the file, and has it refuse something, so that a line of then can be told. */
static void open_config(void)
{
	set_plain();
	if (config >= 0)
		close(config);
	config = open(BASE "config", O_WRONLY);
	if (write(config, "reset x", 7) >= 0)
		printf("Bail out! 'reset x' is a setting\n");
}

static int do_write_config(void)
{
	const char *lines = OTHER_SETTINGS;
	int ret = write(config, lines, strlen(lines)) < 0 ? -1 : 0;
	int error = errno;

	if (ret && error == ENOMEM) {
		read_file(BASE "last_error", text, sizeof(text));
		if (strncmp(text, "memory: ", 8))
			text[0] = 0;
	}
	errno = error;
	return ret;
}

static int do_write_param(void)
{
	char value[16];

	snprintf(value, sizeof(value), "%u", 64 + ++turn % 4096);
	return write_file(CACHE_SIZE, value);
}

/* Made by neural_test.ko, in this task. */
static int do_batch_create(void)
{
	snprintf(text, sizeof(text), "batch");
	return write_file("/sys/module/neural_test/parameters/batch", "4096");
}

static void forget(const char *name)
{
	struct neural_name request = { .msg = msg() };

	strncpy(request.name, name, sizeof(request.name) - 1);
	ioctl(dev, NEURAL_IOC_UNLOAD, &request);
}

static void do_nothing(void)
{
}

static void forget_fail(void)
{
	forget("fail");
}

static void forget_digits(void)
{
	forget("digits");
}

static void load_spare(void)
{
	struct neural_load load = load_of("spare");

	ioctl(dev, NEURAL_IOC_LOAD, &load);
}

static struct state state_now(void)
{
	struct state state = {};
	unsigned int i;

	if (list_to(state.infos, &state.count) ||
	    get(state.settings, sizeof(state.settings)) ||
	    read_file(CACHE_SIZE, state.cache_size, sizeof(state.cache_size)) <
		    0 ||
	    predict(1 << 16, state.answer))
		printf("Bail out! %s: %s\n", strerror(errno), text);
	/* A network may be loaded again by what prepares a request. */
	for (i = 0; i < 8; i++)
		if (!strcmp(state.infos[i].name, "spare"))
			state.infos[i].id = 0;
	return state;
}

static bool same(const struct state *a, const struct state *b)
{
	return !memcmp(a, b, sizeof(*a));
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

	/* One was, if it was this copy that failed. */
	if (pread(nth, buf, sizeof(buf) - 1, 0) < 0)
		return 1;
	return atoi(buf);
}

/* After prepare(), in which nothing fails, request() is made again and again. */
static void each(const char *name, int flags, void (*prepare)(void),
		 int (*request)(void))
{
	unsigned int failed = 0, memory = 0, wrong = 0;
	struct state before, after;
	bool known = false;
	int n;

	for (n = 1; n <= TRIES; n++) {
		int ret, error, left;

		prepare();
		/* It takes its time: once will do while nothing changes it. */
		if (!known || prepare != do_nothing)
			before = state_now();
		known = false;
		/* After the last prediction, which statistics count. */
		if (request == do_read)
			read_file(path, want, sizeof(want));
		text[0] = 0;
		got[0] = 0;
		errno = 0;
		arm(n);
		ret = request();
		error = errno;
		left = armed();
		arm(0);
		if (!ret && request == do_read && strcmp(got, want)) {
			printf("# allocation %d: read %zu bytes of %zu, or others\n",
			       n, strlen(got), strlen(want));
			wrong++;
		}
		if (left > 0 && !ret)
			break; /* fewer than n allocations: all have failed once */
		if (!ret)
			continue; /* the kernel did without the one that failed */
		failed++;
		memory += error == ENOMEM;
		/* Copies from and to user space fail, too, those of the line among them. */
		if (error != EFAULT && error != ENOMEM) {
			printf("# allocation %d: %s: '%s'\n", n,
			       strerror(error), text);
			wrong++;
		}
		if (error == ENOMEM &&
		    (flags & ONLY_COPIES || (!text[0] && !(flags & NO_LINE)))) {
			printf("# allocation %d: no memory, '%s'\n", n, text);
			wrong++;
		}
		if (error == EFAULT && flags & CHANGES)
			continue;
		after = state_now();
		if (!same(&before, &after)) {
			printf("# allocation %d: %s, and something has changed\n",
			       n, strerror(error));
			wrong++;
		} else {
			known = true;
		}
	}
	prepare();
	number++;
	printf("# %s: %u of %d allocations made it fail, %u with ENOMEM\n",
	       name, failed, n - 1, memory);
	if (wrong || n > TRIES || !failed || (flags & ALLOCATES && !memory) ||
	    (flags & ONLY_COPIES && (int)failed != n - 1)) {
		failures++;
		printf("not ");
	}
	printf("ok %u %s\n", number, name);
}

static void each_file(const char *name, const char *file)
{
	path = file;
	each(name, ALLOCATES | NO_LINE, do_nothing, do_read);
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
	printf("KTAP version 1\n# script: fault_01\n1..24\n");
	base = load_of("base");
	if (ioctl(dev, NEURAL_IOC_LOAD, &base)) {
		printf("Bail out! %s\n", text);
		return 1;
	}
	id = base.id;
	each("load from memory", ALLOCATES | CHANGES, forget_fail, do_load);
	each("load from the firmware path", ALLOCATES | CHANGES, forget_digits,
	     do_firmware);
	each("replace", ALLOCATES | CHANGES, do_nothing, do_replace);
	each("unload", CHANGES, load_spare, do_unload);
	forget("spare");
	each("configure", ALLOCATES | CHANGES, set_plain, do_config);
	each("read the settings", 0, do_nothing, do_config_get);
	each("ask what the module is", ONLY_COPIES, do_nothing, do_query);
	each("find", ONLY_COPIES, do_nothing, do_find);
	each("list", ONLY_COPIES, do_nothing, do_list);
	each("read the statistics", ONLY_COPIES, do_nothing, do_stats);
	each("predict one sample, which allocates nothing", ONLY_COPIES,
	     do_nothing, do_predict);
	each("predict a batch", ALLOCATES, do_nothing, do_batch);
	each("open the device", ALLOCATES | NO_LINE, do_nothing, do_open);
	each("make a batch in the kernel", ALLOCATES, do_nothing,
	     do_batch_create);
	each_file("read stats of all networks", DEBUGFS "stats");
	each_file("read stats", BASE "stats");
	each_file("read stats.json", BASE "stats.json");
	each_file("read config", BASE "config");
	each_file("read layers", BASE "layers");
	each_file("read numa", BASE "numa");
	each_file("read cpus", BASE "cpus");
	each("write config", ALLOCATES | CHANGES, open_config, do_write_config);
	each_file("read a parameter", CACHE_SIZE);
	each("write a parameter", ALLOCATES | NO_LINE | CHANGES, do_nothing,
	     do_write_param);
	return failures != 0;
}
