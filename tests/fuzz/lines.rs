//! A byte stream, split anyhow, gives the same lines and the same refusals: those that a few lines of slicing give.

use arcp_proto::framing::LineDecoder;
use bytes::Bytes;

/// A line, or its being too long.
type Item = Option<Vec<u8>>;

const BOM: &[u8] = b"\xef\xbb\xbf";

fn expected(stream: &[u8], limit: usize) -> Vec<Item> {
    let stream = stream.strip_prefix(BOM).unwrap_or(stream);
    let mut lines: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    // What is behind the last LF is a line only if there is something.
    lines.pop_if(|last| last.is_empty());
    let lines = lines.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let told = lines.filter(|line| line.len() > limit || !line.trim_ascii().is_empty());
    told.map(|line| (line.len() <= limit).then(|| line.to_vec())).collect()
}

/// Whether a line has begun that has not ended.
fn is_partial(stream: &[u8]) -> bool {
    let stream = stream.strip_prefix(BOM).unwrap_or(stream);
    stream.last().is_some_and(|last| *last != b'\n')
}

fn read<'a>(decoder: &mut LineDecoder, limit: usize, pieces: impl Iterator<Item = &'a [u8]>, stream: &[u8]) {
    let mut items: Vec<Item> = Vec::new();
    for piece in pieces {
        decoder.push(Bytes::copy_from_slice(piece));
        while let Some(item) = decoder.next_line() {
            items.push(item.ok().map(Vec::from));
        }
    }
    assert_eq!(decoder.has_partial_line(), is_partial(stream), "what waits for its end");
    while let Some(item) = decoder.finish() {
        items.push(item.ok().map(Vec::from));
    }
    assert!(!decoder.has_partial_line(), "nothing is left at the end");
    assert_eq!(items, expected(stream, limit));
}

/// The limit, how many lengths of pieces follow, these, and the stream.
pub(crate) fn check(input: &[u8]) {
    let [limit, count, rest @ ..] = input else { return };
    let limit = usize::from(*limit);
    let (lengths, stream) = rest.split_at(rest.len().min(usize::from(count % 8)));
    let mut decoder = LineDecoder::new(limit);
    read(&mut decoder, limit, std::iter::once(stream), stream);
    // It stands at the start of a new stream.
    read(&mut decoder, limit, stream.chunks(1), stream);
    let mut left = stream;
    let mut lengths = lengths.iter().cycle();
    let mut was_empty = false;
    let pieces = std::iter::from_fn(|| {
        let len = lengths.next().map_or(left.len(), |len| usize::from(*len).min(left.len()));
        // A piece of nothing is one, too, but not twice.
        let len = if was_empty { len.max(1) } else { len };
        was_empty = len == 0;
        left.split_off(..len).filter(|piece| !piece.is_empty() || !left.is_empty())
    });
    read(&mut decoder, limit, pieces, stream);
}
