//! What `echo*` directives are compiled to.

use crate::vars::{Source, Template};
use bytes::{Bytes, BytesMut};

/// A line of `echo`, `echo_before_body` or `echo_after_body`.
#[derive(Clone, Debug)]
pub struct Line {
    /// What is said, with a space between.
    pub args: Box<[Template]>,
    /// A line feed ends it: `-n` was not written.
    pub newline: bool,
}

impl Line {
    /// The line for one request.
    pub fn value(&self, source: &dyn Source) -> Bytes {
        let mut line = BytesMut::new();
        for (index, arg) in self.args.iter().enumerate() {
            if index > 0 {
                line.extend_from_slice(b" ");
            }
            line.extend_from_slice(&arg.value(source));
        }
        if self.newline {
            line.extend_from_slice(b"\n");
        }
        line.freeze()
    }
}

/// What the echo module adds to a body.
#[derive(Clone, Debug, Default)]
pub struct Around {
    /// `echo_before_body`
    pub before: Box<[Line]>,
    /// `echo_after_body`
    pub after: Box<[Line]>,
}

/// A step of the handler.
#[derive(Debug)]
pub enum Step {
    /// `echo`
    Say(Line),
    /// `echo_duplicate`
    Duplicate {
        /// How often.
        count: Template,
        /// What.
        text: Template,
    },
    /// `echo_flush`
    Flush,
    /// `echo_sleep` and `echo_blocking_sleep`
    Sleep(Template),
    /// `echo_reset_timer`
    ResetTimer,
    /// `echo_read_request_body`
    ReadBody,
    /// `echo_request_body`
    SayBody,
    /// `echo_foreach_split`; `end` is the number of its `echo_end`, behind the last step where
    /// there is none.
    ForEach {
        /// What parts the text.
        delimiter: Template,
        /// The text.
        text: Template,
        /// Its end.
        end: usize,
    },
    /// `echo_end`
    End,
    /// `echo_exec`
    Exec {
        /// A path or `@name`.
        uri: Template,
        /// The arguments, where they were written apart.
        args: Option<Template>,
    },
    /// `echo_location`, `echo_subrequest` and those that do not wait
    Ask(Ask),
    /// A step that lacks arguments: what the log says when it is reached.
    Faulty(&'static str),
}

/// A request to another location.
#[derive(Debug)]
pub struct Ask {
    /// The method; GET where it is not named.
    pub method: Option<Template>,
    /// The URI.
    pub uri: Template,
    /// The arguments, where they were written apart.
    pub args: Option<Template>,
    /// A body of its own.
    pub body: Option<Template>,
    /// A file with a body of its own, below the prefix.
    pub file: Option<Template>,
    /// The steps behind it come when it was answered.
    pub waits: bool,
}
