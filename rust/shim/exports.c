// SPDX-License-Identifier: GPL-2.0
/*
 * Exports the API of <linux/neural.h>, whose functions are written in Rust
 * (rust/module/sys/capi.rs). Including the header holds the names together; the
 * signatures are held together by tests/kunit/neural_test.c, which calls them.
 */
#include <linux/build_bug.h>
#include <linux/export.h>
#include <linux/neural.h>
#include <uapi/linux/neural.h>

EXPORT_SYMBOL_GPL(neural_network_load);
EXPORT_SYMBOL_GPL(neural_network_create);
EXPORT_SYMBOL_GPL(neural_network_replace);
EXPORT_SYMBOL_GPL(neural_network_get);
EXPORT_SYMBOL_GPL(neural_network_put);
EXPORT_SYMBOL_GPL(neural_network_unload);
EXPORT_SYMBOL_GPL(neural_network_input_dim);
EXPORT_SYMBOL_GPL(neural_network_output_dim);
EXPORT_SYMBOL_GPL(neural_network_input_bytes);
EXPORT_SYMBOL_GPL(neural_network_output_bytes);
EXPORT_SYMBOL_GPL(neural_network_dtype);
EXPORT_SYMBOL_GPL(neural_network_configure);
EXPORT_SYMBOL_GPL(neural_network_predict);
EXPORT_SYMBOL_GPL(neural_batch_create);
EXPORT_SYMBOL_GPL(neural_batch_create_for);
EXPORT_SYMBOL_GPL(neural_batch_predict);
EXPORT_SYMBOL_GPL(neural_batch_free);
EXPORT_SYMBOL_GPL(neural_alloc_numa);
EXPORT_SYMBOL_GPL(neural_free_numa);

/* The sizes that rust/module/sys/uabi.rs asserts of its own structures. */
static_assert(sizeof(struct neural_msg) == 16);
static_assert(sizeof(struct neural_query) == 56);
static_assert(sizeof(struct neural_load) == 88);
static_assert(sizeof(struct neural_name) == 56);
static_assert(sizeof(struct neural_info) == 96);
static_assert(sizeof(struct neural_list) == 32);
static_assert(sizeof(struct neural_predict) == 56);
static_assert(sizeof(struct neural_stats) == 488);
static_assert(sizeof(struct neural_config) == 32);
