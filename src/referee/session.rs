//! One session, over all its transports.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::connection::Connection;
use super::finding::{Charges, Side};
use super::frame::{Frame, shown};
use super::job::Job;
use super::memory::{Memory, Print};
use super::object::Json;
use super::request::{Request, Requests};
use super::rule::Rule;
use super::sequence::{Seen, Sequence};
use super::usage;
use crate::feature::{Feature, FeatureSet};
use crate::time::Instant;
use crate::wire::MessageType;

const MAX_IDS: usize = 8_192;
const MAX_JOBS: usize = 4_096;

/// What is known of a session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// The transport that holds it.
    pub(super) conn: Option<u64>,
    pub(super) attachment: u32,
    /// The token that a resume must present …
    pub(super) token: Option<Print>,
    /// … or this one, until the client has shown that it has the other.
    pub(super) previous_token: Option<Print>,
    pub(super) bearer: Option<Print>,
    pub(super) window: Option<Duration>,
    pub(super) detached_at: Instant,
    /// The client has said bye: the runtime may forget it first (D32).
    pub(super) closed: bool,
    /// Its beginning was not seen.
    partial: bool,
    pub(super) sequence: Sequence,
    acked: u64,
    acked_at: Option<Instant>,
    /// Back-pressure was signalled and nothing was acked since, nor so shortly before that it could have crossed the signal.
    pressed: bool,
    /// The first signal of this attachment may be from before it.
    may_be_late: bool,
    client_ids: Memory<Print, Print>,
    runtime_ids: Memory<Print, Print>,
    requests: Requests,
    jobs: Memory<Print, Job>,
    /// By idempotency key: what was asked for and what was answered (§7.2).
    keys: Memory<Print, (Print, Print)>,
    /// What was negotiated last, and ever: an event keeps the features of its time (D14).
    pub(super) features: Option<FeatureSet>,
    ever: FeatureSet,
}

impl Session {
    pub(super) const fn new() -> Session {
        Session {
            conn: None,
            attachment: 0,
            token: None,
            previous_token: None,
            bearer: None,
            window: None,
            detached_at: Instant::ZERO,
            closed: false,
            partial: false,
            sequence: Sequence::new(),
            acked: 0,
            acked_at: None,
            pressed: false,
            may_be_late: false,
            client_ids: Memory::new(MAX_IDS),
            runtime_ids: Memory::new(MAX_IDS),
            requests: Requests::new(),
            jobs: Memory::new(MAX_JOBS),
            keys: Memory::new(MAX_JOBS),
            features: None,
            ever: FeatureSet::none(),
        }
    }

    /// A session that was there before the referee.
    pub(super) fn partial(last_event_seq: u64) -> Session {
        Session { sequence: Sequence::from(last_event_seq), partial: true, ..Session::new() }
    }

    /// A transport takes the session over.
    pub(super) fn attach(&mut self, conn: u64, connection: &mut Connection, last_event_seq: Option<u64>) {
        self.conn = Some(conn);
        self.attachment += 1;
        connection.attachment = self.attachment;
        self.closed = false;
        self.pressed = false;
        self.may_be_late = self.attachment > 1;
        if let Some(last) = last_event_seq {
            self.sequence.attach(last);
        }
        self.features = connection.features.clone();
        if let Some(features) = &self.features {
            self.ever = features.iter().fold(core::mem::take(&mut self.ever), FeatureSet::with);
        }
        if connection.hello.bearer.is_some() {
            self.bearer = connection.hello.bearer;
        }
        self.requests.ambiguous |= connection.pipelined_overflow();
        for mut request in connection.pipelined.drain(..) {
            request.attachment = self.attachment;
            if let Some(id) = request.id {
                self.client_ids.insert(id, id);
            }
            if request.message.is_request() {
                self.requests.push(request);
            }
        }
    }

    /// Its transport is gone.
    pub(super) fn detach(&mut self, charges: &mut Charges, connection: &Connection, tolerance: Duration) {
        let now = connection.now;
        self.conn = None;
        self.detached_at = now;
        self.closed = connection.client.farewell.is_some();
        self.sequence.detach(charges, connection.is_complete(tolerance));
        self.requests.detach(charges, now, connection.attachment);
    }

    /// Remembers a message id; it may stand on one message only.
    pub(super) fn id(&mut self, charges: &mut Charges, from: Side, id: Option<Print>, print: Print) {
        let Some(id) = id else { return };
        let ids = match from {
            Side::Client => &mut self.client_ids,
            Side::Runtime => &mut self.runtime_ids,
        };
        match ids.get(&id) {
            Some(known) if *known == print => {}
            Some(_) => charges.bring(from, Rule::MessageIdRepeated, ""),
            None => drop(ids.insert(id, print)),
        }
    }

    /// A client's message that could not be judged has this id: an error may name it.
    pub(super) fn name(&mut self, id: Print) {
        if !self.client_ids.contains(&id) {
            self.client_ids.insert(id, id);
        }
    }

    /// A message that uses what was not negotiated (A5).
    fn gate(&self, charges: &mut Charges, from: Side, message: MessageType, frame: &Frame<'_>) {
        let Some(features) = &self.features else { return };
        let kind = frame.envelope.event_kind();
        for (feature, what) in usage::features(message, kind.as_deref(), &frame.payload) {
            let agreed = if message.is_sequenced() { &self.ever } else { features };
            if !agreed.contains(feature) {
                let what = if what == feature.name() { String::new() } else { format!(": {what}") };
                charges.bring(from, Rule::Unnegotiated, format!("{feature}{what}"));
            }
        }
    }

    /// A frame of the client's on the transport that holds the session.
    pub(super) fn take_from_client(&mut self, charges: &mut Charges, now: Instant, frame: &Frame<'_>) {
        let Some(message) = frame.message else { return };
        self.previous_token = None;
        self.gate(charges, Side::Client, message, frame);
        if message.is_request() {
            self.requests.push(request(frame, message, now, self.attachment));
        }
        match message {
            MessageType::SessionAck => self.ack(charges, now, frame),
            MessageType::JobSubscribe => {
                if let Some(job) = frame.job_id().map(|id| Print::of(&id)) {
                    self.jobs.entry(job, Job::default).map(Job::retold);
                }
            }
            _ => {}
        }
    }

    fn ack(&mut self, charges: &mut Charges, now: Instant, frame: &Frame<'_>) {
        let Some(seq) = frame.payload.integer("last_processed_seq") else { return };
        (self.pressed, self.acked_at) = (false, Some(now));
        if seq > self.sequence.highest() {
            let highest = self.sequence.highest();
            charges.bring(Side::Client, Rule::AckBeyond, format!("{seq}, the highest sent is {highest}"));
        }
        if seq < self.acked {
            charges.bring(Side::Client, Rule::AckBackwards, format!("{seq} after {}", self.acked));
        }
        self.acked = self.acked.max(seq);
    }

    /// A frame of the runtime's on the transport that holds the session, or held it last.
    pub(super) fn take_from_runtime(
        &mut self,
        charges: &mut Charges,
        connection: &mut Connection,
        frame: &Frame<'_>,
        print: Print,
        tolerance: Duration,
    ) -> Seen {
        let Some(message) = frame.message else { return Seen::First };
        if let Some(code) = connection.unnamed_error.take() {
            charges.bring(Side::Runtime, Rule::ErrorUnnamed, format!("{code}, before this"));
        }
        if let Some(seq) = frame.envelope.event_seq().filter(|_| message.is_of_job())
            && self.sequence.take(charges, seq, print) == Seen::Again
        {
            return Seen::Again;
        }
        self.gate(charges, Side::Runtime, message, frame);
        match message {
            MessageType::SessionJobs => self.jobs(charges, connection, frame),
            MessageType::SessionError => self.error(charges, connection, frame),
            MessageType::JobAccepted => self.accepted(charges, connection, frame),
            MessageType::JobSubscribed => {
                self.answer(charges, connection, frame, MessageType::JobSubscribe, Rule::SubscribedUnasked);
                if let Some(job) = frame.job_id().map(|id| Print::of(&id)) {
                    self.jobs.entry(job, Job::default);
                }
            }
            MessageType::JobCancelled => {
                self.answer(charges, connection, frame, MessageType::JobCancel, Rule::CancelledUnasked);
            }
            MessageType::JobEvent => {
                self.pressure(charges, connection.now, frame, tolerance);
                self.job(charges, message, frame);
            }
            MessageType::JobResult => self.job(charges, message, frame),
            MessageType::JobError => self.job_error(charges, frame),
            _ => {}
        }
        Seen::First
    }

    /// Otherwise an answer may be to one that was forgotten: the runtime may not know yet that its client has left.
    const fn knows_all_requests(&self, connection: &Connection) -> bool {
        !self.requests.ambiguous && !self.partial && connection.client.eof.is_none()
    }

    fn jobs(&mut self, charges: &mut Charges, connection: &Connection, frame: &Frame<'_>) {
        let side = Side::Runtime;
        let Some(id) = frame.payload.word("request_id").map(|id| Print::of(&id)) else {
            // Its shape is charged already; it answers the oldest list.
            self.requests.oldest(|request| request.message == MessageType::SessionListJobs);
            return;
        };
        let is_list = |request: &Request| request.id == Some(id) && request.message == MessageType::SessionListJobs;
        if !self.requests.any(is_list) {
            if self.knows_all_requests(connection) {
                charges.bring(side, Rule::JobsUnasked, "");
            }
            return;
        }
        let Some(request) = self.requests.by_id(id) else { return };
        let jobs = frame.payload.array("jobs").unwrap_or_default();
        if request.limit.is_some_and(|limit| (jobs.len() as u64) > limit) {
            charges.bring(side, Rule::JobsFilter, format!("{} jobs", jobs.len()));
        }
        let state = |job: &Json<'_>| job.object().and_then(|job| job.text("status")).map(|state| Print::of(&state));
        if !request.states.is_empty()
            && jobs.iter().any(|job| state(job).is_some_and(|state| !request.states.contains(&state)))
        {
            charges.bring(side, Rule::JobsFilter, "status");
        }
    }

    /// An error for a request, by name or by guess (D12).
    fn error(&mut self, charges: &mut Charges, connection: &mut Connection, frame: &Frame<'_>) {
        let side = Side::Runtime;
        if let Some(id) = frame.payload.word("request_id") {
            let print = Print::of(&id);
            let known = self.client_ids.contains(&print) || self.client_ids.is_full() || self.partial;
            // One that is about no message says so: unnamed, it would fail the client's oldest request (D12).
            let is_known = known || connection.hello.id == Some(print) || &*id == "none";
            if self.requests.by_id(print).is_none() && !is_known {
                charges.bring(side, Rule::ErrorMisnamed, shown(&id));
            }
            return;
        }
        for other in ["reply_to", "correlation_id"] {
            if let Some(id) = frame.payload.word(other)
                && self.requests.by_id(Print::of(&id)).is_some()
            {
                charges.bring(side, Rule::ErrorUnnamed, other);
                return;
            }
        }
        let code = frame.payload.text("code");
        if matches!(code.as_deref(), Some("UNAUTHENTICATED" | "HEARTBEAT_LOST" | "RESUME_WINDOW_EXPIRED")) {
            return;
        }
        if connection.nameless > 0 {
            connection.nameless -= 1;
            return;
        }
        if self.requests.oldest(|_| true).is_some() {
            self.requests.ambiguous = true;
            let code = code.unwrap_or_default();
            if matches!(&*code, "INVALID_REQUEST" | "INTERNAL_ERROR") {
                // It may be a last word before the transport is closed, and about no request.
                connection.unnamed_error = Some(shown(&code));
            } else {
                charges.bring(side, Rule::ErrorUnnamed, shown(&code));
            }
        }
    }

    fn accepted(&mut self, charges: &mut Charges, connection: &Connection, frame: &Frame<'_>) {
        let payload = &frame.payload;
        let is_submit = |request: &Request| request.message == MessageType::JobSubmit;
        let child = payload.has("parent_job_id") || payload.has("delegate_id");
        let id = payload.word("request_id").or_else(|| payload.word("reply_to")).map(|id| Print::of(&id));
        // One without a name is told apart by being the only one.
        let certain = id.is_some() || (self.requests.count(is_submit) == 1 && !self.requests.ambiguous);
        let submit = match id {
            Some(id) => self.requests.by_id(id),
            None if child => None,
            None => self.requests.oldest(is_submit),
        };
        let known = id.is_some_and(|id| self.client_ids.contains(&id) || self.client_ids.is_full());
        if !(submit.is_some() || child || known) && self.knows_all_requests(connection) {
            charges.bring(Side::Runtime, Rule::AcceptedUnasked, "");
        }
        if let Some((key, asked)) = submit.and_then(|submit| submit.key).filter(|_| certain) {
            let answered = Print::of_members(payload, &["request_id", "reply_to"]);
            match self.keys.get(&key) {
                Some((first, answer)) if *first == asked && *answer != answered => {
                    charges.bring(Side::Runtime, Rule::Idempotency, "");
                }
                Some(_) => {}
                None => drop(self.keys.insert(key, (asked, answered))),
            }
        }
        if let Some(job) = frame.job_id().map(|id| Print::of(&id))
            && !self.jobs.contains(&job)
        {
            self.jobs.insert(job, Job::accepted());
        }
    }

    /// A `job.subscribed` or `job.cancelled` answers an open request, or is `unasked`.
    fn answer(
        &mut self,
        charges: &mut Charges,
        connection: &Connection,
        frame: &Frame<'_>,
        asked: MessageType,
        unasked: Rule,
    ) {
        let job = frame.job_id().map(|id| Print::of(&id));
        let found = match frame.payload.word("request_id").map(|id| Print::of(&id)) {
            Some(id) => self.requests.by_id(id),
            None => self.requests.oldest(|request| request.message == asked && (job.is_none() || request.job == job)),
        };
        if found.is_none() && self.knows_all_requests(connection) {
            charges.bring(Side::Runtime, unasked, "");
        }
    }

    /// A status of back-pressure (D26).
    fn pressure(&mut self, charges: &mut Charges, now: Instant, frame: &Frame<'_>, tolerance: Duration) {
        if frame.payload.object("body").and_then(|body| body.text("phase")).as_deref() != Some("back_pressure") {
            return;
        }
        // A resume resets the signal, and brings the one before that had not been sent.
        if self.pressed && !core::mem::take(&mut self.may_be_late) {
            charges.bring(Side::Runtime, Rule::PressureRepeated, "");
        }
        let crosses_an_ack = self.acked_at.is_some_and(|at| now - at <= tolerance);
        self.pressed = !crosses_an_ack;
    }

    fn job(&mut self, charges: &mut Charges, message: MessageType, frame: &Frame<'_>) {
        let side = Side::Runtime;
        let Some(job) = frame.job_id().map(|id| Print::of(&id)) else { return };
        if !self.jobs.contains(&job) && !self.partial && self.attachment == 1 && !self.jobs.is_full() {
            charges.bring(side, Rule::JobUnknown, message.name());
        }
        // Without the feature a terminal goes without its stream's name (D33).
        let streaming = self.features.as_ref().is_none_or(|features| features.contains(Feature::ResultChunk));
        let Some(job) = self.jobs.entry(job, Job::default) else { return };
        job.take(charges, message, &frame.payload, streaming);
    }

    /// A job's end, or what some peers send to refuse a request (D11).
    fn job_error(&mut self, charges: &mut Charges, frame: &Frame<'_>) {
        let side = Side::Runtime;
        let code = frame.payload.text("code");
        let code = code.as_deref().unwrap_or_default();
        let job = frame.job_id().map(|id| Print::of(&id));
        let live = job.and_then(|job| self.jobs.get(&job)).map(Job::is_live);
        let about_job = |request: &Request| {
            matches!(request.message, MessageType::JobCancel | MessageType::JobSubscribe) && request.job == job
        };
        let is_submit = |request: &Request| request.message == MessageType::JobSubmit;
        let refused = match code {
            "PERMISSION_DENIED" | "JOB_NOT_FOUND" | "INVALID_REQUEST" => self.requests.oldest(about_job),
            _ => None,
        };
        let refused = refused.or_else(|| match (live, code) {
            // The end of a job whose acceptance was lost with a transport.
            (None, "CANCELLED" | "TIMEOUT") => None,
            (None, _) | (Some(_), "DUPLICATE_KEY") => self.requests.oldest(is_submit),
            _ => None,
        });
        if refused.is_some() {
            charges.bring(side, Rule::RefusedByJobError, shown(code));
            return;
        }
        if frame.envelope.event_seq().is_none() {
            charges.bring(side, Rule::TerminalUnsequenced, "");
        }
        self.job(charges, MessageType::JobError, frame);
    }
}

/// A request as it is remembered.
pub(super) fn request(frame: &Frame<'_>, message: MessageType, now: Instant, attachment: u32) -> Request {
    let id = frame.envelope.id().map(|id| Print::of(&id));
    let mut request = Request::new(id, message, now, attachment);
    if message == MessageType::JobSubmit {
        let key = frame.payload.word("idempotency_key").map(|key| Print::of(&key));
        request.key = key.map(|key| (key, Print::of_members(&frame.payload, &["idempotency_key"])));
    }
    request.job = frame.job_id().map(|id| Print::of(&id));
    if message == MessageType::SessionListJobs {
        request.limit = frame.payload.integer("limit").filter(|limit| *limit > 0);
        let states = frame.payload.object("filter").and_then(|filter| filter.array("status")).unwrap_or_default();
        request.asks_for(states.iter().filter_map(|state| state.text().map(|state| Print::of(&state))));
    }
    request
}
