//! What may differ, read from `exceptions.txt`.
//!
//! ```text
//! # a comment
//! header Date | its reason          the value of this header is not compared, its place is
//! case its name | its reason        this case differs today; it must, or its row has to go
//! tls its name | its reason         it does so only where TLS is between client and server
//! ```

use crate::case::Case;
use crate::exchange::Link;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The committed list.
#[derive(Default)]
pub struct Exceptions {
    headers: Vec<String>,
    cases: BTreeMap<String, String>,
    over_tls: BTreeMap<String, String>,
}

impl Exceptions {
    /// Reads the list.
    ///
    /// # Panics
    /// On a row without a reason.
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).expect("the list of exceptions");
        let mut list = Self::default();
        for row in text.lines().filter(|it| !it.is_empty() && !it.starts_with('#')) {
            let (what, reason) = row.split_once(" | ").expect("a row has `what | reason`");
            match what.split_once(' ') {
                Some(("header", name)) => list.headers.push(format!("{}: ", name.trim())),
                Some(("case", name)) => {
                    list.cases.insert(name.trim().into(), reason.trim().into());
                }
                Some(("tls", name)) => {
                    list.over_tls.insert(name.trim().into(), reason.trim().into());
                }
                _ => panic!("neither header nor case nor tls: {row}"),
            }
        }
        list
    }

    /// Every case of the list exists.
    pub fn check_names(&self, cases: &[Case]) {
        for name in self.cases.keys().chain(self.over_tls.keys()) {
            assert!(cases.iter().any(|it| it.name == *name), "no case is called {name:?}");
        }
    }

    /// Why a case may differ over this link.
    pub fn reason(&self, case: &str, link: Link) -> Option<&str> {
        let over_tls = self.over_tls.get(case).filter(|_| link == Link::Tls);
        self.cases.get(case).or(over_tls).map(String::as_str)
    }

    /// The text with values that are not compared taken out.
    pub fn mask(&self, text: &str) -> String {
        let mask = |line: &str| match self.headers.iter().find(|it| line.starts_with(it.as_str())) {
            Some(header) => format!("{header}…"),
            None => line.to_owned(),
        };
        text.lines().map(mask).collect::<Vec<_>>().join("\n")
    }
}
