//! A session that moves between machines: who may write it, and what is told of it where it was.

use std::sync::Arc;
use std::time::Duration;

use arcp_proto::endpoint::{
    AcceptError, Adoption, Change, ConnId, Durability, Endpoint, EndpointConfig, EndpointEvent, JobState, SessionState,
};
use arcp_proto::wire::{Credentials, JobAccepted, JobId, JobSubmit, PeerInfo, Principal, RawJson, ResumeToken};
use arcp_proto::{AnswerError, Client, ClientConfig, CloseReason, Grant, Now, RuntimeConfig, Session};
use bytes::Bytes;
use serde_json::json;

/// What a store has of the one session, as the changes tell it.
#[derive(Default)]
struct Store {
    state: Option<SessionState>,
    events: Vec<(u64, Bytes)>,
    jobs: Vec<JobState>,
}

impl Store {
    fn write(&mut self, change: &Change) {
        self.state = change.state.clone().or(self.state.take());
        self.events.extend(change.events.iter().cloned());
        self.events.retain(|(seq, _)| *seq > change.floor);
        for job in &change.jobs {
            self.jobs.retain(|kept| kept.record.job_id != job.record.job_id);
            self.jobs.push(job.clone());
        }
    }

    fn adoption(&self, generation: u64) -> Adoption {
        let state = self.state.clone().expect("a state is stored");
        Adoption { generation, state, events: self.events.clone(), jobs: self.jobs.clone() }
    }
}

struct World {
    now: Now,
    endpoint: Endpoint,
    client: Session<Client>,
    store: Store,
    changes: Vec<Change>,
    events: Vec<EndpointEvent>,
    tokens: u32,
    conn: ConnId,
}

impl World {
    /// One client with one job, in the store.
    fn new() -> World {
        let now = Now::default();
        let mut endpoint = endpoint();
        let conn = endpoint.connect(now);
        let mut world = World {
            now,
            endpoint,
            conn,
            client: Session::connect(now, ClientConfig::new(PeerInfo::new("c", "1"), Credentials::bearer("alice"))),
            store: Store::default(),
            changes: Vec::new(),
            events: Vec::new(),
            tokens: 0,
        };
        world.exchange(conn);
        world.client.submit(now, &JobSubmit::new("any", RawJson::empty_object())).unwrap();
        world.exchange(conn);
        world
    }

    fn exchange(&mut self, conn: ConnId) {
        for _ in 0..8 {
            while let Some(frame) = self.client.poll_transmit(self.now) {
                self.endpoint.handle_input(self.now, conn, frame);
            }
            self.attend();
            self.keep();
            while let Some((to, frame)) = self.endpoint.poll_transmit(self.now) {
                // The client hears nothing of transports that it gave up.
                if to == conn {
                    self.client.handle_input(self.now, frame);
                }
            }
            while self.client.poll_event().is_some() {}
        }
    }

    fn attend(&mut self) {
        while let Some(event) = self.endpoint.poll_event() {
            match &event {
                EndpointEvent::Authenticate(applicant) => {
                    self.tokens += 1;
                    let grant = Grant {
                        principal: Principal::from("alice"),
                        session_id: format!("sess_{}", self.tokens).into(),
                        resume_token: ResumeToken::new(format!("rt_{}", self.tokens)),
                        agents: Arc::from([]),
                    };
                    self.endpoint.admit(self.now, applicant.conn, grant).unwrap();
                }
                EndpointEvent::Submit { request, .. } => {
                    let accepted = JobAccepted::new(JobId::from("job_1"), "any@1", self.now.wall);
                    self.endpoint.accept_job(self.now, request, accepted).unwrap();
                }
                _ => self.events.push(event),
            }
        }
    }

    /// Stores what there is.
    fn keep(&mut self) {
        while let Some(change) = self.endpoint.poll_change() {
            self.store.write(&change);
            self.endpoint.stored(self.now, &change.id);
            self.changes.push(change);
        }
    }

    fn publish(&mut self) {
        self.endpoint.publish(self.now, &JobId::from("job_1"), "log", &json!({"message": "hi"})).unwrap();
    }
}

fn endpoint() -> Endpoint {
    let config = RuntimeConfig::new(PeerInfo::new("r", "1"));
    Endpoint::new(EndpointConfig { durability: Durability::BeforeTransmit, ..EndpointConfig::new(config) })
}

#[test]
fn d3_only_the_first_change_of_a_session_may_find_nothing_in_the_store() {
    let mut world = World::new();
    world.publish();
    world.keep();
    let is_new: Vec<_> = world.changes.iter().map(|change| change.is_new).collect();
    assert!(is_new.len() > 2);
    assert!(is_new[0]);
    assert!(is_new[1..].iter().all(|is_new| !is_new), "{is_new:?}");

    let mut elsewhere = endpoint();
    elsewhere.adopt(world.now, world.store.adoption(2)).unwrap();
    let first = elsewhere.poll_change().unwrap();
    assert_eq!((first.generation, first.is_new), (2, false), "it began elsewhere");
}

#[test]
fn d3_a_late_refusal_does_not_end_the_session_that_came_back() {
    let mut world = World::new();
    world.publish();
    let late = world.endpoint.poll_change().unwrap();
    // Two machines on, it is here again.
    let adopted = world.endpoint.adopt(world.now, world.store.adoption(3)).unwrap();
    assert_eq!(adopted.jobs, [JobId::from("job_1")]);
    assert!(!world.endpoint.fenced(world.now, &late.id), "the change is of the generation before");
    assert!(world.endpoint.session(&adopted.session).is_some());

    let own = world.endpoint.poll_change().unwrap();
    assert_eq!(own.generation, 3);
    assert!(world.endpoint.fenced(world.now, &own.id));
    assert!(world.endpoint.session(&adopted.session).is_none());
    world.attend();
    let ends = world
        .events
        .iter()
        .filter(|event| matches!(event, EndpointEvent::Closed { reason, .. } if *reason == CloseReason::Fenced));
    assert_eq!(ends.count(), 2, "each generation ends by itself");
}

#[test]
fn d3_a_token_that_is_retired_here_is_retired_in_the_store() {
    let mut world = World::new();
    let presented = world.client.resume_token().unwrap().digest();
    let has = |world: &World, digest| world.store.state.as_ref().unwrap().token_digests().any(|token| token == digest);
    world.client.handle_disconnect(world.now);
    world.client.resume(world.now).unwrap();
    let conn = world.endpoint.connect(world.now);
    world.exchange(conn);
    let next = world.client.resume_token().unwrap().digest();
    assert_ne!(next, presented);
    assert!(has(&world, presented) && has(&world, next), "the client has not spoken yet");

    // Its next word is that it has the welcome.
    world.now = world.now.after(Duration::from_secs(31));
    world.client.handle_timeout(world.now);
    world.exchange(conn);
    assert!(has(&world, next) && !has(&world, presented));
}

#[test]
fn d30_a_job_whose_last_event_is_freed_keeps_its_place_elsewhere() {
    let mut world = World::new();
    let conn = world.conn;
    for _ in 0..3 {
        world.publish();
        world.exchange(conn);
    }
    world.client.mark_processed(world.now, 3).unwrap();
    world.client.flush_acks(world.now).unwrap();
    world.exchange(conn);
    assert!(world.store.events.is_empty(), "all of them are acknowledged");

    let mut elsewhere = endpoint();
    elsewhere.adopt(world.now, world.store.adoption(2)).unwrap();
    assert_eq!(elsewhere.jobs().get(&JobId::from("job_1")).unwrap().last_event_seq, 3);
}

#[test]
fn d8_an_answer_to_a_session_s_life_before_does_not_answer_its_life_now() {
    let mut world = World::new();
    world.client.submit(world.now, &JobSubmit::new("risky", RawJson::empty_object())).unwrap();
    while let Some(frame) = world.client.poll_transmit(world.now) {
        world.endpoint.handle_input(world.now, world.conn, frame);
    }
    let Some(EndpointEvent::Submit { request: late, .. }) = world.endpoint.poll_event() else { panic!("no submit") };
    // It was elsewhere, and is back, and asks for something else.
    world.endpoint.adopt(world.now, world.store.adoption(3)).unwrap();
    world.client.handle_disconnect(world.now);
    world.client.resume(world.now).unwrap();
    world.conn = world.endpoint.connect(world.now);
    let conn = world.conn;
    world.exchange(conn);
    world.client.submit(world.now, &JobSubmit::new("harmless", RawJson::empty_object())).unwrap();
    while let Some(frame) = world.client.poll_transmit(world.now) {
        world.endpoint.handle_input(world.now, conn, frame);
    }
    let asked = std::iter::from_fn(|| world.endpoint.poll_event());
    let now = asked.filter_map(|event| match event {
        EndpointEvent::Submit { request, submit, .. } => Some((request, submit.agent)),
        _ => None,
    });
    let [(now, agent)] = &now.collect::<Vec<_>>()[..] else { panic!("one submit") };
    assert_eq!((now.to_string(), &agent[..]), (late.to_string(), "harmless"), "they look alike");
    let accepted = |id: &str| JobAccepted::new(JobId::from(id), "any@1", world.now.wall);
    let answered = world.endpoint.accept_job(world.now, &late, accepted("job_late"));
    assert_eq!(answered, Err(AcceptError::Answer(AnswerError::UnknownRequest)));
    world.endpoint.accept_job(world.now, now, accepted("job_2")).unwrap();
}
