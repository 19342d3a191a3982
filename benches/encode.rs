//! Encoding one event into the replay buffer, beside serde_json writing the equivalent struct into a `Vec`.
//!
//! Time: `cargo bench --bench encode`. Instructions, by valgrind over so many events:
//!
//! ```text
//! cargo bench --bench encode --no-run --message-format short
//! for what in session to_vec; do
//!     valgrind --tool=callgrind --toggle-collect='*counted_*' target/release/deps/encode-<hash> --once $what 1000
//! done
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod emitter;
mod timing;

use std::hint::black_box;

use criterion::Throughput;
use emitter::{Emitter, counted_encode, log, written};

#[inline(never)]
fn counted_to_vec(count: u64) {
    let body = log();
    for n in 0..count {
        black_box(serde_json::to_vec(black_box(&written(&body, n + 100_000))).unwrap());
    }
}

fn run_once(what: &str, count: u64) {
    match what {
        // The replay buffer takes so many.
        "session" => counted_encode(&mut Emitter::new(true), count.min(10_000)),
        "to_vec" => counted_to_vec(count),
        other => panic!("--once takes no {other}"),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--once") {
        return run_once(&args[at + 1], args[at + 2].parse().expect("a number of events"));
    }
    let mut criterion = timing::criterion(2, 30);
    let mut emitter = Emitter::new(true);
    let mut group = criterion.benchmark_group("encode");
    group.throughput(Throughput::ElementsAndBytes { elements: 1, bytes: emitter.event().len() as u64 });
    group.bench_function("session", |b| b.iter_custom(|count| emitter.time_encode(count)));
    group.bench_function("to_vec", |b| b.iter(|| counted_to_vec(1)));
    group.finish();
    criterion.final_summary();
}
