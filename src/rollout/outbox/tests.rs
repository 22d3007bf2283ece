//! Outboxes cut, damaged, full, old, and held by another.

use super::*;

const URL: &str = "http://127.0.0.1:1/hook";
const NOW: u64 = 1_700_000_000_000;

fn letter(number: u64) -> Letter {
    let id = format!("api-{number}-1");
    Letter { id, url: URL.to_owned(), at_ms: NOW + number, body: "{}".to_owned() }
}

/// Opens an outbox. The children that other tests start hold all locks until they are programs.
fn open(path: &Path, now_ms: u64) -> (Outbox, Vec<Dropped>) {
    loop {
        match Outbox::open(path, &[URL.to_owned()], now_ms) {
            Err(error) if is_held(&error) => std::thread::yield_now(),
            result => return result.unwrap(),
        }
    }
}

fn kept(outbox: &mut Outbox, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let (dropped, result) = outbox.keep(NOW + number, vec![letter(number)]);
        result.unwrap();
        assert!(dropped.is_empty());
    }
}

fn ids(outbox: &Outbox) -> Vec<&str> {
    outbox.letters().iter().map(|it| it.id.as_str()).collect()
}

#[test]
fn what_was_not_taken_is_there_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.outbox");
    let (mut outbox, _) = open(&path, NOW);
    assert_eq!((outbox.told_ms(), outbox.letters()), (None, &[][..]));
    kept(&mut outbox, 0..3);
    outbox.take("api-1-1", URL).unwrap();
    outbox.take("api-2-1", "http://another/").unwrap();
    drop(outbox);
    let (mut outbox, dropped) = open(&path, NOW);
    assert_eq!((ids(&outbox), dropped), (vec!["api-0-1", "api-2-1"], vec![]));
    assert_eq!(outbox.told_ms(), Some(NOW + 2));
    outbox.take("api-0-1", URL).unwrap();
    outbox.take("api-2-1", URL).unwrap();
    let length = std::fs::metadata(&path).unwrap().len();
    assert!(length < 200, "an empty one is short: {length}");
    drop(outbox);
    assert_eq!(open(&path, NOW).0.told_ms(), Some(NOW + 2));
}

#[test]
fn cut_or_damaged_at_any_byte_it_opens_and_keeps_all_other_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.outbox");
    let (mut outbox, _) = open(&path, NOW);
    kept(&mut outbox, 0..3);
    drop(outbox);
    let whole = std::fs::read(&path).unwrap();
    for length in 0..=whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let (mut outbox, _) = open(&path, NOW);
        let lines = whole[..length].iter().filter(|it| **it == b'\n').count();
        assert_eq!(outbox.letters().len(), lines.div_ceil(2), "cut at {length}");
        kept(&mut outbox, 7..8);
        drop(outbox);
        assert_eq!(ids(&open(&path, NOW).0).last(), Some(&"api-7-1"), "cut at {length}");
    }
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x21;
        std::fs::write(&path, &bytes).unwrap();
        assert!(open(&path, NOW).0.letters().len() >= 2, "damaged at {place}");
    }
}

#[test]
fn it_is_bounded_in_number_and_age_and_by_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.outbox");
    let (mut outbox, _) = open(&path, NOW);
    let most = u64::try_from(MOST_KEPT).unwrap();
    kept(&mut outbox, 0..most);
    let (dropped, result) = outbox.keep(NOW + most, vec![letter(most)]);
    result.unwrap();
    assert_eq!(dropped, [letter(0)], "the oldest makes room");
    drop(outbox);
    let (outbox, dropped) = open(&path, NOW + LONGEST_AGE_MS + 2);
    assert_eq!(
        (outbox.letters().len(), dropped),
        (MOST_KEPT - 1, vec![(letter(1), "it is too old")])
    );
    drop(outbox);
    let another = ["http://another/".to_owned()];
    let (outbox, dropped) = loop {
        match Outbox::open(&path, &another, NOW) {
            Err(error) if is_held(&error) => std::thread::yield_now(),
            result => break result.unwrap(),
        }
    };
    assert_eq!((outbox.letters().len(), dropped.len()), (0, MOST_KEPT - 1));
    assert_eq!(dropped[0].1, "the configuration has it no more");
}

#[test]
fn what_could_not_be_written_is_written_next() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.outbox");
    let (mut outbox, _) = open(&path, NOW);
    kept(&mut outbox, 0..1);
    outbox.break_for_test();
    let failed = outbox.keep(NOW + 1, vec![letter(1)]).1.unwrap_err().to_string();
    assert!(failed.starts_with("write() \"") && failed.contains("api.outbox"), "{failed}");
    outbox.settle().unwrap();
    drop(outbox);
    assert_eq!(ids(&open(&path, NOW).0), ["api-0-1", "api-1-1"]);
}

#[test]
fn one_process_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.outbox");
    let (mut outbox, _) = open(&path, NOW);
    kept(&mut outbox, 0..1);
    assert!(is_held(&Outbox::open(&path, &[], NOW).unwrap_err()));
}
