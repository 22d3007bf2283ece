//! A safe face of PCRE2's 8-bit library: compile once, match from any thread. Scratch memory
//! (match data, match context, JIT stack) belongs to the thread and is reused.

use pcre2_sys as sys;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::ptr;
use std::ptr::NonNull;

/// What may be asked of [`Code::compile`]; the names are PCRE2's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    /// `PCRE2_CASELESS`.
    pub caseless: bool,
    /// `PCRE2_MULTILINE`.
    pub multiline: bool,
    /// `PCRE2_DOTALL`.
    pub dotall: bool,
    /// `PCRE2_EXTENDED`.
    pub extended: bool,
    /// `PCRE2_ANCHORED`.
    pub anchored: bool,
    /// `PCRE2_DUPNAMES`.
    pub dupnames: bool,
    /// `PCRE2_UTF`: the subject is checked at each match.
    pub utf: bool,
    /// `PCRE2_MATCH_INVALID_UTF` (with `utf`): what is not UTF-8 in a subject matches nothing.
    pub match_invalid_utf: bool,
    /// PCRE1's `JAVASCRIPT_COMPAT`: `ALT_BSUX`, `MATCH_UNSET_BACKREF` and `ALLOW_EMPTY_CLASS`.
    pub javascript: bool,
    /// `PCRE2_EXTRA_BAD_ESCAPE_IS_LITERAL`.
    pub bad_escape_is_literal: bool,
}

impl Flags {
    fn bits(self) -> u32 {
        let javascript =
            sys::PCRE2_ALT_BSUX | sys::PCRE2_MATCH_UNSET_BACKREF | sys::PCRE2_ALLOW_EMPTY_CLASS;
        [
            (self.caseless, sys::PCRE2_CASELESS),
            (self.multiline, sys::PCRE2_MULTILINE),
            (self.dotall, sys::PCRE2_DOTALL),
            (self.extended, sys::PCRE2_EXTENDED),
            (self.anchored, sys::PCRE2_ANCHORED),
            (self.dupnames, sys::PCRE2_DUPNAMES),
            (self.utf, sys::PCRE2_UTF),
            (self.match_invalid_utf, sys::PCRE2_MATCH_INVALID_UTF),
            (self.javascript, javascript),
        ]
        .into_iter()
        .filter_map(|(is_set, bits)| is_set.then_some(bits))
        .sum()
    }
}

/// Why a pattern does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// PCRE2's number, from 101.
    pub code: i32,
    /// How many bytes of the pattern were read when it was found.
    pub offset: usize,
}

impl CompileError {
    /// PCRE2's text for the number.
    pub fn message(&self) -> String {
        let mut text = [0u8; 256];
        // SAFETY: the buffer is `text` with its true length; PCRE2 writes at most so much.
        let len = unsafe {
            sys::pcre2_get_error_message_8(self.code, text.as_mut_ptr().cast(), text.len())
        };
        let len = usize::try_from(len).unwrap_or_default();
        String::from_utf8_lossy(&text[..len]).into_owned()
    }
}

/// Where the groups of a match are; reused from match to match.
#[derive(Clone, Debug, Default)]
pub struct Captures {
    offsets: SmallVec<[usize; 16]>,
}

impl Captures {
    /// An empty buffer.
    pub fn new() -> Self {
        Self { offsets: SmallVec::new() }
    }

    /// Start and end of group `number` (0 is the whole match) in the subject; `None` when the
    /// group took no part or does not exist.
    pub fn get(&self, number: usize) -> Option<(usize, usize)> {
        match self.offsets.get(number * 2..number * 2 + 2)? {
            [start, end] if *start != sys::PCRE2_UNSET => Some((*start, *end)),
            _ => None,
        }
    }

    /// One more than the highest group that took part; 0 before the first match.
    pub fn len(&self) -> usize {
        self.offsets.len() / 2
    }

    /// Whether there is no match in it.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }
}

/// A compiled pattern.
#[derive(Debug)]
pub struct Code {
    code: NonNull<sys::pcre2_code_8>,
    group_count: usize,
    names: Vec<(Box<[u8]>, usize)>,
    /// It is machine code, and a subject needs no check before it runs.
    is_direct: bool,
}

// SAFETY: compiled (and JIT-compiled) code is not written to after `compile` returned; PCRE2
// documents that threads may share it when each brings its own match data, context and JIT stack.
unsafe impl Send for Code {}
// SAFETY: as above.
unsafe impl Sync for Code {}

impl Drop for Code {
    fn drop(&mut self) {
        // SAFETY: made by pcre2_compile and freed only here.
        unsafe { sys::pcre2_code_free_8(self.code.as_ptr()) }
    }
}

impl Code {
    /// Compiles `pattern`; `jit` asks for machine code, and is ignored where there is none.
    ///
    /// # Errors
    /// What is wrong with the pattern, or 121 when there is no memory.
    pub fn compile(pattern: &[u8], flags: Flags, jit: bool) -> Result<Self, CompileError> {
        let (mut code, mut offset) = (0, 0);
        // SAFETY: the context is null (defaults) or live until freed below; pattern is a live
        // slice with its length, and the two out-parameters are live locals.
        let compiled = unsafe {
            let context = if flags.bad_escape_is_literal {
                sys::pcre2_compile_context_create_8(ptr::null_mut())
            } else {
                ptr::null_mut()
            };
            if !context.is_null() {
                let extra = sys::PCRE2_EXTRA_BAD_ESCAPE_IS_LITERAL;
                sys::pcre2_set_compile_extra_options_8(context, extra);
            }
            let (text, len) = (pattern.as_ptr(), pattern.len());
            let bits = flags.bits();
            let compiled = sys::pcre2_compile_8(text, len, bits, &mut code, &mut offset, context);
            sys::pcre2_compile_context_free_8(context);
            compiled
        };
        let compiled = NonNull::new(compiled).ok_or(CompileError { code, offset })?;
        // SAFETY: compiled is live and not shared yet. A failure leaves it as it was.
        let has_machine_code = jit
            && unsafe { sys::pcre2_jit_compile_8(compiled.as_ptr(), sys::PCRE2_JIT_COMPLETE) } == 0;
        let mut this = Self { code: compiled, group_count: 0, names: Vec::new(), is_direct: false };
        // A pattern may say `(*UTF)` itself: what counts is what came of it.
        let options = this.number_of(sys::PCRE2_INFO_ALLOPTIONS) as u32;
        this.is_direct = has_machine_code && options & sys::PCRE2_UTF == 0;
        this.group_count = this.number_of(sys::PCRE2_INFO_CAPTURECOUNT);
        this.names = this.read_names();
        Ok(this)
    }

    fn number_of(&self, what: u32) -> usize {
        let mut value: u32 = 0;
        // SAFETY: only items whose type is uint32_t are asked for; value is one.
        unsafe {
            sys::pcre2_pattern_info_8(self.code.as_ptr(), what, ptr::from_mut(&mut value).cast())
        };
        usize::try_from(value).unwrap_or_default()
    }

    fn read_names(&self) -> Vec<(Box<[u8]>, usize)> {
        let count = self.number_of(sys::PCRE2_INFO_NAMECOUNT);
        let entry_size = self.number_of(sys::PCRE2_INFO_NAMEENTRYSIZE);
        if count == 0 || entry_size == 0 {
            return Vec::new();
        }
        let mut table: *const u8 = ptr::null();
        // SAFETY: NAMETABLE's type is PCRE2_SPTR; the table has count entries of entry_size bytes
        // and lives as long as the code, longer than `table`.
        let table = unsafe {
            let out = ptr::from_mut(&mut table).cast();
            sys::pcre2_pattern_info_8(self.code.as_ptr(), sys::PCRE2_INFO_NAMETABLE, out);
            std::slice::from_raw_parts(table, count * entry_size)
        };
        let entry = |entry: &[u8]| {
            let number = usize::from(entry[0]) << 8 | usize::from(entry[1]);
            let name = entry[2..].split(|&it| it == 0).next().unwrap_or_default();
            (name.into(), number)
        };
        table.chunks_exact(entry_size).map(entry).collect()
    }

    /// How many groups the pattern has, not counting the whole match.
    pub const fn group_count(&self) -> usize {
        self.group_count
    }

    /// The named groups as (name, number), sorted by name; a name may stand for several.
    pub fn names(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.names.iter().map(|(name, number)| (&**name, *number))
    }

    /// Looks for a match in `subject` from byte `start` on; its groups go to `captures`, which is
    /// emptied when there is none. `match_limit` bounds the backtracking; 0 is PCRE2's default.
    ///
    /// # Errors
    /// PCRE2's number: among others -36 (`start` within a character), -3 to -23 (not UTF-8),
    /// -33 (`start` beyond the end), -47 (match limit).
    pub fn exec(
        &self,
        subject: &[u8],
        start: usize,
        match_limit: u32,
        captures: &mut Captures,
    ) -> Result<bool, i32> {
        captures.offsets.clear();
        SCRATCH.with_borrow_mut(|scratch| {
            let scratch = Scratch::with_room(scratch, self.group_count + 1)?;
            let run = if self.is_direct && start <= subject.len() {
                sys::pcre2_jit_match_8
            } else {
                sys::pcre2_match_8
            };
            // SAFETY: code, data and context are live, the last two used by this thread alone;
            // subject is a live slice with its length. UTF checks are never switched off: machine
            // code runs directly only where the pattern is not UTF, and `start` is within.
            let matched = unsafe {
                sys::pcre2_set_match_limit_8(scratch.context.as_ptr(), effective(match_limit));
                run(
                    self.code.as_ptr(),
                    subject.as_ptr(),
                    subject.len(),
                    start,
                    0,
                    scratch.data.as_ptr(),
                    scratch.context.as_ptr(),
                )
            };
            scratch.collect(matched, captures)
        })
    }

    /// As [`Code::exec`] by the DFA algorithm: the longest match, without groups.
    ///
    /// # Errors
    /// As [`Code::exec`]; -43 when the workspace is too small, -42 when the pattern uses what
    /// this algorithm cannot do.
    pub fn exec_dfa(
        &self,
        subject: &[u8],
        start: usize,
        captures: &mut Captures,
    ) -> Result<bool, i32> {
        captures.offsets.clear();
        SCRATCH.with_borrow_mut(|scratch| {
            let scratch = Scratch::with_room(scratch, 1)?;
            let mut workspace = [0i32; DFA_WORKSPACE];
            // SAFETY: as in exec; the workspace is a live array with its true length.
            let matched = unsafe {
                sys::pcre2_dfa_match_8(
                    self.code.as_ptr(),
                    subject.as_ptr(),
                    subject.len(),
                    start,
                    0,
                    scratch.data.as_ptr(),
                    ptr::null_mut(),
                    workspace.as_mut_ptr(),
                    workspace.len(),
                )
            };
            // Several matches are kept, the longest first: that one is wanted.
            scratch.collect(if matched >= 0 { 1 } else { matched }, captures)
        })
    }
}

/// Integers of workspace for the DFA algorithm, as in lua-nginx-module.
const DFA_WORKSPACE: usize = 100;
/// PCRE2's own match limit.
const DEFAULT_MATCH_LIMIT: u32 = 10_000_000;
/// Bytes that a JIT stack begins with and may grow to.
const JIT_STACK: (usize, usize) = (32 * 1024, 1024 * 1024);

const fn effective(match_limit: u32) -> u32 {
    if match_limit == 0 { DEFAULT_MATCH_LIMIT } else { match_limit }
}

thread_local! {
    static SCRATCH: RefCell<Option<Scratch>> = const { RefCell::new(None) };
}

/// A thread's memory for matching.
struct Scratch {
    data: NonNull<sys::pcre2_match_data_8>,
    pairs: usize,
    context: NonNull<sys::pcre2_match_context_8>,
    stack: *mut sys::pcre2_jit_stack_8,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: each was made in `new` and is freed only here; freeing null is allowed.
        unsafe {
            sys::pcre2_match_data_free_8(self.data.as_ptr());
            sys::pcre2_match_context_free_8(self.context.as_ptr());
            sys::pcre2_jit_stack_free_8(self.stack);
        }
    }
}

impl Scratch {
    /// `None` when there is no memory.
    fn new(pairs: usize) -> Option<Self> {
        let count = u32::try_from(pairs).ok()?;
        // SAFETY: null general contexts mean malloc. The stack is assigned to this context only,
        // which this thread alone uses; without one (null) JIT code uses the machine stack.
        unsafe {
            let context = NonNull::new(sys::pcre2_match_context_create_8(ptr::null_mut()))?;
            let Some(data) = NonNull::new(sys::pcre2_match_data_create_8(count, ptr::null_mut()))
            else {
                sys::pcre2_match_context_free_8(context.as_ptr());
                return None;
            };
            let stack = sys::pcre2_jit_stack_create_8(JIT_STACK.0, JIT_STACK.1, ptr::null_mut());
            sys::pcre2_jit_stack_assign_8(context.as_ptr(), None, stack.cast());
            Some(Self { data, pairs, context, stack })
        }
    }

    fn with_room(this: &mut Option<Self>, pairs: usize) -> Result<&Self, i32> {
        if this.as_ref().is_none_or(|it| it.pairs < pairs) {
            *this = Self::new(pairs.max(32));
        }
        this.as_ref().ok_or(sys::PCRE2_ERROR_NOMEMORY)
    }

    fn collect(&self, matched: i32, captures: &mut Captures) -> Result<bool, i32> {
        match usize::try_from(matched) {
            Err(_) if matched == sys::PCRE2_ERROR_NOMATCH => Ok(false),
            Err(_) => Err(matched),
            Ok(pairs) => {
                // SAFETY: after a match with this result the vector holds `pairs` pairs, for the
                // data has room for all of the pattern's groups.
                let offsets = unsafe {
                    let first = sys::pcre2_get_ovector_pointer_8(self.data.as_ptr());
                    std::slice::from_raw_parts(first, pairs * 2)
                };
                captures.offsets.extend_from_slice(offsets);
                Ok(true)
            }
        }
    }
}

#[cfg(test)]
mod tests;
