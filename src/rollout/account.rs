//! How a rollout came to its pick, step by step: for people who ask why.

use super::assign::{Assign, Client, value_of};

/// Most of a value that is shown.
const LONGEST: usize = 100;

/// What a pick reads, and what that says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Of each header, then of each cookie that may choose: its value, and the variant that this
    /// asks for.
    pub asks: Vec<(String, Option<u8>)>,
    /// Whether the request may ask.
    pub is_trusted: bool,
    /// Of each rule whether it holds.
    pub rules: Vec<bool>,
    /// The key of `sticky`; empty without one.
    pub key: String,
    /// A signed cookie tells the user.
    pub has_cookie: bool,
}

impl Assign {
    /// Reads all that a pick may read, whether that decides or not.
    pub fn account(&self, client: &Client<'_>) -> Account {
        let mut scratch = Vec::new();
        let mut asks = Vec::new();
        for ask in &self.asks {
            let value = value_of(&ask.var, client.vars, &mut scratch);
            let wanted = if value.is_empty() { None } else { self.asked_by(ask, value) };
            asks.push((shown(value), wanted));
        }
        let is_trusted = self.trust.allows(&self.name, client, &mut scratch);
        let rules = self.rules.iter().map(|it| it.test.holds(client.vars, &mut scratch)).collect();
        scratch.clear();
        match (client.key, &self.key) {
            (Some(key), _) => scratch.extend_from_slice(key),
            (None, Some(key)) => key.append(client.vars, &mut scratch),
            (None, None) => {}
        }
        let key = shown(&scratch);
        let cookie = self.cookie.as_ref();
        let has_cookie = cookie.is_some_and(|(var, secret)| {
            secret.user(&self.name, value_of(var, client.vars, &mut scratch)).is_some()
        });
        Account { asks, is_trusted, rules, key, has_cookie }
    }
}

/// A value for people: cut, and without bytes that are no text.
fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(&value[..value.len().min(LONGEST)]).into_owned()
}
