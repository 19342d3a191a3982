//! Proof that `arcp-proto` needs no std, on a host whose own target would hide that it does.
//!
//! A static library is linked for good, so it must have one panic handler and one allocator. It brings its own; if
//! anything below pulled in std, std's handler would be a second one and the build would fail.
#![no_std]

extern crate alloc;

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use arcp_proto::Timestamp;
use arcp_proto::framing::{LineDecoder, finish_line};
use arcp_proto::wire::{Envelope, Header, MessageType, Ping, Pong, encode};
use bytes::Bytes;

const ARENA: usize = 1 << 20;

/// Hands out one arena and takes nothing back: enough to be linked and to answer some pings.
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

/// Reads lines from `len` bytes at `input`, answers each ping in them, and writes the answers to `output`, which has
/// room for `capacity` bytes. Gives back how many bytes the answers have, or would have.
///
/// # Safety
///
/// `input` must be readable for `len` bytes, and `output` writable for `capacity`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn arcp_answer_pings(input: *const u8, len: usize, output: *mut u8, capacity: usize) -> usize {
    // SAFETY: the caller's promise.
    let input = unsafe { core::slice::from_raw_parts(input, len) };
    let answers = answer_pings(input).unwrap_or_default();
    // SAFETY: the caller's promise, and no more than there is of either.
    unsafe { core::ptr::copy_nonoverlapping(answers.as_ptr(), output, answers.len().min(capacity)) };
    answers.len()
}

fn answer_pings(input: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = LineDecoder::default();
    decoder.push(Bytes::copy_from_slice(input));
    let mut out = Vec::new();
    while let Some(line) = decoder.finish() {
        let Ok(envelope) = Envelope::decode(line.ok()?) else { continue };
        if envelope.message_type() != Some(MessageType::SessionPing) {
            continue;
        }
        let ping: Ping<'_> = envelope.payload().ok()?;
        let received_at = alloc::format!("{}", Timestamp::EPOCH);
        let pong = Pong { ping_nonce: ping.nonce, received_at: Some(received_at.into()) };
        finish_line(&encode(&Header::new("msg_1", MessageType::SessionPong), &pong).ok()?, &mut out);
    }
    Some(out)
}
