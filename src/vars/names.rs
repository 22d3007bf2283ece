//! What a variable's name denotes in one configuration.

use super::builtin::Builtin;
use foldhash::HashMap;

/// A resolved variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Var {
    /// One of nginx's own.
    Builtin(Builtin),
    /// `$arg_NAME`.
    Arg(Box<[u8]>),
    /// `$http_NAME`: a request header, lower case with `_` for `-`.
    Http(Box<[u8]>),
    /// `$cookie_NAME`.
    Cookie(Box<[u8]>),
    /// `$sent_http_NAME`: a response header.
    SentHttp(Box<[u8]>),
    /// `$upstream_http_NAME`: a header of the upstream's response.
    UpstreamHttp(Box<[u8]>),
    /// `$sent_trailer_NAME`: what followed the response's body.
    SentTrailer(Box<[u8]>),
    /// `$upstream_trailer_NAME`: what followed the body of the upstream's response.
    UpstreamTrailer(Box<[u8]>),
    /// `$upstream_cookie_NAME`: a cookie that the upstream's response sets.
    UpstreamCookie(Box<[u8]>),
    /// `$1` to `$9`, `$0` for the whole match: captures of the last regex.
    Capture(u8),
    /// Declared by `set`, `set_by_lua` or a named capture: a slot of the request.
    Slot(u16),
    /// Declared by `map`: the map's number, and the slot that remembers its result.
    Map(u16, u16),
    /// Declared by `split_clients`: its number, and the slot that remembers its result.
    Split(u16, u16),
    /// Declared by `geo`: its number, and the slot that remembers its value.
    Geo(u16, u16),
    /// Declared by `rollout`: its number. The upstream of the variant that it chose.
    Rollout(u16),
}

/// How a variable is made of what follows its prefix.
type Make = fn(Box<[u8]>) -> Var;

/// Variables with a parameter in their name.
const PARAMETRIC: [(&[u8], Make); 8] = [
    (b"http_", Var::Http),
    (b"arg_", Var::Arg),
    (b"cookie_", Var::Cookie),
    (b"sent_http_", Var::SentHttp),
    (b"upstream_http_", Var::UpstreamHttp),
    (b"sent_trailer_", Var::SentTrailer),
    (b"upstream_trailer_", Var::UpstreamTrailer),
    (b"upstream_cookie_", Var::UpstreamCookie),
];

/// The names that one configuration declares.
#[derive(Debug, Default)]
pub struct Names {
    declared: HashMap<Box<[u8]>, Var>,
    slots: u16,
}

impl Names {
    /// How many slots a request needs.
    pub fn slots(&self) -> usize {
        usize::from(self.slots)
    }

    /// Declares `name` for `set` and captures; an existing declaration stays.
    ///
    /// # Errors
    /// A built-in variable that may not be assigned: nginx's `the duplicate "x" variable`; or too
    /// many variables.
    pub fn declare(&mut self, name: &[u8]) -> Result<Var, String> {
        let lower = name.to_ascii_lowercase();
        if let Some(var) = self.resolve(&lower) {
            return match &var {
                Var::Builtin(it) if !it.is_writable() => Err(duplicate(name)),
                Var::Builtin(_)
                | Var::Slot(_)
                | Var::Map(..)
                | Var::Geo(..)
                | Var::Split(..)
                | Var::Arg(_) => Ok(var),
                _ => Err(duplicate(name)),
            };
        }
        let var = Var::Slot(self.slot()?);
        self.declared.insert(lower.into(), var.clone());
        Ok(var)
    }

    /// Declares the variable of the `map` with this number.
    ///
    /// # Errors
    /// As [`Names::declare`].
    pub fn declare_map(&mut self, name: &[u8], number: u16) -> Result<(), String> {
        let slot = self.slot()?;
        self.declare_computed(name, Var::Map(number, slot))
    }

    /// Declares the variable of the `geo` with this number.
    ///
    /// # Errors
    /// As [`Names::declare`].
    pub fn declare_geo(&mut self, name: &[u8], number: u16) -> Result<(), String> {
        let slot = self.slot()?;
        self.declare_computed(name, Var::Geo(number, slot))
    }

    /// Declares the variable of the `split_clients` with this number.
    ///
    /// # Errors
    /// As [`Names::declare`].
    pub fn declare_split(&mut self, name: &[u8], number: u16) -> Result<(), String> {
        let slot = self.slot()?;
        self.declare_computed(name, Var::Split(number, slot))
    }

    /// Declares `$rollout_NAME` of the `rollout` with this number.
    ///
    /// # Errors
    /// As [`Names::declare`].
    pub fn declare_rollout(&mut self, name: &str, number: u16) -> Result<(), String> {
        self.declare_computed(format!("rollout_{name}").as_bytes(), Var::Rollout(number))
    }

    fn declare_computed(&mut self, name: &[u8], var: Var) -> Result<(), String> {
        let lower = name.to_ascii_lowercase();
        if Builtin::from_name(&lower).is_some() {
            return Err(duplicate(name));
        }
        self.declared.insert(lower.into(), var);
        Ok(())
    }

    /// What `name` (without `$`) denotes; nginx's names have no case.
    pub fn resolve(&self, name: &[u8]) -> Option<Var> {
        if name.iter().any(u8::is_ascii_uppercase) {
            return self.resolve(&name.to_ascii_lowercase());
        }
        if let Some(var) = self.declared.get(name) {
            return Some(var.clone());
        }
        if let [digit @ b'0'..=b'9'] = name {
            return Some(Var::Capture(digit - b'0'));
        }
        if let Some(builtin) = Builtin::from_name(name) {
            return Some(Var::Builtin(builtin));
        }
        PARAMETRIC
            .iter()
            .find_map(|(prefix, make)| name.strip_prefix(*prefix).map(|rest| make(rest.into())))
    }

    /// A name of `var`, without `$`.
    pub fn name_of(&self, var: &Var) -> String {
        let text = |prefix: &str, name: &[u8]| format!("{prefix}{}", String::from_utf8_lossy(name));
        match var {
            Var::Builtin(builtin) => builtin.name().to_owned(),
            Var::Arg(name) => text("arg_", name),
            Var::Http(name) => text("http_", name),
            Var::Cookie(name) => text("cookie_", name),
            Var::SentHttp(name) => text("sent_http_", name),
            Var::UpstreamHttp(name) => text("upstream_http_", name),
            Var::UpstreamCookie(name) => text("upstream_cookie_", name),
            Var::SentTrailer(name) => text("sent_trailer_", name),
            Var::UpstreamTrailer(name) => text("upstream_trailer_", name),
            Var::Capture(number) => number.to_string(),
            Var::Slot(_) | Var::Map(..) | Var::Geo(..) | Var::Split(..) | Var::Rollout(_) => {
                let named = self.declared.iter().find(|it| it.1 == var);
                named.map(|it| text("", it.0)).unwrap_or_default()
            }
        }
    }

    /// Whether `name` was declared by `set` or a named capture.
    pub fn is_slot(&self, name: &[u8]) -> bool {
        matches!(self.resolve(name), Some(Var::Slot(_)))
    }

    fn slot(&mut self) -> Result<u16, String> {
        let slot = self.slots;
        self.slots = slot.checked_add(1).ok_or("more than 65535 variables are declared")?;
        Ok(slot)
    }
}

fn duplicate(name: &[u8]) -> String {
    format!("the duplicate \"{}\" variable", String::from_utf8_lossy(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_resolve_without_case_and_by_prefix() {
        let mut names = Names::default();
        assert_eq!(names.declare(b"Backend"), Ok(Var::Slot(0)));
        assert_eq!(names.declare(b"backend"), Ok(Var::Slot(0)));
        assert_eq!(names.resolve(b"BACKEND"), Some(Var::Slot(0)));
        assert_eq!(names.resolve(b"http_x_canary"), Some(Var::Http((*b"x_canary").into())));
        assert_eq!(names.resolve(b"sent_http_via"), Some(Var::SentHttp((*b"via").into())));
        assert_eq!(names.resolve(b"7"), Some(Var::Capture(7)));
        assert_eq!(names.resolve(b"uri"), Some(Var::Builtin(Builtin::Uri)));
        assert_eq!(names.resolve(b"nosuch"), None);
        assert_eq!(names.slots(), 1);
    }

    #[test]
    fn slots_do_not_wrap() {
        let mut names = Names::default();
        for number in 0..u16::MAX {
            assert!(names.declare(format!("v{number}").as_bytes()).is_ok());
        }
        assert!(names.declare(b"one_more").is_err());
        assert!(names.declare(b"v7").is_ok(), "what is declared stays so");
    }

    #[test]
    fn built_in_variables_are_protected() {
        let mut names = Names::default();
        assert_eq!(names.declare(b"status"), Err("the duplicate \"status\" variable".into()));
        assert!(names.declare(b"args").is_ok());
        assert!(names.declare_map(b"host", 0).is_err());
    }
}
