//! The readers over each frame, and over recorded traffic.

use std::time::Duration;

use arcp_proto::wire::Envelope;
use bytes::Bytes;

use crate::bar::{Bar, Unit, short};
use crate::frames::{self, Class, Frame};
use crate::heap;
use crate::race::{Race, race};
use crate::reader::{Reader, stamped};

/// What each reader took for some frames, read one after the other.
pub(crate) struct Reading {
    pub(crate) name: &'static str,
    pub(crate) class: Class,
    pub(crate) bytes: usize,
    /// The published SDK takes all of them.
    core_takes: bool,
    race: Race,
}

/// The contender behind the readers: ours on what the published SDK is given.
const OURS_STAMPED: usize = Reader::ALL.len();

fn index(reader: Reader) -> usize {
    Reader::ALL.iter().position(|other| *other == reader).unwrap_or_default()
}

impl Reading {
    fn of(name: &'static str, class: Class, frames: &[Bytes], budget: Duration) -> Reading {
        let stamped: Vec<Bytes> = frames.iter().map(stamped).collect();
        let core_takes = stamped.iter().all(|frame| Reader::Core.takes(frame));
        let batch_of = |reader: Reader| match reader {
            Reader::Core if core_takes => reader.batch(&stamped),
            Reader::Core => reader.batch(&[]),
            _ => reader.batch(frames),
        };
        let mut contenders: Vec<_> = Reader::ALL.map(batch_of).into();
        contenders.push(Reader::Ours.batch(&stamped));
        let race = race(budget, &mut contenders);
        Reading { name, class, bytes: frames.iter().map(Bytes::len).sum(), core_takes, race }
    }

    pub(crate) fn nanos(&self, reader: Reader) -> f64 {
        self.race.nanos(index(reader))
    }

    /// What we take, in terms of what the reader takes for the same bytes.
    fn ratio(&self, reader: Reader) -> f64 {
        let ours = if reader == Reader::Core { OURS_STAMPED } else { index(Reader::Ours) };
        self.race.ratio(ours, index(reader))
    }

    fn line(&self) -> String {
        let times: Vec<String> = Reader::ALL
            .map(|reader| match reader {
                Reader::Core if !self.core_takes => "refuses some".into(),
                _ => short(self.nanos(reader)),
            })
            .into();
        format!("| {} | {} | {} |", self.name, self.bytes, times.join(" | "))
    }
}

/// All of the frames.
pub(crate) fn readings(budget: Duration) -> Vec<Reading> {
    let reading = |frame: Frame| Reading::of(frame.name, frame.class, &[frame.bytes], budget);
    frames::frames().into_iter().map(reading).collect()
}

/// The recorded traffic in the folder that `ARCP_CORPUS` names, as far as it is JSON: what is malformed on purpose is refused
/// sooner by one than by another.
pub(crate) fn recorded(budget: Duration) -> Option<(Reading, usize)> {
    let folder = std::env::var_os("ARCP_CORPUS")?;
    let mut frames = Vec::new();
    let folders = std::fs::read_dir(folder).ok()?.flatten();
    let mut files: Vec<_> =
        folders.filter_map(|folder| std::fs::read_dir(folder.path()).ok()).flatten().flatten().collect();
    files.sort_by_key(std::fs::DirEntry::path);
    for file in files.iter().filter(|file| file.path().extension().is_some_and(|name| name == "ndjson")) {
        let text = std::fs::read(file.path()).ok()?;
        frames.extend(text.split(|byte| *byte == b'\n').map(Bytes::copy_from_slice));
    }
    // Ours first: a recording is of brackets without end, on which others run out of their stack.
    let readers = [Reader::Ours, Reader::Tree, Reader::Sonic, Reader::Simd];
    frames.retain(|frame| readers.iter().all(|reader| reader.takes(frame)));
    let frames: Vec<Bytes> = frames.into_iter().map(|frame| Bytes::from_static(frame.to_vec().leak())).collect();
    Some((Reading::of("recorded", Class::Recorded, &frames, budget), frames.len()))
}

/// The times, as a Markdown table.
pub(crate) fn table(readings: &[Reading]) -> String {
    let names = Reader::ALL.map(Reader::name).join(" | ");
    let columns = "--:|".repeat(Reader::ALL.len());
    let lines: String = readings.iter().map(|reading| reading.line() + "\n").collect();
    format!("| frame | bytes | {names} |\n|---|--:|{columns}\n{lines}")
}

fn geometric_mean(values: impl Iterator<Item = f64>) -> f64 {
    let logarithms: Vec<f64> = values.map(f64::ln).collect();
    (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp()
}

/// What decoding is held to.
pub(crate) fn bars(readings: &[Reading]) -> Vec<Bar> {
    let of = |class| readings.iter().filter(move |reading| reading.class == class);
    let small = |reader, most: Option<f64>| {
        let ratio = geometric_mean(of(Class::Small).map(|reading| reading.ratio(reader)));
        Bar::new(format!("decode, small frames: of {}", reader.name()), ratio, Unit::Times, most)
    };
    let mut bars = vec![
        small(Reader::Ignored, Some(0.70)),
        small(Reader::Utf8Ignored, None),
        small(Reader::Typed, None),
        small(Reader::Sonic, Some(0.50)),
        small(Reader::Simd, None),
        small(Reader::Core, Some(0.15)),
    ];
    for (class, most) in [(Class::Base64, Some(0.70)), (Class::Escaped, Some(0.80)), (Class::Unicode, None)] {
        bars.extend(of(class).map(|reading| {
            let what = format!("decode, {}: of {}", reading.name, Reader::Sonic.name());
            Bar::new(what, reading.ratio(Reader::Sonic), Unit::Times, most)
        }));
    }
    for listing in of(Class::Listing) {
        for reader in [Reader::Ignored, Reader::Sonic] {
            let what = format!("decode, {}: of {}", listing.name, reader.name());
            bars.push(Bar::new(what, listing.ratio(reader), Unit::Times, None));
        }
    }
    bars.push(Bar::new("decode, all frames: allocations of an envelope", allocations(), Unit::Count, 0.0));
    bars
}

/// For a frame of each kind.
fn allocations() -> f64 {
    let frames = frames::frames();
    heap::pause(false);
    let before = heap::allocations();
    for frame in &frames {
        drop(std::hint::black_box(Envelope::decode(frame.bytes.clone())));
    }
    let count = heap::allocations() - before;
    heap::pause(true);
    count as f64 / frames.len() as f64
}
