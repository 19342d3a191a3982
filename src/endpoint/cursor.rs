//! Where a page goes on: an opaque text (D30).

use alloc::string::String;
use alloc::vec::Vec;

use super::job_order::Place;
use crate::time::Timestamp;
use crate::wire::{JobId, MAX_ID_LEN};

/// Bytes of the time, before those of the id.
const TIME: usize = 8;

/// The cursor of a page that goes on below `place`, in lower hex: at most 528 characters, whatever the id is.
pub(super) fn write(place: &Place) -> String {
    let time = place.created_at.as_unix_millis().to_be_bytes();
    let bytes = time.iter().chain(place.job_id.as_str().as_bytes());
    bytes.flat_map(|byte| [byte >> 4, byte & 0xf]).filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// The place that a cursor names; none for a text that is no cursor of ours.
pub(super) fn read(text: &str) -> Option<Place> {
    let digits = text.as_bytes();
    if digits.len() > 2 * (TIME + MAX_ID_LEN) {
        return None;
    }
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let bytes: Option<Vec<u8>> = pairs.iter().map(|[high, low]| Some(value(*high)? << 4 | value(*low)?)).collect();
    let bytes = bytes?;
    let (time, id) = bytes.split_first_chunk::<TIME>()?;
    let created_at = Timestamp::from_unix_millis(i64::from_be_bytes(*time));
    Some(Place { created_at, job_id: JobId::from(core::str::from_utf8(id).ok()?) })
}

fn value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// The shortest place that tells `examined` from `next`, which is right below it: what a cursor may say when the job
/// above it is not one that the viewer may know of (§6.6).
pub(super) fn between(examined: &Place, next: &Place) -> Place {
    let Place { created_at, job_id } = examined;
    if next.created_at < *created_at {
        return Place::start_of(*created_at);
    }
    let id = job_id.as_str();
    let ends = id.char_indices().map(|(at, char)| at + char.len_utf8());
    let prefix = ends.filter_map(|end| id.get(..end)).find(|prefix| *prefix > next.job_id.as_str());
    Place { created_at: *created_at, job_id: prefix.unwrap_or(id).into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(created_at: i64, job_id: &str) -> Place {
        Place { created_at: Timestamp::from_unix_millis(created_at), job_id: job_id.into() }
    }

    #[test]
    fn d30_the_longest_cursor_is_528_characters_and_one_more_is_none() {
        let longest = write(&place(i64::MIN, &"\u{7f}".repeat(MAX_ID_LEN)));
        assert_eq!(longest.len(), 528);
        assert!(read(&longest).is_some());
        assert!(read(&(longest + "61")).is_none());
    }

    #[test]
    fn d30_texts_that_are_no_cursor() {
        for text in ["", "0", "c_100", "00000000000000", "000000000000000", "000000000000000g", "000000000000000A"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(read("0000000000000000"), Some(place(0, "")));
        assert_eq!(read("0000000000000000ff"), None, "an id that is no UTF-8");
        assert_eq!(read("000000000000000é"), None);
    }

    #[test]
    fn d30_a_cursor_says_no_more_of_a_hidden_job_than_it_must() {
        assert_eq!(between(&place(7, "job_b"), &place(6, "job_c")), place(7, ""));
        assert_eq!(between(&place(7, "job_bcd"), &place(7, "job_aaa")), place(7, "job_b"));
        assert_eq!(between(&place(7, "ab"), &place(7, "a")), place(7, "ab"));
        assert_eq!(between(&place(7, "añb"), &place(7, "an")), place(7, "añ"));
    }

    proptest! {
        #[test]
        fn d30_a_cursor_is_ascii_and_comes_back(at in any::<i64>(), id in ".{0,60}") {
            let place = place(at, &id);
            let text = write(&place);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric()));
            prop_assert_eq!(read(&text), Some(place));
        }

        #[test]
        fn d30_any_text_reads_or_does_not(text in ".{0,600}", hex in "[0-9a-f]{0,80}") {
            let _ = read(&text);
            if let Some(place) = read(&hex) {
                prop_assert_eq!(write(&place), hex);
            }
        }

        #[test]
        fn d30_what_is_between_is_between(a in (0_i64..3, "[ab\u{e9}]{0,4}"), b in (0_i64..3, "[ab\u{e9}]{0,4}")) {
            let (a, b) = (place(a.0, &a.1), place(b.0, &b.1));
            prop_assume!(a != b);
            let (high, low) = if a > b { (a, b) } else { (b, a) };
            let between = between(&high, &low);
            prop_assert!(low < between && between <= high, "{between:?}");
        }
    }
}
