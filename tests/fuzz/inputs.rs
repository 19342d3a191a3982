//! The inputs that are kept, of each target.

use std::path::{Path, PathBuf};

/// Of a folder in the package, in order; none where there is no such folder.
pub(crate) fn kept(folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Runs a target on its regressions and its seeds, and on these cut short and with bytes changed.
pub(crate) fn replay(target: &str, check: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    let run = |path: &Path, input: &[u8]| {
        let outcome = std::panic::catch_unwind(|| check(input));
        assert!(outcome.is_ok(), "{target} fails on {}: {}", path.display(), input.escape_ascii());
    };
    for (path, input) in kept(&format!("tests/regressions/{target}")) {
        run(&path, &input);
    }
    let seeds = kept(&format!("fuzz/seeds/{target}"));
    assert!(!seeds.is_empty(), "the seeds are part of the package's repository");
    for (path, seed) in seeds {
        run(&path, &seed);
        let step = seed.len() / 16 + 1;
        for at in (0..seed.len()).step_by(step) {
            run(&path, &seed[..at]);
            let mut changed = seed.clone();
            changed[at] = changed[at].wrapping_mul(31).wrapping_add(7);
            run(&path, &changed);
            changed.remove(at);
            run(&path, &changed);
        }
    }
}
