//! The accounts of nginx's slab allocator: how much fits into a zone of so many bytes.
//!
//! Nothing is placed here; the contents live on the process's heap. A zone is divided into pages of
//! 4096 bytes; up to half a page, sizes are rounded up to a power of two and share pages of their
//! class; above, they take whole pages, side by side. Page counts, classes, the zone's own needs
//! and the order in which pages are taken, joined and given back are nginx's on a 64-bit machine,
//! so that a zone fragments, and is full, exactly when nginx's is.

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

/// Which page an allocation is in, to be given back with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page(u32);

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// The first of so many free pages, in the list of free runs.
    Free(usize),
    /// A later one of a free run, and where the run begins.
    FreeTail(usize),
    /// Part of a run that is taken.
    Taken,
    /// So many pieces of a class; in its list unless it is full.
    Pieces(usize),
}

#[derive(Clone, Copy, Debug)]
struct Node {
    role: Use,
    next: usize,
    prev: usize,
}

/// How a zone's memory is used. Lists (of each class's pages with room, and of free runs) go in
/// circles through a node of their own behind those of the pages.
#[derive(Debug)]
pub struct Slab {
    nodes: Vec<Node>,
    page_count: usize,
    free_pages: usize,
}

impl Slab {
    /// A fresh zone called `name` of `capacity` bytes.
    pub fn new(name: &str, capacity: usize) -> Self {
        let pages = capacity.saturating_sub(HEAD) / (PAGE + PAGE_ENTRY);
        let start = (HEAD + pages * PAGE_ENTRY).next_multiple_of(PAGE);
        let page_count = pages.min(capacity.saturating_sub(start) / PAGE);
        let node = |index| Node { role: Use::Taken, next: index, prev: index };
        let nodes = (0..=page_count + CLASSES).map(node).collect();
        let mut this = Self { nodes, page_count, free_pages: 0 };
        if page_count > 0 {
            this.free_run(0, page_count);
        }
        this.alloc(OWN);
        this.alloc(LOG_CONTEXT + name.len());
        this
    }

    const fn class_list(&self, class: usize) -> usize {
        self.page_count + class
    }

    const fn free_list(&self) -> usize {
        self.page_count + CLASSES
    }

    fn link(&mut self, list: usize, index: usize) {
        let next = self.nodes[list].next;
        (self.nodes[index].prev, self.nodes[index].next) = (list, next);
        self.nodes[next].prev = index;
        self.nodes[list].next = index;
    }

    fn unlink(&mut self, index: usize) {
        let Node { next, prev, .. } = self.nodes[index];
        self.nodes[prev].next = next;
        self.nodes[next].prev = prev;
    }

    /// Takes room for `size` bytes; `None`, and nothing taken, when there is none.
    pub fn alloc(&mut self, size: usize) -> Option<Page> {
        let Some(class) = class_of(size) else {
            return self.take_run(size.div_ceil(PAGE)).map(place);
        };
        let list = self.class_list(class);
        let first = self.nodes[list].next;
        let (index, pieces) = match self.nodes[first].role {
            Use::Pieces(pieces) if first != list => (first, pieces + 1),
            _ => {
                let index = self.take_run(1)?;
                self.link(list, index);
                (index, 1)
            }
        };
        self.nodes[index].role = Use::Pieces(pieces);
        if pieces == per_page(class) {
            self.unlink(index);
        }
        Some(place(index))
    }

    /// Gives back what [`alloc`](Self::alloc) of as many bytes took.
    pub fn free(&mut self, size: usize, page: Page) {
        let index = page.0 as usize;
        let Some(class) = class_of(size) else {
            return self.free_run(index, size.div_ceil(PAGE));
        };
        let Use::Pieces(pieces) = self.nodes[index].role else { return };
        if pieces == per_page(class) {
            self.link(self.class_list(class), index);
        }
        self.nodes[index].role = Use::Pieces(pieces - 1);
        if pieces == 1 {
            self.unlink(index);
            self.free_run(index, 1);
        }
    }

    /// Takes `count` pages from the first run that has them; what is left stays in its place.
    fn take_run(&mut self, count: usize) -> Option<usize> {
        let list = self.free_list();
        let mut index = self.nodes[list].next;
        while index != list {
            let Node { role, next, prev } = self.nodes[index];
            if let Use::Free(len) = role
                && len >= count
            {
                self.unlink(index);
                if len > count {
                    self.mark_free(index + count, len - count);
                    self.link(prev, index + count);
                }
                self.nodes[index..index + count].iter_mut().for_each(|it| it.role = Use::Taken);
                self.free_pages -= count;
                return Some(index);
            }
            index = next;
        }
        None
    }

    /// Gives pages back, joined with the free runs before and behind them.
    fn free_run(&mut self, start: usize, count: usize) {
        self.free_pages += count;
        let (mut start, mut len) = (start, count);
        if start + len < self.page_count
            && let Use::Free(more) = self.nodes[start + len].role
        {
            self.unlink(start + len);
            len += more;
        }
        let before = start.checked_sub(1).map(|it| match self.nodes[it].role {
            Use::FreeTail(first) => first,
            _ => it,
        });
        if let Some(before) = before
            && let Use::Free(more) = self.nodes[before].role
        {
            self.unlink(before);
            (start, len) = (before, len + more);
        }
        self.mark_free(start, len);
        self.link(self.free_list(), start);
    }

    /// Marks a run as free. Only its ends matter: the last page leads to the first.
    fn mark_free(&mut self, start: usize, len: usize) {
        self.nodes[start + len - 1].role = Use::FreeTail(start);
        self.nodes[start].role = Use::Free(len);
    }

    /// Pages that nothing is in.
    pub const fn free_pages(&self) -> usize {
        self.free_pages
    }
}

fn place(index: usize) -> Page {
    Page(u32::try_from(index).unwrap_or(u32::MAX))
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
        let pieces: Vec<Page> = (0..16).map(|_| slab.alloc(200).unwrap()).collect();
        assert!(pieces.iter().all(|it| *it == pieces[0]));
        assert_eq!(slab.free_pages(), free - 1);
        let next = slab.alloc(200).unwrap();
        assert_eq!(slab.free_pages(), free - 2);
        let run = slab.alloc(PAGE + 1).unwrap();
        assert_eq!(slab.free_pages(), free - 4);
        assert_eq!(slab.alloc(100 * 1024), None);
        slab.free(PAGE + 1, run);
        slab.free(200, pieces[0]);
        assert_eq!(slab.alloc(200), Some(pieces[0]));
        pieces.into_iter().chain([next]).for_each(|it| slab.free(200, it));
        assert_eq!(slab.free_pages(), free);
    }

    #[test]
    fn runs_join_when_they_are_given_back() {
        let mut slab = Slab::new("dict", 100 * 1024);
        let free = slab.free_pages();
        let runs: Vec<Page> = (0..free).map(|_| slab.alloc(PAGE).unwrap()).collect();
        assert_eq!(slab.alloc(PAGE), None);
        slab.free(PAGE, runs[3]);
        slab.free(PAGE, runs[5]);
        assert_eq!((slab.alloc(2 * PAGE), slab.free_pages()), (None, 2));
        slab.free(PAGE, runs[4]);
        assert_eq!(slab.alloc(3 * PAGE), Some(runs[3]));
    }
}
