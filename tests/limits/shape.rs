//! Frames that were made to do harm.

use bytes::Bytes;

use crate::meter::frame;

/// A message with this payload; `id` is put into its id.
pub(crate) fn message(name: &str, id: usize, payload: &str) -> Bytes {
    frame(format!(r#"{{"arcp":"1.1","id":"m{id}","type":"{name}","session_id":"sess_1","payload":{payload}}}"#))
}

/// `{before}{unit},{unit},…,{last}{after}`, as many units as fit in `len` bytes.
pub(crate) fn repeated(before: &str, unit: &str, last: &str, after: &str, len: usize) -> Bytes {
    let room = len - before.len() - last.len() - after.len();
    let mut text = String::with_capacity(len);
    text.push_str(before);
    for _ in 0..room / (unit.len() + 1) {
        text.push_str(unit);
        text.push(',');
    }
    text.push_str(last);
    text.push_str(after);
    frame(text)
}

/// The same within the payload of a message.
pub(crate) fn wide(name: &str, id: usize, before: &str, unit: &str, after: &str, len: usize) -> Bytes {
    let before = format!(r#"{{"id":"m{id}","type":"{name}","session_id":"sess_1","payload":{before}"#);
    repeated(&before, unit, unit, &format!("{after}}}"), len)
}

/// A frame of `len` bytes: arrays within arrays, as deep as may be (`depth`), again and again.
pub(crate) fn nested(name: &str, id: usize, depth: usize, len: usize) -> Bytes {
    let unit = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    wide(name, id, r#"{"x":["#, &unit, "]}", len)
}

/// The letter, so often.
pub(crate) fn long(len: usize) -> String {
    "i".repeat(len)
}
