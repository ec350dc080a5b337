/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The part of the KUnit API that neural_test.c uses, for kernels that are built
 * without KUnit: the same cases run when the module is loaded and print the
 * same KTAP lines to the kernel log.
 */
#ifndef NEURAL_PLAIN_KUNIT_H
#define NEURAL_PLAIN_KUNIT_H

#include <linux/kconfig.h>

#if IS_ENABLED(CONFIG_KUNIT)

#include <kunit/test.h>

#else

#include <linux/module.h>
#include <linux/printk.h>

struct kunit {
	bool failed;
};

struct kunit_case {
	void (*run_case)(struct kunit *test);
	const char *name;
};

struct kunit_suite {
	const char *name;
	struct kunit_case *test_cases;
};

#define KUNIT_CASE(fn) { .run_case = (fn), .name = #fn }

static inline void plain_kunit_expect(struct kunit *test, bool holds,
				      const char *text, long long left,
				      long long right, int line)
{
	if (holds)
		return;
	test->failed = true;
	pr_info("# line %d: expected %s: %lld, %lld\n", line, text, left,
		right);
}

/* The values are shown as numbers, pointers too. */
#define plain_kunit_compare(test, left, op, right)                          \
	({                                                                  \
		typeof(left) plain_l = (left);                              \
		typeof(right) plain_r = (right);                            \
		plain_kunit_expect(test, plain_l op plain_r,                \
				   #left " " #op " " #right, (long)plain_l, \
				   (long)plain_r, __LINE__);                \
	})

#define KUNIT_EXPECT_EQ(test, left, right) \
	plain_kunit_compare(test, left, ==, right)
#define KUNIT_EXPECT_NE(test, left, right) \
	plain_kunit_compare(test, left, !=, right)
#define KUNIT_EXPECT_PTR_EQ(test, left, right) \
	plain_kunit_compare(test, left, ==, right)
#define KUNIT_EXPECT_TRUE(test, holds) \
	plain_kunit_expect(test, holds, #holds, 0, 1, __LINE__)

static inline __printf(2, 3) void kunit_info(struct kunit *test,
					     const char *format, ...)
{
	struct va_format vaf;
	va_list args;

	va_start(args, format);
	vaf.fmt = format;
	vaf.va = &args;
	pr_info("# %s%pV", test->failed ? "(failed) " : "", &vaf);
	va_end(args);
}

static inline int plain_kunit_run(struct kunit_suite *suite)
{
	unsigned int count = 0, bad = 0, i;

	while (suite->test_cases[count].run_case)
		count++;
	pr_info("KTAP version 1\n");
	pr_info("1..1\n");
	pr_info("    KTAP version 1\n");
	pr_info("    # Subtest: %s\n", suite->name);
	pr_info("    1..%u\n", count);
	for (i = 0; i < count; i++) {
		struct kunit test = {};

		suite->test_cases[i].run_case(&test);
		bad += test.failed;
		pr_info("    %sok %u %s\n", test.failed ? "not " : "", i + 1,
			suite->test_cases[i].name);
	}
	pr_info("%sok 1 %s\n", bad ? "not " : "", suite->name);
	return bad ? -EINVAL : 0;
}

/* Set by kunit_test_suite(), which comes later in the file. */
static struct kunit_suite *plain_kunit_suite;

#define kunit_test_suite(suite) \
	static struct kunit_suite *plain_kunit_suite = &(suite)

static int __init plain_kunit_init(void)
{
	return plain_kunit_run(plain_kunit_suite);
}
module_init(plain_kunit_init);

static void __exit plain_kunit_exit(void)
{
}
module_exit(plain_kunit_exit);

#endif /* CONFIG_KUNIT */

#endif /* NEURAL_PLAIN_KUNIT_H */
