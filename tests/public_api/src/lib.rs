//! The library's public items, each a line of `api.txt`. A change that nobody meant shows there, and one that was meant is
//! written there by `UPDATE_SNAPSHOTS=yes cargo test --manifest-path tests/public_api/Cargo.toml`.

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    #[test]
    fn the_public_api_is_the_one_that_is_written_down() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = here.join("target/rustdoc");
        let made = Command::new(env!("CARGO"))
            .args(["rustdoc", "--quiet", "--lib", "--all-features", "--manifest-path"])
            .arg(here.join("../../Cargo.toml"))
            .arg("--target-dir")
            .arg(&target)
            .args(["--", "-Z", "unstable-options", "--output-format", "json", "--cap-lints", "allow"])
            // rustdoc's JSON is not stable yet.
            .env("RUSTC_BOOTSTRAP", "1")
            .status()
            .expect("cargo can be run");
        assert!(made.success(), "rustdoc failed");

        public_api::Builder::from_rustdoc_json(target.join("doc/arcp_proto.json"))
            .omit_blanket_impls(true)
            .omit_auto_trait_impls(true)
            .omit_auto_derived_impls(true)
            .build()
            .expect("this rustdoc's JSON can be read: another toolchain needs another version of the crate public-api")
            .assert_eq_or_update(here.join("api.txt"));
    }
}
