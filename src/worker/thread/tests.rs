//! A worker's end is told, whatever it was.

use super::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;

#[test]
fn a_thread_that_panics_has_died() {
    let (sender, ends) = mpsc::channel();
    let on_end = move |end| sender.send(end).unwrap();
    let worker = || {
        let _last_word = LastWord(Some(on_end), End::Died);
        panic!("the test asks for it");
    };
    assert!(catch_unwind(AssertUnwindSafe(worker)).is_err());
    assert_eq!(ends.recv(), Ok(End::Died));
}

#[test]
fn a_thread_that_returns_was_told_to() {
    let (sender, ends) = mpsc::channel();
    let mut last_word = LastWord(Some(move |end| sender.send(end).unwrap()), End::Died);
    last_word.1 = End::Told;
    drop(last_word);
    assert_eq!(ends.recv(), Ok(End::Told));
}
