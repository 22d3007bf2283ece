//! What is noted while a request runs that is to be explained: what it read, what ran.

use super::Request;
use crate::vars::Var;

/// Things that are noted of one request.
const MOST: usize = 64;
/// Most of a value that is noted, bytes.
const LONGEST: usize = 100;

/// What a request read, and the scripts that ran.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Variables by name, without `$`, and their values; `None` where one was not set.
    pub read: Vec<(String, Option<String>)>,
    /// Scripts, and how each ended.
    pub ran: Vec<(String, String)>,
    /// What answers where no upstream does.
    pub answer: Option<String>,
}

impl Request {
    /// Notes from now on what the request reads.
    pub fn begin_trace(&self) {
        *self.trace.borrow_mut() = Some(Box::default());
        self.is_traced.set(true);
    }

    /// Notes nothing more.
    pub fn pause_trace(&self) {
        self.is_traced.set(false);
    }

    /// Whether what happens is noted.
    pub fn is_traced(&self) -> bool {
        self.is_traced.get()
    }

    /// Notes that a variable was read.
    pub fn note_read(&self, var: &Var, value: Option<&[u8]>) {
        let name = self.snapshot.names.name_of(var);
        let text = |it: &[u8]| String::from_utf8_lossy(&it[..it.len().min(LONGEST)]).into_owned();
        let read = (name, value.map(text));
        if let Some(trace) = &mut *self.trace.borrow_mut()
            && trace.read.len() < MOST
            && !trace.read.contains(&read)
        {
            trace.read.push(read);
        }
    }

    /// Notes that a script was given the fields of the request, or asked for one by name.
    pub fn note_header(&self, name: &[u8], value: Option<&[u8]>) {
        let plain = |it: &u8| if *it == b'-' { b'_' } else { it.to_ascii_lowercase() };
        let name = name.iter().map(plain);
        self.note_read(&Var::Http(name.collect()), value);
    }

    /// Notes what answers.
    pub fn note_answer(&self, answer: String) {
        if let Some(trace) = &mut *self.trace.borrow_mut() {
            trace.answer = Some(answer);
        }
    }

    /// Notes that a script ran, and how it ended.
    pub fn note_ran(&self, script: &str, ended: String) {
        if let Some(trace) = &mut *self.trace.borrow_mut()
            && trace.ran.len() < MOST
        {
            trace.ran.push((script.to_owned(), ended));
        }
    }
}
