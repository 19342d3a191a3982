//! The four sentences of the contract, and that a clock which goes back changes nothing, of a session of either role.

use std::time::Duration;

use arcp_proto::{Instant, Now, Role, Session, Timestamp};
use bytes::Bytes;

use crate::script::Args;

/// Neither clock at zero.
pub(crate) fn start() -> Now {
    Now::new(Instant::from_millis(1_000_000), Timestamp::from_unix_millis(1_778_701_333_000))
}

/// How far a step moves the clock: a little, until a deadline or just before or behind it, or beyond everything.
pub(crate) fn jump(args: &mut Args<'_>, now: Now, deadline: Option<Instant>) -> Duration {
    const MILLI: Duration = Duration::from_millis(1);
    let until = deadline.map_or(Duration::ZERO, |at| at - now.mono);
    let (kind, count) = (args.below(9), u32::from(args.byte()));
    match kind {
        0 => MILLI * count,
        1 => MILLI * 100 * count,
        2 => Duration::from_secs(1) * count,
        3 => Duration::from_secs(60) * count,
        4 => until,
        5 => until.saturating_sub(MILLI),
        6 => until + MILLI * count,
        7 => Duration::from_secs(86_400) * count,
        _ => Duration::ZERO,
    }
}

/// What a session still has to say.
#[derive(Debug, PartialEq, Eq)]
struct Rest {
    frames: Vec<Bytes>,
    events: Vec<String>,
    phase: arcp_proto::Phase,
    deadline: Option<Instant>,
}

fn rest<R: Role>(mut session: Session<R>, now: Now) -> Rest {
    let (mut frames, mut events) = (Vec::new(), Vec::new());
    loop {
        let (frame, event) = (session.poll_transmit(now), session.poll_event());
        if frame.is_none() && event.is_none() {
            return Rest { frames, events, phase: session.phase(), deadline: session.poll_timeout() };
        }
        frames.extend(frame);
        events.extend(event.map(|event| format!("{event:?}")));
    }
}

/// Two sessions say and do the same from here on, as far as that was caused already.
#[track_caller]
pub(crate) fn same<R: Role>(one: &Session<R>, other: &Session<R>, now: Now, what: &str) {
    assert_eq!(rest(one.clone(), now), rest(other.clone(), now), "{what}");
}

/// A session that was drained stays so until its deadline (2), and early calls do nothing.
#[track_caller]
pub(crate) fn stays_drained<R: Role>(session: &Session<R>, now: Now) {
    let mut session = session.clone();
    let (phase, deadline) = (session.phase(), session.poll_timeout());
    let until = deadline.map_or(Duration::from_secs(3_600), |at| at - now.mono);
    if deadline.is_some_and(|at| at <= now.mono) {
        return;
    }
    for at in [now, now.after(until / 2), now.after(until.saturating_sub(Duration::from_millis(1)))] {
        assert!(session.poll_event().is_none(), "an event after the end of them");
        assert!(session.poll_transmit(at).is_none(), "a message after the end of them");
        session.handle_timeout(at);
        assert_eq!((session.phase(), session.poll_timeout()), (phase, deadline), "something was left to be done");
    }
}

/// Time has come (4).
#[track_caller]
pub(crate) fn tick<R: Role>(session: &mut Session<R>, now: Now, latest: Now) {
    session.handle_timeout(now);
    let next = session.poll_timeout();
    assert!(next.is_none_or(|at| at > latest.mono), "{:?} did not move", session.timeout_reason());
}

/// At the end of time nothing is left to wait for.
#[track_caller]
pub(crate) fn ends<R: Role>(session: &mut Session<R>, now: Now) {
    session.handle_timeout(Now::new(Instant::MAX, now.wall));
    session.handle_timeout(now);
    assert_eq!(session.poll_timeout(), None, "{:?} is later than the end of time", session.timeout_reason());
}
