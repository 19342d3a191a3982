//! The times against the sizes, as an SVG with logarithms on both axes.

use std::fmt::Write as _;

use crate::bar::short;
use crate::decode::Reading;
use crate::frames::Class;
use crate::reader::Reader;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 560.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 50.0;
const BOTTOM: f64 = 500.0;
/// In powers of ten: bytes from 100 to 2 000 000, nanoseconds from 10 to 1 000 000.
const SIZES: (f64, f64) = (2.0, 6.3);
const TIMES: (f64, f64) = (1.0, 6.0);

fn x(bytes: usize) -> f64 {
    LEFT + ((bytes as f64).log10() - SIZES.0) / (SIZES.1 - SIZES.0) * (RIGHT - LEFT)
}

fn y(nanos: f64) -> f64 {
    BOTTOM - (nanos.log10() - TIMES.0) / (TIMES.1 - TIMES.0) * (BOTTOM - TOP)
}

fn colour(reader: Reader) -> &'static str {
    match reader {
        Reader::Ours => "#d62728",
        Reader::Ignored => "#1f77b4",
        Reader::Utf8Ignored => "#17becf",
        Reader::Typed => "#2ca02c",
        Reader::Tree => "#9467bd",
        Reader::Sonic => "#ff7f0e",
        Reader::Simd => "#8c564b",
        Reader::Core => "#e377c2",
        Reader::Floor => "#999999",
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, what: &str) {
    let _ = writeln!(svg, r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{what}</text>"#);
}

fn axes(svg: &mut String) {
    let grid = |svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)| {
        let _ = writeln!(svg, r##"<path d="M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}" stroke="#ddd"/>"##);
    };
    for (power, name) in (2..).zip(["100 B", "1 kB", "10 kB", "100 kB", "1 MB"]) {
        let at = x(10_usize.pow(power));
        grid(svg, (at, TOP), (at, BOTTOM));
        text(svg, (at, BOTTOM + 18.0), "middle", name);
    }
    for power in 1..=6 {
        let nanos = 10_f64.powi(power);
        grid(svg, (LEFT, y(nanos)), (RIGHT, y(nanos)));
        text(svg, (LEFT - 8.0, y(nanos) + 4.0), "end", &short(nanos));
    }
}

/// The plot of what was read. Bytes of one class of frames cost otherwise than those of another, so that no line goes
/// from one to the next.
pub(crate) fn svg(readings: &[Reading], circumstances: &str) -> String {
    let mut svg = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>
"##
    );
    text(&mut svg, (LEFT, 18.0), "start", "The time of one envelope by its size");
    let marks = "filled: members (left), base64 (right); hollow: a string with escapes, a string beyond ASCII";
    text(&mut svg, (LEFT, 36.0), "start", marks);
    text(&mut svg, (LEFT, BOTTOM + 44.0), "start", circumstances);
    axes(&mut svg);
    // Ours over the others.
    for (row, reader) in Reader::ALL.into_iter().enumerate().rev() {
        let colour = colour(reader);
        let width = if reader == Reader::Ours { 3 } else { 1 };
        for class in [[Class::Small, Class::Listing], [Class::Base64; 2]] {
            let mut line: Vec<&Reading> = readings.iter().filter(|reading| class.contains(&reading.class)).collect();
            line.sort_by_key(|reading| reading.bytes);
            let place = |reading: &&Reading| format!("{:.1},{:.1}", x(reading.bytes), y(reading.nanos(reader)));
            let line = line.iter().map(place).collect::<Vec<_>>().join(" ");
            let _ =
                writeln!(svg, r#"<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="{width}"/>"#);
        }
        for reading in readings {
            let is_hollow = matches!(reading.class, Class::Escaped | Class::Unicode);
            let (x, y, fill) = (x(reading.bytes), y(reading.nanos(reader)), if is_hollow { "#fff" } else { colour });
            let _ = writeln!(svg, r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{fill}" stroke="{colour}"/>"#);
        }
        let at = TOP + 20.0 + 22.0 * row as f64;
        let _ = writeln!(svg, r#"<circle cx="{:.1}" cy="{at:.1}" r="5" fill="{colour}"/>"#, RIGHT + 20.0);
        text(&mut svg, (RIGHT + 32.0, at + 4.0), "start", &reader.name().replace('`', ""));
    }
    svg.push_str("</svg>\n");
    svg
}
