//! A session and the one that was restored of it, driven alike.

use std::time::Duration;

use arcp_proto::{Instant, Now, Role, Session};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

fn sent<R: Role>(session: &mut Session<R>, now: Now) -> Vec<Bytes> {
    std::iter::from_fn(|| session.poll_transmit(now)).collect()
}

/// The original and the restored one, and how their clocks and ids differ.
pub(crate) struct Twins<R: Role> {
    pub(crate) original: Session<R>,
    pub(crate) restored: Session<R>,
    /// The original's clock.
    pub(crate) now: Now,
    /// When the other was restored, by its own clock, and how long ago that is.
    elsewhere: Instant,
    passed: Duration,
    minted: u64,
    /// How much further the restored one numbers its messages.
    ahead: u64,
    letter: char,
}

impl<R: Role> Twins<R> {
    /// Both as they are now, by the clocks of both; `minted` is of the snapshot between them, `ahead` how much further the restored one numbers its messages, `letter` the role's in ids.
    pub(crate) fn new(
        original: Session<R>,
        restored: Session<R>,
        (now, elsewhere): (Now, Now),
        (minted, ahead): (u64, u64),
        letter: char,
    ) -> Twins<R> {
        Twins { original, restored, now, elsewhere: elsewhere.mono, passed: Duration::ZERO, minted, ahead, letter }
    }

    pub(crate) fn there(&self) -> Now {
        Now { mono: self.elsewhere + self.passed, wall: self.now.wall }
    }

    pub(crate) fn both(&mut self, mut act: impl FnMut(&mut Session<R>, Now)) {
        let there = self.there();
        act(&mut self.original, self.now);
        act(&mut self.restored, there);
    }

    pub(crate) fn wait(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.passed += by;
    }

    /// The ids of the restored one as the original has them: those minted since are of an attachment later,
    /// and a client's of higher numbers.
    pub(crate) fn normal(&self, frame: &[u8]) -> String {
        let text = std::str::from_utf8(frame).unwrap();
        let mut out = String::new();
        let mut rest = text;
        let mark = format!("_{}", self.letter);
        while let Some(at) = rest.find(&mark) {
            let (before, after) = rest.split_at(at + mark.len());
            out.push_str(before);
            let epoch = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let tail = &after[epoch..];
            let count: String = tail.chars().skip(1).take_while(char::is_ascii_digit).collect();
            match (after[..epoch].parse::<u64>(), count.parse::<u64>()) {
                (Ok(of), Ok(number)) if number > self.minted + self.ahead => {
                    out.push_str(&format!("{}_{}", of - 1, number - self.ahead));
                    rest = &tail[1 + count.len()..];
                }
                _ => {
                    out.push_str(&after[..epoch]);
                    rest = tail;
                }
            }
        }
        out + rest
    }

    pub(crate) fn transmit(&mut self) -> Vec<Bytes> {
        let there = self.there();
        let original = sent(&mut self.original, self.now);
        let restored = sent(&mut self.restored, there);
        let one: Vec<_> = original.iter().map(|frame| String::from_utf8(frame.to_vec()).unwrap()).collect();
        let other: Vec<_> = restored.iter().map(|frame| self.normal(frame)).collect();
        assert_eq!(one, other);
        original
    }

    pub(crate) fn compare(&self) {
        assert_eq!(self.original.phase(), self.restored.phase());
        assert_eq!(self.original.features(), self.restored.features());
        assert_eq!(self.original.attachment() + 1, self.restored.attachment());
        assert_eq!(self.original.timeout_reason(), self.restored.timeout_reason());
        let left = |session: &Session<R>, now: Now| session.poll_timeout().map(|at| at - now.mono);
        assert_eq!(left(&self.original, self.now), left(&self.restored, self.there()));
        assert_eq!(self.original.wants_input(), self.restored.wants_input());
    }
}

/// A client's messages go on behind those of attempts that no snapshot knows of (D3).
pub(crate) const AHEAD: u64 = 1 << 20;

/// Far from where the number of the attachment, or that of a message, gets another digit, for that counts as a byte.
pub(crate) fn aged<S: Serialize + DeserializeOwned>(snapshot: &S) -> S {
    let mut header = serde_json::to_value(snapshot).unwrap();
    header["counters"]["epoch"] = json!(1_000);
    header["counters"]["minted"] = json!(2_000_000);
    serde_json::from_value(header).unwrap()
}

pub(crate) fn minted(snapshot: &impl Serialize) -> u64 {
    serde_json::to_value(snapshot).unwrap()["counters"]["minted"].as_u64().unwrap()
}

/// A client's id, as the restored one has it: one attachment later, so many messages further.
pub(crate) fn later(id: &str, ahead: u64) -> String {
    let numbers = id.strip_prefix("msg_c").and_then(|rest| rest.split_once('_'));
    match numbers.map(|(epoch, count)| (epoch.parse::<u64>(), count.parse::<u64>())) {
        Some((Ok(epoch), Ok(count))) => format!("msg_c{}_{}", epoch + 1, count + ahead),
        _ => panic!("{id} is none of a client's"),
    }
}
