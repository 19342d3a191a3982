//! The limits of a session under peers that press against them (D43).

use arcp_proto::wire::{ErrorCode, JobQuery, JobSubmit, RawJson, WireError};
use arcp_proto::{
    Client, ClientConfig, ClientEvent, DetachReason, FeatureSet, GapPolicy, Limits, Now, Opening, Phase,
    RefusedBecause, RequestFailure, RequestId, ResumeError, Role, Runtime, RuntimeEvent, SendError, Session,
};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::pair::{
    client_alone, client_config, client_events, feed, job, log_frame, open, principal, runtime_alone, runtime_config,
    runtime_events, secs, sent, sent_json, seq_of, serving, start, token, types, welcome,
};

fn open_with(limits: Limits) -> Session<Client> {
    client_alone(client_config().with_limits(limits))
}

fn serving_with(limits: Limits) -> Session<Runtime> {
    runtime_alone(runtime_config().with_limits(limits), FeatureSet::all())
}

fn message(name: &str, id: &str, payload: Value) -> Value {
    json!({"arcp": "1.1", "id": id, "type": name, "session_id": "sess_1", "payload": payload})
}

fn ping(nonce: u64) -> Value {
    message("session.ping", "p", json!({"nonce": format!("n{nonce}")}))
}

/// What a runtime answers by an error of always the same length, and does not count.
fn unknown() -> Value {
    message("session.unknown", "u", json!({}))
}

fn request_of(event: &RuntimeEvent) -> Option<RequestId> {
    match event {
        RuntimeEvent::Submit { request, .. } | RuntimeEvent::ListJobs { request, .. } => Some(*request),
        _ => None,
    }
}

fn last_detach(events: &[RuntimeEvent]) -> Option<&DetachReason> {
    events.iter().rev().find_map(|event| match event {
        RuntimeEvent::Detached(reason) => Some(reason),
        _ => None,
    })
}

fn come_back(session: &mut Session<Runtime>, n: u64) -> Result<(), RefusedBecause> {
    let hello = json!({"id": "h", "type": "session.hello", "payload": {
        "auth": {"scheme": "bearer", "token": "secret-bearer"}, "resume_token": token(n),
    }});
    let opening = Opening::parse(Bytes::from(hello.to_string()), &Limits::default()).unwrap();
    let Opening::Resume(attempt) = opening else { panic!("it has a token") };
    session.resume(start(), attempt, &principal(), token(n + 1)).map(drop).map_err(|refused| refused.reason())
}

// The control lane.

#[test]
fn d43_256_control_frames_may_wait_and_the_next_costs_the_transport() {
    for (count, holds) in [(255, true), (256, true), (257, false)] {
        let mut session = serving();
        for _ in 0..count {
            feed(&mut session, start(), &unknown());
        }
        if holds {
            assert_eq!(session.phase(), Phase::Open);
            assert_eq!(sent(&mut session, start()).len(), count);
            continue;
        }
        assert_eq!(last_detach(&runtime_events(&mut session)), Some(&DetachReason::ControlOverflow));
        assert!(sent(&mut session, start()).is_empty(), "the lane is dropped, and there is nothing to say");
        come_back(&mut session, 1).unwrap();
        assert_eq!(types(&sent_json(&mut session, start())), ["session.welcome"]);
    }
}

#[test]
fn d43_what_was_sent_makes_room() {
    let mut session = serving();
    for _ in 0..2_000 {
        feed(&mut session, start(), &unknown());
        assert!(session.poll_transmit(start()).is_some());
        runtime_events(&mut session);
    }
    assert_eq!(session.phase(), Phase::Open);
}

#[test]
fn d43_the_control_lane_is_bounded_in_bytes_exactly() {
    let mut session = serving();
    feed(&mut session, start(), &unknown());
    let len = sent(&mut session, start())[0].len();
    for (spare, holds) in [(0, true), (1, false)] {
        // Ids grow with their number: 9 answers have ids of one length.
        let limits = Limits { control_bytes: 8 * len - spare, ..Limits::default() };
        let mut session = serving_with(limits);
        for _ in 0..8 {
            feed(&mut session, start(), &unknown());
        }
        assert_eq!(session.phase() == Phase::Open, holds, "{spare} bytes short");
    }
}

#[test]
fn d43_what_was_sent_makes_room_for_as_many_bytes_and_no_more() {
    let mut session = serving();
    feed(&mut session, start(), &unknown());
    let len = sent(&mut session, start())[0].len();
    // For two, however long their ids become.
    let mut session = serving_with(Limits { control_bytes: 2 * len + len / 2, ..Limits::default() });
    feed(&mut session, start(), &unknown());
    for _ in 0..50 {
        feed(&mut session, start(), &unknown());
        runtime_events(&mut session);
        assert!(session.poll_transmit(start()).is_some());
    }
    feed(&mut session, start(), &unknown());
    assert_eq!(session.phase(), Phase::Open);
    feed(&mut session, start(), &unknown());
    assert_eq!(last_detach(&runtime_events(&mut session)), Some(&DetachReason::ControlOverflow));
}

#[test]
fn d43_a_mebibyte_of_answers_may_wait() {
    let mut session = serving();
    let mut waiting = 0;
    for n in 0..20 {
        feed(&mut session, start(), &message("job.submit", &format!("m{n}"), json!({"agent": "a"})));
        let request = request_of(&runtime_events(&mut session)[0]).unwrap();
        let error = WireError::new(ErrorCode::InternalError, "x".repeat(100_000));
        session.fail_request(start(), request, error).unwrap();
        if session.phase() != Phase::Open {
            break;
        }
        waiting += 1;
    }
    assert_eq!(waiting, 10);
    assert_eq!(last_detach(&runtime_events(&mut session)), Some(&DetachReason::ControlOverflow));
}

#[test]
fn d43_a_single_frame_always_has_room() {
    let mut session = serving_with(Limits { control_bytes: 1, ..Limits::default() });
    for _ in 0..10 {
        feed(&mut session, start(), &unknown());
        assert_eq!(sent(&mut session, start()).len(), 1);
    }
    assert_eq!(session.phase(), Phase::Open);
}

#[test]
fn d43_of_unsent_pongs_only_the_last_16_are_kept_in_a_ping_flood() {
    fn flood<R: Role>(session: &mut Session<R>) {
        for nonce in 0..16 {
            feed(session, start(), &ping(nonce));
        }
        let mut both = session.clone();
        assert_eq!(sent(session, start()).len(), 16);
        for nonce in 16..10_000 {
            feed(&mut both, start(), &ping(nonce));
        }
        assert_eq!(both.phase(), Phase::Open);
        let nonces: Vec<_> =
            sent_json(&mut both, start()).iter().map(|pong| pong["payload"]["ping_nonce"].clone()).collect();
        let expected: Vec<_> = (9_984..10_000).map(|nonce| json!(format!("n{nonce}"))).collect();
        assert_eq!(nonces, expected);
    }
    flood(&mut serving());
    flood(&mut open());
}

/// Pongs have a place of their own beside the lane, so that a heartbeat never costs the transport.
#[test]
fn d43_a_full_lane_and_16_pongs_are_borne_side_by_side() {
    let mut session = serving();
    for _ in 0..256 {
        feed(&mut session, start(), &unknown());
    }
    for nonce in 0..100 {
        feed(&mut session, start(), &ping(nonce));
    }
    session.handle_activity(start().after(secs(30)));
    session.handle_timeout(start().after(secs(30)));
    assert_eq!(session.phase(), Phase::Open);
    let mut drained = session.clone();
    let frames = sent_json(&mut drained, start().after(secs(30)));
    let count = |name: &str| types(&frames).iter().filter(|frame| **frame == name).count();
    assert_eq!((count("session.pong"), count("session.ping"), count("session.error")), (16, 1, 256));
    feed(&mut session, start(), &unknown());
    assert_eq!(last_detach(&runtime_events(&mut session)), Some(&DetachReason::ControlOverflow));
    assert!(sent(&mut session, start()).is_empty());
}

#[test]
fn d43_an_unsent_ping_is_not_repeated() {
    fn wait<R: Role>(session: &mut Session<R>) {
        for step in 1..=100 {
            let now = start().after(secs(10 * step));
            session.handle_activity(now);
            session.handle_timeout(now);
        }
        let frames = sent_json(session, start().after(secs(1_000)));
        assert_eq!(types(&frames), ["session.ping"]);
    }
    wait(&mut serving());
    wait(&mut open());
}

#[test]
fn d43_a_clients_full_lane_does_not_keep_it_from_living() {
    let mut session = open();
    for _ in 0..256 {
        session.list_jobs(start(), &JobQuery::default()).unwrap();
    }
    feed(&mut session, start(), &ping(0));
    assert_eq!(session.phase(), Phase::Open);
    let frames = sent_json(&mut session, start());
    assert_eq!((types(&frames)[0], frames.len()), ("session.pong", 257));
}

// The client's own queue.

#[test]
fn d43_a_clients_queue_is_bounded_and_a_refusal_changes_nothing() {
    let mut session = open_with(Limits { open_requests: 10_000, ..Limits::default() });
    for _ in 0..256 {
        session.list_jobs(start(), &JobQuery::default()).unwrap();
    }
    assert_eq!(session.list_jobs(start(), &JobQuery::default()), Err(SendError::QueueFull));
    assert_eq!(session.cancel(start(), &job(), None), Err(SendError::QueueFull));
    assert_eq!(session.unsubscribe(start(), &job()), Err(SendError::QueueFull));
    assert_eq!(sent(&mut session, start()).len(), 256);
    session.list_jobs(start(), &JobQuery::default()).unwrap();
    session.handle_disconnect(start());
    let failed = client_events(&mut session)
        .iter()
        .filter(|e| matches!(e, ClientEvent::RequestFailed { failure: RequestFailure::Disconnected, .. }))
        .count();
    assert_eq!(failed, 257, "what was refused is not open");
}

#[test]
fn d43_a_clients_queue_is_bounded_in_bytes() {
    let mut session = open();
    let large = JobSubmit::new("a", RawJson::new(&"x".repeat(300_000)).unwrap());
    for _ in 0..3 {
        session.submit(start(), &large).unwrap();
    }
    assert_eq!(session.submit(start(), &large), Err(SendError::QueueFull));
    assert!(session.submit(start(), &JobSubmit::new("a", RawJson::null())).is_ok(), "a small one fits");
    let _ = sent(&mut session, start());
    session.submit(start(), &large).unwrap();
}

#[test]
fn d43_a_client_may_have_256_requests_open() {
    let mut session = open();
    let mut requests = Vec::new();
    for n in 0..256 {
        let request = match n % 4 {
            0 => session.submit(start(), &JobSubmit::new("a", RawJson::null())),
            1 => session.list_jobs(start(), &JobQuery::default()),
            2 => session.cancel(start(), &job(), None),
            _ => session.subscribe(start(), &job(), None),
        };
        requests.push(request.unwrap());
        let _ = sent(&mut session, start());
    }
    assert_eq!(session.list_jobs(start(), &JobQuery::default()), Err(SendError::TooManyRequests(256)));
    assert!(session.unsubscribe(start(), &job()).is_ok(), "that is no request");
    let _ = sent(&mut session, start());
    feed(&mut session, start(), &message("session.error", "e", json!({"code": "INTERNAL_ERROR", "message": "m"})));
    let events = client_events(&mut session);
    assert!(matches!(events[..], [ClientEvent::RequestFailed { request, .. }] if request == requests[0]));
    session.list_jobs(start(), &JobQuery::default()).unwrap();
    assert_eq!(session.list_jobs(start(), &JobQuery::default()), Err(SendError::TooManyRequests(256)));
}

// The runtime's open requests.

#[test]
fn d43_a_runtime_takes_256_requests_at_once_and_refuses_more_by_name() {
    let mut session = serving();
    let mut requests = Vec::new();
    for n in 0..256 {
        let name = if n % 2 == 0 { "job.submit" } else { "session.list_jobs" };
        feed(&mut session, start(), &message(name, &format!("m{n}"), json!({"agent": "a"})));
        requests.push(request_of(&runtime_events(&mut session)[0]).unwrap());
    }
    assert!(sent(&mut session, start()).is_empty());
    for n in 256..1_000 {
        feed(&mut session, start(), &message("session.list_jobs", &format!("m{n}"), json!({})));
        assert!(runtime_events(&mut session).iter().all(|event| request_of(event).is_none()));
        let frames = sent_json(&mut session, start());
        assert_eq!(types(&frames), ["session.error"]);
        let payload = &frames[0]["payload"];
        assert_eq!((&payload["code"], &payload["retryable"]), (&json!("INTERNAL_ERROR"), &json!(true)));
        assert_eq!(payload["request_id"], format!("m{n}"));
    }
    assert_eq!(session.phase(), Phase::Open, "it does not count as a violation");
    session.fail_request(start(), requests[0], WireError::new(ErrorCode::InternalError, "m")).unwrap();
    feed(&mut session, start(), &message("session.list_jobs", "again", json!({})));
    assert!(runtime_events(&mut session).iter().any(|event| request_of(event).is_some()));
}

#[test]
fn d43_a_list_jobs_flood_ends_in_a_lost_transport_and_never_in_memory() {
    // Nobody reads the answers.
    let mut session = serving();
    for n in 0..10_000 {
        feed(&mut session, start(), &message("session.list_jobs", &format!("m{n}"), json!({})));
    }
    let events = runtime_events(&mut session);
    assert_eq!(last_detach(&events), Some(&DetachReason::ControlOverflow));
    assert!(events.len() < 1_000, "{}", events.len());
    // The answers are read, but the application sleeps.
    let mut session = serving_with(Limits { inbound_bytes: 1 << 20, ..Limits::default() });
    for n in 0..10_000 {
        feed(&mut session, start(), &message("session.list_jobs", &format!("m{n}"), json!({})));
        let _ = sent(&mut session, start());
    }
    let events = runtime_events(&mut session);
    assert_eq!(last_detach(&events), Some(&DetachReason::InboundOverflow));
    assert!(events.len() < 8_300, "{}", events.len());
}

// What waits to be polled.

/// An event of exactly that many bytes.
fn event_of(seq: u64, len: usize) -> Bytes {
    let mut frame = log_frame(seq);
    frame["payload"]["body"]["message"] = json!("");
    let bare = frame.to_string().len();
    frame["payload"]["body"]["message"] = json!("m".repeat(len - bare));
    let frame = Bytes::from(frame.to_string());
    assert_eq!(frame.len(), len);
    frame
}

#[test]
fn d43_input_is_not_wanted_from_half_of_the_limit_on() {
    let mut session = open();
    let len = 1 << 18;
    let mut seq = 0;
    while session.wants_input() {
        seq += 1;
        session.handle_input(start(), event_of(seq, len));
        assert_eq!(session.phase(), Phase::Open);
    }
    // Each costs a little beside its frame: the 32nd reaches 8 MiB.
    assert_eq!(seq, 32);
    assert!(session.poll_event().is_some());
    assert!(session.wants_input(), "31 are less than half");
    session.handle_input(start(), event_of(33, len));
    assert!(!session.wants_input());
    client_events(&mut session);
    assert!(session.wants_input());
}

#[test]
fn d43_beyond_the_limit_the_transport_is_given_up_and_the_frame_is_not_received() {
    let mut session = open();
    let len = 1 << 18;
    let mut seq = 0;
    while session.phase() == Phase::Open {
        seq += 1;
        session.handle_input(start(), event_of(seq, len));
        assert!(seq < 100);
    }
    assert_eq!(seq, 64, "63 and their cost fit in 16 MiB");
    assert_eq!(session.last_event_seq(), 63);
    assert_eq!(session.resume(start()), Err(ResumeError::EventsPending));
    let events = client_events(&mut session);
    assert_eq!(events.iter().filter_map(seq_of).collect::<Vec<_>>(), (1..=63).collect::<Vec<_>>());
    assert!(matches!(events.last(), Some(ClientEvent::Detached(DetachReason::InboundOverflow))));
    assert!(sent(&mut session, start()).is_empty());
    session.resume(start()).unwrap();
    let hello = sent_json(&mut session, start()).remove(0);
    assert_eq!(hello["payload"]["last_event_seq"], 63, "from the cursor");
    feed(&mut session, start(), &welcome(FeatureSet::all()));
    session.handle_input(start(), event_of(64, len));
    assert_eq!(client_events(&mut session).iter().filter_map(seq_of).collect::<Vec<_>>(), [64]);
}

#[test]
fn d43_one_frame_is_always_taken_while_nothing_waits() {
    let mut session = open_with(Limits { inbound_bytes: 100, ..Limits::default() });
    for seq in 1..=5 {
        session.handle_input(start(), event_of(seq, 1_000));
        assert_eq!(client_events(&mut session).iter().filter_map(seq_of).collect::<Vec<_>>(), [seq]);
    }
}

/// An application that polls all that it is told keeps a transport that it cannot make anew.
#[test]
fn d43_what_waits_to_be_put_in_order_costs_no_transport_that_is_polled() {
    let config = ClientConfig { gap_policy: GapPolicy::Report, ..client_config() };
    let mut session = client_alone(config);
    session.handle_input(start(), event_of(1, 1_000));
    let mut told = Vec::new();
    for seq in 3..=60 {
        session.handle_input(start(), event_of(seq, 1 << 20));
        told.extend(client_events(&mut session).iter().filter_map(seq_of));
        assert_eq!(session.phase(), Phase::Open, "at {seq}");
    }
    assert_eq!(told, [1].into_iter().chain(3..=60).collect::<Vec<_>>());
}

/// A hole is given up before the transport is, and is resumed or reported like any other.
#[test]
fn d43_what_waits_to_be_put_in_order_counts() {
    for policy in [GapPolicy::Resume, GapPolicy::Report] {
        let mut session = client_alone(ClientConfig { gap_policy: policy, ..client_config() });
        session.handle_input(start(), event_of(1, 1 << 18));
        let mut seq = 2;
        while session.last_event_seq() == 1 && session.phase() == Phase::Open {
            seq += 1;
            session.handle_input(start(), event_of(seq, 1 << 20));
            assert!(seq < 64);
        }
        // At half of the limit, so that what is let go of finds its place.
        assert!((8..=10).contains(&seq), "{seq}");
        while session.phase() == Phase::Open {
            seq += 1;
            session.handle_input(start(), event_of(seq, 1 << 20));
            assert!(seq < 64);
        }
        let events = client_events(&mut session);
        let lost = events.iter().filter(|event| matches!(event, ClientEvent::EventsLost { from: 2, to: 2 })).count();
        let (expected, reason) = match policy {
            GapPolicy::Resume => (0, DetachReason::Gap),
            GapPolicy::Report => (1, DetachReason::InboundOverflow),
        };
        assert_eq!(lost, expected);
        assert!(matches!(events.last(), Some(ClientEvent::Detached(last)) if *last == reason), "{reason:?}");
        session.resume(start()).unwrap();
    }
}

#[test]
fn d43_a_runtimes_inbox_is_bounded_too() {
    let limits = Limits { inbound_bytes: 1 << 20, open_requests: 10_000, ..Limits::default() };
    let mut session = serving_with(limits);
    let vendor = |n: u64| message("x-vendor.thing", &format!("v{n}"), json!({"pad": "p".repeat(10_000)}));
    let mut taken = 0;
    let mut wanted = 0;
    while session.phase() == Phase::Open {
        wanted += u64::from(session.wants_input());
        feed(&mut session, start(), &vendor(taken));
        taken += 1;
        assert!(taken < 1_000);
    }
    assert!((50..=53).contains(&wanted), "{wanted}");
    assert!((101..=104).contains(&taken), "{taken}");
    assert_eq!(come_back(&mut session, 1), Err(RefusedBecause::Busy));
    let events = runtime_events(&mut session);
    assert_eq!(last_detach(&events), Some(&DetachReason::InboundOverflow));
    assert_eq!(events.len() as u64, taken, "the last was not received, and the loss is told");
    come_back(&mut session, 1).unwrap();
}

#[test]
fn d43_a_reader_that_pauses_is_not_lost_to_the_silence_that_it_makes() {
    fn pause<R: Role>(session: &mut Session<R>, fill: impl Fn(&mut Session<R>)) {
        fill(session);
        assert!(!session.wants_input());
        for step in 1..=100 {
            session.handle_timeout(start().after(secs(10 * step)));
            let _ = sent(session, start().after(secs(10 * step)));
        }
        assert_eq!(session.phase(), Phase::Open);
        while session.poll_event().is_some() {}
        assert!(session.wants_input());
        for calls in [10, 20, 30, 40, 50, 59] {
            session.handle_timeout(start().after(secs(1_000 + calls)));
            let _ = sent(session, start().after(secs(1_000 + calls)));
        }
        assert_eq!(session.phase(), Phase::Open);
        session.handle_timeout(start().after(secs(1_000 + 60)));
        assert_eq!(session.phase(), Phase::Detached, "counted from the last call made while it paused");
    }
    let limits = Limits { inbound_bytes: 4_000, ..Limits::default() };
    pause(&mut open_with(limits.clone()), |session| session.handle_input(start(), event_of(1, 2_500)));
    pause(&mut serving_with(limits), |session| {
        feed(session, start(), &message("x-vendor.thing", "v", json!({"pad": "p".repeat(2_500)})));
    });
}

// Peers that press.

#[test]
fn d43_an_ack_storm_leaves_nothing_behind() {
    let mut session = serving();
    for _ in 0..100 {
        session.send_event(start(), &job(), "log", &json!({})).unwrap();
    }
    let _ = sent(&mut session, start());
    for n in 0..30_000u64 {
        let seq = n.wrapping_mul(7_919) % 300;
        feed(&mut session, start(), &message("session.ack", "a", json!({"last_processed_seq": seq})));
    }
    assert_eq!((session.acked_seq(), session.phase()), (100, Phase::Open));
    assert!(runtime_events(&mut session).len() <= 2);
    assert!(sent(&mut session, start()).is_empty());
}

#[test]
fn d43_hello_bombs_cost_one_transport_each_and_no_session() {
    let mut session = serving();
    for _ in 0..10_000 {
        feed(
            &mut session,
            start(),
            &message("session.hello", "h", json!({"auth": {"scheme": "bearer", "token": "t"}})),
        );
    }
    assert_eq!(types(&sent_json(&mut session, start())), ["session.bye", "session.error"]);
    assert_eq!(runtime_events(&mut session).len(), 2);
    come_back(&mut session, 1).unwrap();
}

#[test]
fn d9_a_first_frame_over_64_kib_is_refused_unread() {
    let hello = |pad: usize| {
        let payload = json!({"auth": {"scheme": "bearer", "token": "t"}, "pad": "p".repeat(pad)});
        Bytes::from(message("session.hello", "h", payload).to_string())
    };
    let bare = hello(0).len();
    assert!(Opening::parse(hello((64 << 10) - bare), &Limits::default()).is_ok());
    let refusal = Opening::parse(hello((64 << 10) - bare + 1), &Limits::default()).unwrap_err();
    assert_eq!(refusal.error().code, ErrorCode::InvalidRequest);
}

#[test]
fn d39_a_mebibyte_of_brackets_is_refused_wherever_it_comes() {
    let shapes: [Vec<u8>; 3] = [
        vec![b'['; 1 << 20],
        format!("{{\"type\":\"session.ping\",\"payload\":{{\"x\":{}", "[".repeat((1 << 20) - 100)).into_bytes(),
        format!("{{\"type\":\"session.ping\",\"x\":{}{}}}", "[".repeat(500_000), "]".repeat(500_000)).into_bytes(),
    ];
    for shape in shapes {
        let mut session = serving();
        session.handle_input(start(), Bytes::from(shape.clone()));
        assert_eq!(types(&sent_json(&mut session, start())), ["session.error"]);
        let mut session = open();
        session.handle_input(start(), Bytes::from(shape.clone()));
        assert!(matches!(client_events(&mut session)[..], [ClientEvent::Violation(_)]));
        let limits = Limits { opening_frame: 2 << 20, max_frame: 2 << 20, ..Limits::default() };
        assert!(Opening::parse(Bytes::from(shape), &limits).is_err());
    }
}

#[test]
fn d20_features_without_number_are_no_error_and_not_kept() {
    let features: Vec<_> = (0..100_000).map(|n| json!(format!("f{n}"))).chain([json!("ack")]).collect();
    let mut frame = welcome(FeatureSet::none());
    frame["payload"]["capabilities"]["features"] = json!(features);
    let mut session = Session::connect(start(), client_config());
    feed(&mut session, start(), &frame);
    assert!(matches!(client_events(&mut session)[..], [ClientEvent::Connected(_)]));
    assert_eq!(session.features().iter().count(), 1);
    assert_eq!(session.features().unknown().count(), 0);
    let hello = message(
        "session.hello",
        "h",
        json!({"auth": {"scheme": "bearer", "token": "t"}, "capabilities": {"features": &features[..5_000]}}),
    );
    let Ok(Opening::Hello(hello)) = Opening::parse(Bytes::from(hello.to_string()), &Limits::default()) else {
        panic!("it is within 64 KiB");
    };
    assert!(hello.features().unknown().count() <= 64);
    // A million are more than a frame holds.
    frame["payload"]["capabilities"]["features"] = json!(vec!["f"; 1_000_000]);
    let mut session = Session::connect(start(), client_config());
    feed(&mut session, start(), &frame);
    assert!(matches!(client_events(&mut session)[..], [ClientEvent::Violation(_), ClientEvent::Closed(_)]));
}

#[test]
fn d3_ids_without_measure_are_refused_and_not_kept() {
    let long = "i".repeat((1 << 20) - 1_000);
    for (name, payload) in [("session.ping", json!({})), ("job.cancel", json!({"job_id": long}))] {
        let mut session = serving();
        let id = if name == "job.cancel" { "m" } else { &long };
        feed(&mut session, start(), &message(name, id, payload));
        let frames = sent(&mut session, start());
        assert_eq!(frames.len(), 1);
        assert!(frames[0].len() < 1_000, "the id is not said back");
        let events = format!("{:?}", runtime_events(&mut session));
        assert!(events.len() < 1_000);
    }
    let mut session = serving();
    feed(&mut session, start(), &message("session.ping", "m", json!({"nonce": long})));
    assert!(sent(&mut session, start()).is_empty(), "and neither is a nonce");
}

#[test]
fn d43_all_limits_are_the_applications_to_choose() {
    let limits = Limits { control_frames: 3, unsent_pongs: 2, open_requests: 1, ..Limits::default() };
    let mut session = serving_with(limits.clone());
    for nonce in 0..10 {
        feed(&mut session, start(), &ping(nonce));
    }
    for _ in 0..3 {
        feed(&mut session, start(), &unknown());
    }
    let mut drained = session.clone();
    assert_eq!(sent(&mut drained, start()).len(), 5, "two pongs and three answers");
    feed(&mut session, start(), &unknown());
    assert_eq!(session.phase(), Phase::Detached, "and no room for more");
    let mut session = open_with(limits);
    session.list_jobs(start(), &JobQuery::default()).unwrap();
    assert_eq!(session.list_jobs(start(), &JobQuery::default()), Err(SendError::TooManyRequests(1)));
}

#[test]
fn d43_handshakes_without_end_change_nothing_but_the_count_of_attachments() {
    let mut session = open();
    let mut now: Now = start();
    for n in 0..500 {
        session.handle_disconnect(now);
        session.resume(now).unwrap();
        now = now.after(secs(1));
        assert_eq!(sent(&mut session, now).len(), 1);
        if n % 2 == 0 {
            feed(&mut session, now, &welcome(FeatureSet::all()));
        }
        client_events(&mut session);
    }
    assert_eq!(session.attachment(), 501);
}
