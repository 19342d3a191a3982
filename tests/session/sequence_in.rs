//! A client's place in the sequence: what moves it, what it drops, and what it does about holes (D5, D28).

use arcp_proto::wire::JobQuery;
use arcp_proto::{
    Client, ClientConfig, ClientEvent, CloseReason, DetachReason, FeatureSet, GapPolicy, Limits, Now, Phase, Session,
    Timer,
};
use serde_json::{Value, json};

use crate::pair::{
    Pair, client_alone, client_config, client_events, feed, log_frame, message, millis, secs, sent_json, seq_of, start,
    types, welcome,
};

fn reporting() -> ClientConfig {
    ClientConfig { gap_policy: GapPolicy::Report, ..client_config() }
}

fn frame(message: &str, seq: Value, payload: Value) -> Value {
    json!({
        "arcp": "1.1", "id": "m", "type": message, "session_id": "sess_1", "job_id": "job_1", "event_seq": seq,
        "payload": payload,
    })
}

/// The types that are numbered, each with a payload.
fn numbered() -> [(&'static str, Value); 4] {
    [
        ("job.event", json!({"kind": "log", "body": {}})),
        ("job.result", json!({"final_status": "success", "result": 1})),
        ("job.error", json!({"final_status": "error", "code": "TIMEOUT", "message": "late"})),
        ("job.cancelled", json!({"job_id": "job_1"})),
    ]
}

fn feed_events(session: &mut Session<Client>, now: Now, seqs: impl IntoIterator<Item = u64>) {
    for seq in seqs {
        feed(session, now, &log_frame(seq));
    }
}

/// The events and losses told, in order: `Ok(seq)` and `Err((from, to))`.
fn told(session: &mut Session<Client>) -> Vec<Result<u64, (u64, u64)>> {
    told_in(&client_events(session))
}

fn told_in(events: &[ClientEvent]) -> Vec<Result<u64, (u64, u64)>> {
    let told = |event: &ClientEvent| match event {
        ClientEvent::EventsLost { from, to } => Some(Err((*from, *to))),
        other => seq_of(other).map(Ok),
    };
    events.iter().filter_map(told).collect()
}

fn oks(seqs: impl IntoIterator<Item = u64>) -> Vec<Result<u64, (u64, u64)>> {
    seqs.into_iter().map(Ok).collect()
}

/// Comes back on a new transport; gives the hello.
fn resume(session: &mut Session<Client>, now: Now) -> Value {
    session.resume(now).unwrap();
    let hello = sent_json(session, now).remove(0);
    feed(session, now, &welcome(FeatureSet::all()));
    assert!(matches!(client_events(session)[..], [ClientEvent::Resumed(_)]));
    hello
}

fn detached_by_gap(session: &mut Session<Client>) -> bool {
    let events = client_events(session);
    let is_told = matches!(events[..], [.., ClientEvent::Detached(DetachReason::Gap)]);
    is_told && session.phase() == Phase::Detached
}

#[test]
fn d5_the_first_event_is_1() {
    let mut session = client_alone(client_config());
    assert_eq!(session.last_event_seq(), 0);
    feed_events(&mut session, start(), [1]);
    assert_eq!(told(&mut session), oks([1]));
    assert_eq!(session.last_event_seq(), 1);
}

#[test]
fn d5_events_results_errors_and_cancellations_move_the_cursor_and_are_dropped_by_it() {
    for (message, payload) in numbered() {
        let mut session = client_alone(client_config());
        feed(&mut session, start(), &frame(message, json!(1), payload.clone()));
        assert_eq!(session.last_event_seq(), 1, "{message}");
        assert_eq!(told(&mut session), oks([1]), "{message}");
        feed(&mut session, start(), &frame(message, json!(1), payload.clone()));
        assert!(client_events(&mut session).is_empty(), "{message}: a repetition is dropped");
        // A hole is noticed whatever the type.
        feed(&mut session, start(), &frame(message, json!(3), payload));
        assert!(client_events(&mut session).is_empty(), "{message}: waits for 2");
        assert_eq!(session.last_event_seq(), 1, "{message}");
        assert_eq!(session.timeout_reason(), Some(Timer::Reorder), "{message}");
    }
}

#[test]
fn d5_any_other_type_is_delivered_whatever_seq_it_carries() {
    let others = [
        ("job.accepted", json!({"job_id": "job_2", "parent_job_id": "job_1"})),
        ("job.subscribed", json!({"job_id": "job_2", "current_status": "running"})),
        ("session.error", json!({"code": "INTERNAL_ERROR", "message": "m"})),
    ];
    for seq in [0, 1, 5, 6, 7, 99, (1u64 << 53) - 1] {
        let mut session = client_alone(client_config());
        feed_events(&mut session, start(), 1..=5);
        client_events(&mut session);
        for (message, payload) in &others {
            feed(&mut session, start(), &frame(message, json!(seq), payload.clone()));
            let events = client_events(&mut session);
            assert_eq!(events.len(), 1, "{message} with {seq}: {events:?}");
            assert_eq!(session.last_event_seq(), 5, "{message} with {seq}");
        }
        session.list_jobs(start(), &JobQuery::default()).unwrap();
        feed(&mut session, start(), &frame("session.jobs", json!(seq), json!({"jobs": []})));
        assert!(matches!(client_events(&mut session)[..], [ClientEvent::Jobs { .. }]), "{seq}");
        let _ = sent_json(&mut session, start());
        feed(&mut session, start(), &frame("session.ping", json!(seq), json!({"nonce": "n"})));
        assert_eq!(types(&sent_json(&mut session, start())), ["session.pong"], "{seq}");
        feed_events(&mut session, start(), [6]);
        assert_eq!(told(&mut session), oks([6]), "{seq}: none of them used up a place");
        feed(&mut session, start(), &frame("session.closed", json!(seq), json!({})));
        assert!(matches!(client_events(&mut session)[..], [ClientEvent::Closed(_)]), "{seq}");
    }
}

#[test]
fn d5_what_comes_without_a_seq_is_delivered_and_moves_nothing() {
    for (message, payload) in numbered() {
        for absent in [Value::Null, json!(0)] {
            let mut session = client_alone(client_config());
            feed_events(&mut session, start(), 1..=3);
            client_events(&mut session);
            for _ in 0..2 {
                feed(&mut session, start(), &frame(message, absent.clone(), payload.clone()));
                let events = client_events(&mut session);
                assert_eq!(events.len(), 1, "{message} with {absent}: {events:?}");
                assert_eq!(seq_of(&events[0]), None, "{message} with {absent}");
            }
            assert_eq!(session.last_event_seq(), 3);
        }
    }
    let mut session = client_alone(client_config());
    let bare = json!({"id": "r", "type": "job.result", "job_id": "job_1", "payload": {"output": 7}});
    feed(&mut session, start(), &bare);
    assert!(matches!(client_events(&mut session)[..], [ClientEvent::Finished { .. }]));
}

#[test]
fn d5_a_numbered_message_with_a_payload_out_of_shape_keeps_its_place() {
    for (message, _) in numbered().into_iter().skip(1) {
        let mut session = client_alone(client_config());
        feed(&mut session, start(), &frame(message, json!(1), json!({"code": 5, "final_status": 5, "reason": 5})));
        let events = client_events(&mut session);
        assert!(matches!(events[..], [ClientEvent::Violation(_), ClientEvent::Event(_)]), "{message}: {events:?}");
        assert_eq!(seq_of(&events[1]), Some(1));
        feed_events(&mut session, start(), [2]);
        assert_eq!(told(&mut session), oks([2]), "{message}");
    }
}

#[test]
fn d8_the_client_never_dedupes_by_message_id() {
    let mut session = client_alone(client_config());
    for seq in 1..=3 {
        let mut event = log_frame(seq);
        event["id"] = json!("always-the-same");
        feed(&mut session, start(), &event);
    }
    assert_eq!(told(&mut session), oks(1..=3));
}

#[test]
fn d28_what_is_at_or_below_the_cursor_is_dropped() {
    let mut session = client_alone(client_config());
    feed_events(&mut session, start(), 1..=5);
    assert_eq!(told(&mut session), oks(1..=5));
    for seq in [5, 4, 1] {
        feed_events(&mut session, start(), [seq]);
        assert!(client_events(&mut session).is_empty(), "{seq}");
        assert_eq!(session.last_event_seq(), 5);
        assert_ne!(session.timeout_reason(), Some(Timer::Reorder));
    }
    feed_events(&mut session, start(), [6]);
    assert_eq!(told(&mut session), oks([6]));
}

#[test]
fn d28_the_cursor_is_what_is_received_without_a_hole_polled_or_not() {
    let mut session = client_alone(client_config());
    feed_events(&mut session, start(), [1, 2, 4, 5]);
    assert_eq!(session.last_event_seq(), 2);
    feed_events(&mut session, start(), [3]);
    assert_eq!(session.last_event_seq(), 5);
    assert_eq!(session.last_processed_seq(), 0);
}

#[test]
fn d28_every_order_of_a_few_events_is_mended_at_once() {
    fn permute(rest: &mut Vec<u64>, chosen: &mut Vec<u64>, check: &mut dyn FnMut(&[u64])) {
        if rest.is_empty() {
            return check(chosen);
        }
        for at in 0..rest.len() {
            let seq = rest.remove(at);
            chosen.push(seq);
            permute(rest, chosen, check);
            chosen.pop();
            rest.insert(at, seq);
        }
    }
    let fresh = client_alone(client_config());
    permute(&mut (1..=5).collect(), &mut Vec::new(), &mut |order| {
        let mut session = fresh.clone();
        feed_events(&mut session, start(), order.iter().copied());
        assert_eq!(told(&mut session), oks(1..=5), "{order:?}");
        assert_ne!(session.timeout_reason(), Some(Timer::Reorder), "{order:?}: nothing is waited for");
    });
}

#[test]
fn d28_a_repetition_of_what_waits_is_dropped() {
    let mut session = client_alone(client_config());
    feed_events(&mut session, start(), [2, 2, 3, 2, 3, 1]);
    assert_eq!(told(&mut session), oks([1, 2, 3]));
}

#[test]
fn d28_64_events_may_wait_and_not_one_more() {
    for (count, is_mended) in [(63, true), (64, true), (65, false)] {
        for config in [client_config(), reporting()] {
            let policy = config.gap_policy;
            let mut session = client_alone(config);
            feed_events(&mut session, start(), 2..2 + count);
            if is_mended {
                assert!(client_events(&mut session).is_empty());
                feed_events(&mut session, start(), [1]);
                assert_eq!(told(&mut session), oks(1..=count + 1));
            } else if policy == GapPolicy::Resume {
                assert!(detached_by_gap(&mut session));
                assert_eq!(session.last_event_seq(), 0);
            } else {
                let mut expected = vec![Err((1, 1))];
                expected.extend(oks(2..=count + 1));
                assert_eq!(told(&mut session), expected);
            }
        }
    }
}

#[test]
fn d28_repetitions_take_no_place_among_the_64() {
    let mut session = client_alone(client_config());
    for _ in 0..3 {
        feed_events(&mut session, start(), 2..=65);
    }
    feed_events(&mut session, start(), [1]);
    assert_eq!(told(&mut session), oks(1..=65));
}

#[test]
fn d28_a_client_that_holds_nothing_gives_up_at_the_first_hole() {
    let limits = Limits { reorder_events: 0, ..Limits::default() };
    let mut session = client_alone(reporting().with_limits(limits.clone()));
    feed_events(&mut session, start(), [1, 4, 5, 3]);
    assert_eq!(told(&mut session), [Ok(1), Err((2, 3)), Ok(4), Ok(5)]);
    let mut session = client_alone(client_config().with_limits(limits));
    feed_events(&mut session, start(), [1, 4]);
    assert!(detached_by_gap(&mut session));
}

#[test]
fn d28_an_event_waits_for_exactly_one_second() {
    for config in [client_config(), reporting()] {
        let policy = config.gap_policy;
        let mut session = client_alone(config);
        feed_events(&mut session, start(), [1, 3]);
        let later = start().after(millis(400));
        feed_events(&mut session, later, [5]);
        assert_eq!(session.poll_timeout(), Some(start().mono + secs(1)), "the first to wait sets the time");
        assert_eq!(session.timeout_reason(), Some(Timer::Reorder));
        session.handle_timeout(start().after(millis(999)));
        assert_eq!(told(&mut session), oks([1]));
        session.handle_timeout(start().after(millis(1_000)));
        match policy {
            GapPolicy::Resume => assert!(detached_by_gap(&mut session)),
            GapPolicy::Report => assert_eq!(told(&mut session), [Err((2, 2)), Ok(3)]),
        }
    }
}

#[test]
fn d28_the_missing_event_in_time_ends_the_wait() {
    let mut session = client_alone(client_config());
    feed_events(&mut session, start(), [1, 3]);
    feed_events(&mut session, start().after(millis(999)), [2]);
    session.handle_timeout(start().after(secs(2)));
    assert_eq!(told(&mut session), oks([1, 2, 3]));
    assert_eq!(session.phase(), Phase::Open);
}

#[test]
fn d28_the_next_hole_has_a_second_of_its_own() {
    let mut session = client_alone(client_config());
    feed_events(&mut session, start(), [1, 3, 5]);
    let mended = start().after(millis(900));
    feed_events(&mut session, mended, [2]);
    assert_eq!(told(&mut session), oks([1, 2, 3]));
    assert_eq!(session.poll_timeout(), Some(mended.mono + secs(1)));
    session.handle_timeout(mended.after(millis(999)));
    assert_eq!(session.phase(), Phase::Open);
    session.handle_timeout(mended.after(secs(1)));
    assert!(detached_by_gap(&mut session));
}

#[test]
fn d28_the_time_to_wait_is_the_applications_to_choose() {
    let mut session = client_alone(ClientConfig { reorder_timeout: millis(50), ..reporting() });
    feed_events(&mut session, start(), [2]);
    session.handle_timeout(start().after(millis(49)));
    assert!(told(&mut session).is_empty());
    session.handle_timeout(start().after(millis(50)));
    assert_eq!(told(&mut session), [Err((1, 1)), Ok(2)]);
}

#[test]
fn d28_a_gap_is_resumed_from_the_contiguous_cursor_and_nothing_comes_twice() {
    let mut session = client_alone(client_config());
    feed_events(&mut session, start(), [1, 2, 4, 5, 7]);
    assert_eq!(told(&mut session), oks([1, 2]));
    let now = start().after(secs(1));
    session.handle_timeout(now);
    assert!(detached_by_gap(&mut session));
    let hello = resume(&mut session, now);
    assert_eq!(hello["payload"]["resume"]["last_event_seq"], 2);
    assert_eq!(hello["payload"]["last_event_seq"], 2);
    feed_events(&mut session, now, 3..=7);
    assert_eq!(told(&mut session), oks(3..=7));
    session.handle_timeout(now.after(secs(2)));
    assert_eq!(session.phase(), Phase::Open);
}

#[test]
fn d28_what_waited_is_not_delivered_by_a_gap() {
    let mut session = client_alone(client_config());
    feed_events(&mut session, start(), [1, 3]);
    session.handle_timeout(start().after(secs(1)));
    assert_eq!(told(&mut session), oks([1]));
    assert_eq!(session.last_event_seq(), 1);
    assert_ne!(session.timeout_reason(), Some(Timer::Reorder));
}

#[test]
fn d28_a_hole_that_the_replay_has_too_is_told_once_and_there_is_no_resume_loop() {
    let mut session = client_alone(client_config());
    feed_events(&mut session, start(), [1, 4]);
    let now = start().after(secs(1));
    session.handle_timeout(now);
    assert!(detached_by_gap(&mut session));
    resume(&mut session, now);
    feed_events(&mut session, now, [4, 5]);
    assert!(told(&mut session).is_empty());
    session.handle_timeout(now.after(millis(999)));
    assert!(told(&mut session).is_empty());
    session.handle_timeout(now.after(secs(1)));
    assert_eq!(told(&mut session), [Err((2, 3)), Ok(4), Ok(5)]);
    assert_eq!((session.phase(), session.last_event_seq()), (Phase::Open, 5));
    session.handle_timeout(now.after(secs(10)));
    feed_events(&mut session, now.after(secs(10)), [6]);
    assert_eq!(told(&mut session), oks([6]), "told once");
}

#[test]
fn d28_the_same_hole_is_known_again_when_64_wait_behind_it() {
    let mut session = client_alone(client_config());
    feed_events(&mut session, start(), 2..=66);
    assert!(detached_by_gap(&mut session));
    resume(&mut session, start());
    feed_events(&mut session, start(), 2..=66);
    let mut expected = vec![Err((1, 1))];
    expected.extend(oks(2..=66));
    assert_eq!(told(&mut session), expected);
    assert_eq!(session.phase(), Phase::Open);
}

#[test]
fn d28_the_same_hole_is_not_resumed_again_after_another_loss_of_the_transport() {
    let mut session = client_alone(client_config());
    feed_events(&mut session, start(), [2]);
    let now = start().after(secs(1));
    session.handle_timeout(now);
    assert!(detached_by_gap(&mut session));
    resume(&mut session, now);
    session.handle_disconnect(now);
    client_events(&mut session);
    resume(&mut session, now);
    feed_events(&mut session, now, [2]);
    session.handle_timeout(now.after(secs(1)));
    assert_eq!(told(&mut session), [Err((1, 1)), Ok(2)]);
}

#[test]
fn d28_another_hole_is_resumed_anew() {
    let mut session = client_alone(client_config());
    let mut now = start();
    for first in [1, 11, 21] {
        feed_events(&mut session, now, [first, first + 9]);
        now = now.after(secs(1));
        session.handle_timeout(now);
        assert!(detached_by_gap(&mut session), "{first}");
        assert_eq!(resume(&mut session, now)["payload"]["last_event_seq"], first);
        feed_events(&mut session, now, first + 1..=first + 9);
        assert_eq!(told(&mut session), oks(first + 1..=first + 9));
    }
}

#[test]
fn d28_report_goes_on_without_a_resume_hole_by_hole() {
    let mut session = client_alone(reporting());
    feed_events(&mut session, start(), [1, 4, 5, 9]);
    let now = start().after(secs(1));
    session.handle_timeout(now);
    assert_eq!(told(&mut session), [Ok(1), Err((2, 3)), Ok(4), Ok(5)]);
    session.handle_timeout(now.after(millis(999)));
    assert!(told(&mut session).is_empty());
    session.handle_timeout(now.after(secs(1)));
    assert_eq!(told(&mut session), [Err((6, 8)), Ok(9)]);
    assert_eq!((session.phase(), session.last_event_seq()), (Phase::Open, 9));
    feed_events(&mut session, now.after(secs(1)), [2, 7, 10]);
    assert_eq!(told(&mut session), oks([10]), "what was told to be lost stays lost");
}

#[test]
fn d28_a_hole_cannot_be_resumed_without_a_token_and_is_reported() {
    let mut session = Session::connect(start(), client_config());
    let mut hello = welcome(FeatureSet::all());
    hello["payload"]["resume_token"] = Value::Null;
    feed(&mut session, start(), &hello);
    feed_events(&mut session, start(), [2]);
    session.handle_timeout(start().after(secs(1)));
    assert_eq!(told(&mut session), [Err((1, 1)), Ok(2)]);
}

#[test]
fn d28_a_hole_while_closing_is_reported() {
    let mut session = client_alone(client_config());
    session.close(start(), "normal");
    feed_events(&mut session, start(), [1, 3]);
    session.handle_timeout(start().after(secs(1)));
    assert_eq!(told(&mut session), [Ok(1), Err((2, 2)), Ok(3)]);
    assert_eq!(session.phase(), Phase::Closing);
}

#[test]
fn d28_a_hole_is_reported_before_a_close_is_over() {
    let ends: [fn(&mut Session<Client>); 4] = [
        |session| feed(session, start(), &message("session.closed", json!({}))),
        |session| feed(session, start(), &message("session.error", json!({"code": "INVALID_REQUEST"}))),
        |session| session.handle_disconnect(start()),
        |session| session.handle_timeout(start().after(secs(5))),
    ];
    for (n, end) in ends.into_iter().enumerate() {
        // What is missing may come as long as the client waits, were that for ever.
        let mut session = client_alone(ClientConfig { reorder_timeout: secs(60), ..client_config() });
        session.close(start(), "normal");
        feed_events(&mut session, start(), [1, 3, 6, 7]);
        assert_eq!(told(&mut session), oks([1]), "{n}");
        end(&mut session);
        let events = client_events(&mut session);
        assert_eq!(told_in(&events), [Err((2, 2)), Ok(3), Err((4, 5)), Ok(6), Ok(7)], "{n}: {events:?}");
        assert!(matches!(events.last(), Some(ClientEvent::Closed(CloseReason::Requested))), "{n}: {events:?}");
        assert_eq!(session.last_event_seq(), 7, "{n}");
    }
}

#[test]
fn d25_both_cursors_go_on_behind_what_was_reported_lost() {
    let mut session = client_alone(reporting());
    feed_events(&mut session, start(), [1, 2, 5]);
    let now = start().after(secs(1));
    session.handle_timeout(now);
    assert_eq!(told(&mut session), [Ok(1), Ok(2), Err((3, 4)), Ok(5)]);
    assert_eq!(session.last_event_seq(), 5);
    session.mark_processed(now, 2).unwrap();
    session.mark_processed(now, 5).unwrap();
    session.flush_acks(now).unwrap();
    let frames = sent_json(&mut session, now);
    assert_eq!(types(&frames), ["session.ack"]);
    assert_eq!(frames[0]["payload"]["last_processed_seq"], 5);
}

#[test]
fn d28_a_resume_after_a_loss_presents_what_is_beyond_it() {
    let mut session = client_alone(reporting());
    feed_events(&mut session, start(), [1, 4]);
    let now = start().after(secs(1));
    session.handle_timeout(now);
    session.handle_disconnect(now);
    client_events(&mut session);
    assert_eq!(resume(&mut session, now)["payload"]["last_event_seq"], 4);
}

#[test]
fn d29_the_overlap_that_is_replayed_is_dropped() {
    let mut session = client_alone(ClientConfig { resume_overlap: 1, ..client_config() });
    feed_events(&mut session, start(), 1..=5);
    session.handle_disconnect(start());
    client_events(&mut session);
    assert_eq!(resume(&mut session, start())["payload"]["last_event_seq"], 4);
    feed_events(&mut session, start(), [5, 6]);
    assert_eq!(told(&mut session), oks([6]));
}

#[test]
fn d28_the_end_of_the_sequence_is_no_trap() {
    let mut session = client_alone(reporting());
    let last = (1u64 << 53) - 1;
    feed_events(&mut session, start(), [last]);
    session.handle_timeout(start().after(secs(1)));
    assert_eq!(told(&mut session), [Err((1, last - 1)), Ok(last)]);
    feed_events(&mut session, start(), [1, last]);
    assert!(told(&mut session).is_empty());
}

#[test]
fn d28_a_refused_resume_after_a_gap_ends_the_session_and_does_not_loop() {
    let mut session = client_alone(client_config());
    feed_events(&mut session, start(), [2]);
    session.handle_timeout(start().after(secs(1)));
    assert!(detached_by_gap(&mut session));
    session.resume(start()).unwrap();
    let refusal =
        json!({"id": "e", "type": "session.error", "payload": {"code": "RESUME_WINDOW_EXPIRED", "message": "m"}});
    feed(&mut session, start(), &refusal);
    assert!(matches!(client_events(&mut session)[..], [ClientEvent::Closed(CloseReason::ResumeRefused(_))]));
}

/// Over a link that loses one frame and reorders the others: with our own runtime, all is mended by one resume.
#[test]
fn d28_a_frame_lost_on_the_way_is_brought_by_the_resume() {
    let mut pair = Pair::connected();
    pair.submit();
    pair.emit(10);
    pair.hold_to_client = true;
    pair.flush();
    assert_eq!(pair.to_client.len(), 10);
    pair.to_client.remove(4);
    pair.to_client.swap(0, 1);
    pair.to_client.swap(6, 8);
    pair.hold_to_client = false;
    pair.flush();
    let mut seqs = pair.take_seqs();
    assert_eq!(seqs, (1..=4).collect::<Vec<_>>());
    pair.advance(secs(1));
    assert!(matches!(pair.take_client_events()[..], [ClientEvent::Detached(DetachReason::Gap)]));
    pair.drop_link();
    pair.resume();
    seqs.extend(pair.take_seqs());
    pair.emit(2);
    pair.flush();
    seqs.extend(pair.take_seqs());
    assert_eq!(seqs, (1..=12).collect::<Vec<_>>());
    assert_eq!(pair.client.phase(), Phase::Open);
}

#[test]
fn d28_frames_repeated_by_the_link_are_delivered_once() {
    let mut pair = Pair::connected();
    pair.submit();
    pair.emit(6);
    pair.hold_to_client = true;
    pair.flush();
    let frames: Vec<_> = pair.to_client.iter().cloned().collect();
    pair.to_client.extend(frames);
    pair.hold_to_client = false;
    pair.flush();
    assert_eq!(pair.take_seqs(), (1..=6).collect::<Vec<_>>());
}
