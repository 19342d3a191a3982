//! Proof that `arcp-proto` needs no std, on a host whose own target would hide that it does.
//!
//! A static library is linked for good, so it must have one panic handler and one allocator. It brings its own; if
//! anything below pulled in std, std's handler would be a second one and the build would fail.
#![no_std]

extern crate alloc;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use arcp_proto::framing::{LineDecoder, finish_line};
use arcp_proto::wire::{Credentials, PeerInfo, Principal, ResumeToken, SessionId};
use arcp_proto::{
    ClientConfig, Grant, Instant, Limits, Now, Opening, ResumeRefused, RuntimeConfig, Session, Timestamp,
};
use bytes::Bytes;

const ARENA: usize = 1 << 20;

/// Hands out one arena and takes nothing back: enough to be linked and to serve a little.
struct Bump {
    arena: UnsafeCell<[u8; ARENA]>,
    used: AtomicUsize,
}

// SAFETY: each range of the arena is handed out once, by the atomic counter.
unsafe impl Sync for Bump {}

// SAFETY: blocks lie in the static arena, do not overlap, and have the size and the alignment asked for.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = self.arena.get().cast::<u8>();
        let mut from = 0;
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let aligned = (start as usize).checked_add(used)?.checked_next_multiple_of(layout.align())?;
            from = aligned - start as usize;
            from.checked_add(layout.size()).filter(|end| *end <= ARENA)
        });
        // SAFETY: `from` and the block behind it are within the arena.
        if taken.is_ok() { unsafe { start.add(from) } } else { core::ptr::null_mut() }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump = Bump { arena: UnsafeCell::new([0; ARENA]), used: AtomicUsize::new(0) };

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Reads lines from `len` bytes at `input`, the first of them a hello, gives all of them to a runtime session, and writes
/// what it says to `output`, which has room for `capacity` bytes. Gives back how many bytes that has, or would have.
///
/// # Safety
///
/// `input` must be readable for `len` bytes, and `output` writable for `capacity`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn arcp_serve(input: *const u8, len: usize, output: *mut u8, capacity: usize) -> usize {
    // SAFETY: the caller's promise.
    let input = unsafe { core::slice::from_raw_parts(input, len) };
    let answers = serve(input);
    // SAFETY: the caller's promise, and no more than there is of either.
    unsafe { core::ptr::copy_nonoverlapping(answers.as_ptr(), output, answers.len().min(capacity)) };
    answers.len()
}

fn serve(input: &[u8]) -> Vec<u8> {
    let now = Now::new(Instant::ZERO, Timestamp::EPOCH);
    let mut lines = LineDecoder::default();
    lines.push(Bytes::copy_from_slice(input));
    let mut out = Vec::new();
    let mut session = match lines.finish().map(|line| Opening::parse(line.unwrap_or_default(), &Limits::default())) {
        Some(Ok(Opening::Hello(hello))) => hello.accept(now, config(), grant()),
        Some(Ok(Opening::Resume(resume))) => {
            finish_line(&resume.refuse(now, ResumeRefused::expired()), &mut out);
            return out;
        }
        Some(Err(refusal)) => {
            finish_line(&refusal.into_message(now), &mut out);
            return out;
        }
        None => return out,
    };
    while let Some(line) = lines.finish() {
        session.handle_input(now, line.unwrap_or_default());
    }
    session.handle_timeout(now);
    while let Some(message) = session.poll_transmit(now) {
        finish_line(&message, &mut out);
    }
    while session.poll_event().is_some() {}
    out
}

fn config() -> Arc<RuntimeConfig> {
    Arc::new(RuntimeConfig::new(PeerInfo::new("no-std", "0.0.0")))
}

fn grant() -> Grant {
    Grant {
        principal: Principal::from("anybody"),
        session_id: SessionId::from("sess_1"),
        resume_token: ResumeToken::from("rt_1"),
        agents: Arc::from([]),
    }
}

/// Writes the hello of a client session to `output`, as [`arcp_serve`] does.
///
/// # Safety
///
/// `output` must be writable for `capacity` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn arcp_hello(output: *mut u8, capacity: usize) -> usize {
    let now = Now::new(Instant::ZERO, Timestamp::EPOCH);
    let config = ClientConfig::new(PeerInfo::new("no-std", "0.0.0"), Credentials::bearer("token"));
    let mut session = Session::connect(now, config);
    let hello = session.poll_transmit(now).unwrap_or_default();
    // SAFETY: the caller's promise, and no more than there is of either.
    unsafe { core::ptr::copy_nonoverlapping(hello.as_ptr(), output, hello.len().min(capacity)) };
    hello.len()
}
