//! How our endpoint answers recorded hellos, and where it decides otherwise than the recorded runtime did.

use crate::plot::Verdict;

/// A recording, transports on which our endpoint decides otherwise, how (as a [`Verdict`] prints), and why.
type Otherwise = (&'static str, &'static [u64], &'static str, &'static str);

const WELCOMED: &str = "welcomed";
const RESUMED: &str = "resumed";
const EXPIRED: &str = "refused with RESUME_WINDOW_EXPIRED";
const INVALID: &str = "refused with INVALID_REQUEST";
const NOBODY: &str = "refused with UNAUTHENTICATED";

const PRESENTED: &str = "D13: the token that was presented is good until something comes behind the welcome";
const FIRST_FRAME: &str = "D9: the first frame is a hello, or nothing else is read";

const OTHERWISE: &[Otherwise] = &[
    ("go/resume", &[12], RESUMED, "D15: the new transport wins"),
    ("go/resume", &[14], EXPIRED, "D14: all refusals look alike"),
    ("go/resume", &[18], EXPIRED, "D14: beyond the last event"),
    ("go/resume", &[23], RESUMED, PRESENTED),
    ("go/resume", &[25], RESUMED, "D32: resumable after a goodbye"),
    ("go/resume", &[29], EXPIRED, "D14: below what was acknowledged"),
    ("go-ts/resume", &[4], RESUMED, "D14: a client that missed nothing"),
    ("go-ts/resume", &[12], RESUMED, "D15: the new transport wins"),
    ("go-ts/resume", &[20], EXPIRED, "D14: another principal's session"),
    ("go-ts/resume", &[23], RESUMED, PRESENTED),
    ("go-ts/resume", &[27, 29], EXPIRED, "D14: below what was acknowledged"),
    ("ts/resume", &[4], RESUMED, "D14: a client that missed nothing"),
    ("ts/resume", &[12], RESUMED, "D15: the new transport wins"),
    ("ts/resume", &[15], RESUMED, PRESENTED),
    ("ts/resume", &[22], EXPIRED, "D14: another principal's session"),
    ("ts/bad-token", &[2, 3], NOBODY, "D13: credentials are missing"),
    ("ts/handshake", &[8], INVALID, "D20: no encoding but JSON"),
    ("ts/malformed-pre", &[2, 3, 4, 6, 48, 52], INVALID, FIRST_FRAME),
    ("ts/malformed-pre", &[7, 8, 9, 10, 11, 12, 18, 24, 25, 26, 27, 28, 29, 36, 49, 50, 51], INVALID, FIRST_FRAME),
    ("ts/malformed-pre", &[5], NOBODY, "D13: a resume needs credentials"),
    ("ts/malformed-pre", &[15, 19, 22], WELCOMED, "D38: a byte order mark, CR, a last line without LF"),
    ("ts/malformed-pre", &[30, 31], INVALID, "D39: a header member twice"),
    ("ts/malformed-pre", &[32, 33], INVALID, "D39: not UTF-8"),
    ("ts/malformed-pre", &[34], INVALID, "D39: a surrogate alone, in what is read"),
    ("ts/malformed-pre", &[94, 95, 96, 97], INVALID, "D39: nested too deep"),
    ("ts/malformed-pre", &[37], WELCOMED, "D1: no version is ours"),
    ("ts/malformed-pre", &[38, 39, 40, 41, 42], INVALID, "D1: another version"),
    ("ts/malformed-pre", &[43], WELCOMED, "D3: nobody need name a hello"),
    ("ts/malformed-pre", &[44, 45, 46], INVALID, "D3: an id is a short text"),
    ("ts/malformed-pre", &[53, 54, 57, 61], NOBODY, "D13: credentials are missing"),
    ("ts/malformed-pre", &[58, 59, 60], WELCOMED, "A3, liberally: who the client is may be left out"),
    ("ts/malformed-pre", &[62], NOBODY, "another scheme is the application's to judge"),
    ("ts/malformed-pre", &[64], WELCOMED, "the case of a scheme means nothing"),
    ("ts/malformed-pre", &[68, 85], WELCOMED, "D2: null is absent"),
    ("ts/malformed-pre", &[74], INVALID, "D9: more than 64 KiB"),
    ("ts/malformed-pre", &[76], INVALID, "D20: no encoding but JSON"),
    ("ts/malformed-pre", &[80], INVALID, "§B: a sequence number is a number from 0"),
    ("ts/malformed-pre", &[81], WELCOMED, "D6: what is unknown is ignored"),
    ("ts/malformed-pre", &[83], WELCOMED, "D4: a trace id that is none is dropped"),
    ("ts/malformed-pre", &[89], WELCOMED, "of two hellos in one write, the first"),
];

/// What is wrong with an answer.
pub(crate) fn judge(recording: &str, conn: u64, recorded: &Verdict, ours: &Verdict) -> Option<String> {
    let otherwise = OTHERWISE.iter().find(|(of, conns, ..)| *of == recording && conns.contains(&conn));
    match otherwise {
        Some((_, _, expected, _)) if ours.to_string() == *expected && ours != recorded => None,
        None if ours == recorded => None,
        Some((_, _, expected, because)) => {
            Some(format!("transport {conn}: {ours}, recorded as {recorded}, and expected as {expected} ({because})"))
        }
        None => Some(format!("transport {conn}: {ours}, recorded as {recorded}")),
    }
}
