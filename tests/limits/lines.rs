//! A byte stream without an end to its lines (D38).

use arcp_proto::framing::LineDecoder;

use crate::gate::{BESIDE, Bounds, KIB, MIB, hold};
use crate::meter::{Meter, frame};

fn push(meter: &mut Meter, decoder: &mut LineDecoder, bytes: impl Into<Vec<u8>>) {
    let chunk = frame(bytes);
    meter.input += chunk.len();
    meter.attacked(|| {
        decoder.push(chunk);
        while decoder.next_line().is_some() {}
    });
}

fn bounds(heap: usize, because: &'static str) -> Bounds {
    Bounds { heap, because, factor: 0.0 }
}

#[test]
fn d38_half_a_line_for_ever() {
    // While a buffer grows there is the old one beside the new.
    let heap = 3 * LineDecoder::DEFAULT_LIMIT / 2 + 4 * KIB + BESIDE;
    hold("half a line for ever", bounds(heap, "1.5 × the line limit + a chunk"), |scale, meter| {
        let mut decoder = LineDecoder::default();
        for _ in 0..scale * 1_024 {
            push(meter, &mut decoder, [b'x'; 4 * KIB]);
        }
    });
}

#[test]
fn d38_a_line_byte_by_byte() {
    let heap = 3 * LineDecoder::DEFAULT_LIMIT / 2 + BESIDE;
    hold("a line byte by byte", bounds(heap, "1.5 × the line limit"), |scale, meter| {
        let mut decoder = LineDecoder::default();
        for _ in 0..scale * 256 * KIB {
            push(meter, &mut decoder, b"x");
        }
    });
}

#[test]
fn d38_a_line_of_blanks() {
    let heap = 3 * LineDecoder::DEFAULT_LIMIT / 2 + 4 * KIB + BESIDE;
    hold("blank lines and half ones", bounds(heap, "1.5 × the line limit + a chunk"), |scale, meter| {
        let mut decoder = LineDecoder::default();
        for n in 0..scale * 1_024 {
            let chunk = match n % 3 {
                0 => "\r\n".repeat(2 * KIB),
                1 => format!("{}\r", " ".repeat(4 * KIB - 1)),
                _ => format!("{}\n\r", "\t".repeat(4 * KIB - 2)),
            };
            push(meter, &mut decoder, chunk);
        }
    });
}

#[test]
fn d38_many_short_lines_in_one_chunk() {
    let heap = 2 * MIB + BESIDE;
    hold("a MiB of short lines at once", bounds(heap, "the chunk"), |scale, meter| {
        let mut decoder = LineDecoder::default();
        push(meter, &mut decoder, "{}\n".repeat(scale * 300 * KIB));
    });
}
