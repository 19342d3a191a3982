//! What owned a secret leaves none of it on the heap (D3): every block is searched for it as it is freed.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use arcp_proto::wire::{BearerToken, Credential, CredentialValue, Credentials, Envelope, Hello, ResumeToken};
use arcp_proto::{Limits, Opening};

/// What no block may hold when it is freed.
const MARKER: &[u8] = b"hunter6hunter6hunter6";
const SECRET: &str = "rt_hunter6hunter6hunter6_rest";

thread_local! {
    static IS_ARMED: Cell<bool> = const { Cell::new(false) };
    static FOUND: Cell<usize> = const { Cell::new(0) };
}

struct Searching;

// All blocks are zeroed before they are given out, so that every byte of them may be read.
// SAFETY: all is handed on to the system's allocator, unchanged.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Searching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        if IS_ARMED.get() {
            let block = unsafe { std::slice::from_raw_parts(pointer, layout.size()) };
            if block.windows(MARKER.len()).any(|window| window == MARKER) {
                FOUND.set(FOUND.get() + 1);
            }
        }
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static HEAP: Searching = Searching;

/// In how many blocks that are freed by `run` the secret still stands.
fn left_behind(run: impl FnOnce()) -> usize {
    FOUND.set(0);
    IS_ARMED.set(true);
    run();
    IS_ARMED.set(false);
    FOUND.get()
}

/// A text of exactly its size.
fn secret() -> String {
    SECRET.to_owned()
}

#[test]
fn the_search_finds() {
    assert_eq!(left_behind(|| drop(secret())), 1);
    assert_eq!(left_behind(|| drop(vec![0_u8; 64])), 0);
    // A block that has to move is left as it is.
    let grown = left_behind(|| {
        let mut text = secret();
        text.reserve(1_000);
        std::mem::forget(text);
    });
    assert_eq!(grown, 1);
}

#[test]
fn d3_secrets_are_wiped_when_dropped() {
    assert_eq!(left_behind(|| drop(ResumeToken::new(secret()))), 0);
    assert_eq!(left_behind(|| drop(BearerToken::new(secret()))), 0);
    assert_eq!(left_behind(|| drop(CredentialValue::new(secret()))), 0);
    assert_eq!(left_behind(|| drop(ResumeToken::from(SECRET).clone())), 0);
    assert_eq!(left_behind(|| drop(Credentials::bearer(secret()))), 0);
    let token = ResumeToken::new(secret());
    assert_eq!(left_behind(|| assert_ne!(token.digest(), [0; 32])), 0);
}

#[test]
fn d3_a_text_with_room_to_spare_is_wiped_as_well() {
    let taken = left_behind(|| {
        let mut roomy = String::with_capacity(1_000);
        roomy.push_str(SECRET);
        drop(ResumeToken::new(roomy));
    });
    assert_eq!(taken, 0, "to shrink it must not leave it behind");
}

/// A frame with secrets in it that is not freed: it is the transport's.
fn frame() -> &'static [u8] {
    let auth = format!(r#""auth":{{"scheme":"bearer","token":"{SECRET}"}}"#);
    let frame = format!(r#"{{"type":"session.hello","payload":{{{auth},"resume_token":"{SECRET}"}}}}"#);
    Box::leak(frame.into_boxed_str()).as_bytes()
}

#[test]
fn d3_what_is_read_out_of_a_frame_is_wiped() {
    let frame = bytes::Bytes::from_static(frame());
    let envelope = Envelope::decode(frame.clone()).unwrap();
    assert_eq!(left_behind(|| drop(envelope.payload::<Hello>().unwrap())), 0);
    assert_eq!(left_behind(|| drop(Opening::parse(frame, &Limits::default()).unwrap())), 0);
    let credential = format!(r#"{{"id":"c","scheme":"bearer","value":"{SECRET}"}}"#);
    assert_eq!(left_behind(|| drop(serde_json::from_str::<Credential>(&credential).unwrap())), 0);
    // With an escape in it, the reader of JSON puts it together in a buffer of its own, and that is all.
    let escaped = format!(r#"{{"id":"c","scheme":"bearer","value":"\u0072{SECRET}"}}"#);
    let left = left_behind(|| drop(serde_json::from_str::<Credential>(&escaped).unwrap()));
    assert!(left <= 1, "{left}");
}
