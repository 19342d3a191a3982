//! How a transport that carried a session ended.

use arcp_proto::DetachReason;
use arcp_proto::referee::Side;
use arcp_proto::wire::{ErrorCode, MessageType, SessionError};

use crate::corpus::{Recording, What};
use crate::plot::{Plot, Verdict};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The client said goodbye.
    Goodbye,
    /// The client said nothing for two intervals.
    HeartbeatLost,
    /// The client wanted to be somebody else.
    SecondHello,
    /// The session went on elsewhere.
    Superseded,
    Lost,
    /// There was no session.
    Refused,
    Otherwise,
}

pub(crate) fn of_detached(reason: &DetachReason) -> Ending {
    match reason {
        DetachReason::PeerClosed { .. } => Ending::Goodbye,
        DetachReason::HeartbeatLost => Ending::HeartbeatLost,
        DetachReason::Reauthentication => Ending::SecondHello,
        DetachReason::TransportLost => Ending::Lost,
        _ => Ending::Otherwise,
    }
}

/// How a session ought to have lost this transport, by what is recorded of it; `None` where it has not.
pub(crate) fn recorded(recording: &Recording, plot: &Plot, conn: u64) -> Option<Ending> {
    let mut is_welcomed = false;
    for step in recording.steps.iter().filter(|step| step.conn == conn) {
        match step.what {
            What::Line { from: Side::Client, index, .. } => match plot.message(index) {
                Some(MessageType::SessionBye | MessageType::SessionClose) => return Some(Ending::Goodbye),
                Some(MessageType::SessionHello) if is_welcomed => return Some(Ending::SecondHello),
                Some(MessageType::SessionHello) => {
                    is_welcomed = matches!(plot.verdict(index), Verdict::Welcomed | Verdict::Resumed);
                }
                _ => {}
            },
            What::Line { from: Side::Runtime, index, .. } => {
                let error = plot.payload::<SessionError>(index).map(|error| error.code);
                if error == Some(ErrorCode::HeartbeatLost) && plot.message(index) == Some(MessageType::SessionError) {
                    return Some(Ending::HeartbeatLost);
                }
            }
            What::Eof(Side::Client) | What::Close => return Some(Ending::Lost),
            What::Eof(Side::Runtime) | What::Open => {}
        }
    }
    None
}
