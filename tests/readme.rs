//! What the README shows is what happens.

#[allow(dead_code, unreachable_pub)]
#[path = "../examples/loopback.rs"]
mod loopback;

const README: &str = include_str!("../README.md");

#[test]
fn the_readme_shows_the_real_output_of_loopback() {
    let output = loopback::transcript(false).expect("the example succeeds");
    let shown = README.split("```text\n").nth(1).and_then(|rest| rest.split("```").next());
    assert_eq!(shown.map(str::trim), Some(output.trim()), "put this into the README:\n{output}");
}
