//! The system's allocator, counted: what a thread does, and no other.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

// None of these needs anything done when its thread ends, so that they count until then.
thread_local! {
    static BYTES: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

/// The bytes that are on the heap.
#[allow(dead_code, reason = "not everybody asks")]
pub(crate) fn bytes() -> usize {
    BYTES.get()
}

/// The allocations so far.
#[allow(dead_code, reason = "not everybody asks")]
pub(crate) fn allocations() -> usize {
    ALLOCATIONS.get()
}

/// The bytes of those.
#[allow(dead_code, reason = "not everybody asks")]
pub(crate) fn allocated() -> usize {
    ALLOCATED.get()
}

/// The most bytes that were on the heap since this was last asked.
#[allow(dead_code, reason = "not everybody asks")]
pub(crate) fn take_peak() -> usize {
    PEAK.replace(BYTES.get())
}

struct Counting;

// A growing block is given anew by `realloc`'s default, and counted so: for a time there are both.
// SAFETY: all is handed on to the system's allocator, unchanged.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // What another thread has allocated may be freed here, and the other way round: only differences mean anything.
        let bytes = BYTES.get().wrapping_add(layout.size());
        BYTES.set(bytes);
        if bytes.wrapping_sub(PEAK.get()).cast_signed() > 0 {
            PEAK.set(bytes);
        }
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        ALLOCATED.set(ALLOCATED.get() + layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get().wrapping_sub(layout.size()));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static HEAP: Counting = Counting;
