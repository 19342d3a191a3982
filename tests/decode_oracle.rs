//! `Envelope::decode` against serde_json, on frames made up, mangled, recorded, and found by the fuzzer.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod corpus;
mod oracle;

use std::path::{Path, PathBuf};

use proptest::prelude::*;

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn package(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn seeds() -> Vec<Vec<u8>> {
    let seeds: Vec<Vec<u8>> =
        files(&package("fuzz/seeds/envelope")).iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(seeds.len() > 20, "the seeds are part of the package's repository");
    seeds
}

#[test]
fn nasty_frames_are_judged_alike() {
    for frame in include_str!("oracle/nasty.txt").lines() {
        oracle::check(frame.as_bytes());
        oracle::check(format!(" {frame}\r\n\t").as_bytes());
        for at in (0..frame.len()).filter(|at| frame.is_char_boundary(*at)) {
            oracle::check(format!("{}\n{}", &frame[..at], &frame[at..]).as_bytes());
        }
    }
    for frame in
        [&b""[..], b" ", b"\xef\xbb\xbf{\"type\":\"t\"}", b"{\"type\":\"\xed\xa0\x80\"}", b"{\"type\":\"t\"}\0"]
    {
        oracle::check(frame);
    }
}

#[test]
fn d39_nesting_around_the_limit_is_judged_alike() {
    for depth in [1, 2, 64, 125, 126, 127, 128, 129, 130, 300, 20_000] {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}"), (r#"[1,{"b":"#, "}]")] {
            for (before, after) in
                [("", ""), (r#"{"type":"t","x":"#, "}"), (r#"{"type":"t","id":"m","payload":{"x":"#, "}}")]
            {
                for end in [after, "", "x", "}"] {
                    let frame = format!("{before}{}0{}{end}", open.repeat(depth), close.repeat(depth));
                    oracle::check(frame.as_bytes());
                }
                oracle::check(format!("{before}{}", open.repeat(depth)).as_bytes());
            }
        }
    }
}

#[test]
fn seeds_are_judged_alike_when_cut_anywhere() {
    for seed in seeds() {
        for end in 0..=seed.len() {
            oracle::check(&seed[..end]);
        }
    }
}

#[test]
fn seeds_are_judged_alike_with_any_byte_changed_or_left_out() {
    for mut frame in seeds() {
        for at in 0..frame.len() {
            let was = frame[at];
            for byte in *b"\"\\{}[],:0-.e nu\n\x00\x1f\x7f\x80\xc3\xff" {
                frame[at] = byte;
                oracle::check(&frame);
            }
            frame[at] = was;
            let mut shorter = frame.clone();
            shorter.remove(at);
            oracle::check(&shorter);
        }
    }
}

#[test]
fn what_the_fuzzer_once_found_stays_found() {
    for path in files(&package("tests/regressions/envelope")) {
        oracle::check(&std::fs::read(path).unwrap());
    }
}

#[test]
fn recorded_traffic_is_judged_alike() {
    for recording in corpus::recordings("recorded_traffic_is_judged_alike") {
        recording.lines.iter().for_each(|line| oracle::check(line));
    }
}

/// What a string may hold between its quotes, and some of what it may not.
fn inside() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => "[ -!#-\\[\\]-~]{0,12}",
        1 => "[a-z]{60,150}",
        2 => prop::sample::select(vec!["é", "€", "😀", "\u{7f}", "\u{2028}", "кириллица", "漢字漢字漢字漢字"]).prop_map(String::from),
        3 => prop::sample::select(vec![r#"\""#, r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t", r"\u0041", r"\u0000"]).prop_map(String::from),
        1 => prop::sample::select(vec![r"\ud83d\ude00", r"\uD800", r"\udfff", r"\ud800\ud800", r"\ud800\u0061", r"\uDBFF\uDFFF"]).prop_map(String::from),
        1 => prop::sample::select(vec![r"\x", r"\u12", r"\u12g4", "\n", "\u{1}", r"\", r"\U0041"]).prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn good_inside() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "[ -!#-\\[\\]-~]{0,40}",
        1 => "[a-zé€😀]{0,100}",
        1 => "[a-z]{250,260}",
        1 => r"(\\u00[0-7][0-9a-f]|\\n|\\/|a){1,30}",
    ]
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "(0|[1-9][0-9]{0,17})",
        3 => r"-?(0|[1-9][0-9]{0,6})(\.[0-9]{1,4})?([eE][+-]?[0-9]{1,4})?",
        1 => prop::sample::select(vec!["9007199254740991", "9007199254740992", "-0", "1e999", "18446744073709551616"]).prop_map(String::from),
        1 => "[-+.0-9eE]{1,6}",
    ]
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![9 => Just(String::new()), 1 => "[ \n\r\t]{1,3}"]
}

fn quoted(inside: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    inside.prop_map(|inside| format!("\"{inside}\""))
}

fn word() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["null", "true", "false", "nul", "True", "NaN", ""]).prop_map(String::from)
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![4 => quoted(good_inside()), 2 => quoted(inside()), 3 => number(), 2 => word().prop_filter("rarely wrong", |w| !w.is_empty()), 1 => Just("{}".to_owned()), 1 => Just("[]".to_owned())];
    leaf.prop_recursive(5, 24, 4, |value| {
        let member =
            (quoted(good_inside()), space(), space(), value.clone()).prop_map(|(k, a, b, v)| format!("{k}{a}:{b}{v}"));
        prop_oneof![
            (prop::collection::vec(value, 0..4), space())
                .prop_map(|(values, s)| format!("[{s}{}{s}]", values.join(","))),
            (prop::collection::vec(member, 0..4), space())
                .prop_map(|(members, s)| format!("{{{s}{}{s}}}", members.join(","))),
        ]
    })
}

fn name(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let plain = prop::sample::select(names);
    prop_oneof![
        8 => plain.clone().prop_map(|name| format!("\"{name}\"")),
        1 => plain.prop_map(|name| format!("\"{}\"", name.replace('i', r"\u0069").replace("pe", r"\u0070e"))),
    ]
}

fn payload() -> impl Strategy<Value = String> {
    let member = prop_oneof![
        3 => (name(&["kind", "job_id"]), prop_oneof![quoted("[a-c]?"), value()]),
        1 => (quoted(good_inside()), value()),
    ];
    prop::collection::vec(member.prop_map(|(name, value)| format!("{name}:{value}")), 0..5)
        .prop_map(|members| format!("{{{}}}", members.join(",")))
}

fn header_member() -> impl Strategy<Value = String> {
    let pair = prop_oneof![
        4 => (name(&["id", "session_id", "job_id"]), prop_oneof![6 => quoted("[a-c]"), 1 => quoted(good_inside())]),
        1 => (name(&["id", "type", "session_id", "job_id", "trace_id", "arcp"]), value()),
        1 => (name(&["arcp"]), prop_oneof![4 => Just(r#""1.1""#.to_owned()), 1 => quoted(inside())]),
        1 => (name(&["trace_id"]), prop_oneof![quoted("[0-9a-fA-F]{32}"), quoted("00-[0-9a-f]{32}-[0-9a-f]{16}-01")]),
        2 => (name(&["event_seq"]), prop_oneof![4 => number(), 1 => value()]),
        3 => (name(&["payload"]), prop_oneof![8 => payload(), 1 => value(), 1 => Just("null".to_owned())]),
        2 => (prop_oneof![5 => quoted(good_inside()), 1 => quoted(inside())], value()),
    ];
    (pair, space(), space()).prop_map(|((name, value), a, b)| format!("{a}{name}{b}:{a}{value}{b}"))
}

fn frame() -> impl Strategy<Value = String> {
    let type_member = prop_oneof![
        6 => prop::sample::select(vec!["job.event", "session.ping", "job.even\\u0074", "x-vendor.a"]).prop_map(|t| format!(r#""type":"{t}""#)),
        1 => quoted(inside()).prop_map(|t| format!(r#""type":{t}"#)),
    ];
    (prop::collection::vec(header_member(), 0..6), type_member, any::<prop::sample::Index>(), space()).prop_map(
        |(mut members, type_member, at, s)| {
            members.insert(at.index(members.len() + 1), type_member);
            format!("{s}{{{}}}{s}", members.join(","))
        },
    )
}

#[derive(Clone, Debug)]
enum Change {
    Put(u8),
    Insert(u8),
    Remove,
    Cut,
    Repeat(u8),
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, Change)>> {
    let byte = prop_oneof![prop::sample::select(b"\"\\{}[],:-.eE019 \n\x00\x1f\x80\xc3\xffu".to_vec()), any::<u8>()];
    let change = prop_oneof![
        byte.clone().prop_map(Change::Put),
        byte.prop_map(Change::Insert),
        Just(Change::Remove),
        Just(Change::Cut),
        any::<u8>().prop_map(Change::Repeat),
    ];
    prop::collection::vec((any::<prop::sample::Index>(), change), 1..5)
}

fn changed(frame: &str, changes: &[(prop::sample::Index, Change)]) -> Vec<u8> {
    let mut bytes = frame.as_bytes().to_vec();
    for (at, change) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match *change {
            Change::Put(byte) => bytes[at] = byte,
            Change::Insert(byte) => bytes.insert(at, byte),
            Change::Remove => drop(bytes.remove(at)),
            Change::Cut => bytes.truncate(at),
            Change::Repeat(len) => {
                let piece = bytes[at..bytes.len().min(at + usize::from(len))].to_vec();
                drop(bytes.splice(at..at, piece));
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn made_up_frames_are_judged_alike(frame in frame()) {
        oracle::check(frame.as_bytes());
    }

    #[test]
    fn mangled_frames_are_judged_alike(frame in frame(), changes in changes()) {
        oracle::check(&changed(&frame, &changes));
    }

    #[test]
    fn single_values_are_judged_alike(value in value(), number in number(), inside in inside()) {
        for value in [value, number, format!("\"{inside}\"")] {
            oracle::check(value.as_bytes());
            oracle::check(format!(r#"{{"type":"t","payload":{{"x":{value}}}}}"#).as_bytes());
            oracle::check(format!(r#"{{"type":"t","event_seq":{value}}}"#).as_bytes());
            oracle::check(format!(r#"{{"type":{value}}}"#).as_bytes());
        }
    }
}
