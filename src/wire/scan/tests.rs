use super::*;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

fn fault(frame: impl AsRef<[u8]>) -> FrameFault {
    match scan(frame.as_ref()) {
        Err((fault, _)) => fault,
        Ok(head) => panic!("{:?} is taken: {head:?}", String::from_utf8_lossy(frame.as_ref())),
    }
}

fn good(frame: &str) -> Head {
    scan(frame.as_bytes()).unwrap_or_else(|(fault, _)| panic!("{frame} is refused: {fault}"))
}

fn says(text: Text, frame: &str) -> Option<String> {
    text.get(frame.as_bytes()).map(|text| text.into_owned())
}

/// An envelope with one more member.
fn with(member: &str) -> String {
    format!(r#"{{"type":"t",{member}}}"#)
}

fn in_payload(value: &str) -> String {
    with(&format!(r#""payload":{{"x":{value}}}"#))
}

fn nested(depth: usize) -> String {
    // Envelope and payload are two of them.
    in_payload(&format!("{}{}", "[".repeat(depth - 2), "]".repeat(depth - 2)))
}

#[test]
fn a_whole_header_is_found() {
    let frame = r#"{"arcp":"1.1","id":"msg_1","type":"job.event","session_id":"sess_1","trace_id":"4bf9","job_id":"job_1","event_seq":42,"payload":{"kind":"log","body":{"kind":"other","job_id":"no"}}}"#;
    let head = good(frame);
    assert_eq!(says(head.id, frame).unwrap(), "msg_1");
    assert_eq!(says(head.type_name, frame).unwrap(), "job.event");
    assert_eq!(head.message_type, Some(MessageType::JobEvent));
    assert_eq!(says(head.session_id, frame).unwrap(), "sess_1");
    assert_eq!(says(head.trace_id, frame).unwrap(), "4bf9");
    assert_eq!(says(head.job_id, frame).unwrap(), "job_1");
    assert_eq!(says(head.event_kind, frame).unwrap(), "log");
    assert_eq!(head.event_seq, 42);
    assert_eq!(
        &frame[head.payload.0 as usize..head.payload.1 as usize],
        r#"{"kind":"log","body":{"kind":"other","job_id":"no"}}"#
    );
}

#[test]
fn a_printed_frame_and_any_order_of_members_are_taken() {
    let frame = "\r\n {\t\"payload\" : { \"a\" : [ 1 , { } , [ ] ] } ,\n \"event_seq\" : 7 ,\"x\": {\"id\":1}, \"type\" : \"a\" , \"id\"\n:\"b\"} \n";
    let head = good(frame);
    assert_eq!(says(head.id, frame).unwrap(), "b");
    assert_eq!((head.event_seq, head.message_type), (7, None));
    assert_eq!(&frame[head.payload.0 as usize..head.payload.1 as usize], r#"{ "a" : [ 1 , { } , [ ] ] }"#);
}

#[test]
fn d39_what_is_not_json_is_refused_with_its_place() {
    for (frame, offset) in [
        ("", 0),
        ("  ", 2),
        ("{", 1),
        (r#"{"type":"t"}x"#, 12),
        (r#"{"type":"t"} {}"#, 13),
        (r#"{"type":"t",}"#, 12),
        (r#"{"type" "t"}"#, 8),
        (r#"{type:"t"}"#, 1),
        ("\u{feff}{}", 0),
        ("{\"type\":\"t\u{1}\"}", 10),
        ("{\"type\":\"t\n0123456789012345678\"}", 10),
        (r#"{"type":"t","x":tru}"#, 19),
        (r#"{"type":"t","x":[1,]}"#, 19),
        (r#"{"type":"t","x":[1}"#, 18),
        (r#"{"type":"t","x":"\x"}"#, 18),
        (r#"{"type":"t","x":"\u12g4"}"#, 21),
        (r#"{"type":"t","x":"\u123"#, 22),
        (r#"{"type":"t","x":'a'}"#, 16),
        (r#"{"type":"t","x":NaN}"#, 16),
        ("{\"type\":\"t\",\u{a0}\"x\":1}", 12),
    ] {
        assert_eq!(fault(frame), FrameFault::Syntax { offset }, "{frame}");
    }
}

#[test]
fn d39_numbers_are_json_numbers_of_any_size() {
    for number in ["0", "-0", "1e999", "-1E-999", "0.0", "1.50e+3", "18446744073709551616", "9".repeat(400).as_str()] {
        good(&in_payload(number));
    }
    for number in ["01", "-", "+1", ".5", "1.", "1.e3", "1e", "1e+", "0x1", "-01", "00", "1_0", "--1", "Infinity"] {
        assert!(matches!(fault(in_payload(number)), FrameFault::Syntax { .. }), "{number}");
        assert!(matches!(fault(with(&format!(r#""event_seq":{number}"#))), FrameFault::Syntax { .. }), "{number}");
    }
}

#[test]
fn d39_bytes_that_are_not_utf8_are_refused_wherever_they_stand() {
    let good = "{\"type\":\"t\",\"x\":\"0123456789abcdef é\",\"payload\":{\"é\":\"ü\"}}".as_bytes();
    assert!(scan(good).is_ok());
    for at in 0..good.len() {
        let mut bytes = good.to_vec();
        bytes[at] = 0xff;
        assert_eq!(fault(&bytes), FrameFault::NotUtf8);
    }
    assert_eq!(fault(b"{\"type\":\"t\",\"x\":\"\xed\xa0\x80\"}"), FrameFault::NotUtf8);
    assert_eq!(fault(b"not json and not text \xc0"), FrameFault::NotUtf8);
    // In the last bytes, where no block is left to look at.
    assert_eq!(fault(b"{\"type\":\"t\xe9\"}"), FrameFault::NotUtf8);
}

#[test]
fn d39_a_frame_is_an_object() {
    for frame in ["null", " [] ", "1", "\"text\"", "true", "[{\"type\":\"t\"}]", "-0.5e1"] {
        assert_eq!(fault(frame), FrameFault::NotAnObject, "{frame}");
    }
    for frame in ["nul", "[", "1 2", "[] x"] {
        assert!(matches!(fault(frame), FrameFault::Syntax { .. }), "{frame}");
    }
}

#[test]
fn d39_nesting_beyond_128_is_refused() {
    good(&nested(MAX_DEPTH));
    assert_eq!(fault(nested(MAX_DEPTH + 1)), FrameFault::TooDeep);
    assert_eq!(fault("[".repeat(MAX_DEPTH + 1)), FrameFault::TooDeep);
    assert!(matches!(fault("[".repeat(MAX_DEPTH)), FrameFault::Syntax { .. }));
    assert_eq!(fault(format!("{}{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH))), FrameFault::NotAnObject);
    let objects = |depth: usize| with(&format!("\"x\":{}1{}", r#"{"a":"#.repeat(depth - 1), "}".repeat(depth - 1)));
    good(&objects(MAX_DEPTH));
    assert_eq!(fault(objects(MAX_DEPTH + 1)), FrameFault::TooDeep);
    // Far more than any stack holds, and the id all the same.
    let frame = format!(r#"{{"id":"m","x":{}"#, "[".repeat(1 << 20));
    let (fault, id) = scan(frame.as_bytes()).unwrap_err();
    assert_eq!((fault, says(id, &frame).unwrap().as_str()), (FrameFault::TooDeep, "m"));
}

#[test]
fn d39_mixed_nesting_is_told_apart_at_every_depth() {
    let mut opened = String::new();
    let mut closed = Vec::new();
    for level in 0..MAX_DEPTH - 2 {
        let object = level % 3 == 0;
        opened += if object { r#"{"k":"# } else { "[0," };
        closed.push(if object { "}" } else { "]" });
    }
    closed.reverse();
    good(&in_payload(&format!("{opened}1{}", closed.concat())));
    for wrong in 0..closed.len() {
        let mut closed = closed.clone();
        closed[wrong] = if closed[wrong] == "}" { "]" } else { "}" };
        assert!(matches!(fault(in_payload(&format!("{opened}1{}", closed.concat()))), FrameFault::Syntax { .. }));
    }
}

#[test]
fn d39_duplicate_header_key_is_refused() {
    for field in FIELDS {
        let member = format!(r#""{}":null"#, field.name());
        let frame = if field == HeaderField::Type { with(&member) } else { with(&format!("{member},{member}")) };
        assert_eq!(fault(&frame), FrameFault::Duplicate(field), "{frame}");
    }
    assert_eq!(fault(with(r#""id":"a","\u0069d":"a""#)), FrameFault::Duplicate(HeaderField::Id));
    good(&with(r#""x":1,"x":1,"payload":{"id":1,"id":1,"x":{"type":1,"type":2}}"#));
}

#[test]
fn d39_an_id_that_stands_twice_is_no_id() {
    let frame = with(r#""id":"a","id":"b""#);
    assert!(scan(frame.as_bytes()).unwrap_err().1.is_absent());
    let frame = format!(r#"{{"id":null,"id":"b","x":{}"#, "[".repeat(MAX_DEPTH));
    let (fault, id) = scan(frame.as_bytes()).unwrap_err();
    assert_eq!((fault, id), (FrameFault::TooDeep, Text::default()));
}

#[test]
fn d39_keys_with_escapes_are_the_keys_they_read_as() {
    let frame = r#"{"\u0074ype":"a\u002fb","\u0069\u0064":"\u00e9\ud83d\ude00","payloa\u0064":{"k\u0069nd":"\"","\u006aob_id":"j"}}"#;
    let head = good(frame);
    assert_eq!(says(head.type_name, frame).unwrap(), "a/b");
    assert_eq!(says(head.id, frame).unwrap(), "é😀");
    assert_eq!(says(head.event_kind, frame).unwrap(), "\"");
    assert_eq!(says(head.job_id, frame).unwrap(), "j");
    assert_ne!(head.payload.1, 0);
}

#[test]
fn d39_lone_surrogates_pass_in_a_payload_and_not_in_the_header() {
    for lone in [r"\ud800", r"\udfff", r"\ud800\u0041", r"a\ud800\n"] {
        good(&in_payload(&format!(r#"{{"{lone}":"{lone}"}}"#)));
        good(&with(&format!(r#""unknown":"{lone}""#)));
        for field in FIELDS {
            let member = format!(r#""{}":"{lone}""#, field.name());
            let frame = if field == HeaderField::Type { format!("{{{member}}}") } else { with(&member) };
            assert_eq!(fault(&frame), FrameFault::Field(field), "{frame}");
        }
        // The name of a member is header, too.
        assert!(matches!(fault(with(&format!(r#""{lone}":1"#))), FrameFault::Syntax { .. }));
        // What the payload says in them cannot be read, which is for a typed reading to find.
        let frame = with(&format!(r#""payload":{{"kind":"{lone}","job_id":"{lone}"}}"#));
        let head = good(&frame);
        assert!(head.event_kind.is_absent() && head.job_id.is_absent());
    }
}

#[test]
fn d1_the_version_is_1_1_or_absent() {
    for version in [r#""1.1""#, "null", r#""\u0031.1""#] {
        good(&with(&format!(r#""arcp":{version}"#)));
    }
    for version in [r#""1""#, r#""1.10""#, r#""""#, r#""1.1 ""#, r#""2.0""#, r#""\u0032.0""#] {
        assert_eq!(fault(with(&format!(r#""arcp":{version}"#))), FrameFault::Version);
    }
    for version in ["1.1", "{}", "true", r#"["1.1"]"#] {
        assert_eq!(fault(with(&format!(r#""arcp":{version}"#))), FrameFault::Field(HeaderField::Arcp));
    }
}

#[test]
fn d3_ids_are_strings_between_1_and_256_bytes() {
    for field in [HeaderField::Id, HeaderField::SessionId, HeaderField::JobId, HeaderField::Type] {
        let frame = |value: &str| match field {
            HeaderField::Type => format!(r#"{{"type":{value}}}"#),
            _ => with(&format!(r#""{}":{value}"#, field.name())),
        };
        let quoted = |text: &str| format!("\"{text}\"");
        good(&frame(&quoted(&"é".repeat(MAX_ID_LEN / 2))));
        good(&frame(&quoted(&r"\u0061".repeat(MAX_ID_LEN))));
        for value in ["", &"a".repeat(MAX_ID_LEN + 1), &r"\u00e9".repeat(MAX_ID_LEN / 2 + 1)].map(quoted) {
            assert_eq!(fault(frame(&value)), FrameFault::Field(field), "{value}");
        }
        for value in ["1", "true", "{}", r#"["a"]"#] {
            assert_eq!(fault(frame(value)), FrameFault::Field(field), "{value}");
        }
    }
}

#[test]
fn d2_null_is_absent_and_only_the_type_must_be_there() {
    let frame = r#"{"arcp":null,"id":null,"type":"t","session_id":null,"trace_id":null,"job_id":null,"event_seq":null,"payload":null}"#;
    for frame in [frame, r#"{"type":"t"}"#] {
        let head = good(frame);
        for text in [head.id, head.session_id, head.trace_id, head.job_id, head.event_kind] {
            assert!(text.is_absent());
        }
        assert_eq!((head.event_seq, head.payload.1), (0, 0));
    }
    for frame in [r#"{"id":"m"}"#, r#"{"id":"m","type":null}"#] {
        let (fault, id) = scan(frame.as_bytes()).unwrap_err();
        assert_eq!(fault, FrameFault::Field(HeaderField::Type));
        assert_eq!(says(id, frame).unwrap(), "m");
    }
    assert_eq!(fault("{}"), FrameFault::Field(HeaderField::Type));
}

#[test]
fn d4_a_trace_id_of_any_kind_drops_the_field_and_not_the_message() {
    for value in ["1", "{}", "[[]]", "false", "null"] {
        assert!(good(&with(&format!(r#""trace_id":{value}"#))).trace_id.is_absent());
    }
    for value in ["", "no trace", &"z".repeat(5000)] {
        good(&with(&format!(r#""trace_id":"{value}""#)));
    }
}

#[test]
fn d5_an_event_seq_is_a_plain_integer_below_2_to_the_53() {
    for (text, value) in [("0", 0), ("1", 1), ("9007199254740991", SEQ_LIMIT - 1), ("null", 0)] {
        assert_eq!(good(&with(&format!(r#""event_seq":{text}"#))).event_seq, value);
    }
    for text in [
        "-0",
        "-1",
        "1.0",
        "1e3",
        "0.0",
        "0e0",
        "\"1\"",
        "true",
        "[]",
        "{}",
        "9007199254740992",
        "18446744073709551617",
        "99999999999999999999999",
    ] {
        assert_eq!(fault(with(&format!(r#""event_seq":{text}"#))), FrameFault::Field(HeaderField::EventSeq), "{text}");
    }
}

#[test]
fn a_payload_is_an_object_or_absent() {
    for value in ["[]", "1", "\"{}\"", "false"] {
        assert_eq!(fault(with(&format!(r#""payload":{value}"#))), FrameFault::Field(HeaderField::Payload));
    }
    let head = good(&with(r#""payload":{ }"#));
    assert_eq!(head.payload.1 - head.payload.0, 3);
}

#[test]
fn d34_the_job_is_named_in_either_place() {
    for frame in [
        with(r#""job_id":"j1","payload":{}"#),
        with(r#""payload":{"job_id":"j1"}"#),
        with(r#""job_id":"j1","payload":{"job_id":"j1"}"#),
        with(r#""payload":{"job_id":"\u006a1"},"job_id":"j1""#),
        with(r#""job_id":"\u006a1","payload":{"job_id":"j\u0031"}"#),
        with(r#""job_id":null,"payload":{"job_id":"j1"}"#),
        with(r#""job_id":"j1","payload":{"job_id":null}"#),
        with(r#""job_id":"j1","payload":{"job_id":5}"#),
        with(r#""job_id":"j1","payload":{"job_id":""}"#),
        with(r#""job_id":"j1","payload":{"job_id":"j2","job_id":"j1"}"#),
        with(r#""job_id":"j1","payload":{"job_id":"j2","job_id":{}}"#),
        with(r#""job_id":"j1","payload":{"body":{"job_id":"j2"}}"#),
    ] {
        assert_eq!(says(good(&frame).job_id, &frame).unwrap(), "j1", "{frame}");
    }
}

#[test]
fn d34_two_different_jobs_are_a_conflict() {
    for frame in [
        with(r#""id":"m","job_id":"j1","payload":{"job_id":"j2"}"#),
        with(r#""id":"m","payload":{"job_id":"j1 "},"job_id":"j1""#),
        with(r#""id":"m","job_id":"j1","payload":{"job_id":"j1","job_id":"j\u0032"}"#),
    ] {
        let (fault, id) = scan(frame.as_bytes()).unwrap_err();
        assert_eq!(fault, FrameFault::JobIdConflict);
        assert_eq!(says(id, &frame).unwrap(), "m");
    }
}

#[test]
fn d34_a_job_id_of_the_payload_has_the_cap_of_the_header() {
    let frame = with(&format!(r#""payload":{{"job_id":"{}"}}"#, "j".repeat(MAX_ID_LEN + 1)));
    assert_eq!(fault(&frame), FrameFault::Field(HeaderField::JobId));
}

#[test]
fn the_kind_is_the_payloads_own_last_one() {
    for (payload, kind) in [
        (r#"{"kind":"log"}"#, Some("log")),
        (r#"{"kind":"log","kind":"x-vendor.a"}"#, Some("x-vendor.a")),
        (r#"{"kind":"log","kind":1}"#, None),
        (r#"{"body":{"kind":"log"}}"#, None),
        (r#"{"kind":null}"#, None),
        (r#"{"kind":""}"#, Some("")),
    ] {
        let frame = with(&format!(r#""payload":{payload}"#));
        assert_eq!(says(good(&frame).event_kind, &frame).as_deref(), kind, "{payload}");
    }
}

#[test]
fn d39_a_fault_does_not_hide_that_the_frame_is_no_json() {
    for faulty in [r#""arcp":"9""#, r#""event_seq":-1"#, r#""payload":[]"#, r#""id":"""#, r#""type":"again""#] {
        assert!(matches!(fault(format!(r#"{{"type":"t",{faulty},"x":01}}"#)), FrameFault::Syntax { .. }));
        assert!(matches!(fault(format!(r#"{{"type":"t",{faulty}"#)), FrameFault::Syntax { .. }));
        assert_eq!(fault([with(faulty).as_bytes(), b"\xff"].concat()), FrameFault::NotUtf8);
    }
}

#[test]
fn d39_the_first_fault_is_told_and_a_good_id_comes_back() {
    let frame = r#"{"arcp":"2","event_seq":-1,"id":"m\u0031","payload":[]}"#;
    let (fault, id) = scan(frame.as_bytes()).unwrap_err();
    assert_eq!(fault, FrameFault::Version);
    assert_eq!(says(id, frame).unwrap(), "m1");
    let (fault, id) = scan(br#"{"id":7,"type":"t","arcp":"2"}"#).unwrap_err();
    assert_eq!(fault, FrameFault::Field(HeaderField::Id));
    assert!(id.is_absent());
}

#[test]
fn every_truncation_is_refused_as_no_json() {
    let frame = r#"{"arcp":"1.1","id":"m","type":"job.event","event_seq":42,"payload":{"a":[1.5e3,true,null,"\u00e9\n long enough for a block or two of it",{}]}}"#;
    good(frame);
    for end in 0..frame.len() {
        assert_eq!(fault(&frame[..end]), FrameFault::Syntax { offset: end });
    }
}

#[test]
fn long_strings_end_where_they_end() {
    for len in (0..200).chain([1000, 4095, 4096, 65_536]) {
        let long = "x".repeat(len);
        let frame = with(&format!(r#""payload":{{"data":"{long}","kind":"k"}}"#));
        assert_eq!(says(good(&frame).event_kind, &frame).unwrap(), "k");
        for bad in ["\u{0}", "\u{1f}", "\n"] {
            let at = r#"{"type":"t","payload":{"data":""#.len() + len;
            let frame = with(&format!(r#""payload":{{"data":"{long}{bad}{long}""#));
            assert_eq!(fault(&frame), FrameFault::Syntax { offset: at });
        }
        let frame = with(&format!(r#""payload":{{"data":"{long}\"{long}\\","kind":"k"}}"#));
        assert_eq!(says(good(&frame).event_kind, &frame).unwrap(), "k");
        let bytes = [with("").trim_end_matches('}').as_bytes(), b"\"x\":\"", long.as_bytes(), b"\xff\"}"].concat();
        assert_eq!(fault(&bytes), FrameFault::NotUtf8);
    }
}

/// Blocks of ASCII, blocks of more than that, and something behind the string that one block too many would miss.
#[test]
fn long_strings_end_where_they_end_whatever_they_begin_with() {
    for plain in 0..6 {
        for other in 0..6 {
            let text = "a".repeat(64 * plain) + &"é".repeat(32 * other);
            let frame = in_payload(&format!(r#""{text}","job_id":"here","y":"{}""#, "z".repeat(256)));
            assert_eq!(says(good(&frame).job_id, &frame).as_deref(), Some("here"), "{plain} and {other} blocks");
        }
    }
}

#[test]
fn message_types_are_known_however_they_are_written() {
    for message in MessageType::ALL {
        let frame = format!(r#"{{"type":"{}"}}"#, message.name());
        assert_eq!(good(&frame).message_type, Some(*message));
        let escaped = frame.replace('.', r"\u002e");
        let envelope = crate::wire::Envelope::decode(escaped.into()).unwrap();
        assert_eq!(envelope.message_type(), Some(*message));
    }
    for name in ["job.events", "job.even", "Job.event", "x", "x-vendor.thing", "session.helloo"] {
        let frame = format!(r#"{{"type":"{name}"}}"#);
        assert_eq!(good(&frame).message_type, None);
    }
}

#[test]
fn dense_escapes_take_linear_time() {
    // Quadratic work on this much would not end within a test's patience.
    let frame = in_payload(&format!("\"{}\"", r#"\"\\\u0000"#.repeat(1 << 20)));
    good(&frame);
    let many: Vec<_> = vec![r#""\u0078":[[]]"#; 1 << 18];
    good(&with(&many.join(",").to_string()));
}
