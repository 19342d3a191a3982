//! Everything that happens, one JSON line each.

use std::fmt::{Debug, Display};
use std::io::{self, Write};
use std::time::Duration;

use arcp_proto::wire::job_event::{self, Progress, Status, kind};
use arcp_proto::wire::{JobAccepted, JobError, JobResult, JobSubscribed, WireError};
use arcp_proto::{ClientEvent, Delivery, RequestFailure, SessionInfo};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::command::Command;
use super::progress_bar::ProgressBars;
use super::results::Results;

/// So many bytes are kept before they are written.
const BUFFER: usize = 64 << 10;

/// Writes lines for programs to read, and shows on a terminal what people want to see. Secrets are left out: tokens, and
/// the values of credentials.
pub struct Report {
    lines: Lines,
    out: Box<dyn Write + Send>,
    bars: ProgressBars,
    results: Results,
    broken: Option<io::Error>,
}

impl Report {
    pub fn new(out: Box<dyn Write + Send>) -> Report {
        Report { lines: Lines::default(), out, bars: ProgressBars::new(), results: Results::default(), broken: None }
    }

    /// What the session tells. A failed request is told by [`refused`](Report::refused), together with the command.
    pub fn event(&mut self, event: &ClientEvent) {
        match event {
            ClientEvent::Connected(info) => self.connected(info),
            ClientEvent::Resumed(info) => self.resumed(info),
            ClientEvent::Accepted { accepted, .. } => self.accepted(accepted),
            ClientEvent::Event(delivery) => self.delivery(delivery),
            ClientEvent::Finished { delivery, result } => self.finished(delivery, result),
            ClientEvent::Failed { delivery, error } => self.failed(delivery, error),
            ClientEvent::Cancelled { delivery, .. } => {
                self.lines.begin("cancelled").field("job_id", &delivery.job_id()).field("seq", &delivery.seq()).end();
            }
            ClientEvent::Subscribed { subscribed, .. } => self.subscribed(subscribed),
            ClientEvent::Jobs { page, .. } => {
                self.lines.begin("jobs").field("jobs", &page.jobs).field("next_cursor", &page.next_cursor).end();
            }
            ClientEvent::RequestFailed { .. } => {}
            ClientEvent::Error { error, job_id } => {
                self.lines.begin("error").field("job_id", job_id).wire_error(error).end();
            }
            ClientEvent::EventsLost { from, to } => {
                self.lines.begin("lost").field("from", from).field("to", to).end();
            }
            ClientEvent::Lagging { unprocessed } => {
                self.lines.begin("lagging").field("unprocessed", unprocessed).end();
            }
            ClientEvent::Violation(violation) => {
                let line = self.lines.begin("violation").field("rule", violation.error.rule());
                line.field("message", &violation.error.to_string()).field("id", &violation.message_id).end();
            }
            ClientEvent::Detached(reason) => self.end_of("detached", reason),
            ClientEvent::Closed(reason) => {
                self.bars.end_notice();
                self.end_of("closed", reason);
            }
            // The library may learn to tell more.
            other => self.lines.begin("other").field("name", &variant(other)).end(),
        }
        if self.lines.text.len() >= BUFFER {
            self.write();
        }
    }

    /// A command came to nothing, by the runtime's word or before it was ever sent.
    pub fn refused(&mut self, command: &Command, failure: &RequestFailure) {
        let line = self.lines.begin("refused").field("command", &command.to_string());
        match failure {
            RequestFailure::Refused(error) => line.wire_error(error).end(),
            other => line.field("message", &other.to_string()).end(),
        }
    }

    /// A command cannot be carried out.
    pub fn not_done(&mut self, command: &Command, why: &dyn Display) {
        self.lines.begin("refused").field("command", &command.to_string()).field("message", &why.to_string()).end();
    }

    /// Something went wrong on this side.
    pub fn error(&mut self, message: &str) {
        self.lines.begin("error").field("message", message).end();
    }

    /// The connection is tried again.
    pub fn reconnecting(&mut self, attempt: u32, wait: Duration) {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        self.lines.begin("reconnecting").field("in_ms", &millis).field("attempt", &attempt).end();
        self.bars.notice(format!("connection lost, attempt {attempt} to resume in {:.1} s", wait.as_secs_f64()));
    }

    /// Writes what was told. What was written may be called processed.
    ///
    /// # Errors
    ///
    /// When nobody reads it any more.
    pub fn flush(&mut self) -> io::Result<()> {
        self.write();
        self.broken.take().map_or(Ok(()), Err)
    }

    fn write(&mut self) {
        if self.lines.text.is_empty() {
            return;
        }
        let (out, text) = (&mut self.out, &self.lines.text);
        let written = self.bars.suspend(|| out.write_all(text).and_then(|()| out.flush()));
        self.lines.text.clear();
        if let Err(error) = written {
            // Once is enough.
            self.out = Box::new(io::sink());
            self.broken = Some(error);
        }
    }

    /// What the first welcome said of the runtime has not changed.
    fn resumed(&mut self, info: &SessionInfo) {
        self.bars.end_notice();
        self.lines.begin("resumed").field("session_id", &info.session_id).field("features", &info.features).end();
    }

    fn connected(&mut self, info: &SessionInfo) {
        self.bars.end_notice();
        self.lines
            .begin("connected")
            .field("session_id", &info.session_id)
            .field("runtime", &info.runtime)
            .field("agents", &info.agents)
            .field("features", &info.features)
            .field("heartbeat_interval_sec", &info.heartbeat_interval.map(|interval| interval.as_secs()))
            .field("resume_window_sec", &info.resume_window.as_secs())
            .end();
    }

    fn accepted(&mut self, accepted: &JobAccepted) {
        let credentials: Option<Vec<_>> =
            accepted.credentials.as_ref().map(|all| all.iter().map(|credential| &credential.id).collect());
        self.lines
            .begin("accepted")
            .field("job_id", &accepted.job_id)
            .field("agent", &accepted.agent)
            .field("lease", &accepted.lease)
            .field("lease_constraints", &accepted.lease_constraints)
            .field("budget", &accepted.budget)
            .field("credentials", &credentials)
            .field("accepted_at", &accepted.accepted_at)
            .field("trace_id", &accepted.trace_id)
            .field("parent_job_id", &accepted.parent_job_id)
            .end();
    }

    fn subscribed(&mut self, subscribed: &JobSubscribed) {
        self.lines
            .begin("subscribed")
            .field("job_id", &subscribed.job_id)
            .field("status", &subscribed.current_status)
            .field("agent", &subscribed.agent)
            .field("lease", &subscribed.lease)
            .field("parent_job_id", &subscribed.parent_job_id)
            .field("subscribed_from", &subscribed.subscribed_from)
            .field("replayed", &subscribed.replayed)
            .end();
    }

    fn delivery(&mut self, delivery: &Delivery) {
        // Borrowed from the frame: what a runtime says in an event is none of our business.
        #[derive(Deserialize)]
        struct Event<'a> {
            #[serde(borrow, default)]
            ts: Option<&'a RawValue>,
            #[serde(borrow, default)]
            body: Option<&'a RawValue>,
        }
        let event = delivery.envelope().payload::<Event<'_>>().ok();
        let (ts, body) = event.map_or((None, None), |event| (event.ts, event.body));
        let kind = delivery.kind();
        let line = self.lines.begin("event").field("job_id", &delivery.job_id()).field("seq", &delivery.seq());
        let line = line.field("kind", &kind).field("ts", &ts);
        if has_credential(delivery) {
            line.field("withheld", "a credential").end();
        } else {
            line.field("body", &body).end();
        }
        match &*kind {
            kind::PROGRESS => {
                if let Ok(progress) = delivery.body::<Progress>() {
                    self.bars.progress(&delivery.job_id(), &progress);
                }
            }
            kind::RESULT_CHUNK => self.results.add(delivery),
            _ => {}
        }
    }

    fn finished(&mut self, delivery: &Delivery, result: &JobResult) {
        self.lines
            .begin("finished")
            .field("job_id", &delivery.job_id())
            .field("seq", &delivery.seq())
            .field("status", &result.final_status)
            .field("result", &result.result)
            .field("result_id", &result.result_id)
            .field("result_size", &result.result_size)
            .field("summary", &result.summary)
            .end();
        self.bars.end(&delivery.job_id());
        let received = self.results.end(delivery).unwrap_or_default();
        if let Some(result_id) = &result.result_id {
            self.lines
                .begin("result")
                .field("job_id", &delivery.job_id())
                .field("result_id", result_id)
                .field("chunks", &received.chunks)
                .field("bytes", &received.bytes)
                .field("whole", &received.is_whole(result))
                .end();
        }
    }

    fn failed(&mut self, delivery: &Delivery, error: &JobError) {
        self.lines
            .begin("failed")
            .field("job_id", &delivery.job_id())
            .field("seq", &delivery.seq())
            .field("status", &error.final_status)
            .wire_error(&WireError::from(error.clone()))
            .end();
        self.bars.end(&delivery.job_id());
        self.results.end(delivery);
    }

    fn end_of(&mut self, ev: &str, reason: &(impl Debug + Display)) {
        self.lines.begin(ev).field("reason", &variant(reason)).field("message", &reason.to_string()).end();
    }
}

/// Whether the event brings a new credential value.
fn has_credential(delivery: &Delivery) -> bool {
    let phase = job_event::PHASE_CREDENTIAL_ROTATED;
    // By the text too: a member that stands there twice can be read in either way.
    delivery.kind() == kind::STATUS
        && (delivery.envelope().payload_text().contains(phase)
            || delivery.body::<Status>().is_ok_and(|status| status.phase == phase))
}

/// The name of an enum's variant, for scripts to compare.
fn variant(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

/// Lines that wait to be written.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    /// Where the last one begins.
    start: usize,
}

impl Lines {
    fn begin(&mut self, ev: &str) -> &mut Lines {
        self.start = self.text.len();
        self.text.extend_from_slice(b"{\"ev\":");
        self.value(ev);
        self
    }

    /// A member; nothing where the value is nothing.
    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> &mut Lines {
        let before = self.text.len();
        self.text.push(b',');
        self.value(name);
        self.text.push(b':');
        let from = self.text.len();
        self.value(value);
        if self.text.get(from..) == Some(b"null") {
            self.text.truncate(before);
        }
        self
    }

    fn wire_error(&mut self, error: &WireError) -> &mut Lines {
        self.field("code", &error.code)
            .field("message", &error.message)
            .field("retryable", &error.retryable)
            .field("details", &error.details)
    }

    fn end(&mut self) {
        // A runtime's JSON may have line ends between its tokens, and nowhere else.
        for byte in self.text.iter_mut().skip(self.start).filter(|byte| matches!(byte, b'\n' | b'\r')) {
            *byte = b' ';
        }
        self.text.extend_from_slice(b"}\n");
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) {
        let before = self.text.len();
        // Nothing that is reported here fails to be JSON.
        if serde_json::to_writer(&mut self.text, value).is_err() {
            self.text.truncate(before);
            self.text.extend_from_slice(b"null");
        }
    }
}
