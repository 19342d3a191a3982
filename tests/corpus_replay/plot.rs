//! What the lines of a recording are to one another: which answers which, and what is new in them. Told from the
//! recording alone, by the customs of the recorded peers, and so a second opinion on what our client makes of them
//! (D12).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use arcp_proto::framing::LineDecoder;
use arcp_proto::referee::Side;
use arcp_proto::wire::{
    self, Envelope, ErrorCode, JobAccepted, JobCancelled, JobError, JobEvent, JobId, Jobs, MessageType, SessionError,
    SessionId, Welcome,
};
use arcp_proto::{FeatureSet, Instant, Now, Timestamp};
use bytes::Bytes;
use serde_json::Value;

use crate::corpus::{Recording, What};

/// The number of a line, from 0.
pub(crate) type Index = usize;

/// A line, in its part.
pub(crate) struct Line {
    pub(crate) from: Side,
    /// As it stands there.
    pub(crate) bytes: Bytes,
    /// `None` of what is no envelope.
    pub(crate) envelope: Option<Envelope>,
    pub(crate) part: Part,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// A hello or a resume, and what it was answered with.
    Opening { answer: Option<Index> },
    /// The answer to a hello.
    Verdict,
    /// A request, and what it was answered with.
    Request { answer: Option<Index> },
    /// The answer to this request.
    Answer { to: Index },
    /// An event of a job. It is new unless it is a replay, or told to another session, too.
    Event { job: JobId, is_new: bool },
    /// The end of a job.
    End { job: JobId, is_new: bool },
    /// The back-pressure status, which is a session's and no agent's.
    Pressure,
    /// Anything else.
    Other,
}

/// How a recorded hello was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Welcomed,
    Resumed,
    Refused(ErrorCode),
    /// Not at all.
    Ignored,
}

pub(crate) struct Plot {
    pub(crate) lines: Vec<Line>,
    /// Both clocks at the beginning: the recorded runtime's wall clock, as far as it told the time.
    pub(crate) origin: Now,
    /// The session that each job was submitted in.
    pub(crate) owners: BTreeMap<JobId, SessionId>,
    /// What the runtime supports, as far as it said so.
    pub(crate) features: FeatureSet,
    /// Its heartbeat interval, if it ever agreed on one.
    pub(crate) heartbeat: Option<Duration>,
    /// How many events were unacknowledged when it first signalled back-pressure.
    pub(crate) pressure: Option<u64>,
}

impl Plot {
    pub(crate) fn of(recording: &Recording) -> Plot {
        let mut reader = Reader::default();
        let mut by_index = BTreeMap::new();
        let mut wall = None;
        for step in &recording.steps {
            if let What::Line { from, index, .. } = step.what {
                let line = reader.read(index, step.conn, from, recording.lines[index].clone());
                wall = wall.or_else(|| began(&line, step.at));
                by_index.insert(index, line);
            }
        }
        let mut lines: Vec<Line> = by_index.into_values().collect();
        assert_eq!(lines.len(), recording.lines.len(), "{}: every line is described once", recording.name);
        for (request, answer) in reader.answers {
            if let Part::Request { answer: place } | Part::Opening { answer: place } = &mut lines[request].part {
                *place = Some(answer);
            }
        }
        Plot {
            lines,
            origin: Now::new(Instant::from_millis(1_000_000), wall.unwrap_or(Timestamp::EPOCH)),
            owners: reader.owners,
            features: reader.features,
            heartbeat: reader.heartbeat,
            pressure: reader.pressure,
        }
    }

    pub(crate) fn answer_to(&self, line: Index) -> Option<Index> {
        match self.lines[line].part {
            Part::Request { answer } | Part::Opening { answer } => answer,
            _ => None,
        }
    }

    pub(crate) fn message(&self, line: Index) -> Option<MessageType> {
        self.lines[line].envelope.as_ref()?.message_type()
    }

    /// What a welcome says.
    pub(crate) fn welcome(&self, line: Index) -> Option<Welcome> {
        self.payload(line).filter(|_| self.message(line) == Some(MessageType::SessionWelcome))
    }

    /// What a line's payload says, if it says that.
    pub(crate) fn payload<'a, T: serde::Deserialize<'a>>(&'a self, line: Index) -> Option<T> {
        self.lines[line].envelope.as_ref()?.payload().ok()
    }

    /// The first error code that answered a request or a hello.
    pub(crate) fn refusal(&self, answer: Index) -> Option<ErrorCode> {
        match self.message(answer)? {
            MessageType::SessionError => self.payload::<SessionError>(answer).map(|error| error.code),
            MessageType::JobError => self.payload::<JobError>(answer).map(|error| error.code),
            _ => None,
        }
    }

    /// How the recorded runtime answered a hello.
    pub(crate) fn verdict(&self, opening: Index) -> Verdict {
        let Some(answer) = self.answer_to(opening) else { return Verdict::Ignored };
        match self.refusal(answer) {
            Some(code) => Verdict::Refused(code),
            None if self.resumes(opening).is_some_and(|claim| {
                claim.session_id.as_ref().is_none_or(|id| self.session_of(answer).as_ref() == Some(id))
            }) =>
            {
                Verdict::Resumed
            }
            None => Verdict::Welcomed,
        }
    }

    /// What a hello wants to resume.
    pub(crate) fn resumes(&self, opening: Index) -> Option<wire::ResumeClaim> {
        let hello = self.payload::<wire::Hello>(opening)?;
        let flat = wire::ResumeClaim {
            resume_token: hello.resume_token,
            last_event_seq: hello.last_event_seq,
            ..wire::ResumeClaim::default()
        };
        hello.resume.or(flat.resume_token.is_some().then_some(flat))
    }

    pub(crate) fn job_of(&self, line: Index) -> Option<JobId> {
        self.lines[line].envelope.as_ref()?.to_job_id()
    }

    pub(crate) fn session_of(&self, line: Index) -> Option<SessionId> {
        self.lines[line].envelope.as_ref()?.to_session_id()
    }
}

/// Reads a recording from its beginning on.
#[derive(Default)]
struct Reader {
    conns: BTreeMap<u64, Conn>,
    answers: BTreeMap<Index, Index>,
    owners: BTreeMap<JobId, SessionId>,
    features: FeatureSet,
    heartbeat: Option<Duration>,
    pressure: Option<u64>,
    /// What was said of jobs, whoever heard it.
    told: BTreeSet<(String, String)>,
    ended: BTreeSet<JobId>,
    /// The highest acknowledgement of each session.
    acked: BTreeMap<SessionId, u64>,
}

#[derive(Default)]
struct Conn {
    /// The last one without an answer.
    opening: Option<Index>,
    is_open: bool,
    requests: Vec<Request>,
}

struct Request {
    line: Index,
    id: String,
    message: MessageType,
    job: Option<JobId>,
}

impl Conn {
    /// The oldest open request of which this is true is answered.
    fn take(&mut self, is_meant: impl Fn(&Request) -> bool) -> Option<Index> {
        let at = self.requests.iter().position(is_meant)?;
        Some(self.requests.remove(at).line)
    }
}

/// When the recording began, by the runtime's wall clock.
fn began(line: &Line, at: Duration) -> Option<Timestamp> {
    let payload: Value = serde_json::from_str(line.envelope.as_ref()?.payload_text()).ok()?;
    let told = payload.get("ts").or_else(|| payload.get("accepted_at")).filter(|_| line.from == Side::Runtime)?;
    let told = Timestamp::parse(told.as_str()?).ok()?;
    Some(Timestamp::from_unix_millis(told.as_unix_millis() - i64::try_from(at.as_millis()).ok()?))
}

/// As a line on its own.
fn decode(bytes: &Bytes) -> Option<Envelope> {
    let mut lines = LineDecoder::new(usize::MAX);
    lines.push(bytes.clone());
    Envelope::decode(lines.finish()?.ok()?).ok()
}

impl Reader {
    fn read(&mut self, index: Index, conn: u64, from: Side, bytes: Bytes) -> Line {
        let envelope = decode(&bytes);
        let message = envelope.as_ref().and_then(Envelope::message_type);
        let part = match (&envelope, message) {
            (Some(envelope), Some(message)) if from == Side::Client => self.asked(index, conn, message, envelope),
            (Some(envelope), Some(message)) => self.said(index, conn, message, envelope),
            // What is no envelope to us may be a hello to others.
            (None, _) if from == Side::Client => self.opened(index, conn),
            _ => Part::Other,
        };
        if let Part::Answer { to } = part {
            self.answers.insert(to, index);
        }
        Line { from, bytes, envelope, part }
    }

    fn opened(&mut self, index: Index, conn: u64) -> Part {
        let conn = self.conns.entry(conn).or_default();
        if conn.is_open {
            return Part::Other;
        }
        conn.opening = Some(index);
        Part::Opening { answer: None }
    }

    fn asked(&mut self, index: Index, conn: u64, message: MessageType, envelope: &Envelope) -> Part {
        if matches!(message, MessageType::SessionHello | MessageType::SessionResume) {
            return self.opened(index, conn);
        }
        let conn = self.conns.entry(conn).or_default();
        match message {
            MessageType::JobSubmit
            | MessageType::JobCancel
            | MessageType::JobSubscribe
            | MessageType::SessionListJobs => {
                let id = envelope.id().unwrap_or_default().into_owned();
                conn.requests.push(Request { line: index, id, message, job: envelope.to_job_id() });
                Part::Request { answer: None }
            }
            MessageType::SessionAck => {
                if let (Some(session), Ok(ack)) = (envelope.to_session_id(), envelope.payload::<wire::Ack>()) {
                    let acked = self.acked.entry(session).or_default();
                    *acked = ack.last_processed_seq.max(*acked);
                }
                Part::Other
            }
            _ => Part::Other,
        }
    }

    fn said(&mut self, index: Index, conn: u64, message: MessageType, envelope: &Envelope) -> Part {
        let place = self.conns.entry(conn).or_default();
        let is_verdict = matches!(message, MessageType::SessionWelcome | MessageType::SessionError);
        if is_verdict && !place.is_open {
            place.is_open = message == MessageType::SessionWelcome;
            if let Some(opening) = place.opening.take() {
                self.answers.insert(opening, index);
            }
            if let Some(welcome) = envelope.payload::<Welcome>().ok().filter(|_| place.is_open) {
                let known = self.features.iter().chain(welcome.capabilities.features.iter());
                self.features = known.collect();
                let interval = welcome.heartbeat_interval_sec.map(|seconds| Duration::from_secs_f64(seconds.0));
                self.heartbeat = self.heartbeat.or(interval);
            }
            return Part::Verdict;
        }
        let answered = match message {
            MessageType::SessionJobs => envelope.payload::<Jobs>().ok().and_then(|jobs| {
                let id = jobs.request_id.or(jobs.reply_to)?;
                place.take(|request| request.id == id)
            }),
            MessageType::JobAccepted => self.accepted(conn, envelope),
            MessageType::JobSubscribed => {
                place.take(|open| open.message == MessageType::JobSubscribe && open.job == envelope.to_job_id())
            }
            MessageType::JobCancelled => {
                let id = envelope.payload::<JobCancelled>().ok().and_then(|cancelled| cancelled.request_id);
                place.take(|open| {
                    let is_named = id.as_ref().is_none_or(|id| *id == open.id);
                    is_named && open.message == MessageType::JobCancel && open.job == envelope.to_job_id()
                })
            }
            MessageType::SessionError => self.refused(conn, envelope),
            MessageType::JobError => self.refused_by_job_error(conn, envelope),
            _ => None,
        };
        match answered {
            Some(to) => Part::Answer { to },
            None => self.told(message, envelope),
        }
    }

    fn accepted(&mut self, conn: u64, envelope: &Envelope) -> Option<Index> {
        let accepted = envelope.payload::<JobAccepted>().ok()?;
        let job = envelope.to_job_id()?;
        self.owners.entry(job).or_insert(envelope.to_session_id()?);
        if accepted.parent_job_id.is_some() || accepted.delegate_id.is_some() {
            return None;
        }
        let id = accepted.request_id.or(accepted.reply_to);
        self.conns
            .entry(conn)
            .or_default()
            .take(|open| open.message == MessageType::JobSubmit && id.as_ref().is_none_or(|id| *id == open.id))
    }

    fn refused(&mut self, conn: u64, envelope: &Envelope) -> Option<Index> {
        let error = envelope.payload::<SessionError>().ok()?;
        if matches!(error.code, ErrorCode::HeartbeatLost | ErrorCode::Unauthenticated) {
            return None;
        }
        let id = error.request_id.or(error.reply_to).or(error.correlation_id);
        self.conns.entry(conn).or_default().take(|open| id.as_ref().is_none_or(|id| *id == open.id))
    }

    /// One peer refuses requests like this, naming a job that is alive, or one that never was.
    fn refused_by_job_error(&mut self, conn: u64, envelope: &Envelope) -> Option<Index> {
        let error = envelope.payload::<JobError>().ok()?;
        let job = envelope.to_job_id();
        let is_known = job.as_ref().is_some_and(|job| self.owners.contains_key(job));
        let conn = self.conns.entry(conn).or_default();
        match error.code {
            ErrorCode::JobNotFound | ErrorCode::PermissionDenied => conn.take(|open| open.job == job && job.is_some()),
            ErrorCode::DuplicateKey => conn.take(|open| open.message == MessageType::JobSubmit),
            _ => None,
        }
        .or_else(|| conn.take(|open| !is_known && open.message == MessageType::JobSubmit))
    }

    fn told(&mut self, message: MessageType, envelope: &Envelope) -> Part {
        let Some(job) = envelope.to_job_id() else { return Part::Other };
        match message {
            MessageType::JobEvent => {
                if self.is_pressure(envelope) {
                    return Part::Pressure;
                }
                // A replay may have its members in another order, and what others hear of it another id.
                let payload = serde_json::from_str::<Value>(envelope.payload_text());
                let content = payload.map_or_else(|_| envelope.payload_text().into(), |payload| payload.to_string());
                let is_new = self.told.insert((job.as_str().into(), content));
                Part::Event { job, is_new }
            }
            MessageType::JobResult | MessageType::JobError => {
                let is_new = self.ended.insert(job.clone());
                Part::End { job, is_new }
            }
            _ => Part::Other,
        }
    }

    /// Runtimes give theirs a message; an agent may say the same without.
    fn is_pressure(&mut self, envelope: &Envelope) -> bool {
        let Ok(event) = envelope.payload::<JobEvent<'_>>() else { return false };
        let status = event.body.parse::<wire::job_event::Status>().ok().filter(|_| event.kind == "status");
        if !status.is_some_and(|status| status.phase == "back_pressure" && status.message.is_some()) {
            return false;
        }
        let acked = envelope.to_session_id().and_then(|session| self.acked.get(&session).copied());
        let seq = envelope.event_seq().unwrap_or_default();
        self.pressure = self.pressure.or(Some(seq.saturating_sub(1 + acked.unwrap_or_default())));
        true
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Welcomed => f.write_str("welcomed"),
            Verdict::Resumed => f.write_str("resumed"),
            Verdict::Refused(code) => write!(f, "refused with {code}"),
            Verdict::Ignored => f.write_str("not answered"),
        }
    }
}
