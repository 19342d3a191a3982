//! The table of message types.

use core::fmt;

use crate::feature::Feature;

/// Who sends a message type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sender {
    /// The client, to the runtime.
    Client,
    /// The runtime, to the client.
    Runtime,
    /// Either side.
    Both,
}

macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $sender:ident, $feature:expr;)*) => {
        /// A message type of the draft.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum MessageType {
            $($(#[$doc])* $name,)*
        }

        impl MessageType {
            /// Every message type.
            pub const ALL: &'static [MessageType] = &[$(MessageType::$name),*];

            /// The `type` on the wire.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(MessageType::$name => $text,)*
                }
            }

            /// The message type of that name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<MessageType> {
                MessageType::from_bytes(name.as_bytes())
            }

            pub(crate) fn from_bytes(name: &[u8]) -> Option<MessageType> {
                $(if name == $text.as_bytes() {
                    return Some(MessageType::$name);
                })*
                None
            }

            /// Who sends it.
            #[must_use]
            pub const fn sender(self) -> Sender {
                match self {
                    $(MessageType::$name => Sender::$sender,)*
                }
            }

            /// The feature that must have been negotiated before it is sent (§6.2).
            #[must_use]
            pub const fn feature(self) -> Option<Feature> {
                match self {
                    $(MessageType::$name => $feature,)*
                }
            }
        }
    };
}

messages! {
    /// Opens a session, or resumes one (§6.2, D13). Payload: [`Hello`](crate::wire::Hello).
    SessionHello = "session.hello", Client, None;
    /// Answers a hello (§6.2). Payload: [`Welcome`](crate::wire::Welcome).
    SessionWelcome = "session.welcome", Runtime, None;
    /// Resumes a session (§6.3); accepted as a first message, never sent (D13). Payload: [`Resume`](crate::wire::Resume).
    SessionResume = "session.resume", Client, None;
    /// Asks for a sign of life (§6.4). Payload: [`Ping`](crate::wire::Ping).
    SessionPing = "session.ping", Both, Some(Feature::Heartbeat);
    /// The sign of life (§6.4). Payload: [`Pong`](crate::wire::Pong).
    SessionPong = "session.pong", Both, Some(Feature::Heartbeat);
    /// The highest event processed (§6.5). Payload: [`Ack`](crate::wire::Ack).
    SessionAck = "session.ack", Client, Some(Feature::Ack);
    /// Asks for a page of jobs (§6.6). Payload: [`JobQuery`](crate::wire::JobQuery).
    SessionListJobs = "session.list_jobs", Client, Some(Feature::ListJobs);
    /// A page of jobs (§6.6). Payload: [`Jobs`](crate::wire::Jobs).
    SessionJobs = "session.jobs", Runtime, Some(Feature::ListJobs);
    /// A refusal, or why the session cannot go on (D11). Payload: [`SessionError`](crate::wire::SessionError).
    SessionError = "session.error", Runtime, None;
    /// The sender leaves (A13, A14). Payload: [`Bye`](crate::wire::Bye).
    SessionBye = "session.bye", Both, None;
    /// The client leaves, as the draft has it (§6.7). Payload: [`Bye`](crate::wire::Bye).
    SessionClose = "session.close", Client, None;
    /// Answers a bye or close of the client (§6.7). Payload: [`Bye`](crate::wire::Bye).
    SessionClosed = "session.closed", Runtime, None;
    /// Asks for a job (§7.1). Payload: [`JobSubmit`](crate::wire::JobSubmit).
    JobSubmit = "job.submit", Client, None;
    /// The job is taken (§7.1). Payload: [`JobAccepted`](crate::wire::JobAccepted).
    JobAccepted = "job.accepted", Runtime, None;
    /// Something happened in a job (§8). Payload: [`JobEvent`](crate::wire::JobEvent).
    JobEvent = "job.event", Runtime, None;
    /// The job ended well (§7.3, §8.4). Payload: [`JobResult`](crate::wire::JobResult).
    JobResult = "job.result", Runtime, None;
    /// The job ended otherwise (§7.3). Payload: [`JobError`](crate::wire::JobError).
    JobError = "job.error", Runtime, None;
    /// Asks that a job be cancelled (§7.4). Payload: [`JobCancel`](crate::wire::JobCancel).
    JobCancel = "job.cancel", Client, None;
    /// The cancelling was taken up (§7.4). Payload: [`JobCancelled`](crate::wire::JobCancelled).
    JobCancelled = "job.cancelled", Runtime, None;
    /// Asks for a job's events (§7.6). Payload: [`JobSubscribe`](crate::wire::JobSubscribe).
    JobSubscribe = "job.subscribe", Client, Some(Feature::Subscribe);
    /// The events will come (§7.6). Payload: [`JobSubscribed`](crate::wire::JobSubscribed).
    JobSubscribed = "job.subscribed", Runtime, Some(Feature::Subscribe);
    /// No more of a job's events (§7.6); not answered. Payload: [`JobUnsubscribe`](crate::wire::JobUnsubscribe).
    JobUnsubscribe = "job.unsubscribe", Client, Some(Feature::Subscribe);
}

impl MessageType {
    /// Whether our runtime gives it an `event_seq` (D5): `job.event`, `job.result`, `job.error`.
    #[must_use]
    pub const fn is_sequenced(self) -> bool {
        matches!(self, MessageType::JobEvent | MessageType::JobResult | MessageType::JobError)
    }

    /// Whether an `event_seq` on it moves a client's cursor (D5): the sequenced ones, and `job.cancelled`,
    /// which some peers number too.
    #[must_use]
    pub const fn moves_cursor(self) -> bool {
        self.is_sequenced() || matches!(self, MessageType::JobCancelled)
    }

    /// Whether the sender waits for an answer that names it.
    #[must_use]
    pub const fn is_request(self) -> bool {
        matches!(
            self,
            MessageType::SessionListJobs | MessageType::JobSubmit | MessageType::JobCancel | MessageType::JobSubscribe
        )
    }

    /// Whether the type belongs to a job: its envelope names one (D34).
    #[must_use]
    pub const fn is_of_job(self) -> bool {
        self as u8 >= MessageType::JobSubmit as u8
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_types() {
        for message in MessageType::ALL {
            assert_eq!(MessageType::from_name(message.name()), Some(*message));
            assert_eq!(message.is_of_job(), message.name().starts_with("job."));
        }
    }
}
