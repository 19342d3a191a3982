//! Whatever a store gives back, a session is made of it or an error is; and a session that lived as a script says goes on as
//! the one that was restored of it.

use std::sync::Arc;
use std::time::Duration;

use arcp_proto::endpoint::{Adoption, Endpoint, EndpointConfig, JobState, SessionState};
use arcp_proto::wire::{
    Credentials, Envelope, ErrorCode, JobAccepted, JobId, JobQuery, JobResult, JobSubmit, PeerInfo, RawJson, WireError,
};
use arcp_proto::{
    AckPolicy, Client, ClientConfig, ClientEvent, ClientSnapshot, FeatureSet, GapPolicy, Instant, Limits, Now, Opening,
    Phase, RequestId, Role, Runtime, RuntimeConfig, RuntimeEvent, RuntimeSnapshot, SendError, Session, Timestamp,
};
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::contract;
use crate::frames::{self, Known, hello};
use crate::grants::{first_session, principal, token};
use crate::limits::small_runtime;
use crate::script::{self, Args, Step};
use crate::twins::{AHEAD, Twins, aged, later, minted};

const WELCOME: &str = r#"{"type":"session.welcome","session_id":"sess_1","payload":{"resume_token":"rt_1","capabilities":{"features":["heartbeat","ack","list_jobs","subscribe","lease_expires_at","cost.budget","model.use","provisioned_credentials","progress","result_chunk","agent_versions"]}}}"#;

/// The clock of another machine.
fn elsewhere() -> Now {
    Now::new(Instant::from_millis(17), Timestamp::from_unix_millis(1_778_701_033_000))
}

/// As a store gives it back.
fn stored<T: Serialize + DeserializeOwned>(snapshot: &T) -> T {
    let text = serde_json::to_string(snapshot).expect("a snapshot can be written");
    serde_json::from_str(&text).expect("and read")
}

fn client_config(args: &mut Args<'_>) -> ClientConfig {
    ClientConfig {
        gap_policy: *args.pick(&[GapPolicy::Resume, GapPolicy::Report]),
        ack_policy: *args.pick(&[AckPolicy::Manual, AckPolicy::OnPoll]),
        resume_overlap: args.number() % 2,
        give_up_after: *args.pick(&[None, Some(Duration::from_secs(50)), Some(Duration::from_secs(5_000))]),
        lagging_after: 10,
        ..ClientConfig::new(PeerInfo::new("my-app", "1.0.0"), Credentials::bearer("secret-bearer"))
    }
}

/// The first byte says what the rest is: a snapshot as text, of a client (`C`), a runtime (`R`) or an endpoint (`E`), and
/// lines of what a store has beside it; or the script of a client's life (`c`) or a runtime's (`r`).
pub(crate) fn check(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    match kind {
        b'C' => client_of(rest),
        b'R' => runtime_of(rest),
        b'E' => endpoint_of(rest),
        b'c' => client_twins(rest),
        b'r' => runtime_twins(rest),
        _ => {}
    }
}

fn lines(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    input.split(|byte| *byte == b'\n')
}

/// A session that was made of anything bears what comes.
fn live<R: Role>(session: &mut Session<R>, mut now: Now, frames: impl Iterator<Item = Bytes>) {
    for frame in frames {
        session.handle_input(now, frame);
        now = now.after(session.poll_timeout().map_or(Duration::from_secs(1), |at| at - now.mono));
        contract::tick(session, now, now);
        while session.poll_transmit(now).is_some() || session.poll_event().is_some() {}
    }
    session.handle_disconnect(now);
    contract::ends(session, now);
}

fn client_of(input: &[u8]) {
    let mut lines = lines(input);
    let Ok(snapshot) = serde_json::from_slice::<ClientSnapshot>(lines.next().unwrap_or_default()) else { return };
    let (now, written) = (elsewhere(), serde_json::to_value(&snapshot).expect("what was read can be written"));
    let Ok(mut session) = Session::<Client>::restore(now, client_config(&mut Args::default()), snapshot) else {
        return;
    };
    assert_eq!(session.phase(), Phase::Detached);
    assert_eq!(
        serde_json::to_value(session.snapshot()).expect("it can")["session"]["session_id"],
        written["session"]["session_id"]
    );
    let resumed = session.resume(now);
    assert!(session.poll_transmit(now).is_some() == resumed.is_ok());
    live(&mut session, now, lines.map(Bytes::copy_from_slice));
}

/// Each line is an event, whose number it says.
fn events<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<(u64, Bytes)> {
    let frames = lines.map(Bytes::copy_from_slice);
    frames
        .map(|frame| (Envelope::decode(frame.clone()).ok().and_then(|event| event.event_seq()).unwrap_or(1), frame))
        .collect()
}

fn runtime_of(input: &[u8]) {
    let mut lines = lines(input);
    let Ok(snapshot) = serde_json::from_slice::<RuntimeSnapshot>(lines.next().unwrap_or_default()) else { return };
    let (now, events) = (elsewhere(), events(lines));
    let config = small_runtime(&mut Args::default());
    let restored = Session::<Runtime>::restore(now, Arc::new(config), Arc::from([]), snapshot, events.clone());
    let Ok(mut session) = restored else { return };
    assert!(session.replay_floor() <= session.last_event_seq() && session.replay_len().0 <= events.len());
    // What it keeps it would be restored of.
    let kept: Vec<(u64, Bytes)> = session.events_since(0).collect();
    let config = Arc::new(RuntimeConfig::new(PeerInfo::new("r", "1")));
    let again = Session::<Runtime>::restore(now, config, Arc::from([]), stored(&session.snapshot()), kept);
    assert!(again.is_ok(), "{again:?}");
    let job = JobId::from("job_1");
    let _ = session.send_event(now, &job, "log", &RawJson::empty_object());
    let last = session.last_event_seq();
    let resumed = resume(&mut session, now, (1, 2), last, None, 0);
    if resumed {
        let _ = session.send_event(now, &job, "log", &RawJson::empty_object());
    }
    live(&mut session, now, events.into_iter().map(|(_, frame)| frame));
}

fn endpoint_of(input: &[u8]) {
    let mut lines = lines(input);
    let Ok(state) = serde_json::from_slice::<SessionState>(lines.next().unwrap_or_default()) else { return };
    let (mut jobs, mut frames) = (Vec::new(), Vec::new());
    for line in lines {
        match serde_json::from_slice::<JobState>(line) {
            Ok(job) => jobs.push(job),
            Err(_) => frames.push(line),
        }
    }
    let mut now = elsewhere();
    let mut endpoint = Endpoint::new(EndpointConfig::new(small_runtime(&mut Args::default())));
    let adoption = Adoption { generation: 2, state, events: events(frames.into_iter()), jobs };
    for adoption in [adoption.clone(), Adoption { generation: 3, ..adoption }] {
        if let Ok(adopted) = endpoint.adopt(now, adoption) {
            assert!(endpoint.session(&adopted.session).is_some());
            for job in adopted.jobs {
                let _ = endpoint.publish(now, &job, "log", &RawJson::empty_object());
                let _ = endpoint.finish(now, &job, JobResult::inline(RawJson::null()));
            }
        }
        while endpoint.poll_event().is_some() {}
    }
    while let Some(at) = endpoint.poll_timeout() {
        now = Now::new(at, now.wall);
        endpoint.handle_timeout(now);
        assert!(endpoint.poll_timeout().is_none_or(|next| next > now.mono));
    }
    assert_eq!(endpoint.session_count(), 0, "at the end of time no session is kept");
}

/// A peer's text that looks like an id of ours is not told from one where the two are compared.
fn may_name_an_id(frame: &[u8]) -> bool {
    frame.windows(2).any(|part| matches!(part, b"_c" | b"_r" | b"\\u"))
}

fn names_no_id(step: &Step<'_>) -> bool {
    !matches!(step, Step::Frame(frame) if may_name_an_id(frame))
}

/// A frame comes, or time goes on; any other deed is the caller's.
fn goes_on<'a, R: Role>(session: &mut Session<R>, now: &mut Now, step: Step<'a>) -> Option<(u8, Args<'a>)> {
    match step {
        Step::Frame(frame) => session.handle_input(*now, Bytes::copy_from_slice(frame)),
        Step::Deed(b'+', mut args) => {
            *now = now.after(contract::jump(&mut args, *now, session.poll_timeout()));
            session.handle_timeout(*now);
        }
        Step::Deed(deed, args) => return Some((deed, args)),
    }
    None
}

/// The same of both, at one time.
fn both_go_on<'a, R: Role>(twins: &mut Twins<R>, step: Step<'a>) -> Option<(u8, Args<'a>)> {
    match step {
        Step::Frame(frame) => twins.both(|session, now| session.handle_input(now, Bytes::copy_from_slice(frame))),
        Step::Deed(b'+', mut args) => {
            twins.wait(contract::jump(&mut args, twins.now, twins.original.poll_timeout()));
            twins.both(|session, now| session.handle_timeout(now));
        }
        Step::Deed(deed, args) => return Some((deed, args)),
    }
    None
}

// A client's life.

fn client_life(args: &mut Args<'_>) -> (ClientConfig, Session<Client>) {
    let config = client_config(args);
    let mut session = Session::connect(contract::start(), config.clone());
    session.handle_input(contract::start(), Bytes::from(WELCOME));
    let restored = Session::<Client>::restore(contract::start(), config.clone(), aged(&session.snapshot()));
    (config, restored.expect("of a session"))
}

/// Something that is done to a client alike, whatever its ids are.
fn use_client(session: &mut Session<Client>, now: Now, deed: u8, mut args: Args<'_>, ids: &[String]) {
    let job = JobId::from(*args.pick(&["job_0", "job_1"]));
    let _ = match deed {
        b't' => {
            let near = session.last_event_seq();
            let frame = frames::frame(args, &Known { near, ids, session_id: "sess_1" });
            return session.handle_input(now, Bytes::from(frame));
        }
        b's' => session.submit(now, &JobSubmit::new("a", RawJson::null())),
        b'c' => session.cancel(now, &job, None),
        b'u' => session.subscribe(now, &job, None),
        b'l' => session.list_jobs(now, &JobQuery::default()),
        b'm' => {
            let _ = session.mark_processed(now, session.last_event_seq().saturating_sub(args.number()));
            return;
        }
        b'k' => return drop(session.flush_acks(now)),
        b'x' => return session.handle_disconnect(now),
        b'r' => {
            let _ = session.resume(now);
            return;
        }
        b'W' => return session.handle_input(now, Bytes::from(WELCOME)),
        b'q' => return session.close(now, "r"),
        _ => return,
    };
}

fn request_ids(frames: &[Bytes]) -> Vec<String> {
    let envelopes = frames.iter().filter_map(|frame| Envelope::decode(frame.clone()).ok());
    envelopes.filter_map(|envelope| envelope.id().map(|id| id.into_owned())).collect()
}

fn client_twins(script: &[u8]) {
    let mut steps = script::steps(script);
    let Some(Step::Deed(_, mut args)) = steps.next() else { return };
    let (config, mut session) = client_life(&mut args);
    let (mut now, mut ids) = (contract::start(), Vec::new());
    let drained = |session: &mut Session<Client>, now| {
        let sent: Vec<Bytes> = std::iter::from_fn(|| session.poll_transmit(now)).collect();
        while session.poll_event().is_some() {}
        sent
    };
    let mut steps = steps.filter(names_no_id);
    for step in steps.by_ref().take_while(|step| !matches!(step, Step::Deed(b'Z', _))) {
        if let Some((deed, args)) = goes_on(&mut session, &mut now, step) {
            use_client(&mut session, now, deed, args, &ids);
        }
        ids.extend(request_ids(&drained(&mut session, now)));
    }
    session.handle_disconnect(now);
    session.handle_timeout(now);
    drained(&mut session, now);
    let _ = session.mark_processed(now, session.last_event_seq());
    if session.phase() != Phase::Detached || session.last_processed_seq() != session.last_event_seq() {
        return;
    }
    let snapshot = session.snapshot();
    let restored = Session::<Client>::restore(elsewhere(), config, stored(&snapshot)).expect("of a session");
    let mut twins = Twins::new(session, restored, (now, elsewhere()), (minted(&snapshot), AHEAD), 'c');
    // Requests from before are none of the restored one's.
    let (mut ids, mut there_ids): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for step in steps {
        let there = twins.there();
        if let Some((deed, args)) = both_go_on(&mut twins, step) {
            use_client(&mut twins.original, twins.now, deed, args, &ids);
            use_client(&mut twins.restored, there, deed, args, &there_ids);
        }
        let new = request_ids(&twins.transmit());
        there_ids.extend(new.iter().map(|id| later(id, AHEAD)));
        ids.extend(new);
        let told = |session: &mut Session<Client>| -> Vec<String> {
            std::iter::from_fn(|| session.poll_event()).map(|event: ClientEvent| format!("{event:?}")).collect()
        };
        let (one, other) = (told(&mut twins.original), told(&mut twins.restored));
        let other: Vec<String> = other.iter().map(|text| twins.normal(text.as_bytes())).collect();
        assert_eq!(one, other);
        twins.compare();
        let seen = |session: &Session<Client>| {
            (session.last_event_seq(), session.last_processed_seq(), session.info().cloned())
        };
        assert_eq!(seen(&twins.original), seen(&twins.restored));
    }
}

// A runtime's life.

fn resume(
    session: &mut Session<Runtime>,
    now: Now,
    (presented, next): (u64, u64),
    last: u64,
    features: Option<&FeatureSet>,
    who: u8,
) -> bool {
    let frame = hello(features.unwrap_or(&FeatureSet::all()), 0, Some((presented, last)));
    match Opening::parse(Bytes::from(frame), &Limits::default()) {
        Ok(Opening::Resume(attempt)) => session.resume(now, attempt, &principal(who), token(next)).is_ok(),
        _ => false,
    }
}

/// Of a runtime, beside the session: the last token, what was asked, and whether an event waits for `Writable`.
#[derive(Default)]
struct Desk {
    token: u64,
    asked: Vec<RequestId>,
    is_blocked: bool,
}

/// Something that is done to a runtime; says what came of it.
fn use_runtime(session: &mut Session<Runtime>, now: Now, deed: u8, mut args: Args<'_>, desk: &mut Desk) -> String {
    let job = JobId::from(*args.pick(&["job_0", "job_1"]));
    match deed {
        b't' => {
            let known = Known { near: session.acked_seq(), ids: &[], session_id: "sess_1" };
            session.handle_input(now, Bytes::from(frames::frame(args, &known)));
            String::new()
        }
        b's' | b'f' => {
            let (kind, body) = (*args.pick(&["log", "progress"]), "x".repeat(8 * usize::from(args.byte())));
            let body = [("message", body)].into_iter().collect::<std::collections::BTreeMap<_, _>>();
            let sent = match deed {
                b's' => session.send_event(now, &job, kind, &body),
                _ => session.send_result(now, &job, JobResult::inline(RawJson::null())),
            };
            desk.is_blocked |= sent == Err(SendError::Blocked);
            format!("{sent:?}")
        }
        b'w' => {
            let is_yes = args.flag();
            let answers = desk.asked.drain(..).map(|request| match is_yes {
                true => session.accept_job(now, request, JobAccepted::new(job.clone(), "a@1", now.wall)),
                false => session.fail_request(now, request, WireError::new(ErrorCode::Timeout, "m")),
            });
            answers.map(|answer| format!("{answer:?}")).collect()
        }
        b'r' => {
            let (back, last) = (u64::from(args.below(3)), u64::from(args.byte()));
            let highest = session.last_event_seq();
            let last = if last == 1 { session.replay_floor() } else { highest.saturating_sub(last / 2) + last % 2 };
            let (presented, who) = (desk.token.saturating_sub(back), if args.below(8) == 7 { 7 } else { 0 });
            let features = frames::features(&mut args);
            let taken = resume(session, now, (presented, desk.token + 1), last, Some(&features), who);
            desk.token += u64::from(taken);
            taken.to_string()
        }
        b'x' => {
            session.handle_disconnect(now);
            String::new()
        }
        b'q' => {
            session.shutdown(now, "r");
            String::new()
        }
        _ => String::new(),
    }
}

fn told(session: &mut Session<Runtime>, desk: &mut Desk) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(event) = session.poll_event() {
        match &event {
            RuntimeEvent::Submit { request, .. }
            | RuntimeEvent::Cancel { request, .. }
            | RuntimeEvent::Subscribe { request, .. }
            | RuntimeEvent::ListJobs { request, .. } => desk.asked.push(*request),
            // It is not in a snapshot.
            RuntimeEvent::Writable => continue,
            _ => {}
        }
        told.push(format!("{event:?}"));
    }
    told
}

fn runtime_twins(script: &[u8]) {
    let mut steps = script::steps(script);
    let Some(Step::Deed(_, args)) = steps.next() else { return };
    let (first, config) = first_session(args, None);
    let config = Arc::new(config);
    let restored = |now, snapshot, session: &Session<Runtime>| {
        let events: Vec<_> = session.events_since(0).collect();
        Session::<Runtime>::restore(now, Arc::clone(&config), Arc::from([]), snapshot, events).expect("of a session")
    };
    let (mut now, mut desk) = (contract::start(), Desk { token: 1, ..Desk::default() });
    let mut session = restored(now, aged(&first.snapshot()), &first);
    let drained = |session: &mut Session<Runtime>, now| while session.poll_transmit(now).is_some() {};
    let mut steps = steps.filter(names_no_id);
    for step in steps.by_ref().take_while(|step| !matches!(step, Step::Deed(b'Z', _))) {
        if let Some((deed, args)) = goes_on(&mut session, &mut now, step) {
            use_runtime(&mut session, now, deed, args, &mut desk);
        }
        drained(&mut session, now);
        told(&mut session, &mut desk);
    }
    // Open requests end with the process.
    use_runtime(&mut session, now, b'w', Args::default(), &mut desk);
    drained(&mut session, now);
    session.handle_disconnect(now);
    session.handle_timeout(now);
    told(&mut session, &mut desk);
    use_runtime(&mut session, now, b'w', Args::default(), &mut desk);
    if session.phase() != Phase::Detached || desk.is_blocked {
        return;
    }
    let snapshot = session.snapshot();
    let twin = restored(elsewhere(), stored(&snapshot), &session);
    let mut twins = Twins::new(session, twin, (now, elsewhere()), (minted(&snapshot), 0), 'r');
    let mut desks = [Desk { token: desk.token, ..Desk::default() }, Desk { token: desk.token, ..Desk::default() }];
    for step in steps {
        if let Some((deed, args)) = both_go_on(&mut twins, step) {
            let (mut outcomes, mut desks) = (Vec::new(), desks.iter_mut());
            twins.both(|session, now| {
                let desk = desks.next().expect("there are two");
                outcomes.push(use_runtime(session, now, deed, args, desk));
            });
            assert_eq!(outcomes[0], outcomes[1]);
        }
        twins.transmit();
        let [desk, other] = &mut desks;
        assert_eq!(told(&mut twins.original, desk), told(&mut twins.restored, other));
        twins.compare();
        let seen = |session: &Session<Runtime>| {
            let seqs = (session.last_event_seq(), session.acked_seq(), session.replay_floor());
            (seqs, session.replay_len(), session.send_credit())
        };
        assert_eq!(seen(&twins.original), seen(&twins.restored));
    }
}
