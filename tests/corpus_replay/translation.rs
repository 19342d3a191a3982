//! What the recorded client says, in the terms of the runtime that it speaks to now.
//!
//! Two things that it says go back to the recorded runtime. Sequence numbers: ours gives none to a refused request, and
//! no event twice. Cursors of pages: they are each runtime's own. Both are put into ours. Session ids, resume tokens
//! and job ids need nothing: ours are the recorded ones.

use std::collections::BTreeMap;

use arcp_proto::wire::{Ack, JobQuery, JobSubscribe, MessageType, SessionId};
use bytes::{BufMut, Bytes, BytesMut};

use crate::plot::{Index, Plot};

#[derive(Default)]
pub(crate) struct Translation {
    /// Of each session, recorded numbers and where ours stood then.
    seqs: BTreeMap<SessionId, BTreeMap<u64, u64>>,
    /// Recorded cursors and ours.
    cursors: BTreeMap<String, String>,
}

impl Translation {
    /// When the recorded session had come this far, ours had come to that.
    pub(crate) fn at(&mut self, session: SessionId, recorded: u64, ours: u64) {
        self.seqs.entry(session).or_default().entry(recorded).or_insert(ours);
    }

    pub(crate) fn cursor(&mut self, recorded: String, ours: String) {
        self.cursors.insert(recorded, ours);
    }

    /// What was beyond the last event stays so.
    fn seq(&self, session: &SessionId, recorded: u64) -> u64 {
        let Some((last, ours)) = self.seqs.get(session).and_then(|seqs| seqs.range(..=recorded).next_back()) else {
            return recorded;
        };
        let is_beyond =
            self.seqs.get(session).and_then(|seqs| seqs.last_key_value()).is_some_and(|(end, _)| end == last);
        if is_beyond { ours + (recorded - last) } else { *ours }
    }

    /// A line of the client's.
    pub(crate) fn line(&self, plot: &Plot, line: Index) -> Bytes {
        let bytes = plot.lines[line].bytes.clone();
        match plot.message(line) {
            Some(MessageType::SessionAck) => match (plot.session_of(line), plot.payload::<Ack>(line)) {
                (Some(session), Some(ack)) => {
                    let seq = ack.last_processed_seq;
                    renumbered(&bytes, "last_processed_seq", seq, self.seq(&session, seq))
                }
                _ => bytes,
            },
            Some(MessageType::SessionHello) => {
                let claim = plot.resumes(line);
                match claim.and_then(|claim| Some((claim.session_id?, claim.last_event_seq?))) {
                    Some((session, seq)) => renumbered(&bytes, "last_event_seq", seq, self.seq(&session, seq)),
                    None => bytes,
                }
            }
            Some(MessageType::JobSubscribe) => {
                let wanted = plot.payload::<JobSubscribe>(line);
                match wanted.and_then(|wanted| Some((plot.owners.get(&wanted.job_id?)?, wanted.from_event_seq?))) {
                    Some((owner, seq)) => renumbered(&bytes, "from_event_seq", seq, self.seq(owner, seq)),
                    None => bytes,
                }
            }
            Some(MessageType::SessionListJobs) => {
                let cursor = plot.payload::<JobQuery>(line).and_then(|query| query.cursor);
                match cursor.and_then(|cursor| self.cursors.get_key_value(&cursor)) {
                    Some((recorded, ours)) => reworded(&bytes, recorded, ours),
                    None => bytes,
                }
            }
            _ => bytes,
        }
    }
}

/// The same frame with every `"from"` in quotes made a `"to"`.
pub(crate) fn reworded(frame: &Bytes, from: &str, to: &str) -> Bytes {
    replaced(frame, &format!("\"{from}\""), &format!("\"{to}\""), |_| true)
}

/// The same frame with the number of every `"member":` made another.
fn renumbered(frame: &Bytes, member: &str, from: u64, to: u64) -> Bytes {
    let (from, to) = (format!("\"{member}\":{from}"), format!("\"{member}\":{to}"));
    replaced(frame, &from, &to, |next| next.is_none_or(|byte| !byte.is_ascii_digit()))
}

/// Every `from` made a `to`, where what follows it allows that.
fn replaced(frame: &Bytes, from: &str, to: &str, allows: impl Fn(Option<&u8>) -> bool) -> Bytes {
    let mut written = BytesMut::with_capacity(frame.len());
    let mut rest = &frame[..];
    while let Some(at) = rest.windows(from.len()).position(|window| window == from.as_bytes()) {
        let end = at + from.len();
        let text = if allows(rest.get(end)) { to } else { from };
        written.put_slice(&rest[..at]);
        written.put_slice(text.as_bytes());
        rest = &rest[end..];
    }
    written.put_slice(rest);
    written.freeze()
}

#[test]
fn a_frame_is_reworded_where_it_is_meant_and_nowhere_else() {
    let frame = Bytes::from_static(br#"{"id":"m1","x":"m","payload":{"request_id":"m1","n":1,"seq":12,"seq":1}}"#);
    let words = reworded(&frame, "m1", "ours");
    assert_eq!(words, r#"{"id":"ours","x":"m","payload":{"request_id":"ours","n":1,"seq":12,"seq":1}}"#);
    let numbers = renumbered(&frame, "seq", 1, 7);
    assert_eq!(numbers, r#"{"id":"m1","x":"m","payload":{"request_id":"m1","n":1,"seq":12,"seq":7}}"#);
}
