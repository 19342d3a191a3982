//! What a session is held to.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arcp_proto::FeatureSet;
use arcp_proto::wire::Envelope;
use bytes::Bytes;

use crate::bar::{Bar, Unit, short};
use crate::emitter::{
    Emitter, Resumption, at, client, client_config, connected, counted_idle, counted_send, counted_whole, empty_call,
    log, runtime_config, welcome, welcomed, written,
};
use crate::heap;
use crate::ndjson::Stream;
use crate::race::{Race, batch, batches, race};

/// All of it.
pub(crate) fn bars(budget: Duration) -> Vec<Bar> {
    let mut bars = Vec::from(whole_way(budget));
    bars.push(encode(budget));
    bars.extend(idle(budget));
    bars.push(replay(budget));
    bars.extend(size());
    bars.push(lines(budget));
    bars
}

/// What the first contender takes, in terms of the second.
fn compared(what: &str, race: &Race, pieces: f64, at_most: f64) -> Bar {
    let times = format!("{} / {}", short(race.nanos(0) / pieces), short(race.nanos(1) / pieces));
    Bar::new(what, race.ratio(0, 1), Unit::Times, at_most).because(times)
}

fn whole_way(budget: Duration) -> [Bar; 2] {
    let mut emitter = Emitter::new(true);
    let mut listener = client(emitter.session.features());
    let frame = Emitter::new(true).event();
    let race = race(
        budget,
        &mut [
            batches(|times| counted_whole(&mut emitter, &mut listener, times)),
            batch(|| Envelope::decode(black_box(&frame).clone())),
        ],
    );
    // From the first event on, so that they are the same ones in every run.
    let mut emitter = Emitter::new(true);
    let allocations = allocations(100_000, |times| {
        counted_whole(&mut emitter, &mut client(&FeatureSet::all()), times);
    });
    [
        compared("one event, whole way: of its decode", &race, 1.0, 3.0),
        Bar::new("one event, whole way: allocations", allocations, Unit::Count, 0.05),
    ]
}

fn encode(budget: Duration) -> Bar {
    let mut emitter = Emitter::new(true);
    let body = log();
    let mut seq = 100_000;
    let race = race(
        budget,
        &mut [
            Box::new(|times| emitter.time_encode(times)),
            batch(|| {
                seq += 1;
                serde_json::to_vec(black_box(&written(&body, seq)))
            }),
        ],
    );
    compared("encode into the replay buffer: of `serde_json::to_vec`", &race, 1.0, 0.6)
}

fn idle(budget: Duration) -> Vec<Bar> {
    let kept = [0, 1_000, 100_000];
    let mut emitters = kept.map(Emitter::buffered);
    let mut other = Emitter::new(true);
    let now = at(100_000);
    let mut contenders: Vec<_> = emitters
        .iter_mut()
        .map(|emitter| batches(|times| counted_idle(&mut emitter.session, now, times)))
        .chain([batch(|| empty_call(&mut other.session, now))])
        .collect();
    let race = race(budget, &mut contenders);

    drop(contenders);
    let allocations = allocations(1_000, |times| {
        emitters.iter_mut().for_each(|emitter| counted_idle(&mut emitter.session, now, times));
    });

    let empty = kept.len();
    let bar = |(at, events): (usize, usize)| {
        let times = format!("{} / {}", short(race.nanos(at)), short(race.nanos(empty)));
        Bar::new(format!("idle, {events} events kept: of an empty call"), race.ratio(at, empty), Unit::Times, 10.0)
            .because(times)
    };
    let mut bars: Vec<Bar> = kept.into_iter().enumerate().map(bar).collect();
    // The same, as far as a clock can tell.
    bars.push(Bar::new("idle, 100000 events kept: of idle with none", race.ratio(2, 0), Unit::Times, 1.1));
    bars.push(Bar::new("idle: allocations", allocations, Unit::Count, 0.0));
    bars
}

fn replay(budget: Duration) -> Bar {
    let events = 10_000;
    let mut resumption = Resumption::of(events);
    let mut emitter = Emitter::new(true);
    let race = race(
        budget,
        &mut [
            Box::new(|times| (0..times).map(|_| resumption.time()).sum()),
            batches(|times| counted_send(&mut emitter, times * events as u64)),
        ],
    );
    compared("replay of 10000 events after a resume: of their first sending", &race, events as f64, 0.3)
}

/// The struct's bytes and the heap's, of a session that was opened and has nothing to do; without its configuration, which
/// all sessions share.
fn size() -> [Bar; 2] {
    fn of<T>(what: &str, at_most: f64, open: impl FnOnce() -> T) -> (Bar, T) {
        let before = heap::bytes();
        let session = counting(open);
        let (on_heap, itself) = (heap::bytes().wrapping_sub(before), size_of::<T>());
        let bar = Bar::new(what, (on_heap + itself) as f64, Unit::Bytes, at_most);
        (bar.because(format!("{itself} B struct, {on_heap} B heap")), session)
    }
    let (config, client_config) = (Arc::new(runtime_config()), client_config());
    let (runtime_bar, runtime) = of("size of a runtime's session", 1_024.0, || welcomed(Arc::clone(&config), true));
    let welcome = Bytes::from_static(welcome(runtime.features()).to_vec().leak());
    let (client_bar, _) = of("size of a client's session", 2_048.0, || connected(Arc::clone(&client_config), welcome));
    [runtime_bar, client_bar]
}

fn lines(budget: Duration) -> Bar {
    let stream = Stream::new();
    let race = race(
        budget,
        &mut [
            Box::new(|times| (0..times).map(|_| stream.time_lines()).sum()),
            batches(|times| (0..times).for_each(|_| stream.counted_frames())),
        ],
    );
    // 0.8 of the rate.
    compared("lines of 64 KiB reads, cut and decoded: of the decode alone", &race, stream.lines() as f64, 1.25)
}

/// Runs it with the allocations counted.
fn counting<T>(run: impl FnOnce() -> T) -> T {
    heap::pause(false);
    let result = run();
    heap::pause(true);
    result
}

/// The allocations for each of so many pieces of work.
fn allocations(pieces: u64, run: impl FnOnce(u64)) -> f64 {
    let before = heap::allocations();
    counting(|| run(pieces));
    (heap::allocations() - before) as f64 / pieces as f64
}
