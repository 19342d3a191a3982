//! All events sent again after a resume, beside their first sending.
//!
//! Time: `cargo bench --bench replay`. Instructions, by valgrind: `--once resume` sends 10 000 events again, `--once send`
//! sends 10 000.
//!
//! ```text
//! cargo bench --bench replay --no-run --message-format short
//! for what in resume send; do
//!     valgrind --tool=callgrind --toggle-collect='*counted_*' target/release/deps/replay-<hash> --once $what
//! done
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod emitter;
mod timing;

use criterion::Throughput;
use emitter::{Emitter, Resumption, counted_send};

const EVENTS: u64 = 10_000;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--once") {
        match args[at + 1].as_str() {
            "resume" => drop(Resumption::of(EVENTS as usize).time()),
            "send" => counted_send(&mut Emitter::new(true), EVENTS),
            other => panic!("--once takes no {other}"),
        }
        return;
    }
    let mut criterion = timing::criterion(2, 30);
    let mut emitter = Emitter::new(true);
    let bytes = EVENTS * emitter.event().len() as u64;
    let mut group = criterion.benchmark_group("replay");
    group.throughput(Throughput::ElementsAndBytes { elements: EVENTS, bytes });
    let mut resumption = Resumption::of(EVENTS as usize);
    group.bench_function("resume", |b| b.iter_custom(|count| (0..count).map(|_| resumption.time()).sum()));
    group.bench_function("send", |b| b.iter(|| counted_send(&mut emitter, EVENTS)));
    group.finish();
    criterion.final_summary();
}
