//! A byte stream cut into lines and decoded, beside the same frames where they come one by one.
//!
//! Time: `cargo bench --bench lines`. Instructions, by valgrind over one pass:
//!
//! ```text
//! cargo bench --bench lines --no-run --message-format short
//! for what in lines frames; do
//!     valgrind --tool=callgrind --toggle-collect='*counted_*' target/release/deps/lines-<hash> --once $what
//! done
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod frames;
mod ndjson;
mod timing;

use criterion::Throughput;
use ndjson::Stream;

fn main() {
    let stream = Stream::new();
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--once") {
        return match args[at + 1].as_str() {
            "lines" => stream.counted_lines(stream.reads()),
            "frames" => stream.counted_frames(),
            other => panic!("--once takes no {other}"),
        };
    }
    let mut criterion = timing::criterion(2, 30);
    let mut group = criterion.benchmark_group("lines");
    let throughput = Throughput::ElementsAndBytes { elements: stream.lines() as u64, bytes: stream.bytes() as u64 };
    group.throughput(throughput);
    group.bench_function("lines", |b| b.iter_custom(|count| (0..count).map(|_| stream.time_lines()).sum()));
    group.bench_function("frames", |b| b.iter(|| stream.counted_frames()));
    group.finish();
    criterion.final_summary();
}
