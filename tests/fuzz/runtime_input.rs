//! A runtime session before any client, any driver, any application and any clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arcp_proto::wire::{
    Envelope, ErrorCode, FrameFault, JobAccepted, JobEntry, JobError, JobId, JobPage, JobResult, JobStatus,
    JobSubscribed, MessageType, Principal, RawJson, ResultId, WireError,
};
use arcp_proto::{
    Interest, Limits, Now, Opening, Phase, RequestId, ResumeAttempt, Runtime, RuntimeConfig, RuntimeEvent, SendError,
    Session,
};
use bytes::Bytes;

use crate::contract;
use crate::frames::{self, Known, hello};
use crate::grants::{first_session, principal, token};
use crate::late_clock::Scripted;
use crate::script::{self, Args, Step};

#[derive(Clone)]
struct World {
    session: Session<Runtime>,
    config: RuntimeConfig,
    /// The latest that the session was told.
    now: Now,
    /// The clock of the next call is behind by so much.
    behind: Duration,
    /// The driver does not poll.
    is_lazy: bool,
    /// The last token given out.
    tokens: u64,
    asked: Vec<RequestId>,
    requests: BTreeSet<RequestId>,
    minted: BTreeSet<String>,
    ids: Vec<String>,
    /// What is in each place of the sequence, by what was sent.
    sequence: BTreeMap<u64, Bytes>,
    /// The next seq that the present transport may be given.
    next_seq: u64,
    /// What the peer can have received.
    received: u64,
    /// Of which the first message was seen.
    attachment: u64,
    acked: u64,
    is_blocked: bool,
    /// How often `Blocked` was said that `Writable` was not.
    refused: u32,
    closed: u32,
}

/// Runs the script.
pub(crate) fn check(script: &[u8]) {
    let mut steps = script::steps(script).peekable();
    let args = match steps.peek() {
        Some(Step::Deed(b'#', args)) => *args,
        _ => Args::default(),
    };
    steps.next_if(|step| matches!(step, Step::Deed(b'#', _)));
    let first = match steps.peek() {
        Some(Step::Frame(frame)) => Some(*frame),
        _ => None,
    };
    let (session, config) = first_session(args, first);
    let mut world = World {
        session,
        config,
        now: contract::start(),
        behind: Duration::ZERO,
        is_lazy: false,
        tokens: 1,
        asked: Vec::new(),
        requests: BTreeSet::new(),
        minted: BTreeSet::new(),
        ids: Vec::new(),
        sequence: BTreeMap::new(),
        next_seq: 1,
        received: 0,
        attachment: 0,
        acked: 0,
        is_blocked: false,
        refused: 0,
        closed: 0,
    };
    for step in steps {
        world.step(step);
    }
    world.end();
}

impl Scripted for World {
    fn now(&self) -> Now {
        self.now
    }

    fn behind(&mut self) -> &mut Duration {
        &mut self.behind
    }

    fn act(&mut self, step: Step<'_>, now: Now) {
        self.perform(step, now);
    }

    fn transmit_one(&mut self) {
        self.transmit(1);
    }

    fn goes_on_as(&self, twin: &World) {
        contract::same(&self.session, &twin.session, self.now, "a clock went back");
    }
}

impl World {
    fn step(&mut self, step: Step<'_>) {
        if !self.take(step) {
            return;
        }
        if !self.is_lazy {
            self.drain();
        }
        self.hold_to_limits();
    }

    fn perform(&mut self, step: Step<'_>, now: Now) {
        let session = &mut self.session;
        let (deed, mut args) = match step {
            Step::Frame(frame) => return session.handle_input(now, Bytes::copy_from_slice(frame)),
            Step::Deed(deed, args) => (deed, args),
        };
        let args = &mut args;
        match deed {
            b't' | b'T' => {
                let known = Known { near: self.received, ids: &self.ids, session_id: "sess_1" };
                let frame = Bytes::from(frames::frame(*args, &known));
                if let Ok(envelope) = Envelope::decode(frame.clone())
                    && envelope.message_type().is_some_and(MessageType::is_request)
                {
                    self.ids.extend(envelope.id().map(|id| id.into_owned()));
                }
                session.handle_input(now, frame);
            }
            b'+' => {
                let after = contract::jump(args, self.now, session.poll_timeout());
                let is_late = args.flag();
                self.now = self.now.after(after);
                if !is_late {
                    contract::tick(session, self.now, self.now);
                }
            }
            b'p' => drop(self.transmit(args.number())),
            b'e' => drop(self.poll(args.number())),
            b'd' => {
                self.drain();
                contract::tick(&mut self.session, now, self.now);
                self.drain();
                contract::stays_drained(&self.session, self.now);
            }
            b'z' => self.is_lazy = !self.is_lazy,
            b's' | b'f' | b'g' => self.emit(deed, args, now),
            b'w' => self.answer(args, now),
            b'r' => {
                let presented = self.tokens.saturating_sub(u64::from(args.below(4)));
                let last = match args.below(4) {
                    0 => self.received,
                    1 => self.received.saturating_sub(args.number()),
                    2 => session.replay_floor().max(session.acked_seq()),
                    _ => self.received + args.number(),
                };
                let who = principal(args.below(8));
                let frame = hello(&frames::features(args), 0, Some((presented, last)));
                if let Ok(Opening::Resume(attempt)) = Opening::parse(Bytes::from(frame), &Limits::default()) {
                    self.resume(now, attempt, &who);
                }
            }
            b'o' => {
                let opening = Opening::parse(Bytes::copy_from_slice(args.rest()), &Limits::default());
                if let Ok(Opening::Resume(attempt)) = opening {
                    self.resume(now, attempt, &principal(0));
                }
            }
            b'x' => session.handle_disconnect(now),
            b'a' => session.handle_activity(now),
            b'b' => session.handle_malformed(now, FrameFault::TooLarge { limit: 3 }),
            b'q' => session.shutdown(now, "maintenance"),
            // Something that is no frame.
            _ => session.handle_input(now, Bytes::copy_from_slice(args.rest())),
        }
    }

    /// Something happens in a job.
    fn emit(&mut self, deed: u8, args: &mut Args<'_>, now: Now) {
        let interest = *args.pick(&[Interest::Submitter, Interest::Submitter, Interest::Subscriber]);
        let job = JobId::from(*args.pick(&["job_0", "job_1", ""]));
        let session = &mut self.session;
        let before = session.last_event_seq();
        let sent = match deed {
            b's' => {
                let kinds = ["log", "progress", "status", "result_chunk", "x-vendor.kind", ""];
                let (kind, length) = (*args.pick(&kinds), 8 * usize::from(args.byte()));
                let body = match args.below(4) {
                    0 => format!(r#"{{"message":"{}"}}"#, "x".repeat(length)),
                    1 => r#"{"phase":"credential_rotated"}"#.to_owned(),
                    2 => "17".to_owned(),
                    _ => "{}".to_owned(),
                };
                let body = RawJson::from_text(&body).expect("that is JSON");
                session.send_event_as(interest, now, &job, kind, &body)
            }
            b'f' if args.flag() => {
                let result = JobResult::streamed(ResultId::from("res_1"), 17);
                session.send_result_as(interest, now, &job, result)
            }
            b'f' => session.send_result_as(interest, now, &job, JobResult::inline(RawJson::null())),
            _ => {
                let code = args.pick(ErrorCode::ALL).clone();
                session.send_error_as(interest, now, &job, JobError::new(WireError::new(code, "m")))
            }
        };
        match sent {
            // A signal of back-pressure may stand behind it (D26).
            Ok(seq) => assert!(seq == before + 1 && session.last_event_seq() <= seq + 1, "{seq} after {before}"),
            Err(error) => {
                assert_eq!(session.last_event_seq(), before, "what is refused uses up no number");
                if error == SendError::Blocked {
                    self.is_blocked = true;
                    self.refused += 1;
                }
            }
        }
    }

    /// The application answers, perhaps what nobody asked.
    fn answer(&mut self, args: &mut Args<'_>, now: Now) {
        let at = usize::from(args.byte());
        if self.asked.is_empty() {
            return;
        }
        let request = self.asked[at % self.asked.len()];
        let job = JobId::from(*args.pick(&["job_0", "job_1", "job_2", ""]));
        let session = &mut self.session;
        let answered = match args.below(6) {
            0 => {
                let mut accepted = JobAccepted::new(job, "a@1", now.wall);
                accepted.parent_job_id = args.flag().then(|| JobId::from("job_p"));
                session.accept_job(now, request, accepted)
            }
            1 => session.confirm_cancel(now, request, args.flag().then(|| "r".repeat(900))),
            2 => session.accept_subscribe(now, request, JobSubscribed::new(job, "a@1", JobStatus::Running)),
            3 => {
                let entry = |_| JobEntry::new(job.clone(), "a@1", JobStatus::Pending, now.wall);
                let jobs = (0..args.byte()).map(entry).collect();
                session.respond_jobs(now, request, JobPage { jobs, next_cursor: args.flag().then(|| "c".to_owned()) })
            }
            4 => session.fail_request(now, request, WireError::new(args.pick(ErrorCode::ALL).clone(), "m")),
            _ => session.fail_request(now, request, WireError::new(ErrorCode::Other("X_VENDOR".into()), "m")),
        };
        if answered.is_ok() {
            let error = WireError::new(ErrorCode::Timeout, "m");
            let twice = self.session.fail_request(now, request, error);
            assert_eq!(twice, Err(arcp_proto::AnswerError::UnknownRequest), "a request is answered once");
            self.asked.swap_remove(at % self.asked.len());
        }
    }

    fn resume(&mut self, now: Now, attempt: ResumeAttempt, who: &Principal) {
        // A resume sees to what is due first; beyond that, a refused one changes nothing.
        self.session.handle_timeout(now);
        let before = self.session.clone();
        let last = attempt.last_event_seq();
        let is_hers = *who == principal(0);
        match self.session.resume(now, attempt, who, token(self.tokens + 1)) {
            Ok(takeover) => {
                assert!(is_hers, "somebody else's session");
                assert!(last >= before.replay_floor() && last <= self.received, "{last}, to {}", self.received);
                assert_eq!(self.session.attachment(), before.attachment() + 1);
                assert_eq!(self.session.phase(), Phase::Open);
                for frame in takeover.farewell {
                    let envelope = Envelope::decode(frame).expect("a farewell is an envelope");
                    assert!(self.minted.insert(envelope.id().expect("with an id").into_owned()), "an id twice");
                }
                self.tokens += 1;
                self.next_seq = last + 1;
            }
            Err(refused) => {
                contract::same(&self.session, &before, self.now, "a refused resume");
                drop(refused.into_message(now));
            }
        }
    }

    /// Both polls until both have nothing: then they have nothing.
    fn drain(&mut self) {
        loop {
            let (sent, told) = (self.transmit(1), self.poll(1));
            if sent + told == 0 {
                break;
            }
        }
        assert!(self.session.poll_transmit(self.now).is_none(), "a message after a round without any");
        assert!(self.session.poll_event().is_none(), "an event after a round without any");
    }

    fn transmit(&mut self, most: u64) -> u64 {
        for n in 0..most {
            let was_attached = self.session.phase().is_attached();
            let Some(frame) = self.session.poll_transmit(self.now) else { return n };
            self.sent(frame, was_attached);
        }
        most
    }

    fn sent(&mut self, frame: Bytes, was_attached: bool) {
        let envelope = Envelope::decode(frame.clone()).expect("all that is sent is an envelope");
        // A refusal repeats what it refuses, which is within the limit; our own words come to it.
        assert!(frame.len() <= self.config.limits.max_frame + 2_048, "{} bytes", frame.len());
        assert!(!frame.contains(&b'\n') && !frame.contains(&b'\r'), "a line end in a frame");
        assert_eq!(envelope.session_id().as_deref(), Some("sess_1"), "every frame names the session");
        let message = envelope.message_type().expect("of a type that we know");
        if was_attached {
            let is_first = self.session.attachment() > self.attachment;
            self.attachment = self.session.attachment();
            assert_eq!(is_first, message == MessageType::SessionWelcome, "a welcome first, and never again");
        }
        let id = envelope.id().expect("with an id").into_owned();
        match envelope.event_seq() {
            Some(seq) => {
                assert!(was_attached, "an event after the end of a transport");
                // An acknowledgement moves the send cursor forward, and nothing else does.
                let is_next = seq == self.next_seq || (seq > self.next_seq && seq <= self.session.acked_seq() + 1);
                assert!(is_next, "{seq} where {} is next", self.next_seq);
                self.next_seq = seq + 1;
                self.received = self.received.max(seq);
                match self.sequence.get(&seq) {
                    Some(before) => assert_eq!(before, &frame, "a replay is verbatim"),
                    None => {
                        self.sequence.insert(seq, frame);
                        assert!(self.minted.insert(id), "an id twice");
                    }
                }
            }
            None => {
                assert!(!message.is_sequenced(), "{message} without a place");
                assert!(self.minted.insert(id), "an id twice");
            }
        }
    }

    fn poll(&mut self, most: u64) -> u64 {
        for n in 0..most {
            let Some(event) = self.session.poll_event() else { return n };
            self.told(&event);
        }
        most
    }

    fn told(&mut self, event: &RuntimeEvent) {
        assert_eq!(self.closed, 0, "{event:?} after Closed");
        match event {
            RuntimeEvent::Submit { request, .. }
            | RuntimeEvent::Cancel { request, .. }
            | RuntimeEvent::Subscribe { request, .. }
            | RuntimeEvent::ListJobs { request, .. } => {
                assert!(self.requests.insert(*request), "{request} is asked twice");
                self.asked.push(*request);
            }
            RuntimeEvent::Writable => {
                self.is_blocked = false;
                self.refused = self.refused.checked_sub(1).expect("`Writable` follows `Blocked`");
            }
            RuntimeEvent::Closed(_) => self.closed += 1,
            _ => {}
        }
    }

    fn hold_to_limits(&mut self) {
        let session = &self.session;
        let (events, bytes) = session.replay_len();
        // The signal of back-pressure is exempt (D26).
        let most = self.config.replay_events.max(1);
        assert!(events <= most + 1 && bytes <= self.config.replay_bytes + 1_000, "{events} events, {bytes} bytes");
        assert!(session.acked_seq() >= self.acked && session.acked_seq() <= self.received, "{}", session.acked_seq());
        self.acked = session.acked_seq();
        assert!(session.replay_floor() <= session.last_event_seq());
        if session.phase() == Phase::Closed {
            assert_eq!(session.poll_timeout(), None, "what is closed waits for nothing");
        }
    }

    /// Whatever happened, it ends: what waits is within the limits, a healthy transport makes a blocked emitter writable, and
    /// `Closed` is told, once and last.
    fn end(mut self) {
        let mut copy = self.session.clone();
        let frames = std::iter::from_fn(|| copy.poll_transmit(self.now))
            .filter(|frame| Envelope::decode(frame.clone()).is_ok_and(|envelope| envelope.event_seq().is_none()))
            .count();
        // Beside the lane: a welcome, pongs, a ping and two words of farewell.
        assert!(frames <= self.config.limits.control_frames + self.config.limits.unsent_pongs + 5, "{frames} wait");
        let waiting: Vec<usize> = std::iter::from_fn(|| copy.poll_event())
            .filter_map(|event| match event {
                RuntimeEvent::Vendor(envelope) => Some(envelope.frame().len()),
                _ => None,
            })
            .collect();
        let bytes: usize = waiting.iter().sum();
        assert!(bytes <= self.config.limits.inbound_bytes || waiting.len() == 1, "{bytes} bytes wait");

        self.drain();
        contract::tick(&mut self.session, self.now, self.now);
        self.drain();
        contract::stays_drained(&self.session, self.now);
        if self.session.phase() == Phase::Open && self.received == self.session.last_event_seq() {
            let ack = format!(r#"{{"type":"session.ack","payload":{{"last_processed_seq":{}}}}}"#, self.received);
            self.session.handle_input(self.now, Bytes::from(ack));
            self.drain();
            assert!(!self.is_blocked, "nothing is in the way, and nobody is told");
        }
        self.session.shutdown(self.now, "maintenance");
        self.drain();
        contract::ends(&mut self.session, self.now);
        self.drain();
        assert_eq!(self.session.phase(), Phase::Closed);
        assert_eq!(self.closed, 1, "`Closed` is told once");
    }
}
