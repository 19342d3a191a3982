//! The three polls of a session that has nothing to do, by how many events it keeps, beside a call that does nothing.
//!
//! Time: `cargo bench --bench idle`. Instructions, by valgrind over so many turns:
//!
//! ```text
//! cargo bench --bench idle --no-run --message-format short
//! for events in 0 1000 100000; do
//!     valgrind --tool=callgrind --toggle-collect='*counted_*' target/release/deps/idle-<hash> --once $events 1000
//! done
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod emitter;
mod timing;

use criterion::Throughput;
use emitter::{Emitter, at, counted_idle, empty_call};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(place) = args.iter().position(|arg| arg == "--once") {
        let number = |at: usize| args[at].parse().expect("--once takes a number of events and one of turns");
        let mut emitter = Emitter::buffered(number(place + 1));
        return counted_idle(&mut emitter.session, at(emitter.n), number(place + 2) as u64);
    }
    let mut criterion = timing::criterion(1, 30);
    let mut group = criterion.benchmark_group("idle");
    group.throughput(Throughput::Elements(1));
    for events in [0, 1_000, 100_000] {
        let mut emitter = Emitter::buffered(events);
        let now = at(emitter.n);
        group.bench_function(format!("{events}"), |b| b.iter(|| counted_idle(&mut emitter.session, now, 1)));
        if events == 0 {
            group.bench_function("empty_call", |b| b.iter(|| empty_call(&mut emitter.session, now)));
        }
    }
    group.finish();
    criterion.final_summary();
}
