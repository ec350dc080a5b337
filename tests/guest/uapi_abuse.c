// SPDX-License-Identifier: GPL-2.0
/*
 * Feeds /dev/neural what no well-behaved program would send, and shows that
 * each request gets its errno and a line, and that nothing changes.
 *
 *	uapi_abuse MODEL.nnm
 *
 * Prints KTAP. The model must have at least one input and one output.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/neural.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define BAD ((uint64_t)0xffff800000000000ULL)

static int dev;
static unsigned int number, failures;
static char text[NEURAL_MSG_LEN];
static uint8_t *model;
static size_t model_size;

static void result(bool good, const char *name)
{
	number++;
	failures += !good;
	printf("%sok %u %s\n", good ? "" : "not ", number, name);
}

static struct neural_msg msg(void)
{
	memset(text, 0, sizeof(text));
	return (struct neural_msg){ .text = (uintptr_t)text,
				    .len = sizeof(text) };
}

/* The errno of a request, 0 if it went well. */
static int call(unsigned long cmd, void *arg)
{
	return ioctl(dev, cmd, arg) ? errno : 0;
}

/* Shows that a request fails with an errno and a line that has a word in it. */
static void refused(const char *name, unsigned long cmd, void *arg, int want,
		    const char *word)
{
	int got = call(cmd, arg);
	bool good = got == want && (!word || strstr(text, word));

	if (!good)
		printf("# errno %d (%s), expected %d; line: '%s', expected '%s' in it\n",
		       got, strerror(got), want, text, word ? word : "");
	result(good, name);
}

static unsigned int count_networks(void)
{
	struct neural_query query = { .msg = msg() };

	return call(NEURAL_IOC_QUERY, &query) ? ~0U : query.networks;
}

static struct neural_load load_request(const char *name)
{
	struct neural_load load = { .msg = msg(),
				    .data = (uintptr_t)model,
				    .size = model_size };

	strncpy(load.name, name, sizeof(load.name) - 1);
	return load;
}

static int unload(const char *name)
{
	struct neural_name request = { .msg = msg() };

	strncpy(request.name, name, sizeof(request.name) - 1);
	return call(NEURAL_IOC_UNLOAD, &request);
}

static struct neural_info info_of(uint32_t id)
{
	static struct neural_info infos[64];
	struct neural_list list = { .msg = msg(),
				    .infos = (uintptr_t)infos,
				    .capacity = 64 };
	unsigned int i;

	if (!call(NEURAL_IOC_LIST, &list)) {
		for (i = 0; i < list.count && i < 64; i++)
			if (infos[i].id == id)
				return infos[i];
	}
	return (struct neural_info){};
}

static void test_numbers(void)
{
	struct neural_query query = { .msg = msg() };
	static const unsigned long bad[] = {
		_IO(NEURAL_IOC_MAGIC, 0x00),
		_IOR(NEURAL_IOC_MAGIC, 0x00, struct neural_query),
		_IOWR(NEURAL_IOC_MAGIC, 0x00, struct neural_load),
		_IOWR(NEURAL_IOC_MAGIC, 0x0b, struct neural_query),
		_IOWR(NEURAL_IOC_MAGIC, 0xff, struct neural_query),
		_IOWR('N', 0x00, struct neural_query),
		0,
		~0UL,
	};
	unsigned int i;
	bool good = true;

	for (i = 0; i < ARRAY_SIZE(bad); i++)
		good &= call(bad[i], &query) == ENOTTY;
	result(good, "unknown requests and wrong sizes get ENOTTY");
	refused("a null pointer gets EFAULT", NEURAL_IOC_QUERY, NULL, EFAULT,
		NULL);
	refused("a kernel address gets EFAULT", NEURAL_IOC_QUERY, (void *)BAD,
		EFAULT, NULL);
	query = (struct neural_query){ .msg = msg(), .reserved = { 0, 1 } };
	refused("a reserved field that is not 0 is named", NEURAL_IOC_QUERY,
		&query, EINVAL, "reserved");
	query = (struct neural_query){ .msg = msg() };
	query.msg.reserved = 1;
	refused("so is one in the message", NEURAL_IOC_QUERY, &query, EINVAL,
		"msg.reserved");
	query = (struct neural_query){ .msg = { .text = BAD, .len = 100 },
				       .reserved = { 1 } };
	text[0] = 0;
	refused("a bad message address does no harm", NEURAL_IOC_QUERY, &query,
		EINVAL, NULL);
	query = (struct neural_query){ .msg = msg(), .reserved = { 1 } };
	query.msg.len = 4;
	call(NEURAL_IOC_QUERY, &query);
	result(!strcmp(text, "res"),
	       "a short buffer gets the beginning of the line");
}

static void test_load(void)
{
	unsigned int before = count_networks(), i, bad = 0;
	struct neural_load load;
	uint8_t *copy = malloc(model_size + 1);
	struct neural_load *locked;

	load = load_request("a b");
	refused("a bad name is refused", NEURAL_IOC_LOAD, &load, EINVAL,
		"name");
	load = load_request("../x");
	refused("a path as a name is refused", NEURAL_IOC_LOAD, &load, EINVAL,
		"name");
	load = load_request("x");
	memset(load.name, 'x', sizeof(load.name));
	refused("a name without its NUL is refused", NEURAL_IOC_LOAD, &load,
		EINVAL, "name");
	load = load_request("x");
	load.name[5] = 'y';
	refused("a name with something behind its NUL is refused",
		NEURAL_IOC_LOAD, &load, EINVAL, "name");
	load = load_request("x");
	load.flags = 0x80;
	refused("an unknown flag is refused", NEURAL_IOC_LOAD, &load, EINVAL,
		"flags");
	load = load_request("x");
	load.reserved[1] = 1;
	refused("a reserved field is refused", NEURAL_IOC_LOAD, &load, EINVAL,
		"reserved");
	load = load_request("x");
	load.data = BAD;
	refused("a bad data address gets EFAULT", NEURAL_IOC_LOAD, &load,
		EFAULT, "data");
	load = load_request("x");
	load.size = 0;
	refused("an empty file is refused", NEURAL_IOC_LOAD, &load, EBADMSG,
		"model");
	load.size = 1ULL << 63;
	refused("an absurd size is refused", NEURAL_IOC_LOAD, &load, E2BIG,
		"size");
	load.size = 200ULL << 20;
	refused("more than there is gets EFAULT", NEURAL_IOC_LOAD, &load,
		EFAULT, "data");
	load = load_request("no_such_model");
	load.flags = NEURAL_LOAD_FIRMWARE;
	load.data = 0;
	load.size = 0;
	refused("a missing firmware file is named", NEURAL_IOC_LOAD, &load,
		ENOENT, "no_such_model.nnm");
	load.size = 1;
	refused("a size with a firmware file is refused", NEURAL_IOC_LOAD,
		&load, EINVAL, "size");

	memcpy(copy, model, model_size);
	copy[model_size] = 0;
	for (i = 0; i < model_size; i += i < 512 ? 1 : 509) {
		load = load_request("x");
		load.size = i;
		bad += call(NEURAL_IOC_LOAD, &load) == 0 || !text[0];
	}
	result(!bad, "a file cut anywhere is refused");
	load = load_request("x");
	load.data = (uintptr_t)copy;
	load.size = model_size + 1;
	refused("a file with a byte too many is refused", NEURAL_IOC_LOAD,
		&load, EBADMSG, "model");
	for (i = 0, bad = 0; i < model_size * 8; i += i < 4096 ? 1 : 4099) {
		copy[i / 8] ^= 1 << i % 8;
		load = load_request("x");
		load.data = (uintptr_t)copy;
		bad += call(NEURAL_IOC_LOAD, &load) == 0 || !text[0];
		copy[i / 8] ^= 1 << i % 8;
	}
	result(!bad, "a file with a flipped bit is refused");

	/* A request in memory that cannot be written: the id could not be returned. */
	locked = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*locked = load_request("x");
	mprotect(locked, 4096, PROT_READ);
	refused("a request that cannot be written to gets EFAULT",
		NEURAL_IOC_LOAD, locked, EFAULT, NULL);
	munmap(locked, 4096);
	result(count_networks() == before, "nothing was loaded by all this");
	free(copy);
}

static void test_predict(void)
{
	struct neural_load load = load_request("abuse");
	struct neural_predict p, good;
	struct neural_info info;
	void *in, *out;
	int ret = call(NEURAL_IOC_LOAD, &load);

	result(!ret, "the model itself loads");
	if (ret) {
		printf("# %s\n", text);
		return;
	}
	info = info_of(load.id);
	in = calloc(64, 4 * info.input_dim);
	out = calloc(64, 4 * info.output_dim);
	good = (struct neural_predict){
		.id = load.id,
		.count = 1,
		.input = (uintptr_t)in,
		.output = (uintptr_t)out,
		.input_bytes = 4 * info.input_dim,
		.output_bytes = 4 * info.output_dim,
	};
	load = load_request("abuse");
	refused("a name that is taken is refused", NEURAL_IOC_LOAD, &load,
		EEXIST, "abuse");

#define WRONG(name, cmd, field, value, want, word)  \
	do {                                        \
		p = good;                           \
		p.msg = msg();                      \
		p.field = (value);                  \
		refused(name, cmd, &p, want, word); \
	} while (0)

	p = good;
	p.msg = msg();
	result(!call(NEURAL_IOC_PREDICT, &p), "a good request predicts");
	WRONG("an unknown id is refused", NEURAL_IOC_PREDICT, id, 4000000000U,
	      ENOENT, "id");
	WRONG("id 0 is refused", NEURAL_IOC_PREDICT, id, 0, ENOENT, "id");
	WRONG("no samples are refused", NEURAL_IOC_PREDICT, count, 0, EINVAL,
	      "count");
	WRONG("two samples need a batch", NEURAL_IOC_PREDICT, count, 2, EINVAL,
	      "count");
	WRONG("a flag is refused", NEURAL_IOC_PREDICT, flags, 1, EINVAL,
	      "flags");
	WRONG("a reserved field is refused", NEURAL_IOC_PREDICT, reserved, 1,
	      EINVAL, "reserved");
	WRONG("too few input bytes are refused", NEURAL_IOC_PREDICT,
	      input_bytes, good.input_bytes - 1, EINVAL, "input_bytes");
	WRONG("absurd input bytes are refused", NEURAL_IOC_PREDICT, input_bytes,
	      ~0U, EINVAL, "input_bytes");
	WRONG("no output bytes are refused", NEURAL_IOC_PREDICT, output_bytes,
	      0, EINVAL, "output_bytes");
	WRONG("a bad input address gets EFAULT", NEURAL_IOC_PREDICT, input, 8,
	      EFAULT, "input");
	WRONG("a bad output address gets EFAULT", NEURAL_IOC_PREDICT, output,
	      BAD, EFAULT, "output");
	WRONG("an empty batch is refused", NEURAL_IOC_PREDICT_BATCH, count, 0,
	      EINVAL, "count");
	WRONG("an absurd batch is refused", NEURAL_IOC_PREDICT_BATCH, count,
	      ~0U, EINVAL, "count");
	WRONG("a batch larger than its memory gets EFAULT",
	      NEURAL_IOC_PREDICT_BATCH, count, NEURAL_BATCH_MAX, EFAULT,
	      "input");
	WRONG("a batch with a bad output gets EFAULT", NEURAL_IOC_PREDICT_BATCH,
	      output, BAD, EFAULT, "output");
	p = good;
	p.msg = msg();
	p.count = 64;
	result(!call(NEURAL_IOC_PREDICT_BATCH, &p), "a good batch predicts");
#undef WRONG
	result(!unload("abuse"), "the model unloads");
	result(unload("abuse") == ENOENT, "only once");
	p = good;
	p.msg = msg();
	refused("an unloaded network is not found", NEURAL_IOC_PREDICT, &p,
		ENOENT, "id");
	free(in);
	free(out);
}

/* Loads the model as "abuse"; its id, or 0. */
static uint32_t load_abuse(void)
{
	struct neural_load load = load_request("abuse");

	if (!call(NEURAL_IOC_LOAD, &load))
		return load.id;
	printf("# %s\n", text);
	result(false, "the model loads again");
	return 0;
}

static struct neural_name name_request(const char *name)
{
	struct neural_name request = { .msg = msg() };

	strncpy(request.name, name, sizeof(request.name) - 1);
	return request;
}

/* What is asked by name, for one that is asked to be found or to go. */
static void test_name(const char *what, unsigned long cmd)
{
	struct neural_name request;
	char name[96];

#define SAY(...) (snprintf(name, sizeof(name), __VA_ARGS__), name)

	request = name_request("no_such_net");
	refused(SAY("%s: a name that is not loaded is named", what), cmd,
		&request, ENOENT, "no_such_net");
	request = name_request("a b");
	refused(SAY("%s: a bad name is refused", what), cmd, &request, EINVAL,
		"name");
	request = name_request("");
	refused(SAY("%s: no name is refused", what), cmd, &request, EINVAL,
		"name");
	memset(request.name, 'x', sizeof(request.name));
	request.msg = msg();
	refused(SAY("%s: a name without its NUL is refused", what), cmd,
		&request, EINVAL, "name");
	request = name_request("abuse");
	request.reserved = 1;
	refused(SAY("%s: a reserved field is refused", what), cmd, &request,
		EINVAL, "reserved");
	request = name_request("abuse");
	request.msg.reserved = 1;
	refused(SAY("%s: so is one in the message", what), cmd, &request,
		EINVAL, "msg.reserved");
	refused(SAY("%s: a kernel address gets EFAULT", what), cmd, (void *)BAD,
		EFAULT, NULL);
#undef SAY
}

static void test_names(void)
{
	struct neural_name request = name_request("abuse");
	uint32_t id = load_abuse();

	if (!id)
		return;
	result(!call(NEURAL_IOC_FIND, &request) && request.id == id,
	       "find: a network is found by its name");
	test_name("find", NEURAL_IOC_FIND);
	test_name("unload", NEURAL_IOC_UNLOAD);
	request = name_request("abuse");
	result(!call(NEURAL_IOC_UNLOAD, &request) && request.id == id,
	       "unload: the network is still there, and goes");
	request = name_request("abuse");
	refused("find: then it is not found", NEURAL_IOC_FIND, &request, ENOENT,
		"abuse");
}

static struct neural_list list_request(uint64_t infos, uint32_t capacity)
{
	return (struct neural_list){ .msg = msg(),
				     .infos = infos,
				     .capacity = capacity };
}

static void test_list(void)
{
	struct neural_info infos[3], untouched;
	struct neural_list list;
	struct neural_load load;
	uint32_t id = load_abuse();

	if (!id)
		return;
	load = load_request("abuse_2");
	result(!call(NEURAL_IOC_LOAD, &load) && load.id > id,
	       "a network that is loaded later has a higher id");

	list = list_request(BAD, 1);
	refused("list: a bad address gets EFAULT", NEURAL_IOC_LIST, &list,
		EFAULT, "infos");
	list = list_request(0, ~0U);
	refused("list: so does none", NEURAL_IOC_LIST, &list, EFAULT, "infos");
	list = list_request(BAD, 0);
	result(!call(NEURAL_IOC_LIST, &list) && list.count == 2,
	       "list: without room, networks are counted");
	memset(infos, 0x55, sizeof(infos));
	memset(&untouched, 0x55, sizeof(untouched));
	list = list_request((uintptr_t)infos, 1);
	result(!call(NEURAL_IOC_LIST, &list) && list.count == 2 &&
		       infos[0].id == id &&
		       !memcmp(&infos[1], &untouched, sizeof(untouched)),
	       "list: of two, one is written where there is room for one");
	list = list_request((uintptr_t)infos, 3);
	result(!call(NEURAL_IOC_LIST, &list) && list.count == 2 &&
		       infos[0].id == id && infos[1].id == load.id &&
		       !strcmp(infos[1].name, "abuse_2") &&
		       !memcmp(&infos[2], &untouched, sizeof(untouched)),
	       "list: with room for three, two are written, by id");
	list = list_request((uintptr_t)infos, 3);
	list.msg.reserved = 1;
	refused("list: a reserved field is refused", NEURAL_IOC_LIST, &list,
		EINVAL, "msg.reserved");
	unload("abuse_2");
	unload("abuse");
}

/* What the statistics of a network, or of all, are; 0 of everything where they cannot be read. */
static struct neural_stats stats_of(uint32_t id)
{
	struct neural_stats stats = { .msg = msg(), .id = id };

	if (!call(NEURAL_IOC_STATS, &stats))
		return stats;
	printf("# %s\n", text);
	return (struct neural_stats){};
}

static bool errors_are(const struct neural_stats *stats, const uint64_t *want)
{
	bool good = !memcmp(stats->errors, want, sizeof(stats->errors));
	unsigned int i;

	for (i = 0; !good && i < NEURAL_ERR_KINDS; i++)
		printf("# errors of kind %u: %llu, expected %llu\n", i,
		       (unsigned long long)stats->errors[i],
		       (unsigned long long)want[i]);
	return good;
}

static void test_stats(void)
{
	static const char bad[] = "cache_size x";
	uint32_t id = load_abuse();
	struct neural_stats stats, all, sum;
	struct neural_info info = info_of(id);
	struct neural_config config;
	struct neural_predict p;
	struct neural_load load;
	uint64_t errors[NEURAL_ERR_KINDS] = {}, histogram = 0;
	void *in = calloc(4, 4 * info.input_dim);
	void *out = calloc(4, 4 * info.output_dim);
	unsigned int i;

	if (!id)
		return;
	stats = stats_of(id);
	result(stats.id == id && !stats.predictions && !stats.total_ns &&
		       !stats.p50_ns && stats.memory_bytes,
	       "stats: of a new network, there is memory only");
	result(errors_are(&stats, errors), "stats: and no errors");
	all = stats_of(NEURAL_ID_TOTAL);

	stats = (struct neural_stats){ .msg = msg(), .id = 4000000000U };
	refused("stats: an unknown id is refused", NEURAL_IOC_STATS, &stats,
		ENOENT, "id");
	stats = (struct neural_stats){ .msg = msg(), .id = id, .reserved = 1 };
	refused("stats: a reserved field is refused", NEURAL_IOC_STATS, &stats,
		EINVAL, "reserved");
	stats = (struct neural_stats){ .msg = msg(), .id = id };
	stats.msg.reserved = 1;
	refused("stats: so is one in the message", NEURAL_IOC_STATS, &stats,
		EINVAL, "msg.reserved");
	refused("stats: a kernel address gets EFAULT", NEURAL_IOC_STATS,
		(void *)BAD, EFAULT, NULL);

	p = (struct neural_predict){ .msg = msg(),
				     .id = id,
				     .count = 4,
				     .input = (uintptr_t)in,
				     .output = (uintptr_t)out,
				     .input_bytes = 4 * info.input_dim,
				     .output_bytes = 4 * info.output_dim };
	/* Kept for all of the test. */
	config = (struct neural_config){
		.msg = msg(),
		.id = id,
		.text = (uintptr_t)"cache_timeout 3600000",
		.len = 21
	};
	result(!call(NEURAL_IOC_CONFIG_SET, &config) &&
		       !call(NEURAL_IOC_PREDICT_BATCH, &p),
	       "stats: a batch of four equal samples");
	stats = stats_of(id);
	for (i = 0; i < NEURAL_HIST_BUCKETS; i++)
		histogram += stats.histogram[i];
	result(stats.predictions == 4 && stats.batches == 1 && histogram == 4,
	       "stats: are four predictions in one batch");
	result(stats.cache_hits + stats.cache_misses == 4 &&
		       stats.cache_misses && !stats.cache_expired,
	       "stats: and four look-ups");
	result(stats.total_ns && stats.p50_ns <= stats.p99_ns &&
		       stats.p99_ns <= stats.p999_ns &&
		       stats.memory_peak_bytes >= stats.memory_bytes,
	       "stats: times are in order, the peak is not below what is");

	p.msg = msg();
	p.count = 0;
	refused("stats: a request with a wrong count", NEURAL_IOC_PREDICT, &p,
		EINVAL, "count");
	errors[NEURAL_ERR_INPUT] = 1;
	stats = stats_of(id);
	result(errors_are(&stats, errors), "stats: is an error of the input");
	load = load_request("abuse");
	load.size--;
	refused("stats: a replacement that is damaged", NEURAL_IOC_REPLACE,
		&load, EBADMSG, "model");
	errors[NEURAL_ERR_MODEL] = 1;
	stats = stats_of(id);
	result(errors_are(&stats, errors), "stats: is an error of the model");
	config = (struct neural_config){ .msg = msg(),
					 .id = id,
					 .text = (uintptr_t)bad,
					 .len = strlen(bad) };
	refused("stats: a setting that is none", NEURAL_IOC_CONFIG_SET, &config,
		EINVAL, "cache_size");
	errors[NEURAL_ERR_CONFIG] = 1;
	stats = stats_of(id);
	result(errors_are(&stats, errors), "stats: is an error of a setting");

	sum = stats_of(NEURAL_ID_TOTAL);
	result(sum.predictions == all.predictions + 4 &&
		       sum.batches == all.batches + 1,
	       "stats: the total has the same predictions");
	for (i = 0; i < NEURAL_ERR_KINDS; i++)
		sum.errors[i] -= all.errors[i];
	result(errors_are(&sum, errors), "stats: and errors");
	unload("abuse");
	sum = stats_of(NEURAL_ID_TOTAL);
	result(sum.predictions == all.predictions + 4,
	       "stats: and keeps them when the network is unloaded");
	free(in);
	free(out);
}

static void test_replace(void)
{
	struct neural_load load;
	uint32_t id = load_abuse();

	if (!id)
		return;
	load = load_request("no_such_net");
	refused("replace: a name that is not loaded is named",
		NEURAL_IOC_REPLACE, &load, ENOENT, "no_such_net");
	load = load_request("");
	refused("replace: no name is refused", NEURAL_IOC_REPLACE, &load,
		EINVAL, "name");
	load = load_request("abuse");
	load.flags = 0x80;
	refused("replace: an unknown flag is refused", NEURAL_IOC_REPLACE,
		&load, EINVAL, "flags");
	load = load_request("abuse");
	load.reserved[0] = 1;
	refused("replace: a reserved field is refused", NEURAL_IOC_REPLACE,
		&load, EINVAL, "reserved");
	load = load_request("abuse");
	load.data = BAD;
	refused("replace: a bad data address gets EFAULT", NEURAL_IOC_REPLACE,
		&load, EFAULT, "data");
	load = load_request("abuse");
	load.size = 1ULL << 63;
	refused("replace: an absurd size is refused", NEURAL_IOC_REPLACE, &load,
		E2BIG, "size");
	load = load_request("abuse");
	load.flags = NEURAL_LOAD_FIRMWARE;
	load.data = 0;
	load.size = 0;
	refused("replace: a missing firmware file is named", NEURAL_IOC_REPLACE,
		&load, ENOENT, "abuse.nnm");
	result(info_of(id).generation == 1, "replace: nothing was replaced");
	load = load_request("abuse");
	result(!call(NEURAL_IOC_REPLACE, &load) && load.id == id &&
		       info_of(id).generation == 2,
	       "replace: a good one is taken, under the same id");
	unload("abuse");
}

static void test_config(void)
{
	static const struct {
		const char *text;
		int want;
		const char *word;
	} bad[] = {
		{ "", EINVAL, "config" },
		{ "\n\n", EINVAL, "config" },
		{ "cache_timeout", EINVAL, "cache_timeout" },
		{ "cache_timeout x", EINVAL, "cache_timeout" },
		{ "cache_timeout -1", EINVAL, "cache_timeout" },
		{ "cache_timeout 99999999999999999999", 0, "cache_timeout" },
		{ "cache_timeout 3600001", ERANGE, "cache_timeout" },
		{ "cache_timeout 1 2", EINVAL, "cache_timeout" },
		{ "cache_size 65537", ERANGE, "cache_size" },
		{ "cache_eviction best", EINVAL, "cache_eviction" },
		{ "simd 2", 0, "simd" },
		{ "numa_policy 3", 0, "numa_policy" },
		{ "numa_policy 2\nnuma_node 63", EINVAL, "numa_node" },
		{ "allowed_cpus 0-", EINVAL, "allowed_cpus" },
		{ "allowed_cpus 4000", ERANGE, "allowed_cpus" },
		{ "workload fast", EINVAL, "workload" },
		{ "nonsense 1", EINVAL, "nonsense" },
		{ "\xff\xfe\x01 \x02", EINVAL, "config" },
		{ "cache_timeout 9\nnonsense 1\n", EINVAL, "nonsense" },
	};
	struct neural_load load = load_request("abuse");
	struct neural_config config;
	char before[4096] = "", after[4096] = "";
	unsigned int i;

	if (call(NEURAL_IOC_LOAD, &load)) {
		result(false, "the model loads again");
		return;
	}
	config = (struct neural_config){ .msg = msg(),
					 .id = load.id,
					 .text = (uintptr_t)before,
					 .len = sizeof(before) };
	result(!call(NEURAL_IOC_CONFIG_GET, &config), "settings can be read");
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		char name[96];
		int got;

		config = (struct neural_config){ .msg = msg(),
						 .id = load.id,
						 .text = (uintptr_t)bad[i].text,
						 .len = strlen(bad[i].text) };
		got = call(NEURAL_IOC_CONFIG_SET, &config);
		snprintf(name, sizeof(name), "setting %u is refused", i);
		if (!got || (bad[i].want && got != bad[i].want) ||
		    !strstr(text, bad[i].word)) {
			printf("# '%s': errno %d, expected %d; line: '%s'\n",
			       bad[i].text, got, bad[i].want, text);
			result(false, name);
		} else {
			result(true, name);
		}
	}
	config = (struct neural_config){
		.msg = msg(), .id = load.id, .text = BAD, .len = 10
	};
	refused("a bad text address gets EFAULT", NEURAL_IOC_CONFIG_SET,
		&config, EFAULT, "text");
	config = (struct neural_config){ .msg = msg(),
					 .id = load.id,
					 .text = (uintptr_t)after,
					 .len = ~0U };
	refused("an absurd text is refused", NEURAL_IOC_CONFIG_SET, &config,
		E2BIG, "len");
	config = (struct neural_config){
		.msg = msg(), .id = load.id, .text = (uintptr_t)after, .len = 3
	};
	refused("a short buffer for the settings is refused",
		NEURAL_IOC_CONFIG_GET, &config, ENOSPC, "len");
	config = (struct neural_config){ .msg = msg(),
					 .id = load.id,
					 .text = (uintptr_t)after,
					 .len = sizeof(after) };
	call(NEURAL_IOC_CONFIG_GET, &config);
	result(!strcmp(before, after), "no setting has changed");
	config = (struct neural_config){ .msg = msg(),
					 .id = load.id,
					 .text = (uintptr_t)before,
					 .len = strlen(before) };
	result(!call(NEURAL_IOC_CONFIG_SET, &config),
	       "what was read can be written back");
	unload("abuse");
}

/* ---- Many at once ------------------------------------------------------------------------- */

static struct {
	uint32_t id;
	uint32_t in, out;
	bool stop;
	unsigned long made, wrong;
} race;

static void *race_predict(void *arg)
{
	int32_t *in = calloc(race.in, 4), *first = calloc(race.out, 4),
		*out = calloc(race.out, 4);
	struct neural_predict p = { .id = race.id,
				    .count = 1,
				    .input = (uintptr_t)in,
				    .output = (uintptr_t)first,
				    .input_bytes = 4 * race.in,
				    .output_bytes = 4 * race.out };
	int fd = open("/dev/neural", O_RDWR);
	unsigned long made = 0, wrong = 0;

	(void)arg;
	wrong += ioctl(fd, NEURAL_IOC_PREDICT, &p) != 0;
	p.output = (uintptr_t)out;
	while (!__atomic_load_n(&race.stop, __ATOMIC_ACQUIRE)) {
		wrong += ioctl(fd, NEURAL_IOC_PREDICT, &p) != 0 ||
			 memcmp(first, out, 4 * race.out);
		made++;
	}
	__atomic_fetch_add(&race.made, made, __ATOMIC_RELAXED);
	__atomic_fetch_add(&race.wrong, wrong, __ATOMIC_RELAXED);
	close(fd);
	free(in);
	free(first);
	free(out);
	return NULL;
}

static void test_race(void)
{
	struct neural_load load = load_request("race");
	struct neural_info info;
	pthread_t threads[4];
	unsigned int i, failed = 0;

	if (call(NEURAL_IOC_LOAD, &load)) {
		result(false, "a model for the race loads");
		return;
	}
	info = info_of(load.id);
	race.id = load.id;
	race.in = info.input_dim;
	race.out = info.output_dim;
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_create(&threads[i], NULL, race_predict, NULL);
	for (i = 0; i < 100; i++) {
		char name[32], line[64];
		struct neural_load again = load_request("race");
		struct neural_config config = { .msg = msg(), .id = load.id };

		failed += call(NEURAL_IOC_REPLACE, &again) != 0;
		snprintf(line, sizeof(line), "cache_size %u\nnuma_policy %u\n",
			 i % 3 * 16, i % 2);
		config.text = (uintptr_t)line;
		config.len = strlen(line);
		failed += call(NEURAL_IOC_CONFIG_SET, &config) != 0;
		snprintf(name, sizeof(name), "race_%u", i);
		again = load_request(name);
		failed += call(NEURAL_IOC_LOAD, &again) != 0;
		failed += unload(name) != 0;
	}
	__atomic_store_n(&race.stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	printf("# %lu predictions while 100 times replaced, resized, loaded\n",
	       race.made);
	result(!failed && !race.wrong && race.made,
	       "predictions go on while all is changed");
	unload("race");
}

/* Requests of random bytes, with a fixed seed: none may succeed in a harmful way or hang. */
static void test_random(unsigned int requests)
{
	static uint8_t request[512];
	uint64_t seed = 0x9e3779b97f4a7c15ULL;
	unsigned int i, k, before = count_networks();
	static const unsigned long cmds[] = {
		NEURAL_IOC_QUERY,      NEURAL_IOC_LOAD,
		NEURAL_IOC_REPLACE,    NEURAL_IOC_UNLOAD,
		NEURAL_IOC_FIND,       NEURAL_IOC_LIST,
		NEURAL_IOC_PREDICT,    NEURAL_IOC_PREDICT_BATCH,
		NEURAL_IOC_STATS,      NEURAL_IOC_CONFIG_GET,
		NEURAL_IOC_CONFIG_SET,
	};

	for (i = 0; i < requests; i++) {
		for (k = 0; k < sizeof(request); k += 8) {
			uint64_t word;

			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			/* Mostly zeros and small numbers, to get past the first checks. */
			word = seed % 4 == 0 ? seed :
			       seed % 4 == 1 ? seed >> 60 :
					       0;
			memcpy(request + k, &word, 8);
		}
		ioctl(dev, cmds[seed % ARRAY_SIZE(cmds)], request);
	}
	result(count_networks() == before, "random requests change nothing");
}

int main(int argc, char **argv)
{
	struct stat st;
	int fd;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 3) {
		fprintf(stderr, "usage: uapi_abuse MODEL.nnm REQUESTS\n");
		return 2;
	}
	printf("KTAP version 1\n# script: abuse_01\n");
	fd = open(argv[1], O_RDONLY);
	dev = open("/dev/neural", O_RDWR);
	if (fd < 0 || dev < 0 || fstat(fd, &st)) {
		printf("Bail out! cannot open %s and /dev/neural\n", argv[1]);
		return 1;
	}
	model_size = st.st_size;
	model = malloc(model_size);
	if (read(fd, model, model_size) != (ssize_t)model_size)
		return 1;
	test_numbers();
	test_load();
	test_predict();
	test_names();
	test_list();
	test_stats();
	test_replace();
	test_config();
	test_random(atoi(argv[2]));
	test_race();
	printf("1..%u\n", number);
	return failures != 0;
}
