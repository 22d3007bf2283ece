//! What a good answer to an HTTP probe is: the `match` block.

use crate::config::model::HealthMatch;
use crate::regex::Regex;

/// A compiled `match` block; by default 200 to 399.
#[derive(Debug, Default)]
pub(super) struct Expect {
    statuses: Vec<(u16, u16)>,
    statuses_negated: bool,
    headers: Vec<(String, HeaderTest)>,
    body: Option<(bool, Regex)>,
}

/// What a header must be.
#[derive(Debug)]
enum HeaderTest {
    Present(bool),
    Equals(bool, String),
    Matches(bool, Regex),
}

impl Expect {
    /// Compiles a `match` block; the error is a diagnostic's text.
    pub(super) fn new(rules: &HealthMatch) -> Result<Self, String> {
        let mut headers = Vec::new();
        for (name, operator, value) in &rules.headers {
            let test = match operator.as_str() {
                "" => HeaderTest::Present(true),
                "!" => HeaderTest::Present(false),
                "=" => HeaderTest::Equals(true, value.clone()),
                "!=" => HeaderTest::Equals(false, value.clone()),
                "~" => HeaderTest::Matches(true, compile(value)?),
                "!~" => HeaderTest::Matches(false, compile(value)?),
                other => return Err(format!("unknown operator \"{other}\" in match")),
            };
            headers.push((name.clone(), test));
        }
        let body = match &rules.body {
            Some((negated, pattern)) => Some((!*negated, compile(pattern)?)),
            None => None,
        };
        let (statuses, statuses_negated) = (rules.statuses.clone(), rules.statuses_negated);
        Ok(Self { statuses, statuses_negated, headers, body })
    }

    /// Whether the body must be read.
    pub(super) fn wants_body(&self) -> bool {
        self.body.is_some()
    }

    /// Judges a response's head; the error is what the log line says.
    pub(super) fn judge_head(
        &self,
        status: u16,
        headers: &[httparse::Header<'_>],
    ) -> Result<(), String> {
        let is_listed = if self.statuses.is_empty() {
            (200..400).contains(&status)
        } else {
            self.statuses.iter().any(|(first, last)| (*first..=*last).contains(&status))
        };
        if is_listed == self.statuses_negated {
            return Err(status.to_string());
        }
        for (name, test) in &self.headers {
            let mut values =
                headers.iter().filter(|it| it.name.eq_ignore_ascii_case(name)).map(|it| it.value);
            let is_good = match test {
                HeaderTest::Present(wanted) => values.next().is_some() == *wanted,
                HeaderTest::Equals(wanted, value) => {
                    values.any(|it| it == value.as_bytes()) == *wanted
                }
                HeaderTest::Matches(wanted, pattern) => {
                    values.any(|it| pattern.is_match(it)) == *wanted
                }
            };
            if !is_good {
                return Err(format!("{status}, header \"{name}\" does not match"));
            }
        }
        Ok(())
    }

    /// Judges a response's body.
    pub(super) fn judge_body(&self, body: &[u8]) -> Result<(), String> {
        match &self.body {
            Some((wanted, pattern)) if pattern.is_match(body) != *wanted => {
                Err("the body does not match".to_owned())
            }
            _ => Ok(()),
        }
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern.as_bytes(), false).map_err(|error| error.to_string())
}
