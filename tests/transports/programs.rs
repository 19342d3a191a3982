//! The example programs as they are built from this source.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// An example of this package.
pub(crate) fn example(name: &str) -> &'static Path {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    let examples = ["--example", "tcp_runtime", "--example", "stdio_runtime", "--example", "stdio_client"];
    let built = BUILT.get_or_init(|| build(&examples));
    built.get(name).unwrap_or_else(|| panic!("no example `{name}` among {built:?}"))
}

/// The WebSocket example, a package of its own.
pub(crate) fn web_socket() -> &'static Path {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build(&["--manifest-path", "examples/websocket/Cargo.toml"]));
    built.values().next().expect("a program")
}

/// Builds, which is quick where the source has not changed, and tells what the programs are called and where they stand.
fn build(what: &[&str]) -> BTreeMap<String, PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).arg("build").args(what);
    cargo.args(["--quiet", "--message-format=json-render-diagnostics"]);
    // What is said of this package is not of the other: build scripts would take it for a change, each time.
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            cargo.env_remove(name);
        }
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{cargo:?}: {}", String::from_utf8_lossy(&output.stderr));
    let messages = output.stdout.split(|byte| *byte == b'\n');
    let artifacts = messages.filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    artifacts
        .filter_map(|message| {
            let name = message["target"]["name"].as_str()?.to_owned();
            Some((name, PathBuf::from(message["executable"].as_str()?)))
        })
        .collect()
}
