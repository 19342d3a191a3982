//! What a bad peer says: what was said before, changed a little, or something of its own.

use arcp_proto::wire::{MessageType, SessionId};
use bytes::Bytes;
use serde_json::{Value, json};

use super::dice::Dice;

pub(crate) fn frame(
    dice: &mut Dice,
    is_up: bool,
    session: Option<&SessionId>,
    near: u64,
    seen: &[(bool, Bytes)],
) -> Bytes {
    let session = session.map_or("sess_none", SessionId::as_str);
    match dice.below(12) {
        // What was said before, by either side.
        0 | 1 if !seen.is_empty() => dice.pick(seen).1,
        2 | 3 if !seen.is_empty() => changed(dice, &dice.clone().pick(seen).1),
        4 => garbage(dice),
        5 => Bytes::from(vec![b'['; 200]),
        _ if is_up => of_a_client(dice, session, near),
        _ => of_a_runtime(dice, session, near),
    }
}

fn odd(dice: &mut Dice) -> Value {
    match dice.below(9) {
        0 => Value::Null,
        1 => json!(-1),
        2 => json!(1.5),
        3 => json!(u64::MAX),
        4 => json!("x".repeat(300)),
        5 => json!([[[]]]),
        6 => json!((1_u64 << 53) - 1),
        7 => json!(0),
        _ => json!("\u{2028}\n\0"),
    }
}

/// One member is something else.
fn changed(dice: &mut Dice, frame: &Bytes) -> Bytes {
    let Ok(Value::Object(mut frame)) = serde_json::from_slice::<Value>(frame) else { return garbage(dice) };
    let in_payload = dice.once_in(2);
    if frame.is_empty() {
        return garbage(dice);
    }
    match frame.get_mut("payload").and_then(Value::as_object_mut).filter(|_| in_payload) {
        Some(payload) if !payload.is_empty() => {
            let member = payload.keys().nth(dice.below(payload.len() as u64) as usize).cloned().expect("it has one");
            payload.insert(member, odd(dice));
        }
        _ => {
            let member = frame.keys().nth(dice.below(frame.len() as u64) as usize).cloned().expect("it has one");
            frame.insert(member, odd(dice));
        }
    }
    Bytes::from(Value::Object(frame).to_string())
}

fn garbage(dice: &mut Dice) -> Bytes {
    let texts = [
        "",
        "not json",
        "{}",
        "null",
        "{\"type\":\"session.ping\",\"type\":\"session.bye\"}",
        "{\"type\":7}",
        "\u{feff}",
    ];
    Bytes::from_static(dice.pick(&texts).as_bytes())
}

fn message(name: &str, id: &str, session: &str, payload: &Value) -> Value {
    json!({"arcp": "1.1", "id": id, "type": name, "session_id": session, "payload": payload})
}

fn of_a_client(dice: &mut Dice, session: &str, near: u64) -> Bytes {
    let id = format!("h{}", dice.below(40));
    let seq = (near + dice.below(6)).saturating_sub(3);
    let job = format!("job_{}", dice.below(4));
    let (name, payload) = match dice.below(16) {
        0 => ("session.ack", json!({"last_processed_seq": seq})),
        1 => ("session.ack", json!({"last_processed_seq": near + 1_000})),
        2 => ("session.ping", json!({"nonce": "n".repeat(dice.below(300) as usize)})),
        3 => ("session.pong", json!({"ping_nonce": "nobody's"})),
        4 => ("session.hello", json!({"auth": {"scheme": "bearer", "token": "secret-p1"}})),
        5 => ("session.list_jobs", json!({"limit": dice.below(3)})),
        6 => ("job.submit", json!({"agent": "sim-agent", "input": {}})),
        7 => ("job.cancel", json!({"job_id": job})),
        8 => ("job.subscribe", json!({"job_id": job})),
        9 => ("x-vendor.thing", json!({})),
        10 => ("session.nonsense", json!({})),
        11 => ("session.error", json!({"code": "INTERNAL_ERROR"})),
        12 if dice.once_in(6) => ("session.bye", json!({})),
        _ => (dice.pick(MessageType::ALL).name(), json!({"job_id": job})),
    };
    let session = if dice.once_in(20) { "sess_other" } else { session };
    Bytes::from(message(name, &id, session, &payload).to_string())
}

fn of_a_runtime(dice: &mut Dice, session: &str, near: u64) -> Bytes {
    let job = format!("job_{}", dice.below(4));
    let id = format!("h{}", dice.roll());
    let (name, payload, seq) = match dice.below(14) {
        0 => ("job.event", json!({"kind": "log", "body": {"n": 1}}), Some(near + 1 + dice.below(4))),
        1 => ("job.event", json!({"kind": "log", "body": {"n": 1}}), Some(near.saturating_sub(1))),
        2 => ("job.event", json!({"kind": "log", "body": {"n": 1}}), None),
        3 => ("session.ping", json!({"nonce": "n"}), None),
        4 => ("session.pong", json!({}), None),
        5 => (
            "session.error",
            json!({"code": dice.pick(&["INTERNAL_ERROR", "UNAUTHENTICATED", "X"]), "message": "m"}),
            None,
        ),
        6 => ("session.jobs", json!({"request_id": "nobody", "jobs": []}), None),
        7 => {
            let interval = dice.pick(&[json!(0), json!(9.3e18), json!(null), json!(0.5)]);
            let payload = json!({
                "runtime": {"name": "hand", "version": "1"}, "resume_token": "rt_hand", "resume_window_sec": 600,
                "heartbeat_interval_sec": interval, "capabilities": {"encodings": ["json"], "features": []},
            });
            ("session.welcome", payload, None)
        }
        8 => ("job.accepted", json!({"job_id": job, "agent": "a", "lease": {}}), None),
        9 => ("job.result", json!({"final_status": "success", "job_id": job}), Some(near + 1)),
        10 if dice.once_in(6) => ("session.bye", json!({"reason": "superseded"}), None),
        11 if dice.once_in(6) => ("session.closed", json!({}), None),
        _ => (dice.pick(MessageType::ALL).name(), json!({}), None),
    };
    let is_end = matches!(name, "session.bye" | "session.closed") && !dice.once_in(4);
    let name = if is_end { "session.ping" } else { name };
    let session = if dice.once_in(20) { "sess_other" } else { session };
    let mut message = message(name, &id, session, &payload);
    message["job_id"] = json!(job);
    if let Some(seq) = seq {
        message["event_seq"] = json!(seq);
    }
    Bytes::from(message.to_string())
}
