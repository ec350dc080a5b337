// SPDX-License-Identifier: GPL-2.0

//! What the `kernel` crate lacks for KUnit tests. Built with `NEURAL_KUNIT=1` only. Context: task.

use kernel::{
    bindings,
    str::CStr, //
};

/// Marks the test that runs as skipped, for this reason; it should return then.
pub(crate) fn skip(why: &CStr) {
    // SAFETY: May be called always.
    let test = unsafe { bindings::kunit_get_current_test() };
    if test.is_null() {
        return;
    }
    // SAFETY: The test is that of this task, and lives while it runs; nobody else writes to it.
    let test = unsafe { &mut *test };
    test.status = bindings::kunit_status_KUNIT_SKIPPED;
    // The last one stays 0.
    let (_, comment) = test
        .status_comment
        .split_last_mut()
        .unwrap_or((&mut 0, &mut []));
    for (to, from) in comment.iter_mut().zip(why.to_bytes_with_nul()) {
        *to = *from;
    }
}
