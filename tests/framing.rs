//! Lines on a byte stream (D38). Each case is read whole, byte by byte, and in random pieces, and must give the
//! same lines every time.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

use arcp_proto::framing::{LineDecoder, LineTooLong, finish_line};
use arcp_proto::wire::{Bye, Envelope, FrameFault, Header, MessageType, encode};
use bytes::Bytes;
use proptest::prelude::*;

type Item = Result<Vec<u8>, LineTooLong>;

const BOM: &[u8] = b"\xef\xbb\xbf";

fn line(text: &str) -> Item {
    Ok(text.as_bytes().to_vec())
}

fn too_long(limit: usize) -> Item {
    Err(LineTooLong { limit })
}

fn drain(decoder: &mut LineDecoder, into: &mut Vec<Item>) {
    while let Some(item) = decoder.next_line() {
        into.push(item.map(Vec::from));
    }
}

fn end(decoder: &mut LineDecoder, into: &mut Vec<Item>) {
    while let Some(item) = decoder.finish() {
        into.push(item.map(Vec::from));
    }
    assert!(!decoder.has_partial_line(), "nothing is left at the end");
}

fn read_pieces<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Item> {
    let mut decoder = LineDecoder::new(limit);
    let mut items = Vec::new();
    for piece in pieces {
        decoder.push(Bytes::copy_from_slice(piece));
        drain(&mut decoder, &mut items);
    }
    end(&mut decoder, &mut items);
    items
}

/// Byte by byte: nothing may come out but at an LF, or a refusal at the byte that is one too many.
fn read_bytes(limit: usize, stream: &[u8]) -> Vec<Item> {
    let mut decoder = LineDecoder::new(limit);
    let mut items = Vec::new();
    for byte in stream {
        decoder.push(Bytes::copy_from_slice(&[*byte]));
        let before = items.len();
        drain(&mut decoder, &mut items);
        match items.get(before..).unwrap() {
            [] => {}
            [Ok(_)] => assert_eq!(*byte, b'\n', "a line came out early"),
            [Err(_)] => {}
            more => panic!("{} items for one byte", more.len()),
        }
        if *byte == b'\n' {
            assert!(!decoder.has_partial_line(), "no line is open behind an LF");
        }
    }
    end(&mut decoder, &mut items);
    items
}

/// What the lines are, by the plainest code that can say it.
fn oracle(limit: usize, stream: &[u8]) -> Vec<Item> {
    let stream = stream.strip_prefix(BOM).unwrap_or(stream);
    stream
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter_map(|line| match line {
            _ if line.len() > limit => Some(too_long(limit)),
            _ if line.iter().all(u8::is_ascii_whitespace) => None,
            _ => Some(Ok(line.to_vec())),
        })
        .collect()
}

/// Cuts `stream` at every place whose bit in `cuts` is set.
fn pieces<'a>(stream: &'a [u8], cuts: &[bool]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut from = 0;
    for (at, _) in cuts.iter().enumerate().filter(|(at, cut)| **cut && *at <= stream.len()) {
        pieces.push(&stream[from..at]);
        from = at;
    }
    pieces.push(&stream[from..]);
    pieces
}

#[track_caller]
fn case(limit: usize, stream: &[u8], expected: &[Item]) {
    assert_eq!(oracle(limit, stream), expected, "the case itself");
    assert_eq!(read_pieces(limit, [stream]), expected, "whole");
    assert_eq!(read_bytes(limit, stream), expected, "byte by byte");
    // Every single cut, then random ones, each with more lines behind.
    for at in 0..=stream.len() {
        assert_eq!(read_pieces(limit, [&stream[..at], &stream[at..]]), expected, "cut at {at}");
    }
    let trailing = b"\n{\"t\":1}\n\n{\"t\":2}\r\n";
    let longer = [stream, trailing].concat();
    let mut expected = expected.to_vec();
    for text in ["{\"t\":1}", "{\"t\":2}"] {
        expected.push(if text.len() <= limit { line(text) } else { too_long(limit) });
    }
    let len = longer.len();
    proptest!(ProptestConfig::with_cases(64), |(cuts in prop::collection::vec(any::<bool>(), len + 1))| {
        prop_assert_eq!(&read_pieces(limit, pieces(&longer, &cuts)), &expected);
    });
}

#[test]
fn d38_lf_ends_a_line() {
    case(100, b"{\"a\":1}\n{\"b\":2}\n", &[line("{\"a\":1}"), line("{\"b\":2}")]);
    case(100, b"", &[]);
}

#[test]
fn d38_a_cr_before_the_lf_is_stripped_and_no_other() {
    case(100, b"one\r\ntwo\r\n", &[line("one"), line("two")]);
    case(100, b"o\rne\r\r\n\rtwo\n", &[line("o\rne\r"), line("\rtwo")]);
}

#[test]
fn d38_blank_lines_are_skipped() {
    case(100, b"\n\r\n  \n\t \r\none\n\n\r\n \ntwo\n\n", &[line("one"), line("two")]);
    case(100, b"\n", &[]);
    case(100, b" \t ", &[]);
}

#[test]
fn d38_whitespace_around_a_message_is_its_own() {
    case(100, b"  {}\t\n", &[line("  {}\t")]);
}

#[test]
fn d38_a_leading_bom_is_skipped() {
    case(100, b"\xef\xbb\xbfone\ntwo\n", &[line("one"), line("two")]);
    case(100, b"\xef\xbb\xbf\r\none\n", &[line("one")]);
    case(100, b"\xef\xbb\xbf  \none", &[line("one")]);
    case(100, b"\xef\xbb\xbf", &[]);
}

#[test]
fn d38_a_bom_anywhere_else_is_part_of_the_line() {
    case(100, b"one\n\xef\xbb\xbftwo\n", &[line("one"), line("\u{feff}two")]);
    case(100, b"\n\xef\xbb\xbfone\n", &[line("\u{feff}one")]);
    case(100, b"\xef\xbb\xbf\xef\xbb\xbfone\n", &[line("\u{feff}one")]);
}

#[test]
fn d38_the_start_of_a_bom_is_no_bom() {
    case(100, b"\xef\xbbone\n", &[Ok(b"\xef\xbbone".to_vec())]);
    case(100, b"\xef\none\n", &[Ok(b"\xef".to_vec()), line("one")]);
    case(100, b"\xef\xef\xbb\xbf\n", &[Ok(b"\xef\xef\xbb\xbf".to_vec())]);
    assert_eq!(read_bytes(100, b"\xef\xbb"), [Ok(b"\xef\xbb".to_vec())]);
    assert_eq!(read_pieces(1, [&b"\xef\xbb"[..]]), [too_long(1)]);
}

#[test]
fn d38_a_missing_final_lf_is_tolerated() {
    assert_eq!(read_pieces(100, [&b"one\ntwo"[..]]), [line("one"), line("two")]);
    case(100, b"one\ntwo", &[line("one"), line("two")]);
    case(100, b"one\r", &[line("one")]);
    case(100, b"one", &[line("one")]);
}

#[test]
fn d38_a_line_over_the_limit_is_reported_once_and_the_next_is_read() {
    case(8, b"12345678\n123456789\n12345678\r\n", &[line("12345678"), too_long(8), line("12345678")]);
    case(8, b"123456789abcdefghijklmnopqrstuvwxyz\nnext\n", &[too_long(8), line("next")]);
    case(8, b"123456789\r\n12345678\r", &[too_long(8), line("12345678")]);
    case(8, b"12345678\rx\nnext", &[too_long(8), line("next")]);
    case(8, b"123456789", &[too_long(8)]);
    case(8, b"12345678\r\r\nnext\n", &[too_long(8), line("next")]);
    case(8, b"123456789\n123456789\n\n", &[too_long(8), too_long(8)]);
    case(8, b"          \nnext\n", &[too_long(8), line("next")]);
    case(8, b"\xef\xbb\xbf12345678\n", &[line("12345678")]);
}

#[test]
fn d38_too_long_is_said_before_the_line_ends() {
    let mut decoder = LineDecoder::new(4);
    decoder.push(Bytes::from_static(b"1234"));
    assert_eq!(decoder.next_line(), None);
    decoder.push(Bytes::from_static(b"5"));
    assert_eq!(decoder.next_line(), Some(Err(LineTooLong { limit: 4 })));
    for _ in 0..1_000 {
        decoder.push(Bytes::from_static(b"more of the same"));
        assert_eq!(decoder.next_line(), None);
        assert!(decoder.has_partial_line(), "the peer is still sending");
    }
    decoder.push(Bytes::from_static(b"\nok\n"));
    assert_eq!(decoder.next_line(), Some(Ok(Bytes::from_static(b"ok"))));
    assert_eq!(read_pieces(usize::MAX, [&b"on"[..], b"e\n"]), [line("one")]);
    assert_eq!(FrameFault::from(LineTooLong { limit: 4 }), FrameFault::TooLarge { limit: 4 });
}

#[test]
fn d38_the_default_limit_is_the_frame_limit() {
    let limit = 1 << 20;
    assert_eq!(LineDecoder::DEFAULT_LIMIT, limit);
    let mut stream = vec![b'x'; limit];
    stream.extend(b"\r\n");
    stream.extend(vec![b'y'; limit + 1]);
    stream.extend(b"\nz\n");
    let mut decoder = LineDecoder::default();
    decoder.push(stream.into());
    assert_eq!(decoder.next_line().unwrap().unwrap().len(), limit);
    assert_eq!(decoder.next_line(), Some(Err(LineTooLong { limit })));
    assert_eq!(decoder.next_line(), Some(Ok(Bytes::from_static(b"z"))));
}

#[test]
fn d38_a_partial_line_can_be_seen() {
    let mut decoder = LineDecoder::new(100);
    assert!(!decoder.has_partial_line());
    for (chunk, partial) in
        [(&b"\xef"[..], true), (b"\xbb\xbf", false), (b"{", true), (b"}\r", true), (b"\n", false), (b"\n", false)]
    {
        decoder.push(Bytes::from_static(chunk));
        while decoder.next_line().is_some() {}
        assert_eq!(decoder.has_partial_line(), partial, "behind {chunk:?}");
    }
}

#[test]
fn d38_a_line_within_one_chunk_is_not_copied() {
    let chunk = Bytes::from_static(b"head\nwhole\r\nta");
    let mut decoder = LineDecoder::new(100);
    decoder.push(chunk.clone());
    for expected in [0..4, 5..10] {
        let line = decoder.next_line().unwrap().unwrap();
        assert_eq!(line.as_ptr_range(), chunk[expected].as_ptr_range());
    }
    assert_eq!(decoder.next_line(), None);
    decoder.push(Bytes::from_static(b"il\n"));
    assert_eq!(decoder.next_line(), Some(Ok(Bytes::from_static(b"tail"))));
}

/// One small line that is kept must not keep a large chunk.
#[test]
fn d43_a_small_line_is_copied_out_of_a_large_chunk() {
    let chunk = Bytes::from(
        [
            &b"small
"[..],
            &[b'x'; 1_000],
            b"
",
        ]
        .concat(),
    );
    let mut decoder = LineDecoder::default();
    decoder.push(chunk.clone());
    let small = decoder.next_line().unwrap().unwrap();
    assert_eq!(small, "small");
    assert!(!chunk.as_ptr_range().contains(&small.as_ptr()));
    let large = decoder.next_line().unwrap().unwrap();
    assert!(chunk.as_ptr_range().contains(&large.as_ptr()));
}

#[test]
fn d38_chunks_may_be_pushed_ahead_of_reading() {
    let mut decoder = LineDecoder::new(100);
    for chunk in [&b"one\nt"[..], b"", b"w", b"o\nthree\nfour"] {
        decoder.push(Bytes::from_static(chunk));
    }
    let mut items = Vec::new();
    end(&mut decoder, &mut items);
    assert_eq!(items, [line("one"), line("two"), line("three"), line("four")]);
}

#[test]
fn d38_after_the_end_a_new_stream_may_begin() {
    let mut decoder = LineDecoder::new(4);
    for _ in 0..2 {
        let mut items = Vec::new();
        decoder.push(Bytes::from_static(b"\xef\xbb\xbfone\n12345"));
        drain(&mut decoder, &mut items);
        end(&mut decoder, &mut items);
        assert_eq!(items, [line("one"), too_long(4)]);
    }
}

/// Searching the half line again at every byte would take minutes here, not a second.
#[test]
fn d38_a_line_fed_byte_by_byte_takes_linear_time() {
    const LEN: usize = 4 << 20;
    let stream = Bytes::from(vec![b'x'; LEN]);
    let mut decoder = LineDecoder::new(LEN);
    for at in 0..LEN {
        decoder.push(stream.slice(at..=at));
        assert_eq!(decoder.next_line(), None);
    }
    decoder.push(Bytes::from_static(b"\n"));
    assert_eq!(decoder.next_line().unwrap().unwrap(), stream);
}

#[test]
fn d38_what_is_sent_is_the_frame_and_an_lf() {
    let bye = encode(&Header::new("msg_1", MessageType::SessionBye), &Bye { reason: Some("a\nb\u{2028}".into()) });
    let bye = bye.unwrap();
    let mut out = b"before\n".to_vec();
    finish_line(&bye, &mut out);
    finish_line(&bye, &mut out);
    assert_eq!(out, [b"before\n", &bye[..], b"\n", &bye[..], b"\n"].concat());
    let lines = read_bytes(1_000, &out);
    assert_eq!(lines.len(), 3);
    let back = Envelope::decode(lines[2].clone().unwrap().into()).unwrap();
    assert_eq!(back.payload::<Bye>().unwrap().reason.as_deref(), Some("a\nb\u{2028}"));
}

#[test]
fn d3_a_decoder_prints_no_bytes() {
    let mut decoder = LineDecoder::new(100);
    decoder.push(Bytes::from_static(b"{\"token\":\"hunter2\""));
    assert!(!format!("{decoder:?}").contains("hunter2"));
    assert_eq!(decoder.next_line(), None);
    assert!(!format!("{decoder:?}").contains("hunter2"));
}

fn streams() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        3 => Just(b"\n".to_vec()),
        2 => Just(b"\r\n".to_vec()),
        1 => Just(b"\r".to_vec()),
        1 => Just(b" ".to_vec()),
        1 => Just(BOM.to_vec()),
        1 => Just(b"\xef\xbb".to_vec()),
        3 => prop::collection::vec(any::<u8>(), 0..12),
        3 => "[a-z{}]{1,12}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(part, 0..24).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn d38_any_split_of_any_stream_gives_the_same_lines(
        stream in streams(),
        limit in 0usize..16,
        cuts in prop::collection::vec(any::<bool>(), 0..300),
    ) {
        let expected = oracle(limit, &stream);
        prop_assert_eq!(&read_pieces(limit, [&stream[..]]), &expected);
        prop_assert_eq!(&read_bytes(limit, &stream), &expected);
        prop_assert_eq!(&read_pieces(limit, pieces(&stream, &cuts)), &expected);
    }
}

#[test]
fn d9_the_first_line_may_be_held_to_less_than_those_after_it() {
    let mut decoder = LineDecoder::new(4);
    decoder.push(Bytes::from_static(b"hello\nab\nhello\n"));
    let mut items = vec![decoder.next_line().unwrap().map(Vec::from), decoder.next_line().unwrap().map(Vec::from)];
    decoder.set_limit(5);
    drain(&mut decoder, &mut items);
    assert_eq!(items, [too_long(4), line("ab"), line("hello")]);
    // Also where the new limit is below what has come of a line.
    decoder.push(Bytes::from_static(b"hell"));
    drain(&mut decoder, &mut items);
    decoder.set_limit(2);
    decoder.push(Bytes::from_static(b"o\nab\n"));
    drain(&mut decoder, &mut items);
    assert_eq!(items[3..], [too_long(2), line("ab")]);
}
