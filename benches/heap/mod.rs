//! The system's allocator, counted: what a thread does, and no other.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

// None of these needs anything done when its thread ends, so that they count until then.
thread_local! {
    static BYTES: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
    static PAUSED: Cell<bool> = const { Cell::new(false) };
}

/// Whether nothing is counted, so that next to nothing is added to what an allocation takes.
#[allow(dead_code, reason = "not everybody asks")]
pub(crate) fn pause(paused: bool) {
    PAUSED.set(paused);
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

// SAFETY: all is handed on to the system's allocator, unchanged.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if PAUSED.get() {
            return unsafe { System.alloc(layout) };
        }
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
        if !PAUSED.get() {
            BYTES.set(BYTES.get().wrapping_sub(layout.size()));
        }
        unsafe { System.dealloc(pointer, layout) }
    }

    // Where it is counted, a growing block is given anew: for a time there are both.
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        if PAUSED.get() {
            return unsafe { System.realloc(pointer, layout, len) };
        }
        // As the trait's own does it: the caller has seen to it that there is such a layout.
        let anew = unsafe { self.alloc(Layout::from_size_align_unchecked(len, layout.align())) };
        if !anew.is_null() {
            unsafe {
                pointer.copy_to_nonoverlapping(anew, layout.size().min(len));
                self.dealloc(pointer, layout);
            }
        }
        anew
    }
}

#[global_allocator]
static HEAP: Counting = Counting;
