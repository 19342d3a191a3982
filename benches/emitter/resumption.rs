//! A client that comes back again and again, and has nothing of what it was sent.

use std::hint::black_box;
use std::time::Duration;

use arcp_proto::wire::{Principal, ResumeToken};
use arcp_proto::{Opening, ResumeAttempt};
use serde_json::json;

use super::{Emitter, SESSION, at, opening};

/// The session of such a client.
pub(crate) struct Resumption {
    emitter: Emitter,
    events: usize,
    attachments: u64,
}

impl Resumption {
    /// Of so many events.
    pub(crate) fn of(events: usize) -> Resumption {
        Resumption { emitter: Emitter::buffered(events), events, attachments: 0 }
    }

    fn attempt(&self) -> ResumeAttempt {
        let resume =
            json!({"session_id": SESSION, "resume_token": super::token(self.attachments), "last_event_seq": 0});
        let limits = super::runtime_config().limits;
        let Ok(Opening::Resume(attempt)) = Opening::parse(opening(true, Some(resume)), &limits) else {
            panic!("no resume");
        };
        attempt
    }

    /// The transport is lost and another comes: how long the resume takes and all that is sent again.
    pub(crate) fn time(&mut self) -> Duration {
        let now = at(self.emitter.n);
        self.emitter.session.handle_disconnect(now);
        while self.emitter.session.poll_event().is_some() {}
        let attempt = self.attempt();
        self.attachments += 1;
        let start = std::time::Instant::now();
        let sent = self.counted_replay(attempt);
        let took = start.elapsed();
        // The welcome, and all of the events.
        assert_eq!(sent, self.events + 1);
        took
    }

    #[inline(never)]
    fn counted_replay(&mut self, attempt: ResumeAttempt) -> usize {
        let now = at(self.emitter.n);
        let next = ResumeToken::new(super::token(self.attachments));
        let session = &mut self.emitter.session;
        session.resume(now, attempt, &Principal::from("alice"), next).unwrap();
        let mut sent = 0;
        while let Some(frame) = session.poll_transmit(now) {
            black_box(frame);
            sent += 1;
        }
        sent
    }
}
