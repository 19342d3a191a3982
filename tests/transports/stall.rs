//! A client that stops reading.

use arcp_proto::wire::{JobId, JobQuery};
use arcp_proto::{ClientEvent, Feature, FeatureSet};
use serde_json::json;

use crate::client::{Client, config, ending};
use crate::server::{Server, Wire};

over_each_wire! { d43_whoever_does_not_read_costs_little_and_loses_nothing }

/// What the runtime may take for it, beyond what it took before: 16 MiB is the replay buffer alone.
const MOST_MEMORY: u64 = 64 << 20;
/// So often in a row there has to be nothing new.
const STILL: u32 = 20;

/// Without acknowledgements, so that nothing but the transport holds the job back.
fn d43_whoever_does_not_read_costs_little_and_loses_nothing(wire: Wire) {
    let server = Server::start(wire, &["--observe-all"]);
    let without_acks = config("alice").with_features(FeatureSet::all().without(Feature::Ack));
    let mut client = Client::connect(server.connect(), without_acks);
    let mut observer = Client::connect(server.connect(), config("bob"));
    #[cfg(target_os = "linux")]
    let before = server.process.peak_memory();
    let job = client.submit("chatty", &json!({"n": 1_000_000, "pad": 200}));

    // Nobody reads now. The job goes on until it is stopped.
    let (mut stands_at, mut still) = (0, 0);
    while still < STILL {
        let told = last_event(&mut observer, &job);
        still = if told == stands_at { still + 1 } else { 0 };
        stands_at = told;
        assert!(told < 500_000, "nothing stops it");
    }
    assert!(stands_at >= 10_000, "it was stopped at {stands_at} already");
    // Others are served meanwhile.
    observer.run("echo", &json!("and what about me?"));

    // Whoever reads on finds everything in its place, until it has enough.
    let enough = stands_at + 5_000;
    client.wait_for("events", |event| event.seq().filter(|seq| *seq >= enough));
    client.cancel(&job).expect("it is cancelled");
    let mut events = 0;
    let end = client.wait_for("the end", |event| {
        events += u64::from(matches!(event, ClientEvent::Event(_)));
        ending(event, &job)
    });
    end.expect_err("it was cancelled");
    #[cfg(target_os = "linux")]
    {
        let more = server.process.peak_memory() - before;
        assert!(more < MOST_MEMORY, "{} KiB for one client that did not read", more >> 10);
    }
    client.bye();
    observer.bye();
}

fn last_event(observer: &mut Client, job: &JobId) -> u64 {
    let page = observer.list(&JobQuery::default().with_agent("chatty"));
    let entry = page.jobs.iter().find(|entry| entry.job_id == *job);
    entry.expect("the job is listed").last_event_seq
}
