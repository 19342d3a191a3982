//! A client session before any runtime, any driver, any application and any clock.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arcp_proto::wire::{
    Ack, Credentials, Envelope, FrameFault, JobId, JobQuery, JobSubmit, MessageType, PeerInfo, RawJson,
};
use arcp_proto::{
    AckPolicy, Client, ClientConfig, ClientEvent, Farewell, GapPolicy, Limits, Now, Phase, RequestId, SendError,
    Session,
};
use bytes::Bytes;

use crate::contract;
use crate::frames::{self, Known};
use crate::late_clock::Scripted;
use crate::limits::small_limits;
use crate::script::{self, Args, Step};

fn config(mut args: Args<'_>) -> ClientConfig {
    let args = &mut args;
    ClientConfig {
        limits: if args.flag() { Limits::default() } else { small_limits() },
        gap_policy: *args.pick(&[GapPolicy::Resume, GapPolicy::Report]),
        ack_policy: *args.pick(&[AckPolicy::Manual, AckPolicy::OnPoll]),
        ack_batch: *args.pick(&[500, 1, 3, 0]),
        lagging_after: *args.pick(&[500, 1, 3, 0]),
        resume_overlap: args.number() % 3,
        farewell: *args.pick(&[Farewell::Bye, Farewell::Close]),
        give_up_after: *args.pick(&[None, Some(Duration::from_secs(3_000))]),
        features: frames::features(args),
        ..ClientConfig::new(PeerInfo::new("my-app", "1.0.0"), Credentials::bearer("secret-bearer"))
    }
}

fn job(args: &mut Args<'_>) -> JobId {
    JobId::from(*args.pick(&["job_0", "job_1", "job_2", "job_3", ""]))
}

#[derive(Clone)]
struct World {
    session: Session<Client>,
    limits: Limits,
    /// The latest that the session was told.
    now: Now,
    /// The clock of the next call is behind by so much.
    behind: Duration,
    /// The driver does not poll.
    is_lazy: bool,
    /// What was asked, and how often it was answered.
    requests: BTreeMap<RequestId, u32>,
    ids: Vec<String>,
    minted: BTreeSet<String>,
    /// Places in the sequence that a refusal took, for which there is no event of that place.
    refusals: BTreeSet<u64>,
    /// The last event that was given out or told to be lost.
    last: u64,
    acknowledged: u64,
    /// Of which the first message was seen.
    attachment: u64,
    closed: u32,
}

/// Runs the script.
pub(crate) fn check(script: &[u8]) {
    let mut steps = script::steps(script).peekable();
    let config = config(match steps.peek() {
        Some(Step::Deed(b'#', args)) => *args,
        _ => Args::default(),
    });
    let mut world = World {
        limits: config.limits.clone(),
        session: Session::connect(contract::start(), config),
        now: contract::start(),
        behind: Duration::ZERO,
        is_lazy: false,
        requests: BTreeMap::new(),
        ids: Vec::new(),
        minted: BTreeSet::new(),
        refusals: BTreeSet::new(),
        last: 0,
        acknowledged: 0,
        attachment: 0,
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
        if self.session.phase() == Phase::Closed {
            assert_eq!(self.session.poll_timeout(), None, "what is closed waits for nothing");
        }
        assert!(self.session.last_processed_seq() <= self.session.last_event_seq().max(self.last));
    }

    fn perform(&mut self, step: Step<'_>, now: Now) {
        let session = &mut self.session;
        let (deed, mut args) = match step {
            Step::Frame(frame) => return self.input(now, Bytes::copy_from_slice(frame)),
            Step::Deed(deed, args) => (deed, args),
        };
        let args = &mut args;
        match deed {
            b't' | b'T' => {
                let session_id = session.session_id().map_or("sess_1", |id| id.as_str());
                let known = Known { near: session.last_event_seq(), ids: &self.ids, session_id };
                let frame = frames::frame(*args, &known);
                self.input(now, Bytes::from(frame));
            }
            b'+' => {
                let after = contract::jump(args, self.now, session.poll_timeout());
                let is_late = args.flag();
                self.now = self.now.after(after);
                if !is_late {
                    contract::tick(&mut self.session, self.now, self.now);
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
            b's' => {
                let (agent, length) = (*args.pick(&["a", "a@1", ""]), 8 * usize::from(args.byte()));
                let input = RawJson::new(&"x".repeat(length)).expect("a string is JSON");
                let asked = session.submit(now, &JobSubmit::new(agent, input));
                self.asked(asked);
            }
            b'c' => {
                let asked = session.cancel(now, &job(args), args.flag().then(|| "r".to_owned()));
                self.asked(asked);
            }
            b'u' => {
                let asked = session.subscribe(now, &job(args), args.flag().then_some(3));
                self.asked(asked);
            }
            b'n' => drop(session.unsubscribe(now, &job(args))),
            b'l' => {
                let asked =
                    session.list_jobs(now, &JobQuery { limit: args.number().checked_sub(1), ..JobQuery::default() });
                self.asked(asked);
            }
            b'm' => {
                let seq = self.last.saturating_sub(args.number()) + args.number();
                let before = session.last_processed_seq();
                if session.mark_processed(now, seq).is_err() {
                    assert_eq!(session.last_processed_seq(), before, "an error changes nothing");
                }
            }
            b'k' => drop(session.flush_acks(now)),
            b'r' => {
                session.handle_timeout(now);
                let before = (session.phase(), session.attachment(), session.poll_timeout());
                match session.resume(now) {
                    Ok(()) => assert_eq!((session.phase(), session.attachment()), (Phase::Resuming, before.1 + 1)),
                    Err(_) => {
                        assert_eq!((session.phase(), session.attachment(), session.poll_timeout()), before);
                    }
                }
            }
            b'x' => session.handle_disconnect(now),
            b'a' => session.handle_activity(now),
            b'b' => session.handle_malformed(now, FrameFault::TooLarge { limit: 3 }),
            b'w' => session.set_credentials(Credentials::bearer("renewed-bearer")),
            b'q' => session.close(now, "normal"),
            b'#' => {}
            // Something that is no frame.
            _ => self.input(now, Bytes::copy_from_slice(args.rest())),
        }
    }

    fn input(&mut self, now: Now, frame: Bytes) {
        if let Ok(envelope) = Envelope::decode(frame.clone())
            && envelope.message_type() == Some(MessageType::JobError)
        {
            self.refusals.extend(envelope.event_seq());
        }
        self.session.handle_input(now, frame);
    }

    fn asked(&mut self, asked: Result<RequestId, SendError>) {
        if let Ok(request) = asked {
            assert_eq!(self.requests.insert(request, 0), None, "an id of a request twice");
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
            let Some(frame) = self.session.poll_transmit(self.now) else { return n };
            self.sent(frame);
        }
        most
    }

    fn sent(&mut self, frame: Bytes) {
        let envelope = Envelope::decode(frame.clone()).expect("all that is sent is an envelope");
        assert!(frame.len() <= self.limits.max_frame, "{} bytes", frame.len());
        assert!(!frame.contains(&b'\n') && !frame.contains(&b'\r'), "a line end in a frame");
        let message = envelope.message_type().expect("of a type that we know");
        let is_first = self.session.attachment() > self.attachment;
        self.attachment = self.session.attachment();
        assert_eq!(is_first, message == MessageType::SessionHello, "a hello first, and never again");
        let id = envelope.id().expect("with an id").into_owned();
        if message.is_request() {
            self.ids.push(id.clone());
        }
        assert!(self.minted.insert(id), "an id twice");
        if message == MessageType::SessionAck {
            let seq = envelope.payload::<Ack>().expect("a seq").last_processed_seq;
            assert!(seq <= self.session.last_processed_seq() && seq >= self.acknowledged, "{seq} is acknowledged");
            self.acknowledged = seq;
        }
    }

    fn poll(&mut self, most: u64) -> u64 {
        for n in 0..most {
            let Some(event) = self.session.poll_event() else { return n };
            self.told(&event);
        }
        most
    }

    fn told(&mut self, event: &ClientEvent) {
        assert_eq!(self.closed, 0, "{event:?} after Closed");
        if let Some(seq) = event.seq() {
            self.passed(self.last + 1, seq);
            self.last = seq;
        }
        let answered = match event {
            ClientEvent::Accepted { request, .. }
            | ClientEvent::Subscribed { request, .. }
            | ClientEvent::Cancelled { request, .. } => *request,
            ClientEvent::Jobs { request, .. } | ClientEvent::RequestFailed { request, .. } => Some(*request),
            ClientEvent::EventsLost { from, to } => {
                assert!(from <= to, "{from} to {to} are lost");
                self.passed(self.last + 1, *from);
                self.last = *to;
                None
            }
            ClientEvent::Closed(_) => {
                self.closed += 1;
                None
            }
            _ => None,
        };
        if let Some(request) = answered {
            let answers = self.requests.get_mut(&request).expect("it was asked");
            *answers += 1;
            assert_eq!(*answers, 1, "{request} is answered twice");
        }
    }

    /// Places without an event are those of refusals.
    fn passed(&self, from: u64, next: u64) {
        assert!(next >= from, "{next} after {}", from - 1);
        let silent = self.refusals.range(from..next).count() as u64;
        assert_eq!(silent, next - from, "a hole from {from} before {next}");
    }

    /// Whatever happened, it ends: what waits is within the limits, all is answered, `Closed` is told, once and last.
    fn end(mut self) {
        let mut copy = self.session.clone();
        let frames = std::iter::from_fn(|| copy.poll_transmit(self.now)).count();
        assert!(frames <= self.limits.control_frames + self.limits.unsent_pongs + 4, "{frames} frames wait");
        let waiting: Vec<usize> = std::iter::from_fn(|| copy.poll_event())
            .filter_map(|event| match event {
                ClientEvent::Event(delivery)
                | ClientEvent::Finished { delivery, .. }
                | ClientEvent::Failed { delivery, .. }
                | ClientEvent::Cancelled { delivery, .. } => Some(delivery.envelope().frame().len()),
                _ => None,
            })
            .collect();
        let bytes: usize = waiting.iter().sum();
        assert!(bytes <= self.limits.inbound_bytes || waiting.len() == 1, "{bytes} bytes wait");

        self.drain();
        contract::tick(&mut self.session, self.now, self.now);
        self.drain();
        contract::stays_drained(&self.session, self.now);

        self.session.close(self.now, "normal");
        self.drain();
        contract::ends(&mut self.session, self.now);
        self.drain();
        assert_eq!(self.session.phase(), Phase::Closed);
        assert_eq!(self.closed, 1, "`Closed` is told once");
        assert!(self.requests.values().all(|answers| *answers == 1), "each request is answered: {:?}", self.requests);
        assert!(self.session.submit(self.now, &JobSubmit::new("a", RawJson::null())).is_err());
    }
}
