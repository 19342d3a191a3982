//! What a message costs here, and what it costs other readers of the same bytes: one table, with the bars beside the figures.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml
//! ARCP_CORPUS=FOLDER cargo run --release --manifest-path benches/peers/Cargo.toml -- --docs docs
//! ```
//!
//! The first prints it, the second adds recorded traffic and writes it and a plot into the page. Half a minute. All in one process and by turns, so that a ratio means something where a time does not: see `race`. The
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

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bar::Bar;

/// For each race.
const BUDGET: Duration = Duration::from_millis(1_200);

/// Where the report stands in the page.
const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

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

/// The bars as a Markdown table, and how many of them are met.
fn table(bars: &[Bar]) -> String {
    let lines: String = bars.iter().map(|bar| bar.line() + "\n").collect();
    let held: Vec<&Bar> = bars.iter().filter(|bar| bar.at_most.is_some()).collect();
    let met = held.iter().filter(|bar| bar.is_met()).count();
    format!("| what | figure | bar | | |\n|---|--:|--:|---|---|\n{lines}\n{met} of {} bars met.\n", held.len())
}

/// Puts the report between its two marks in the page.
fn write_page(page: &Path, report: &str) {
    let text = std::fs::read_to_string(page).expect("the page can be read");
    let (before, rest) = text.split_once(BEGIN).expect("the page has a mark where the report begins");
    let (_, after) = rest.split_once(END).expect("the page has a mark where the report ends");
    std::fs::write(page, format!("{before}{BEGIN}\n\n{report}\n{END}{after}")).expect("the page can be written");
}

fn main() {
    heap::pause(true);
    let circumstances = circumstances();
    let mut readings = decode::readings(BUDGET);
    let mut bars = decode::bars(&readings);
    bars.extend(session::bars(BUDGET));
    let plot = plot::svg(&readings, &circumstances);
    let mut note = String::new();
    if let Some((recorded, lines)) = decode::recorded(4 * BUDGET) {
        readings.push(recorded);
        note = format!("\n`recorded`: {lines} messages of recorded traffic, one after the other.\n");
    }
    let report = format!(
        "{circumstances}\n\n{}\nThe time of one, by reader:\n\n{}{note}",
        table(&bars),
        decode::table(&readings)
    );
    print!("{report}");

    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "--docs") {
        let folder = Path::new(args.get(at + 1).expect("--docs takes a folder"));
        std::fs::write(folder.join("performance.svg"), plot).expect("the plot can be written");
        write_page(&folder.join("performance.md"), &report);
    }
}
