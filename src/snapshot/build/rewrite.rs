//! The rewrite module's directives, compiled.

use super::Build;
use crate::config::diagnostic::At;
use crate::config::model;
use crate::config::model::RewriteOp;
use crate::http::setters;
use crate::snapshot::LocationId;
use crate::snapshot::program::{AfterRewrite, Condition, Op, Program, Setter};
use crate::vars::template::has_variables;
use std::sync::atomic::AtomicI64;

/// Where a program stands, for the nameless locations of its `if` blocks.
pub(super) type MakeIf<'f> =
    dyn FnMut(&mut Build<'_>, &model::IfBlock) -> (Program, Option<LocationId>) + 'f;

impl Build<'_> {
    /// Compiles directives; `make_if` makes the location of an `if` block.
    pub(super) fn program(&mut self, ops: &[RewriteOp], make_if: &mut MakeIf<'_>) -> Program {
        ops.iter().map(|op| self.op(op, make_if)).collect()
    }

    fn op(&mut self, op: &RewriteOp, make_if: &mut MakeIf<'_>) -> Op {
        match op {
            RewriteOp::Set { at, variable, value } => Op::Set {
                shown: format!("set at {at}").into(),
                target: self.variable(variable, at),
                value: self.template(value, at),
            },
            RewriteOp::SetByLua { variable, chunk, args } => Op::SetByLua {
                target: self.variable(variable, &chunk.at),
                chunk: self.chunk(chunk),
                args: args.iter().map(|it| self.template(it, &chunk.at)).collect(),
            },
            RewriteOp::Setter { at, directive, variable, args } => Op::Setter {
                shown: format!("{directive} at {at}").into(),
                target: self.variable(variable, at),
                verb: self.setter(directive, args, at),
                args: args.iter().map(|it| self.template(it, at)).collect(),
            },
            RewriteOp::If(block) => {
                let condition = self.condition(&block.condition, &block.at);
                let (then, location) = make_if(self, block);
                Op::If { condition, then, location }
            }
            RewriteOp::Rewrite(rewrite) => self.rewrite(rewrite),
            RewriteOp::Return(it) => Op::Return {
                status: it.status,
                text: it.text.as_ref().map(|text| self.template(text, &it.at)),
            },
            RewriteOp::Break { .. } => Op::Break,
        }
    }

    fn setter(&mut self, directive: &str, args: &[String], at: &At) -> Setter {
        match directive {
            "set_if_empty" => Setter::IfEmpty,
            "set_hmac_sha1" => Setter::Hmac { sha256: false },
            "set_hmac_sha256" => Setter::Hmac { sha256: true },
            "set_random" => Setter::Random,
            "set_rotate" => Setter::Rotate(AtomicI64::new(i64::MIN)),
            "set_hashed_upstream" => {
                let model = self.inputs.model.clone();
                let lists = model.http.as_ref().map(|it| it.upstream_lists.clone());
                let lists = lists.unwrap_or_default();
                let name = args.first().map(String::as_str).unwrap_or_default();
                if !has_variables(name) && !lists.iter().any(|it| it.0 == name) {
                    let text = format!("upstream list \"{name}\" not defined yet");
                    self.diagnostics.fault(at, format!("set_hashed_upstream: {text}"));
                }
                Setter::HashedUpstream(lists.into())
            }
            _ => match setters::function(directive) {
                Some(function) => Setter::Function(function),
                None => {
                    self.diagnostics.fault(at, format!("unknown directive \"{directive}\""));
                    Setter::IfEmpty
                }
            },
        }
    }

    fn rewrite(&mut self, rewrite: &model::Rewrite) -> Op {
        let text = rewrite.replacement.as_str();
        let absolute = ["http://", "https://", "$scheme"].iter().any(|it| text.starts_with(it));
        let (text, keep_args) = match text.strip_suffix('?') {
            Some(text) => (text, false),
            None => (text, true),
        };
        let after = AfterRewrite::new(rewrite.flag, absolute);
        // A redirect keeps its `?` in place; an internal rewrite takes the arguments apart.
        let (path, args) = match text.split_once('?') {
            Some((path, args)) => (path, Some(args)),
            None => (text, None),
        };
        Op::Rewrite {
            regex: self.regex(&rewrite.regex, false, &rewrite.at),
            replacement: self.template(path, &rewrite.at),
            args: args.map(|it| self.template(it, &rewrite.at)),
            keep_args,
            after,
        }
    }

    fn condition(
        &mut self,
        condition: &model::Condition,
        at: &crate::config::diagnostic::At,
    ) -> Condition {
        match condition {
            model::Condition::True(variable) => Condition::True(self.variable(variable, at)),
            model::Condition::Equals { variable, text, negated } => Condition::Equals {
                variable: self.variable(variable, at),
                text: self.template(text, at),
                negated: *negated,
            },
            model::Condition::Matches { variable, regex, caseless, negated } => {
                Condition::Matches {
                    variable: self.variable(variable, at),
                    regex: self.regex(regex, *caseless, at),
                    negated: *negated,
                }
            }
            model::Condition::File { test, path, negated } => {
                Condition::File { test: *test, path: self.template(path, at), negated: *negated }
            }
        }
    }
}
