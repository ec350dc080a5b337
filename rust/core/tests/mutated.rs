// SPDX-License-Identifier: GPL-2.0

//! Damaged model files and lines of settings: none makes anything panic. The long run is
//! `cargo run --profile fuzz -p neural_core --example mutate -- 10000000`.

#[path = "common/codes.rs"]
mod codes;
mod common;
#[path = "common/drive.rs"]
mod drive;
#[path = "common/mutate.rs"]
mod mutate;
#[path = "common/numbers.rs"]
mod numbers;
#[path = "common/random.rs"]
mod random;

use common::Rng;

#[test]
fn the_files_to_start_from_are_right() {
    for file in mutate::seeds() {
        assert!(drive::model(&file));
    }
}

#[test]
fn damaged_models_do_no_harm() {
    const COUNT: u64 = 200_000;
    let accepted = mutate::try_models(COUNT, &mut Rng::new(), drive::model);
    println!("{accepted} of {COUNT} accepted");
    // Both sides of the checks are met: most are refused, and many run.
    assert!((COUNT / 100..COUNT / 2).contains(&accepted), "{accepted}");
}

#[test]
fn damaged_lines_do_no_harm() {
    let accepted = mutate::try_lines(200_000, &mut Rng::new(), drive::line);
    assert!(accepted > 1000, "{accepted}");
}
