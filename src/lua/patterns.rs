//! The compiled patterns of one VM, for `ngx.re`.

use crate::lua::vm::Vm;
use crate::regex::cache::Cache;
use crate::regex::options::Options;
use crate::regex::program::Program;
use crate::regex::substitute::Template;
use crate::regex::substitute::TemplateError;
use std::cell::RefCell;
use std::rc::Rc;

/// Patterns without the option `o` are remembered too, for a loop's sake; so many of them.
const MAX_TRANSIENT: usize = 64;

/// Caches by option letters and pattern.
#[derive(Debug)]
pub struct Patterns {
    kept: RefCell<Cache<Program>>,
    transient: RefCell<Cache<Program>>,
    templates: RefCell<Cache<Template>>,
    /// Those that Lua knows by their place: one that is not kept, and then what is kept for ever.
    placed: RefCell<Vec<Option<Rc<Program>>>>,
    max_entries: usize,
    match_limit: u32,
}

impl Vm {
    /// The compiled `pattern` for the option `letters`, which were read into `options`.
    ///
    /// # Errors
    /// OpenResty's text on what is wrong with the pattern.
    pub fn pattern(
        &self,
        letters: &[u8],
        options: Options,
        pattern: &[u8],
    ) -> Result<Rc<Program>, String> {
        self.patterns().program(letters, options, pattern, || {
            if options.jit {
                self.trace(format_args!("pcre JIT compiling result: 1"));
            }
        })
    }
}

impl Patterns {
    /// For `lua_regex_cache_max_entries` and `lua_regex_match_limit`.
    pub fn new(max_entries: usize, match_limit: u32) -> Self {
        Self {
            kept: RefCell::new(Cache::new(max_entries)),
            transient: RefCell::new(Cache::new(MAX_TRANSIENT)),
            templates: RefCell::new(Cache::new(max_entries)),
            placed: RefCell::new(vec![None]),
            max_entries,
            match_limit,
        }
    }

    /// Gives `program` a place, for ever if it `is_kept` and there is room; else it is place 0,
    /// until the next.
    pub fn place(&self, is_kept: bool, program: Rc<Program>) -> usize {
        let mut placed = self.placed.borrow_mut();
        if is_kept && placed.len() <= self.max_entries {
            placed.push(Some(program));
            return placed.len() - 1;
        }
        placed[0] = Some(program);
        0
    }

    /// The program at `place`.
    pub fn at(&self, place: usize) -> Option<Rc<Program>> {
        self.placed.borrow().get(place)?.clone()
    }

    /// The compiled `pattern` for the option `letters`, which were read into `options`;
    /// `compiled` is told when it was not known.
    ///
    /// # Errors
    /// OpenResty's text on what is wrong with the pattern.
    fn program(
        &self,
        letters: &[u8],
        options: Options,
        pattern: &[u8],
        compiled: impl FnOnce(),
    ) -> Result<Rc<Program>, String> {
        let cache = if options.once { &self.kept } else { &self.transient };
        if let Some(known) = cache.borrow_mut().get(letters, pattern) {
            return Ok(known);
        }
        let program = Program::compile(pattern, options, self.match_limit);
        let program = Rc::new(program.map_err(|error| error.to_string())?);
        cache.borrow_mut().insert(letters, pattern, Rc::clone(&program));
        compiled();
        Ok(program)
    }

    /// The template that `text` spells.
    ///
    /// # Errors
    /// A bad one.
    pub fn template(&self, text: &[u8]) -> Result<Rc<Template>, TemplateError> {
        if let Some(known) = self.templates.borrow_mut().get(b"", text) {
            return Ok(known);
        }
        let template = Rc::new(Template::compile(text)?);
        self.templates.borrow_mut().insert(b"", text, Rc::clone(&template));
        Ok(template)
    }
}
