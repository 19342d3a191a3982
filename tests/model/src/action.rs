//! What can happen next.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The client's driver writes one frame.
    ClientWrites,
    /// The runtime's driver does.
    RuntimeWrites,
    /// The client's driver reads one frame.
    ClientReads,
    /// The runtime's driver reads one from that link.
    RuntimeReads(usize),
    /// The client's driver learns that its transport is gone.
    ClientLearns,
    /// The runtime's driver learns it of that one.
    RuntimeLearns(usize),
    /// The client's application has processed all that it was given.
    Process,
    /// The runtime's application sends an event.
    Publish,
    /// The client asks for a page of jobs.
    Query,
    /// The client asks for a job.
    Submit,
    /// The runtime's application answers the oldest request.
    Answer,
    /// The client opens another transport.
    Connect,
    /// The next deadline of either side comes.
    Advance,
    /// The client's transport is cut: what is on its way may still arrive.
    Cut,
    /// The same, and what is on its way is lost.
    CutAndLose,
    /// The client's application wants to end.
    Goodbye,
    /// The runtime's does.
    Shutdown,
    /// The client's process dies, and its snapshot is restored.
    Crash,
    /// The runtime's does, and is.
    Reload,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::ClientWrites => f.write_str("client writes"),
            Action::RuntimeWrites => f.write_str("runtime writes"),
            Action::ClientReads => f.write_str("client reads"),
            Action::RuntimeReads(link) => write!(f, "runtime reads link {link}"),
            Action::ClientLearns => f.write_str("client learns that its transport is gone"),
            Action::RuntimeLearns(link) => write!(f, "runtime learns that link {link} is gone"),
            Action::Process => f.write_str("client's application has processed all"),
            Action::Publish => f.write_str("runtime's application sends an event"),
            Action::Query => f.write_str("client asks for jobs"),
            Action::Submit => f.write_str("client submits a job"),
            Action::Answer => f.write_str("runtime's application answers"),
            Action::Connect => f.write_str("client opens another transport"),
            Action::Advance => f.write_str("time passes"),
            Action::Cut => f.write_str("the link is cut"),
            Action::CutAndLose => f.write_str("the link is cut, with all that was on it"),
            Action::Goodbye => f.write_str("client closes"),
            Action::Shutdown => f.write_str("runtime shuts down"),
            Action::Crash => f.write_str("client dies and is restored"),
            Action::Reload => f.write_str("runtime dies and is restored"),
        }
    }
}
