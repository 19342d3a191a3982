//! The parts that the example clients share, each by itself and all together before an endpoint in the same process.

#[allow(dead_code, unreachable_pub, missing_docs)]
#[path = "../examples/demo/client/mod.rs"]
mod client;
#[allow(unreachable_pub, missing_docs)]
#[path = "../examples/demo/feature_list.rs"]
mod feature_list;
