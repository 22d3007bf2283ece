//! The accounts of nginx's slab allocator: how much fits into a zone of so many bytes.
//!
//! Nothing is placed here; the contents live on the process's heap. A zone is divided into pages of
//! 4096 bytes; up to half a page, sizes are rounded up to a power of two and share pages of their
//! class; above, they take whole pages. Page counts, classes and the zone's own needs are nginx's
//! on a 64-bit machine. Unlike there, memory never fragments: a class gives a page back as soon as
//! its pieces would fit into one less.

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// The smallest class is 8 bytes.
const MIN_SHIFT: usize = 3;
/// Classes of 8, 16, … 2048 bytes.
const CLASSES: usize = 9;
/// Bytes before the page table: the pool itself, list heads and counters of the classes.
const HEAD: usize = 200 + CLASSES * (24 + 32);
/// Bytes of a page's entry in the page table.
const PAGE_ENTRY: usize = 24;
/// What the module keeps in each zone for itself: roots of its tree and list.
const OWN: usize = 80;
/// ` in lua_shared_dict zone ""` and a NUL, which stands in each zone with its name.
const LOG_CONTEXT: usize = 28;

/// Pieces of class `class` that a page has room for; small classes need part of it for a bitmap.
const fn per_page(class: usize) -> usize {
    let shift = class + MIN_SHIFT;
    let pieces = PAGE >> shift;
    if shift >= 6 {
        return pieces;
    }
    let bitmap = pieces / ((1 << shift) * 8);
    pieces - if bitmap == 0 { 1 } else { bitmap }
}

/// How a zone's memory is used.
#[derive(Debug)]
pub struct Slab {
    free_pages: usize,
    used: [usize; CLASSES],
}

impl Slab {
    /// A fresh zone called `name` of `capacity` bytes.
    pub fn new(name: &str, capacity: usize) -> Self {
        let pages = capacity.saturating_sub(HEAD) / (PAGE + PAGE_ENTRY);
        let start = (HEAD + pages * PAGE_ENTRY).next_multiple_of(PAGE);
        let free_pages = pages.min(capacity.saturating_sub(start) / PAGE);
        let mut this = Self { free_pages, used: [0; CLASSES] };
        this.alloc(OWN);
        this.alloc(LOG_CONTEXT + name.len());
        this
    }

    /// Takes room for `size` bytes; false, and nothing taken, when there is none.
    pub fn alloc(&mut self, size: usize) -> bool {
        let (pages, class) = match class_of(size) {
            None => (size.div_ceil(PAGE), None),
            Some(class) => {
                (usize::from(self.used[class].is_multiple_of(per_page(class))), Some(class))
            }
        };
        let Some(left) = self.free_pages.checked_sub(pages) else { return false };
        self.free_pages = left;
        if let Some(class) = class {
            self.used[class] += 1;
        }
        true
    }

    /// Gives back the room of an [`alloc`](Self::alloc) of as many bytes.
    pub fn free(&mut self, size: usize) {
        match class_of(size) {
            None => self.free_pages += size.div_ceil(PAGE),
            Some(class) => {
                self.used[class] -= 1;
                self.free_pages += usize::from(self.used[class].is_multiple_of(per_page(class)));
            }
        }
    }

    /// Pages that nothing is in.
    pub const fn free_pages(&self) -> usize {
        self.free_pages
    }
}

/// The class that holds `size` bytes; `None` for what takes whole pages.
fn class_of(size: usize) -> Option<usize> {
    if size > PAGE / 2 {
        return None;
    }
    let shift = size.max(1 << MIN_SHIFT).next_power_of_two().trailing_zeros();
    usize::try_from(shift).ok().map(|it| it - MIN_SHIFT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_hold_what_nginx_s_hold() {
        let counts: Vec<usize> = (0..CLASSES).map(per_page).collect();
        assert_eq!(counts, [504, 254, 127, 64, 32, 16, 8, 4, 2]);
        assert_eq!(
            [1, 8, 9, 64, 65, 2048, 2049].map(class_of),
            [Some(0), Some(0), Some(1), Some(3), Some(4), Some(8), None]
        );
    }

    #[test]
    fn a_class_takes_and_gives_pages() {
        let mut slab = Slab::new("dict", 100 * 1024);
        let free = slab.free_pages();
        for _ in 0..16 {
            assert!(slab.alloc(200));
        }
        assert_eq!(slab.free_pages(), free - 1);
        assert!(slab.alloc(200));
        assert_eq!(slab.free_pages(), free - 2);
        assert!(slab.alloc(PAGE + 1));
        assert_eq!(slab.free_pages(), free - 4);
        assert!(!slab.alloc(100 * 1024));
        slab.free(PAGE + 1);
        for _ in 0..17 {
            slab.free(200);
        }
        assert_eq!(slab.free_pages(), free);
    }
}
