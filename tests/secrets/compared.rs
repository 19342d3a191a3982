//! Secrets are compared in a time that does not tell where they differ (D3). A test cannot time that reliably; this reads
//! the sources: who could compare them otherwise would have to be written first, and is seen here.

const SECRET: &str = include_str!("../../src/wire/secret.rs");
const TOKENS: &str = include_str!("../../src/session/tokens.rs");

/// Of a source what is not its tests.
fn code(source: &str) -> &str {
    source.split("#[cfg(test)]").next().unwrap()
}

#[test]
fn d3_secrets_are_compared_in_constant_time() {
    let body = SECRET.split("impl PartialEq for $name").nth(1).and_then(|rest| rest.split("impl ").next()).unwrap();
    assert!(body.contains(".ct_eq(") && !body.contains("=="), "{body}");
    // No other way to compare them, to order or to hash them is derived.
    for line in code(SECRET).lines().filter(|line| line.contains("derive(")) {
        assert!(line.contains("derive(Clone)"), "{line}");
    }
    assert_eq!(code(SECRET).matches("ct_eq(").count(), 1);
    assert!(!code(SECRET).contains("PartialOrd") && !code(SECRET).contains("Hash for"));
}

#[test]
fn d3_digests_of_tokens_are_compared_in_constant_time() {
    let code = code(TOKENS);
    let accept = code.split("fn accept").nth(1).and_then(|rest| rest.split("\n    }\n").next()).unwrap();
    assert_eq!(accept.matches(".ct_eq(").count(), 2, "the current one and the one presented");
    // Both are compared, whatever the first says.
    assert!(accept.contains("current | presented") && !accept.contains("||"), "{accept}");
    assert!(!code.contains("==") && !code.contains("!="), "nothing else compares");
}
