//! The halves of `ngx.re`: patterns are known by the places that `prelude/fast_re.lua` remembers.

use crate::lua::ffi::fast::{Answer, GROUPS, OTHER, Text, guarded};
use crate::lua::vm::Vm;
use crate::regex::options::Options;
use crate::regex::program::ExecError;
use crate::regex::substitute::substitute;
use crate::sys::pcre2::Captures;
use std::ffi::c_int;

/// What the prelude calls.
pub fn addresses() -> [(&'static str, usize); 3] {
    [
        ("re_place", re_place as *const () as usize),
        ("re_exec", re_exec as *const () as usize),
        ("re_substitute", re_substitute as *const () as usize),
    ]
}

/// Compiles a pattern, if it is not known, and answers its place: 0 is that of the pattern asked
/// for last that is not kept. The names of its groups are written, each with its number in the
/// place of a value's length, and in `flags` how many there are.
///
/// # Safety
/// `vm` and `answer` are live; the texts have so many bytes.
unsafe extern "C" fn re_place(
    vm: *const Vm,
    pattern: *const u8,
    pattern_length: usize,
    letters: *const u8,
    letters_length: usize,
    answer: *mut Answer,
) -> c_int {
    // SAFETY: the caller's promise: the prelude has them from the VM, and from strings of Lua's.
    let (vm, pattern, letters, answer) = unsafe {
        (
            &*vm,
            Text { at: pattern, length: pattern_length }.bytes(),
            Text { at: letters, length: letters_length }.bytes(),
            &mut *answer,
        )
    };
    guarded(|| {
        let Ok(options) = Options::parse(letters) else { return OTHER };
        let Ok(program) = vm.pattern(letters, options, pattern) else { return OTHER };
        if 1 + program.group_count() > GROUPS || options.dupnames {
            return OTHER;
        }
        let count = answer.put_pairs(program.names().map(|(name, _)| (name, None::<&[u8]>)), false);
        if count == OTHER {
            return OTHER;
        }
        for (place, (_, number)) in answer.lengths.chunks_exact_mut(2).zip(program.names()) {
            // Below `GROUPS`.
            place[1] = number as u16;
        }
        answer.flags = count as u32;
        vm.patterns().place(options.once, program) as c_int
    })
}

/// Looks for a match of the pattern at `place` from byte `start` on: how many groups there are, the
/// whole being one, and 64 times the serial number of the answer, which Lua must have from here: a
/// finalizer may run as soon as this returns. Written is where each group begins and ends, -1 for
/// one that took no part. 0 is for no match.
///
/// # Safety
/// As [`re_place`].
unsafe extern "C" fn re_exec(
    vm: *const Vm,
    place: c_int,
    subject: *const u8,
    length: usize,
    start: usize,
    answer: *mut Answer,
) -> c_int {
    // SAFETY: as `re_place`.
    let (vm, subject, answer) =
        unsafe { (&*vm, Text { at: subject, length }.bytes(), &mut *answer) };
    guarded(|| {
        let Some(program) = vm.patterns().at(place as usize) else { return OTHER };
        let groups = 1 + program.group_count();
        let mut captures = Captures::new();
        match program.exec(subject, start, &mut captures) {
            Ok(true) => {}
            Ok(false) => return 0,
            Err(_) => return OTHER,
        }
        let serial = answer.begin();
        for (number, place) in answer.captures.chunks_exact_mut(2).take(groups).enumerate() {
            let (from, to) = match captures.get(number) {
                None => (-1, -1),
                Some((from, to)) => match (i32::try_from(from), i32::try_from(to)) {
                    (Ok(from), Ok(to)) => (from, to),
                    _ => return OTHER,
                },
            };
            place.copy_from_slice(&[from, to]);
        }
        // Both fit: 24 bits and six.
        (serial << 6) as c_int | groups as c_int
    })
}

/// Replaces the first match of the pattern at `place`, or all: how many there were, and, where that
/// is not 0, the text.
///
/// # Safety
/// As [`re_place`].
unsafe extern "C" fn re_substitute(
    vm: *const Vm,
    place: c_int,
    subject: *const u8,
    length: usize,
    template: *const u8,
    template_length: usize,
    is_global: c_int,
    answer: *mut Answer,
) -> c_int {
    // SAFETY: as `re_place`.
    let (vm, subject, template, answer) = unsafe {
        (
            &*vm,
            Text { at: subject, length }.bytes(),
            Text { at: template, length: template_length }.bytes(),
            &mut *answer,
        )
    };
    guarded(|| {
        let Some(program) = vm.patterns().at(place as usize) else { return OTHER };
        let Ok(template) = vm.patterns().template(template) else { return OTHER };
        let scratch = &vm.api().scratch;
        let mut out = scratch.take();
        out.clear();
        let is_global = is_global != 0;
        let expand = |out: &mut Vec<u8>, captures: &Captures| {
            template.expand_into(out, subject, captures);
            Ok(())
        };
        let count = substitute::<ExecError>(&program, subject, is_global, &mut out, expand);
        let code = match count {
            Ok(0) => 0,
            Ok(count) if answer.put(&out) => c_int::try_from(count).unwrap_or(OTHER),
            Ok(_) | Err(_) => OTHER,
        };
        if out.capacity() <= answer.text.len() {
            scratch.set(out);
        }
        code
    })
}
