//! `echo*` and `more_*_headers`, compiled.

use super::Build;
use crate::config::diagnostic::At;
use crate::config::model;
use crate::config::model::{EchoCommand, EchoVerb};
use crate::snapshot::echo::{Around, Ask, Line, Step};
use crate::snapshot::more_headers::{MoreHeader, MoreHeaders};
use crate::vars::Template;
use crate::vars::template::has_variables;
use bytes::Bytes;
use std::sync::Arc;

impl Build<'_> {
    /// The steps of a handler.
    pub(super) fn echo(&mut self, commands: &[EchoCommand]) -> Arc<[Step]> {
        let steps = commands.iter().enumerate();
        steps.map(|(number, command)| self.echo_step(commands, number, command)).collect()
    }

    fn echo_step(&mut self, commands: &[EchoCommand], number: usize, it: &EchoCommand) -> Step {
        let (options, args) = options(&it.args);
        let mut args = args.into_iter();
        let mut arg = |build: &mut Self| args.next().map(|text| build.template(text, &it.at));
        match it.verb {
            EchoVerb::Echo => Step::Say(self.echo_line(&it.args, &it.at)),
            EchoVerb::EchoDuplicate => match (arg(self), arg(self)) {
                (Some(count), Some(text)) => Step::Duplicate { count, text },
                _ => Step::Faulty("echo_duplicate lacks arguments"),
            },
            EchoVerb::EchoFlush => Step::Flush,
            EchoVerb::EchoSleep | EchoVerb::EchoBlockingSleep => match arg(self) {
                Some(delay) => Step::Sleep(delay),
                None => Step::Sleep(Template::literal(options.first().copied().unwrap_or(""))),
            },
            EchoVerb::EchoResetTimer => Step::ResetTimer,
            EchoVerb::EchoReadRequestBody => Step::ReadBody,
            EchoVerb::EchoRequestBody => Step::SayBody,
            EchoVerb::EchoForeachSplit => match (arg(self), arg(self)) {
                (Some(delimiter), Some(text)) => {
                    let rest = commands.iter().skip(number);
                    let end = rest.take_while(|it| it.verb != EchoVerb::EchoEnd).count() + number;
                    Step::ForEach { delimiter, text, end }
                }
                _ => Step::Faulty(
                    "echo_foreach should take at least two arguments. (if your delimiter starts \
                     with \"-\", preceding it with a \"--\".)",
                ),
            },
            EchoVerb::EchoEnd => Step::End,
            EchoVerb::EchoExec => match arg(self) {
                Some(uri) => Step::Exec { uri, args: arg(self) },
                None => Step::Faulty("echo_exec lacks arguments"),
            },
            EchoVerb::EchoLocation | EchoVerb::EchoLocationAsync => {
                let Some(uri) = arg(self) else { return Step::Faulty("echo_location lacks a URI") };
                let waits = it.verb == EchoVerb::EchoLocation;
                let args = arg(self);
                Step::Ask(Ask { method: None, uri, args, body: None, file: None, waits })
            }
            EchoVerb::EchoSubrequest | EchoVerb::EchoSubrequestAsync => self.echo_subrequest(it),
        }
    }

    /// Its options were checked where they were read.
    fn echo_subrequest(&mut self, it: &EchoCommand) -> Step {
        let [method, uri, options @ ..] = it.args.as_slice() else {
            return Step::Faulty("echo_subrequest lacks arguments");
        };
        let option = |build: &mut Self, name: &str| {
            let value = options.chunks(2).rfind(|it| it[0] == name).and_then(|it| it.get(1));
            value.map(|text| build.template(text, &it.at))
        };
        Step::Ask(Ask {
            args: option(self, "-q"),
            body: option(self, "-b"),
            file: option(self, "-f"),
            method: Some(self.template(method, &it.at)),
            uri: self.template(uri, &it.at),
            waits: it.verb == EchoVerb::EchoSubrequest,
        })
    }

    fn echo_line(&mut self, args: &[String], at: &At) -> Line {
        let (options, args) = options(args);
        let args = args.into_iter().map(|it| self.template(it, at)).collect();
        Line { args, newline: options.first() != Some(&"n") }
    }

    /// What is said around bodies; `None` where nothing is.
    pub(super) fn echo_around(&mut self, settings: &model::Settings) -> Option<Arc<Around>> {
        let lines = |build: &mut Self, lines: &Option<Vec<model::EchoLine>>| {
            let lines = lines.iter().flatten();
            lines.map(|it| build.echo_line(&it.args, &it.at)).collect::<Box<[_]>>()
        };
        let before = lines(self, &settings.echo_before_body);
        let after = lines(self, &settings.echo_after_body);
        let is_some = !before.is_empty() || !after.is_empty();
        is_some.then(|| Arc::new(Around { before, after }))
    }

    /// Lines of headers-more.
    pub(super) fn more_headers(
        &mut self,
        lines: &Option<Vec<model::MoreHeaders>>,
    ) -> Arc<[MoreHeaders]> {
        let lines = lines.iter().flatten();
        lines
            .map(|line| MoreHeaders {
                statuses: line.statuses.as_slice().into(),
                types: line.types.iter().map(|it| bytes(it)).collect(),
                append: line.append,
                replace: line.replace,
                headers: line.headers.iter().map(|it| self.more_header(it, &line.at)).collect(),
            })
            .collect()
    }

    fn more_header(&mut self, header: &model::MoreHeader, at: &At) -> MoreHeader {
        let family = header.name.strip_suffix('*');
        MoreHeader {
            name: bytes(family.unwrap_or(&header.name)),
            is_family: family.is_some(),
            value: self.template(&header.value, at),
        }
    }
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// The options without their `-`, and the arguments behind them (`ngx_http_echo_eval_cmd_args`).
fn options(args: &[String]) -> (Vec<&str>, Vec<&str>) {
    let mut options = Vec::new();
    let mut rest = args.iter().map(String::as_str).peekable();
    while let Some(word) = rest.peek().filter(|it| !has_variables(it)) {
        match word.strip_prefix('-') {
            None | Some("") => break,
            Some(option) if option.starts_with('-') => {
                rest.next();
                break;
            }
            Some(option) => options.push(option),
        }
        rest.next();
    }
    (options, rest.collect())
}
