//! Two processes take one session over at once, while a third still has it: one can write afterwards.

use std::sync::{Arc, Barrier};
use std::thread;

use arcp_proto::endpoint::{Durability, Endpoint, EndpointConfig, EndpointEvent};
use arcp_proto::wire::{Credentials, JobAccepted, JobId, JobSubmit, PeerInfo, Principal, RawJson};
use arcp_proto::{Client, ClientConfig, Clock, Grant, RuntimeConfig, Secrets, Session};
use bytes::Bytes;
use serde_json::json;

use crate::process::Redis;
use crate::store::{Step, Store, StoreError, Written};
use crate::{Failure, Verdict};

/// An endpoint and its store, without sockets.
struct Machine {
    clock: Clock,
    endpoint: Endpoint,
    store: Store,
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::Broken(error.to_string())
}

/// Races.
pub fn run(rounds: u32) -> Result<Verdict, Failure> {
    let redis = Redis::start()?;
    let mut wins = [0, 0];
    for round in 0..rounds {
        let mut owner = Machine::new(&redis.url)?;
        let (digest, job) = owner.begin(round)?;
        let mut racers = [Machine::new(&redis.url)?, Machine::new(&redis.url)?];
        let line = Barrier::new(racers.len());
        let generations = thread::scope(|scope| {
            let starts = racers.each_mut().map(|racer| scope.spawn(|| racer.take_over(&digest, &line)));
            starts.map(|start| start.join().unwrap_or_else(|_| Err(Failure::Broken("a racer panicked".into()))))
        });
        let [one, two] = generations;
        let (one, two) = (one?, two?);
        let written = racers.each_mut().map(Machine::keep);
        let [by_one, by_two] = written;
        let (by_one, by_two) = (by_one?, by_two?);
        let winner = match (&by_one[..], &by_two[..]) {
            ([Written::Stored], [Written::Fenced]) if one > two => 0,
            ([Written::Fenced], [Written::Stored]) if two > one => 1,
            _ => return Err(Failure::Broken(format!("generations {one} and {two}: {by_one:?}, {by_two:?}"))),
        };
        wins[winner] += 1;
        let sessions = racers.each_ref().map(|racer| racer.endpoint.session_count());
        owner.endpoint.publish(owner.clock.now(), &job, "log", &json!({"message": "still here"})).map_err(broken)?;
        let by_owner = owner.keep()?;
        if by_owner != [Written::Fenced] || owner.endpoint.session_count() != 0 || sessions.iter().sum::<usize>() != 1 {
            return Err(Failure::Broken(format!(
                "the owner before: {by_owner:?}; sessions of the racers: {sessions:?}"
            )));
        }
    }
    println!(
        "races {rounds}: one of two won each time ({} and {}), and the owner before could not write",
        wins[0], wins[1]
    );
    Ok(Verdict::Good)
}

impl Machine {
    fn new(url: &str) -> Result<Machine, StoreError> {
        let config = RuntimeConfig::new(PeerInfo::new("racer", "1.0.0"));
        let config = EndpointConfig { durability: Durability::BeforeTransmit, ..EndpointConfig::new(config) };
        Ok(Machine { clock: Clock::new(), endpoint: Endpoint::new(config), store: Store::new(url)? })
    }

    /// A session with a job, in the store; gives the digest of its token, and the job.
    fn begin(&mut self, round: u32) -> Result<([u8; 32], JobId), Failure> {
        let config = ClientConfig::new(PeerInfo::new("client", "1.0.0"), Credentials::bearer("alice"));
        let mut client = Session::<Client>::connect(self.clock.now(), config);
        let conn = self.endpoint.connect(self.clock.now());
        let job = JobId::from(format!("job_{round}"));
        let mut is_asked = false;
        while self.endpoint.jobs().get(&job).is_none() || self.endpoint.has_unstored() {
            let now = self.clock.now();
            let frames: Vec<Bytes> = std::iter::from_fn(|| client.poll_transmit(now)).collect();
            for frame in frames {
                self.endpoint.handle_input(now, conn, frame);
            }
            while let Some(event) = self.endpoint.poll_event() {
                match event {
                    EndpointEvent::Authenticate(applicant) => {
                        let grant = Grant {
                            principal: Principal::from("alice"),
                            session_id: Secrets::session_id().map_err(broken)?,
                            resume_token: Secrets::resume_token().map_err(broken)?,
                            agents: Arc::from([]),
                        };
                        self.endpoint.admit(now, applicant.conn, grant).map_err(broken)?;
                    }
                    EndpointEvent::Submit { request, submit, .. } => {
                        let accepted = JobAccepted::new(job.clone(), submit.agent, now.wall);
                        self.endpoint.accept_job(now, &request, accepted).map_err(broken)?;
                    }
                    _ => {}
                }
            }
            self.keep()?;
            while let Some((_, frame)) = self.endpoint.poll_transmit(now) {
                client.handle_input(now, frame);
            }
            if !is_asked && client.phase() == arcp_proto::Phase::Open {
                is_asked = true;
                client.submit(now, &JobSubmit::new("any", RawJson::empty_object())).map_err(broken)?;
            }
        }
        let token = client.resume_token().ok_or_else(|| broken("no token"))?;
        Ok((token.digest(), job))
    }

    /// Takes the session over as soon as the other is ready to; gives its generation.
    fn take_over(&mut self, digest: &[u8; 32], line: &Barrier) -> Result<u64, Failure> {
        line.wait();
        let found = self.store.take_over(digest, &Principal::from("alice"))?;
        let found = found.ok_or_else(|| broken("the session is not in the store"))?;
        let generation = found.adoption.generation;
        self.endpoint.adopt(self.clock.now(), found.adoption).map_err(broken)?;
        Ok(generation)
    }

    /// Stores what there is to be stored.
    fn keep(&mut self) -> Result<Vec<Written>, Failure> {
        let now = self.clock.now();
        let changes = std::iter::from_fn(|| self.endpoint.poll_change());
        let steps: Vec<_> = changes.map(|change| Step { change, progress: Vec::new() }).collect();
        let written = self.store.write(&steps)?;
        for (step, written) in steps.iter().zip(&written) {
            match written {
                Written::Stored => self.endpoint.stored(now, &step.change.id),
                Written::Fenced => drop(self.endpoint.fenced(now, &step.change.id)),
            }
        }
        Ok(written)
    }
}
