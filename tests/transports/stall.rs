//! A client that stops reading.

use arcp_proto::wire::job_event::{JobEvent, Log};
use arcp_proto::wire::{Envelope, JobQuery, MessageType};
use serde_json::json;

use crate::client::{Client, config, line_number};
use crate::deadline::Deadline;
use crate::peer::Peer;
use crate::server::{Server, Wire};
use crate::transport::{Received, Transport};

over_each_wire! { d43_whoever_does_not_read_costs_little_and_loses_nothing }

/// What the runtime may take for it, beyond what it took before: 16 MiB is the replay buffer alone.
pub(crate) const MOST_MEMORY: u64 = 64 << 20;

/// A job that would tell of 400 MB.
pub(crate) fn endless() -> serde_json::Value {
    json!({"n": 1_000_000, "pad": 200})
}

/// So often in a row there has to be nothing new.
const STILL: u32 = 20;

/// Without acknowledgements, so that nothing but the transport holds the job back.
fn d43_whoever_does_not_read_costs_little_and_loses_nothing(wire: Wire) {
    let server = Server::start(wire, &["--observe-all"]);
    let mut peer = Peer::welcomed(server.connect(), "alice", &[]);
    let mut observer = Client::connect(server.connect(), config("bob"));
    #[cfg(target_os = "linux")]
    let before = server.process.peak_memory();
    let job = peer.submit("chatty", endless());

    // Nobody reads now. The job goes on until it is stopped.
    let (mut stands_at, mut still) = (0, 0);
    while still < STILL {
        let told = observer.list(&JobQuery::default()).jobs[0].last_event_seq;
        still = if told == stands_at { still + 1 } else { 0 };
        stands_at = told;
        assert!(told < 500_000, "nothing stops it");
    }
    assert!(stands_at >= 10_000, "it was stopped at {stands_at} already");
    // Others are served meanwhile.
    observer.run("echo", &json!("and what about me?"));

    // Whoever reads on finds everything in its place, until it has enough.
    has_all_until_cancelled(&mut peer, &job, stands_at + 1_000);
    #[cfg(target_os = "linux")]
    {
        let more = server.process.peak_memory() - before;
        assert!(more < MOST_MEMORY, "{} KiB for one client that did not read", more >> 10);
    }
    observer.bye();
}

/// Reads so many events, all in their places; then cancels the job, and reads to its end.
pub(crate) fn has_all_until_cancelled<T: Transport + ?Sized>(peer: &mut Peer<T>, job: &str, enough: u64) {
    let (deadline, mut last) = (Deadline::new(), 0);
    loop {
        let message = match peer.link.receive(deadline.left()) {
            Received::Message(message) => Envelope::decode(message).expect("an envelope"),
            Received::End(code) => panic!("the end ({code:?}) behind event {last}"),
            Received::Part | Received::Nothing => {
                assert!(!deadline.is_over(), "nothing behind event {last}");
                continue;
            }
        };
        let Some(seq) = message.event_seq() else {
            assert_eq!(message.message_type(), Some(MessageType::JobCancelled), "behind event {last}");
            continue;
        };
        assert_eq!(seq, last + 1);
        last = seq;
        if message.message_type() == Some(MessageType::JobError) {
            assert!(last > enough, "it ended by itself");
            return;
        }
        let event: JobEvent<'_> = message.payload().expect("an event");
        let log: Log = event.body.parse().expect("a log");
        assert_eq!(line_number(&log.message), Some(seq));
        if seq == enough {
            peer.say("job.cancel", json!({"job_id": job}));
        }
    }
}
