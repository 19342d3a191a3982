//! What a message costs here, and what it costs other readers of the same bytes: one table, with the bars beside the figures.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! ARCP_CORPUS=FOLDER cargo run --release --manifest-path benches/peers/Cargo.toml -- --plot docs/performance.svg
//! ```
//!
//! Half a minute. All in one process and by turns, so that a ratio means something where a time does not: see `race`. The
//! output is Markdown.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod bar;
mod decode;
#[path = "../../emitter/mod.rs"]
mod emitter;
#[path = "../../frames/mod.rs"]
mod frames;
#[path = "../../heap/mod.rs"]
mod heap;
#[path = "../../ndjson/mod.rs"]
mod ndjson;
mod plot;
mod race;
mod reader;
mod session;

use std::process::Command;
use std::time::Duration;

use bar::Bar;

/// For each race.
const BUDGET: Duration = Duration::from_millis(1_200);

/// When, on what, built by what.
fn circumstances() -> String {
    let day = arcp_proto::Clock::new().now().wall.to_string();
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    let rustc = Command::new("rustc").arg("--version").output().ok();
    let rustc = rustc.and_then(|said| String::from_utf8(said.stdout).ok()).unwrap_or_default();
    let vectors = if cfg!(target_feature = "avx2") { "AVX2" } else { "the target's baseline" };
    format!(
        "{}, {}, {}, built for {vectors}",
        day.split('T').next().unwrap_or_default(),
        cpu.map_or("an unknown CPU", str::trim),
        rustc.trim(),
    )
}

fn print_bars(bars: &[Bar]) {
    println!("| what | figure | bar | | |");
    println!("|---|--:|--:|---|---|");
    for bar in bars {
        println!("{}", bar.line());
    }
    let held: Vec<&Bar> = bars.iter().filter(|bar| bar.at_most.is_some()).collect();
    println!("\n{} of {} bars met.", held.iter().filter(|bar| bar.is_met()).count(), held.len());
}

fn main() {
    heap::pause(true);
    let args: Vec<String> = std::env::args().collect();
    let circumstances = circumstances();
    println!("{circumstances}\n");

    let mut readings = decode::readings(BUDGET);
    let mut bars = decode::bars(&readings);
    bars.extend(session::bars(BUDGET));
    print_bars(&bars);

    if let Some(at) = args.iter().position(|arg| arg == "--plot") {
        let file = args.get(at + 1).expect("--plot takes a file");
        std::fs::write(file, plot::svg(&readings, &circumstances)).expect("the plot can be written");
    }
    println!("\nThe median time of one, by reader:\n");
    if let Some((recorded, lines)) = decode::recorded(BUDGET) {
        readings.push(recorded);
        decode::print_times(&readings);
        println!("\n`recorded`: {lines} messages of recorded traffic, one after the other.");
    } else {
        decode::print_times(&readings);
    }
}
