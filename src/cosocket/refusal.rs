//! A thread whose scripts contact nobody: what they would have asked is noted instead.

use super::error::Error;
use std::cell::RefCell;

/// Contacts that are noted.
const MOST: usize = 64;

thread_local! {
    /// What was not asked; none where scripts may ask.
    static REFUSED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// From now on no script of this thread contacts anybody.
pub fn begin() {
    REFUSED.set(Some(Vec::new()));
}

/// What scripts of this thread would have contacted: `tcp HOST:PORT`, each once, in order.
pub fn noted() -> Vec<String> {
    REFUSED.with_borrow(|it| it.clone().unwrap_or_default())
}

/// Refuses `contact`, and notes it, where this thread contacts nobody.
///
/// # Errors
/// What the script is told.
pub fn check(contact: impl FnOnce() -> String) -> Result<(), Error> {
    REFUSED.with_borrow_mut(|refused| {
        let Some(noted) = refused else { return Ok(()) };
        let contact = contact();
        if noted.len() < MOST && !noted.contains(&contact) {
            noted.push(contact);
        }
        Err(Error::Text("nobody is contacted while a request is explained".to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_are_refused_from_the_beginning_on_and_noted_once() {
        std::thread::spawn(|| {
            assert!(check(|| unreachable!("scripts may ask")).is_ok());
            begin();
            for contact in ["tcp a:1", "udp b:2", "tcp a:1"] {
                let error = check(|| contact.to_owned()).unwrap_err().to_string();
                assert_eq!(error, "nobody is contacted while a request is explained");
            }
            assert_eq!(noted(), ["tcp a:1", "udp b:2"]);
        })
        .join()
        .unwrap();
        assert!(check(String::new).is_ok(), "other threads go on");
    }
}
