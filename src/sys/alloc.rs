//! The allocator of the whole program: mimalloc, by its plain entry points.
//!
//! mimalloc aligns every block of 16 bytes or more to 16, and smaller ones to 8, so that its slower
//! `aligned` functions, which the `mimalloc` crate calls for every allocation, are for the rest.
//!
//! A build with debug assertions counts what is asked for; a shipped one has no trace of that.

use libmimalloc_sys as mi;
use std::alloc::{GlobalAlloc, Layout};
#[cfg(debug_assertions)]
use std::sync::atomic::{AtomicU64, Ordering};

/// Whether mimalloc aligns a block of `size` bytes to `align` without being told.
#[inline]
const fn is_aligned_anyway(size: usize, align: usize) -> bool {
    align <= 8 || (align <= 16 && size >= 16)
}

/// How often a block was asked for.
#[cfg(debug_assertions)]
static COUNT: AtomicU64 = AtomicU64::new(0);

/// How often all threads together have asked for a block, Lua's among them, or for another size of
/// one, since the start of the process.
#[cfg(debug_assertions)]
pub fn count() -> u64 {
    COUNT.load(Ordering::Relaxed)
}

#[inline(always)]
fn one_more() {
    #[cfg(debug_assertions)]
    COUNT.fetch_add(1, Ordering::Relaxed);
}

/// mimalloc.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allocator;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

// SAFETY: mimalloc gives blocks of at least the size and alignment asked for, or null, and its
// `free` and `realloc` take blocks of all its entry points.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        one_more();
        // SAFETY: any size is allowed; `Layout` keeps the alignment a power of two.
        let block = unsafe {
            if is_aligned_anyway(layout.size(), layout.align()) {
                mi::mi_malloc(layout.size())
            } else {
                mi::mi_malloc_aligned(layout.size(), layout.align())
            }
        };
        block.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        one_more();
        // SAFETY: as in `alloc`.
        let block = unsafe {
            if is_aligned_anyway(layout.size(), layout.align()) {
                mi::mi_zalloc(layout.size())
            } else {
                mi::mi_zalloc_aligned(layout.size(), layout.align())
            }
        };
        block.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the caller passes a block of this allocator.
        unsafe { mi::mi_free(block.cast()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        one_more();
        // SAFETY: the caller passes a block of this allocator; a block stays as aligned as it was
        // asked for.
        let moved = unsafe {
            if is_aligned_anyway(size, layout.align()) {
                mi::mi_realloc(block.cast(), size)
            } else {
                mi::mi_realloc_aligned(block.cast(), size, layout.align())
            }
        };
        moved.cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(debug_assertions)]
    #[test]
    fn blocks_are_counted() {
        let before = count();
        let blocks: Vec<Box<[u8]>> = (1..=100).map(|it| vec![0; it].into_boxed_slice()).collect();
        assert!(count() - before >= 101, "other tests may add to it");
        drop(blocks);
    }

    #[test]
    fn blocks_are_aligned_zeroed_and_keep_their_bytes() {
        for align in [1, 8, 16, 32, 4096] {
            for size in [1, 8, 24, 1000, 70_000] {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: the size is not 0; the block is used within its size and freed once.
                unsafe {
                    let block = ALLOCATOR.alloc_zeroed(layout);
                    assert_eq!(block as usize % align, 0, "{size} bytes at {align}");
                    assert!((0..size).all(|at| *block.add(at) == 0));
                    *block = 7;
                    let grown = ALLOCATOR.realloc(block, layout, size * 3);
                    assert_eq!((grown as usize % align, *grown), (0, 7));
                    let layout = Layout::from_size_align(size * 3, align).unwrap();
                    ALLOCATOR.dealloc(grown, layout);
                    let block = ALLOCATOR.alloc(layout);
                    assert_eq!(block as usize % align, 0);
                    ALLOCATOR.dealloc(block, layout);
                }
            }
        }
    }
}
