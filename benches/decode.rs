//! Decoding, by kind and size of message: [`Envelope::decode`] and the message type.
//!
//! Time: `cargo bench --bench decode`. Beside other readers of the same bytes: `benches/peers`. Instructions, which do not
//! depend on the machine's mood, are counted by valgrind over so many decodes of a frame:
//!
//! ```text
//! cargo bench --bench decode --no-run --message-format short
//! valgrind --tool=callgrind --toggle-collect='*counted_*' target/release/deps/decode-<hash> --once log 1000
//! ```
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod frames;
mod timing;

use std::hint::black_box;

use arcp_proto::wire::Envelope;
use bytes::Bytes;
use criterion::Throughput;

#[inline(never)]
fn counted_decode(frame: &Bytes, count: u64) {
    for _ in 0..count {
        black_box(Envelope::decode(black_box(frame).clone()).unwrap().message_type());
    }
}

fn run_once(name: &str, count: u64) {
    let frame = frames::frames().into_iter().find(|frame| frame.name == name).expect("--once takes a frame's name");
    counted_decode(&frame.bytes, count);
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--once") {
        return run_once(&args[at + 1], args[at + 2].parse().expect("a number of decodes"));
    }
    let mut criterion = timing::criterion(1, 40);
    let mut group = criterion.benchmark_group("decode");
    for frame in frames::frames() {
        group.throughput(Throughput::ElementsAndBytes { elements: 1, bytes: frame.bytes.len() as u64 });
        group.bench_function(frame.name, |b| b.iter(|| counted_decode(&frame.bytes, 1)));
    }
    group.finish();
    criterion.final_summary();
}
