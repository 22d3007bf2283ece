//! From a `rollout` block to what picks: variables resolved, patterns compiled, secrets read.

use super::assign::{Ask, Assign, FIRST, Reason, Rule, Test, Wanted};
use super::hash::hash;
use super::layout::STABLE;
use super::signature::Secret;
use super::trust::Trust;
use crate::config::diagnostic::{At, Diagnostics};
use crate::config::model::{self, AskSource, Choice, Condition, OnMissing};
use crate::regex::Regex;
use crate::vars::{Names, Template, Var};
use bytes::Bytes;

/// What compiling needs to be told.
pub struct Needs<'a> {
    /// The configuration's variables.
    pub names: &'a Names,
    /// Reads a secret's file.
    pub read: &'a dyn Fn(&str) -> Result<Vec<u8>, String>,
    /// The secret that the journal keeps, for cookies without a file.
    pub own_secret: Secret,
}

impl Assign {
    /// Compiles a rollout that has passed the checks of the configuration; faults go to
    /// `diagnostics`.
    pub fn compile(
        rollout: &model::Rollout,
        needs: &Needs<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let mut compile = Compile { rollout, needs, diagnostics };
        let asks = compile.asks();
        let rules: Option<Vec<_>> = rollout.rules.iter().map(|it| compile.rule(it)).collect();
        let key = rollout.key.as_ref();
        let template = key.map(|it| compile.template(&it.at, &it.key));
        let cookie = rollout.cookie.as_ref().map(|it| compile.cookie(it));
        let trust = compile.trust();
        Some(Self {
            name: rollout.name.as_str().into(),
            salt: hash(0, rollout.name.as_bytes()),
            labels: rollout.labels().map(|it| Bytes::copy_from_slice(it.as_bytes())).collect(),
            asks: asks?.into(),
            rules: rules?.into(),
            key: template.map_or(Some(None), |it| it.map(Some))?,
            // Without any key at all every request is on its own.
            on_missing: key.map_or(OnMissing::Random, |it| it.on_missing),
            cookie: cookie.map_or(Some(None), |it| it.map(Some))?,
            trust: trust?,
        })
    }
}

struct Compile<'a> {
    rollout: &'a model::Rollout,
    needs: &'a Needs<'a>,
    diagnostics: &'a mut Diagnostics,
}

impl Compile<'_> {
    fn asks(&mut self) -> Option<Vec<Ask>> {
        let all: Option<Vec<_>> = self.rollout.asks.iter().map(|it| self.ask(it)).collect();
        let mut asks = all?;
        asks.sort_by_key(|it| it.reason == Reason::Cookie);
        Some(asks)
    }

    fn ask(&mut self, ask: &model::Ask) -> Option<Ask> {
        let (var, reason) = match ask.source {
            AskSource::Header => (header(&ask.name), Reason::Header),
            AskSource::Cookie => (cookie(&ask.name), Reason::Cookie),
        };
        let choice = match &ask.choice {
            Choice::Label => Wanted::Label,
            Choice::Value(text) => Wanted::Value(text.as_bytes().into()),
            Choice::Pattern(regex) => Wanted::Pattern(self.regex(&ask.at, regex, false)?),
        };
        Some(Ask { var, reason, choice })
    }

    fn rule(&mut self, rule: &model::Rule) -> Option<Rule> {
        let at = &rule.at;
        let test = match &rule.condition {
            Condition::True(variable) => Test::True(self.variable(at, variable)?),
            Condition::Equals { variable, text, negated } => {
                Test::Equals(self.variable(at, variable)?, self.template(at, text)?, *negated)
            }
            Condition::Matches { variable, regex, caseless, negated } => {
                let regex = self.regex(at, regex, *caseless)?;
                Test::Matches(self.variable(at, variable)?, regex, *negated)
            }
            Condition::File { .. } => return None, // refused by the configuration's own check
        };
        let wanted = rule.variant.as_str();
        let named = self.rollout.labels().position(|it| it == wanted);
        let variant = match (named, wanted) {
            (Some(number), _) => u8::try_from(number).ok()?,
            (None, "canary") => FIRST,
            (None, _) => STABLE,
        };
        Some(Rule { test, variant })
    }

    fn cookie(&mut self, sticky: &model::StickyCookie) -> Option<(Var, Secret)> {
        let secret = match &sticky.secret_file {
            Some(path) => self.secret(&sticky.at, path)?,
            None => self.needs.own_secret.clone(),
        };
        Some((cookie(&sticky.name), secret))
    }

    fn trust(&mut self) -> Option<Trust> {
        let mut trust = Trust::default();
        for line in &self.rollout.trust {
            match line {
                model::Trust::Network { address, prefix, .. } => trust.network(*address, *prefix),
                model::Trust::Token { at, secret_file, header: name } => {
                    let name = name.as_deref().unwrap_or("X-Canary-Token");
                    let secret = self.secret(at, secret_file)?;
                    trust.token(header(name), secret);
                }
            }
        }
        Some(trust)
    }

    fn secret(&mut self, at: &At, path: &str) -> Option<Secret> {
        let read = (self.needs.read)(path);
        let secret = read.and_then(|it| {
            Secret::new(&it).map_err(|error| format!("invalid secret in \"{path}\": {error}"))
        });
        self.or_fault(at, secret)
    }

    fn variable(&mut self, at: &At, name: &str) -> Option<Var> {
        let var = self.needs.names.resolve(name.as_bytes());
        self.or_fault(at, var.ok_or_else(|| format!("unknown \"{name}\" variable")))
    }

    fn template(&mut self, at: &At, text: &str) -> Option<Template> {
        let template = Template::compile(text, self.needs.names);
        self.or_fault(at, template.map_err(|it| it.to_string()))
    }

    fn regex(&mut self, at: &At, pattern: &str, caseless: bool) -> Option<Regex> {
        let regex = Regex::new(pattern.as_bytes(), caseless);
        self.or_fault(at, regex.map_err(|it| it.to_string()))
    }

    fn or_fault<T>(&mut self, at: &At, result: Result<T, String>) -> Option<T> {
        result.map_err(|message| self.diagnostics.fault(at, message)).ok()
    }
}

/// The variable of a cookie.
fn cookie(name: &str) -> Var {
    Var::Cookie(name.as_bytes().into())
}

/// The variable of a request header: `$http_x_env_tag`.
fn header(name: &str) -> Var {
    Var::Http(name.to_ascii_lowercase().replace('-', "_").into_bytes().into())
}
