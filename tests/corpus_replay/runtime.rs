//! Our endpoint on the stage: recorded clients speak to it, on the transports and at the times of the recording.

use std::collections::BTreeMap;
use std::time::Duration;

use arcp_proto::endpoint::{ConnId, Endpoint, EndpointConfig, EndpointEvent};
use arcp_proto::framing::LineDecoder;
use arcp_proto::referee::Side;
use arcp_proto::wire::{Envelope, FrameFault, JobQuery, Jobs, MessageType, PeerInfo, SessionId, Welcome};
use arcp_proto::{Limits, Now, RuntimeConfig};
use bytes::Bytes;
use serde_json::Value;

use crate::application::Application;
use crate::corpus::{Recording, What};
use crate::ending::{self, Ending};
use crate::handshake;
use crate::judge::Judge;
use crate::outcome::Outcome;
use crate::pages::Pages;
use crate::plot::{Index, Part, Plot, Verdict};
use crate::tally::{closed, detached, violation};
use crate::translation::Translation;

/// A transport, seen from our end.
struct Transport {
    conn: ConnId,
    decoder: LineDecoder,
    /// The first line that it brought.
    first: Option<Index>,
    /// How our endpoint answered that.
    verdict: Verdict,
    /// How it ended, if it carried a session.
    ending: Option<Ending>,
    /// Where the recording was when it was gone.
    gone_at: Option<Index>,
    /// By our order.
    is_closed: bool,
}

/// A request that reached a session, or waited with its hello.
struct Asked {
    line: Index,
    /// The cursor that it named, in our terms.
    cursor: Option<String>,
    answers: usize,
}

struct Stage<'a> {
    plot: &'a Plot,
    now: Now,
    /// How far the recording has come.
    reached: Index,
    endpoint: Endpoint,
    application: Application<'a>,
    translation: Translation,
    judge: Judge,
    transports: BTreeMap<u64, Transport>,
    numbers: BTreeMap<ConnId, u64>,
    /// The transport that each session was welcomed on last.
    attached: BTreeMap<SessionId, u64>,
    /// The last event that each session was sent.
    sent: BTreeMap<SessionId, u64>,
    /// By transport and message id.
    asked: BTreeMap<(u64, String), Asked>,
    pages: Pages,
    outcome: Outcome,
}

/// Replays what the clients said.
pub(crate) fn replay(recording: &Recording, plot: &Plot) -> Outcome {
    let mut stage = Stage::of(plot);
    for step in &recording.steps {
        stage.pass(step.at);
        match step.what {
            What::Open => stage.open(step.conn),
            What::Line { from: Side::Client, index, is_whole } => stage.hear(step.conn, index, is_whole),
            What::Line { from: Side::Runtime, index, .. } => stage.reach(index),
            What::Eof(Side::Client) | What::Close => stage.hang_up(step.conn),
            What::Eof(Side::Runtime) => {}
        }
        stage.settle();
        stage.time_out();
    }
    stage.end(recording)
}

impl<'a> Stage<'a> {
    fn of(plot: &'a Plot) -> Stage<'a> {
        let mut runtime = RuntimeConfig::new(PeerInfo::new("ours", "1")).with_features(plot.features.clone());
        runtime.heartbeat_interval = plot.heartbeat.unwrap_or(runtime.heartbeat_interval);
        runtime.back_pressure_threshold = plot.pressure.unwrap_or(runtime.back_pressure_threshold);
        Stage {
            plot,
            now: plot.origin,
            reached: 0,
            endpoint: Endpoint::new(EndpointConfig::new(runtime)),
            application: Application::of(plot),
            translation: Translation::default(),
            judge: Judge::of(Side::Runtime),
            transports: BTreeMap::new(),
            numbers: BTreeMap::new(),
            attached: BTreeMap::new(),
            sent: BTreeMap::new(),
            asked: BTreeMap::new(),
            pages: Pages::default(),
            outcome: Outcome::default(),
        }
    }

    /// The transport, if it stands.
    fn there(&mut self, number: u64) -> Option<&mut Transport> {
        self.transports.get_mut(&number).filter(|transport| transport.gone_at.is_none())
    }
}

/// Time.
impl Stage<'_> {
    /// Until so long after the origin; every deadline on the way is kept.
    fn pass(&mut self, at: Duration) {
        let end = self.plot.origin.after(at);
        while let Some(next) = self.endpoint.poll_timeout().filter(|next| *next < end.mono) {
            self.now = self.plot.origin.after(next - self.plot.origin.mono);
            self.time_out();
        }
        self.now = end;
    }

    fn time_out(&mut self) {
        let now = self.now;
        if self.endpoint.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.endpoint.handle_timeout(now);
            assert!(self.endpoint.poll_timeout().is_none_or(|at| at > now.mono), "the deadline did not move");
            self.settle();
        }
    }
}

/// What the recorded sides do.
impl Stage<'_> {
    fn open(&mut self, number: u64) {
        let conn = self.endpoint.connect(self.now);
        self.judge.open(number, self.now.mono);
        self.numbers.insert(conn, number);
        let decoder = LineDecoder::new(Limits::default().opening_frame);
        let verdict = Verdict::Ignored;
        let transport =
            Transport { conn, decoder, first: None, verdict, ending: None, gone_at: None, is_closed: false };
        self.transports.insert(number, transport);
    }

    fn hear(&mut self, number: u64, line: Index, is_whole: bool) {
        self.reached = line;
        let bytes = self.translation.line(self.plot, line);
        let Some(transport) = self.there(number) else { return self.outcome.tally.count("transports", "lines unread") };
        transport.decoder.push(bytes);
        if is_whole {
            transport.decoder.push(Bytes::from_static(b"\n"));
        }
        while let Some(frame) = self.there(number).and_then(|transport| transport.decoder.next_line()) {
            self.take(number, line, frame.map_err(Into::into));
        }
    }

    fn take(&mut self, number: u64, line: Index, frame: Result<Bytes, FrameFault>) {
        let now = self.now;
        let Some(transport) = self.there(number) else { return };
        let is_first = transport.first.is_none();
        transport.first.get_or_insert(line);
        // From the second line on (D9).
        transport.decoder.set_limit(Limits::default().max_frame);
        let conn = transport.conn;
        match frame {
            Ok(frame) => {
                self.judge.frame(number, Side::Client, now.mono, &frame);
                if !is_first {
                    self.register(number, conn, line, &frame);
                }
                self.endpoint.handle_input(now, conn, frame);
            }
            Err(fault) => self.endpoint.handle_malformed(now, conn, fault),
        }
        self.settle();
    }

    fn register(&mut self, number: u64, conn: ConnId, line: Index, frame: &Bytes) {
        let Ok(envelope) = Envelope::decode(frame.clone()) else { return };
        if !matches!(self.plot.lines[line].part, Part::Request { .. }) {
            return;
        }
        self.outcome.tally.count("asked", envelope.type_name());
        self.application.hears(conn, line);
        let cursor = envelope.payload::<JobQuery>().ok().and_then(|query| query.cursor);
        let id = envelope.id().unwrap_or_default().into_owned();
        if self.asked.insert((number, id), Asked { line, cursor, answers: 0 }).is_some() {
            self.outcome.problem(format!("line {}: the message id came before", line + 1));
        }
    }

    /// The recording has come to a line of the runtime's.
    fn reach(&mut self, line: Index) {
        self.reached = line;
        self.application.reach(&mut self.endpoint, self.now, line, &mut self.outcome);
        self.settle();
        let envelope = self.plot.lines[line].envelope.as_ref();
        let place = envelope.and_then(|envelope| Some((envelope.to_session_id()?, envelope.event_seq()?)));
        if let Some((session, seq)) = place
            && let Some(ours) = self.endpoint.session(&session)
        {
            let last = ours.last_event_seq();
            self.translation.at(session, seq, last);
        }
    }

    /// The recorded client has hung up.
    fn hang_up(&mut self, number: u64) {
        let line = self.reached;
        // What came without its LF.
        while let Some(frame) = self.there(number).and_then(|transport| transport.decoder.finish()) {
            self.take(number, line, frame.map_err(Into::into));
        }
        if let Some(transport) = self.there(number) {
            transport.gone_at = Some(line);
            let conn = transport.conn;
            self.endpoint.handle_disconnect(self.now, conn);
            self.judge.eof(number, Side::Client, self.now.mono);
        }
    }
}

/// What our endpoint does.
impl Stage<'_> {
    /// Until there is nothing more to be done.
    fn settle(&mut self) {
        let now = self.now;
        loop {
            if let Some(event) = self.endpoint.poll_event() {
                self.attend(&event);
            } else if let Some((conn, frame)) = self.endpoint.poll_transmit(now) {
                let number = self.numbers[&conn];
                self.judge.frame(number, Side::Runtime, now.mono, &frame);
                self.spoken(number, frame);
            } else if let Some(conn) = self.endpoint.poll_close() {
                let number = self.numbers[&conn];
                self.judge.eof(number, Side::Runtime, now.mono);
                let reached = self.reached;
                if let Some(transport) = self.there(number) {
                    transport.gone_at = Some(reached);
                    transport.is_closed = true;
                }
            } else {
                break;
            }
        }
        while self.endpoint.poll_audit().is_some() {}
        for session in self.endpoint.sessions() {
            let id = session.session_id().expect("a runtime's session has an id");
            let is_behind = self.sent.get(id).copied().unwrap_or(0) < session.last_event_seq();
            if is_behind && self.endpoint.conn_of(id).is_some() {
                self.outcome.problems.push(format!("line {}: {id} was not sent all", self.reached + 1));
            }
        }
    }

    fn attend(&mut self, event: &EndpointEvent) {
        let now = self.now;
        match event {
            EndpointEvent::Authenticate(applicant) => {
                let first = self.transports[&self.numbers[&applicant.conn]].first.expect("a hello has come");
                let place = (first, self.reached);
                self.application.meets(&mut self.endpoint, now, place, applicant, &mut self.outcome);
            }
            EndpointEvent::Resumed { session, takeover } => {
                self.outcome.tally.count("sessions", if *takeover { "taken over" } else { "resumed" });
                if *takeover {
                    self.ended(session, Ending::Superseded);
                }
            }
            EndpointEvent::Detached { session, reason } => {
                self.outcome.tally.count("detached", detached(reason));
                self.ended(session, ending::of_detached(reason));
            }
            EndpointEvent::Closed { reason, .. } => self.outcome.tally.count("sessions", closed(reason)),
            EndpointEvent::WindowElapsed { .. } => self.outcome.tally.count("sessions", "outlived their window"),
            EndpointEvent::BackPressure { active, lag, .. } => {
                let what = if *active { "on" } else { "off" };
                self.outcome.tally.count("back-pressure", format!("{what} at {lag}"));
            }
            EndpointEvent::Violation { violation: by, .. } => {
                self.outcome.tally.count("violations", violation(&by.error));
            }
            EndpointEvent::Vendor { .. } => self.outcome.tally.count("handed on", "vendor messages"),
            _ => self.application.attend(&mut self.endpoint, now, self.reached, event, &mut self.outcome),
        }
    }

    fn ended(&mut self, session: &SessionId, ending: Ending) {
        let number = self.attached.get(session);
        if let Some(transport) = number.and_then(|number| self.transports.get_mut(number)) {
            transport.ending.get_or_insert(ending);
        }
    }

    fn spoken(&mut self, number: u64, frame: Bytes) {
        let Ok(envelope) = Envelope::decode(frame) else {
            return self.outcome.problem(format!("transport {number}: a frame of ours is no envelope"));
        };
        let Some(message) = envelope.message_type() else {
            return self.outcome.problem(format!("transport {number}: a frame of ours is of no known type"));
        };
        self.outcome.tally.count("sent", message.name());
        let payload: Value = serde_json::from_str(envelope.payload_text()).expect("what we send is JSON");
        match message {
            MessageType::SessionWelcome => self.welcomed(number, &envelope),
            MessageType::SessionError => {
                let transport = self.transports.get_mut(&number).expect("a transport that was opened");
                if transport.verdict == Verdict::Ignored {
                    transport.verdict = Verdict::Refused(payload["code"].as_str().unwrap_or_default().into());
                }
            }
            _ => {}
        }
        if let (Some(seq), Some(session)) = (envelope.event_seq(), envelope.to_session_id()) {
            self.application.check(&session, &envelope, &mut self.outcome);
            let last = self.sent.entry(session).or_default();
            if seq <= *last {
                self.outcome.tally.count("sent", "again, of these");
            }
            *last = seq.max(*last);
        }
        if let Some(id) = payload["request_id"].as_str() {
            self.answered(number, id, message, &payload, &envelope);
        }
    }

    fn welcomed(&mut self, number: u64, envelope: &Envelope) {
        let Some(session) = envelope.to_session_id() else { return };
        let transport = self.transports.get_mut(&number).expect("a transport that was opened");
        let first = transport.first.expect("a hello has come");
        let is_resume = self.attached.contains_key(&session);
        transport.verdict = if is_resume { Verdict::Resumed } else { Verdict::Welcomed };
        self.attached.insert(session, number);
        let recorded = self.plot.answer_to(first).and_then(|answer| self.plot.welcome(answer));
        let ours = envelope.payload::<Welcome>().expect("our welcome is one");
        if let Some(recorded) = recorded
            && !recorded.capabilities.features.iter().eq(ours.capabilities.features.iter())
        {
            let (ours, recorded) = (ours.capabilities.features, recorded.capabilities.features);
            self.outcome.difference(format!("line {}: other features, {ours:?} and not {recorded:?}", first + 1));
        }
    }

    fn answered(&mut self, number: u64, id: &str, message: MessageType, payload: &Value, envelope: &Envelope) {
        let Some(asked) = self.asked.get_mut(&(number, id.to_owned())) else { return };
        asked.answers += 1;
        let (line, cursor) = (asked.line, asked.cursor.clone());
        let what = payload["code"].as_str().unwrap_or(message.name());
        self.outcome.tally.count("answered", format!("{} {what}", self.plot.message(line).map_or("", |it| it.name())));
        if let Ok(jobs) = envelope.payload::<Jobs>()
            && message == MessageType::SessionJobs
        {
            self.outcome.tally.add("answered", "with jobs on pages", jobs.jobs.len() as u64);
            let cursors = self.pages.turned(self.plot, line, cursor, jobs, self.endpoint.jobs(), &mut self.outcome);
            if let Some((recorded, ours)) = cursors {
                self.translation.cursor(recorded, ours);
            }
        }
    }
}

/// The end of the recording.
impl Stage<'_> {
    fn end(mut self, recording: &Recording) -> Outcome {
        for job in std::mem::take(&mut self.application.alive) {
            self.application.give_up(&mut self.endpoint, self.now, &job, &mut self.outcome);
        }
        self.settle();
        self.check_transports(recording);
        self.check_requests();
        for number in self.transports.keys().copied().collect::<Vec<_>>() {
            if let Some(transport) = self.there(number) {
                transport.gone_at = Some(usize::MAX);
                let conn = transport.conn;
                self.endpoint.handle_disconnect(self.now, conn);
                self.judge.close(number, self.now.mono);
                self.outcome.tally.count("transports", "left open");
            }
        }
        self.settle();
        // Long enough for all that has a deadline.
        for _ in 0..100_000 {
            let Some(next) = self.endpoint.poll_timeout() else { break };
            self.now = self.plot.origin.after(next - self.plot.origin.mono);
            self.time_out();
        }
        let left = (self.endpoint.poll_timeout(), self.endpoint.session_count(), self.endpoint.connection_count());
        if left != (None, 0, (0, 0)) || !self.endpoint.jobs().is_empty() {
            self.outcome.problem(format!("something is left: {left:?}, {} jobs", self.endpoint.jobs().len()));
        }
        self.outcome.problems.extend(self.judge.finish());
        self.outcome
    }

    fn check_transports(&mut self, recording: &Recording) {
        for (number, transport) in &self.transports {
            let recorded = transport.first.map_or(Verdict::Ignored, |first| self.plot.verdict(first));
            self.outcome.tally.count("transports", transport.verdict.to_string());
            if matches!(transport.verdict, Verdict::Refused(_)) && !transport.is_closed {
                self.outcome.problems.push(format!("transport {number} was refused and not closed"));
            }
            self.outcome.differences.extend(handshake::judge(&recording.name, *number, &recorded, &transport.verdict));
            // What follows a hello that was answered otherwise means something else.
            let is_session = matches!(recorded, Verdict::Welcomed | Verdict::Resumed) && recorded == transport.verdict;
            if !is_session || transport.ending == Some(Ending::Superseded) {
                continue;
            }
            let expected = ending::recorded(recording, self.plot, *number);
            if transport.ending != expected {
                let difference = format!("transport {number} ended by {:?} and not by {expected:?}", transport.ending);
                self.outcome.differences.push(difference);
            }
        }
    }

    /// Every request was answered once, unless its transport was gone before that.
    fn check_requests(&mut self) {
        for ((number, _), asked) in &self.asked {
            let gone_at = self.transports[number].gone_at;
            let answer = self.plot.answer_to(asked.line);
            let was_cut_off = gone_at.is_some_and(|gone| answer.is_none_or(|answer| gone <= answer));
            match asked.answers {
                1 => {}
                0 if was_cut_off => self.outcome.tally.count("answered", "not before the end of the transport"),
                0 if answer.is_none() => self.outcome.tally.count("answered", "not, as recorded"),
                answers => {
                    self.outcome.problems.push(format!("line {}: answered {answers} times", asked.line + 1));
                }
            }
        }
    }
}
