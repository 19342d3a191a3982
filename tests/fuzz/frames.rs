//! Frames that fit where they are: every type of message, its place in the sequence, what it answers and what it says
//! chosen by a few bytes. A fuzzer that has nothing but bytes seldom finds the id of an open request.

use std::io::Write as _;

use arcp_proto::wire::MessageType;
use arcp_proto::{Feature, FeatureSet};

use crate::script::Args;

/// What the peer knows of the session.
pub(crate) struct Known<'a> {
    /// The place in the sequence around which its own are.
    pub(crate) near: u64,
    /// Ids of messages that it got.
    pub(crate) ids: &'a [String],
    pub(crate) session_id: &'a str,
}

const CODES: [&str; 9] = [
    "INTERNAL_ERROR",
    "DUPLICATE_KEY",
    "JOB_NOT_FOUND",
    "PERMISSION_DENIED",
    "HEARTBEAT_LOST",
    "UNAUTHENTICATED",
    "RESUME_WINDOW_EXPIRED",
    "CANCELLED",
    "X_VENDOR",
];

const KINDS: [&str; 6] = ["log", "progress", "result_chunk", "status", "x-vendor.kind", ""];

/// Of all of them, those that two bytes name; all for 0.
pub(crate) fn features(args: &mut Args<'_>) -> FeatureSet {
    let without = u16::from(args.byte()) | u16::from(args.byte()) << 8;
    let chosen = Feature::ALL.iter().enumerate().filter(|(n, _)| without & 1 << n == 0);
    chosen.map(|(_, feature)| *feature).collect()
}

fn id<'a>(args: &mut Args<'_>, known: &Known<'a>) -> Option<&'a str> {
    let n = usize::from(args.byte());
    n.checked_sub(1).and_then(|n| known.ids.iter().rev().nth(n % 8)).map(String::as_str)
}

/// One frame. The members of its payload are those of all types at once, for each reads its own (D6).
pub(crate) fn frame(mut args: Args<'_>, known: &Known<'_>) -> Vec<u8> {
    let args = &mut args;
    let mut out = Vec::with_capacity(400);
    let message = usize::from(args.byte());
    let name = match MessageType::ALL.get(message % (MessageType::ALL.len() + 3)) {
        Some(message) => message.name(),
        None if message.is_multiple_of(3) => "x-vendor.thing",
        None => "job.event",
    };
    let place = args.below(10);
    let (job, code, kind) = (args.below(4), args.pick(&CODES), args.pick(&KINDS));
    let request = id(args, known);
    // Written by hand, for this is most of what a fuzzer's time goes into; writing to a `Vec` cannot fail.
    let _ = match id(args, known) {
        Some(id) => write!(out, r#"{{"id":"{id}","type":"{name}""#),
        None => write!(out, r#"{{"id":"m{}","type":"{name}""#, args.byte()),
    };
    let _ = match args.below(8) {
        0..=4 => write!(out, r#","session_id":"{}""#, known.session_id),
        5 => write!(out, r#","session_id":"sess_other""#),
        _ => Ok(()),
    };
    if name.starts_with("job.") {
        let _ = write!(out, r#","job_id":"job_{job}""#);
        let seq = match place {
            0..=3 => Some(known.near + 1),
            4 => Some(known.near + 2),
            5 => Some(known.near + u64::from(args.byte())),
            6 => Some(known.near.saturating_sub(u64::from(args.below(4)))),
            7 => Some((1 << 53) - 1 - u64::from(args.below(3))),
            _ => None,
        };
        if let Some(seq) = seq {
            let _ = write!(out, r#","event_seq":{seq}"#);
        }
    }
    let _ = write!(out, r#","payload":{{"code":"{code}","message":"m","kind":"{kind}","nonce":"n","agent":"a@1""#);
    if let Some(request) = request {
        let _ = write!(out, r#","request_id":"{request}""#);
    }
    let statuses = ["success", "error", "cancelled", "running", "nonsense"];
    let (status, said) = (args.pick(&statuses), known.near.saturating_sub(u64::from(args.below(4))));
    let _ = write!(out, r#","final_status":"{status}","current_status":"{status}","last_processed_seq":{said}"#);
    let _ = match args.below(12) {
        0 => write!(out, r#","parent_job_id":"job_0""#),
        1 => write!(out, r#","retryable":true"#),
        2 => write!(out, r#","last_processed_seq":{}"#, known.near + u64::from(args.byte())),
        3 => write!(out, r#","code":17"#),
        4 => write!(out, r#","resume_token":"rt_{:032x}""#, args.below(4)),
        _ => Ok(()),
    };
    if name == "session.welcome" || name == "session.hello" {
        let seconds = [30, 1, 0, 86_400, 600];
        let (interval, window) = (args.pick(&seconds), args.pick(&[600, 60, 1, 0, 9_999_999]));
        let _ = write!(out, r#","heartbeat_interval_sec":{interval},"resume_window_sec":{window}"#);
        let _ = write!(out, r#","auth":{{"scheme":"bearer","token":"t"}},"runtime":{{"name":"r","version":"1"}}"#);
        if args.below(4) > 0 {
            let _ = write!(out, r#","resume_token":"rt_{:032x}""#, args.below(4));
        }
        let _ = write!(out, r#","capabilities":{{"features":["#);
        for (n, feature) in features(args).iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            let _ = write!(out, r#"{comma}"{}""#, feature.name());
        }
        let _ = write!(out, "]}}");
    }
    if name == "session.jobs" {
        let _ = write!(out, r#","jobs":["#);
        for n in 0..args.below(5) {
            let comma = if n == 0 { "" } else { "," };
            let _ = write!(out, r#"{comma}{{"job_id":"job_{n}","agent":"a@1","status":"{status}"}}"#);
        }
        let _ = write!(out, "]");
    }
    let _ = write!(out, r#","body":{{"message":""#);
    out.resize(out.len() + 4 * usize::from(args.byte()), b'x');
    let _ = write!(out, r#""}}}}}}"#);
    out
}

/// The hello of a client of this number; for a resume with this token, and from behind this event.
pub(crate) fn hello(features: &FeatureSet, who: u8, resume: Option<(u64, u64)>) -> String {
    let names: Vec<String> = features.iter().map(|feature| format!("\"{}\"", feature.name())).collect();
    let resume = resume.map_or_else(String::new, |(token, last)| {
        format!(r#","resume_token":"rt_{token:032x}","last_event_seq":{last}"#)
    });
    let (auth, names) = (format!(r#"{{"scheme":"bearer","token":"t{who}"}}"#), names.join(","));
    format!(
        r#"{{"id":"h","type":"session.hello","payload":{{"auth":{auth},"capabilities":{{"features":[{names}]}}{resume}}}}}"#
    )
}
