//! A world that bytes decide in place of a generator: the first says of which kind, the rest what befalls it. What the fuzz
//! target `duplex` runs.

use super::plan::{Plan, Profile};
use super::run::{report, run};

/// Runs the world; panics with what was broken in it.
pub(crate) fn check(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let profile = Profile::ALL[usize::from(*kind) % Profile::ALL.len()];
    let plan = Plan::of_bytes(profile, rest);
    if let Some(failure) = run(plan.clone(), false).failure {
        panic!("{}", report(&plan, &failure));
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// Those that the fuzzer begins with, and those that once showed a bug.
    #[test]
    fn worlds_of_bytes_that_are_kept() {
        let mut count = 0;
        for folder in ["fuzz/seeds/duplex", "tests/regressions/duplex"] {
            let Ok(entries) = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)) else { continue };
            for entry in entries {
                super::check(&std::fs::read(entry.unwrap().path()).unwrap());
                count += 1;
            }
        }
        assert!(count >= 8, "the seeds are part of the package's repository");
    }
}
