//! Tests of the dictionaries; figures and texts are lua-nginx-module 0.10.23's on the same calls.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

const NOW: u64 = 1_000_000;

fn set(dict: &Dict, key: &str, value: Value<'_>) -> (Result<(), Error>, bool) {
    dict.store(Op::Set, key.as_bytes(), Some(value), 0, 0, NOW)
}

fn show(value: Value<'_>) -> String {
    match value {
        Value::Text(text) => text.escape_ascii().to_string(),
        Value::Number(number) => number.to_string(),
        Value::Boolean(boolean) => boolean.to_string(),
    }
}

fn get(dict: &Dict, key: &str, now_ms: u64) -> String {
    match dict.get_with(key.as_bytes(), now_ms, |value, flags| format!("{} {flags}", show(value))) {
        Ok(found) => found.unwrap_or_else(|| "nil".to_owned()),
        Err(error) => error.to_string(),
    }
}

fn keys(dict: &Dict, max: usize) -> Vec<String> {
    dict.keys(max, NOW).iter().map(|it| it.escape_ascii().to_string()).collect()
}

#[test]
fn fresh_zones_have_nginx_s_room() {
    let cases = [("one", 12 << 10, 0), ("d", 100 << 10, 90112), ("big", 1 << 20, 1_032_192)];
    for (name, capacity, free) in cases {
        let dict = Dict::new(name, capacity);
        assert_eq!((dict.capacity(), dict.free_space()), (capacity, free), "{name}");
    }
}

#[test]
fn a_zone_holds_as_many_entries_as_nginx_s() {
    let cases = [
        (0, 735, 0),
        (52, 735, 0),
        (53, 352, 0),
        (180, 352, 0),
        (181, 176, 0),
        (500, 88, 0),
        (1000, 44, 0),
        (1972, 44, 0),
        (1973, 22, 0),
        (4020, 22, 0),
        (4021, 11, 0),
        (9000, 7, 4096),
        (30000, 2, 24576),
    ];
    for (size, count, free) in cases {
        let dict = Dict::new("d", 100 << 10);
        let value = vec![b'x'; size];
        let stored = (0..).take_while(|it| {
            set(&dict, &format!("{it:08}"), Value::Text(&value)) == (Ok(()), false)
        });
        assert_eq!((stored.count(), dict.free_space()), (count, free), "{size}");
    }
}

#[test]
fn the_oldest_make_room_and_what_does_not_fit_is_refused() {
    let dict = Dict::new("d", 100 << 10);
    let value = [b'x'; 3000];
    for index in 0..22 {
        assert_eq!(set(&dict, &format!("k{index}"), Value::Text(&value)), (Ok(()), false));
    }
    assert!(get(&dict, "k0", NOW).starts_with('x'));
    let safe = dict.store(Op::SafeSet, b"new", Some(Value::Text(&value)), 0, 0, NOW);
    assert_eq!(safe, (Err(Error::NoMemory), false));
    assert_eq!(set(&dict, "new", Value::Text(&value)), (Ok(()), true));
    assert_eq!((get(&dict, "k1", NOW).as_str(), dict.keys(0, NOW).len()), ("nil", 22));
    assert!(get(&dict, "k0", NOW).starts_with('x'));
    assert_eq!(set(&dict, "huge", Value::Text(&[0; 200_000])), (Err(Error::NoMemory), true));
    assert_eq!(dict.push(b"l", End::Left, Item::Number(1.0), NOW), Ok(1));
}

#[test]
fn lists_take_room_and_drop_nothing() {
    let dict = Dict::new("d", 100 << 10);
    let item = || Item::Text(vec![b'y'; 100].into());
    let pushed = (0..).take_while(|_| dict.push(b"l", End::Right, item(), NOW).is_ok()).count();
    assert_eq!(pushed, 734);
    assert_eq!(dict.push(b"l", End::Right, item(), NOW), Err(Error::NoMemory));
    assert_eq!(dict.push(b"l", End::Right, Item::Text(b"z"[..].into()), NOW), Ok(735));
    assert_eq!(get(&dict, "l", NOW), "value is a list");
    for _ in 0..735 {
        assert!(dict.pop(b"l", End::Left, NOW).unwrap().is_some());
    }
    assert_eq!((dict.pop(b"l", End::Left, NOW), dict.list_len(b"l", NOW)), (Ok(None), Ok(0)));
    assert_eq!((dict.free_space(), dict.keys(0, NOW).len()), (90112, 0));
}

#[test]
fn operations_answer_as_openresty_s() {
    let dict = Dict::new("d", 100 << 10);
    let store = |op, key: &str, value| dict.store(op, key.as_bytes(), value, 0, 7, NOW).0;
    let number = |number| Some(Value::Number(number));
    assert_eq!(dict.push(b"k", End::Right, Item::Number(1.0), NOW), Ok(1));
    assert_eq!(dict.incr(b"k", 1.0, None, NOW), Err(Error::NotANumber));
    assert_eq!(store(Op::Replace, "q", number(1.0)), Err(Error::NotFound));
    assert_eq!(store(Op::Add, "k", None), Err(Error::NilValue));
    assert_eq!(store(Op::Set, "s", Some(Value::Text(b"abc"))), Ok(()));
    assert_eq!(store(Op::Add, "s", number(1.0)), Err(Error::Exists));
    assert_eq!(get(&dict, "s", NOW), "abc 7");
    assert_eq!(dict.incr(b"s", 1.0, None, NOW), Err(Error::NotANumber));
    assert_eq!(dict.push(b"s", End::Left, Item::Number(1.0), NOW), Err(Error::ValueNotAList));
    assert_eq!(dict.pop(b"s", End::Left, NOW), Err(Error::ValueNotAList));
    assert_eq!(dict.list_len(b"s", NOW), Err(Error::ValueNotAList));
    assert_eq!((dict.ttl_ms(b"none", NOW), dict.ttl_ms(b"s", NOW)), (Err(Error::NotFound), Ok(0)));
    assert_eq!(dict.expire(b"none", 1, NOW), Err(Error::NotFound));
    assert_eq!(dict.incr(b"n", 1.0, None, NOW), Err(Error::NotFound));
    assert_eq!(dict.incr(b"n", 1.0, Some((5.0, 0)), NOW), Ok((6.0, false)));
    assert_eq!(dict.incr(b"n", 1.0, Some((5.0, 0)), NOW), Ok((7.0, false)));
    assert_eq!(store(Op::Replace, "n", Some(Value::Boolean(true))), Ok(()));
    assert_eq!(get(&dict, "n", NOW), "true 7");
    assert_eq!((store(Op::Set, "n", None), get(&dict, "n", NOW)), (Ok(()), "nil".to_owned()));
    assert_eq!(get(&dict, "", NOW), "empty key");
    assert_eq!(get(&dict, &"k".repeat(65536), NOW), "key too long");
}

#[test]
fn times_run_out() {
    let dict = Dict::new("d", 100 << 10);
    // What expires must not be the oldest: each operation drops expired entries from that end.
    assert_eq!(set(&dict, "old", Value::Boolean(false)), (Ok(()), false));
    let _ = dict.store(Op::Set, b"k", Some(Value::Number(1.0)), 10, 3, NOW);
    assert_eq!((dict.ttl_ms(b"k", NOW + 4), get(&dict, "k", NOW + 10)), (Ok(6), "1 3".to_owned()));
    assert_eq!((dict.keys(0, NOW + 10).len(), get(&dict, "k", NOW + 11).as_str()), (1, "nil"));
    let stale = |now_ms| dict.get_stale_with(b"k", now_ms, |value, _, stale| (show(value), stale));
    assert_eq!(stale(NOW + 11), Ok(Some(("1".to_owned(), true))));
    assert_eq!(dict.ttl_ms(b"k", NOW + 11), Ok(-1));
    assert_eq!(dict.expire(b"k", 100, NOW + 11), Ok(()));
    assert_eq!(stale(NOW + 12), Ok(Some(("1".to_owned(), false))));
    assert_eq!(dict.incr(b"k", 1.0, Some((0.0, 5)), NOW + 200), Ok((1.0, false)));
    assert_eq!((dict.ttl_ms(b"k", NOW + 200), get(&dict, "k", NOW + 200)), (Ok(5), "1 0".into()));
    let added = dict.store(Op::Add, b"k", Some(Value::Text(b"t")), 0, 0, NOW + 300).0;
    assert_eq!((added, get(&dict, "k", NOW + 300)), (Ok(()), "t 0".to_owned()));
}

#[test]
fn flushing_and_listing_go_by_age() {
    let dict = Dict::new("d", 100 << 10);
    for index in 1..=5 {
        let _ = set(&dict, &format!("k{index}"), Value::Number(f64::from(index)));
    }
    let _ = get(&dict, "k2", NOW);
    assert_eq!(keys(&dict, 0), ["k1", "k3", "k4", "k5", "k2"]);
    assert_eq!(keys(&dict, 2), ["k1", "k3"]);
    dict.flush_all(NOW);
    assert!(keys(&dict, 0).is_empty());
    let stale = |key: &[u8]| dict.get_stale_with(key, NOW, |_, _, is_stale| is_stale);
    // The flush itself drops the three oldest.
    assert_eq!(
        (stale(b"k5"), stale(b"k4"), stale(b"k2")),
        (Ok(Some(true)), Ok(None), Ok(Some(true)))
    );
    assert_eq!((dict.flush_expired(1, NOW), dict.flush_expired(0, NOW)), (1, 1));
    assert_eq!(dict.free_space(), 90112);
}

#[test]
fn reloads_keep_what_keeps_its_size() {
    let first = Dicts::default().reloaded([("a", 12 << 10), ("b", 12 << 10), ("c", 12 << 10)]);
    let _ = set(first.get("a").unwrap(), "k", Value::Number(1.0));
    let second = first.reloaded([("a", 12 << 10), ("b", 16 << 10)]);
    assert!(Arc::ptr_eq(first.get("a").unwrap(), second.get("a").unwrap()));
    assert!(!Arc::ptr_eq(first.get("b").unwrap(), second.get("b").unwrap()));
    assert_eq!((second.get("c").is_none(), second.iter().count()), (true, 2));
    assert_eq!(get(second.get("a").unwrap(), "k", NOW), "1 0");
}

#[test]
fn no_increment_is_lost() {
    let dict = Dict::new("d", 100 << 10);
    std::thread::scope(|scope| {
        for thread in 0..4_u8 {
            let dict = &dict;
            scope.spawn(move || {
                for round in 0..5_000 {
                    dict.incr(b"n", 1.0, Some((0.0, 0)), NOW).unwrap();
                    let key = [thread, b'0' + u8::try_from(round % 10).unwrap()];
                    let _ = dict.store(Op::Set, &key, Some(Value::Text(&key)), 1, 0, NOW + round);
                }
            });
        }
    });
    assert_eq!(get(&dict, "n", NOW), "20000 0");
}

/// A dictionary without limits, told as plainly as possible: oldest first.
#[derive(Default)]
struct Model(Vec<(u8, Kept, u64)>);

#[derive(Clone, Debug, PartialEq)]
enum Kept {
    Value(String),
    List(VecDeque<u8>),
}

impl Model {
    fn drop_expired(&mut self, now_ms: u64) {
        for _ in 0..2 {
            if self.0.first().is_some_and(|(.., expires)| *expires != 0 && *expires <= now_ms) {
                self.0.remove(0);
            }
        }
    }

    /// Moves `key` to the end; whether it is there and alive.
    fn touch(&mut self, key: u8, now_ms: u64) -> Option<bool> {
        let entry = self.0.remove(self.0.iter().position(|it| it.0 == key)?);
        let is_alive = entry.2 == 0 || entry.2 >= now_ms;
        self.0.push(entry);
        Some(is_alive)
    }

    fn get(&mut self, key: u8, now_ms: u64) -> Option<Kept> {
        self.drop_expired(now_ms);
        self.touch(key, now_ms)?.then(|| self.0.last().unwrap().1.clone())
    }

    fn set(&mut self, key: u8, value: Option<String>, expires: u64) {
        self.0.retain(|it| it.0 != key);
        self.0.extend(value.map(|value| (key, Kept::Value(value), expires)));
    }

    fn push(&mut self, key: u8, item: u8, now_ms: u64) -> Result<usize, Error> {
        self.drop_expired(now_ms);
        if self.touch(key, now_ms) != Some(true) {
            self.0.retain(|it| it.0 != key);
            self.0.push((key, Kept::List(VecDeque::new()), 0));
        }
        match &mut self.0.last_mut().unwrap().1 {
            Kept::Value(_) => Err(Error::ValueNotAList),
            Kept::List(items) => {
                items.push_back(item);
                Ok(items.len())
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Get(u8),
    Set(u8, Option<String>, u64),
    Add(u8, String, u64),
    Push(u8, u8),
    Pop(u8),
    Expire(u8, u64),
    Keys,
    FlushExpired(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Step> {
    let key = || 0_u8..6;
    let ttl = || prop_oneof![Just(0_u64), 1_u64..20];
    prop_oneof![
        key().prop_map(Step::Get),
        (key(), proptest::option::of("[a-c]{0,2}"), ttl()).prop_map(|(k, v, t)| Step::Set(k, v, t)),
        (key(), "[a-c]{0,2}", ttl()).prop_map(|(k, v, t)| Step::Add(k, v, t)),
        (key(), any::<u8>()).prop_map(|(k, v)| Step::Push(k, v)),
        key().prop_map(Step::Pop),
        (key(), ttl()).prop_map(|(k, t)| Step::Expire(k, t)),
        Just(Step::Keys),
        (0_usize..3).prop_map(Step::FlushExpired),
        (1_u64..8).prop_map(Step::Wait),
    ]
}

/// Does a step on both and compares the answers.
fn take(step: Step, dict: &Dict, model: &mut Model, now_ms: &mut u64) {
    let now = *now_ms;
    let expiry = |ttl| if ttl == 0 { 0 } else { now + ttl };
    match step {
        Step::Wait(ms) => *now_ms += ms,
        Step::Get(key) => {
            let found = dict.get_with(&[key], now, |value, _| show(value));
            match model.get(key, now) {
                Some(Kept::List(_)) => assert_eq!(found, Err(Error::ValueIsAList)),
                Some(Kept::Value(value)) => assert_eq!(found, Ok(Some(value))),
                None => assert_eq!(found, Ok(None)),
            }
        }
        Step::Set(key, value, ttl) => {
            model.drop_expired(now);
            let text = value.as_ref().map(|it| Value::Text(it.as_bytes()));
            assert_eq!(dict.store(Op::Set, &[key], text, ttl, 0, now), (Ok(()), false));
            model.set(key, value, expiry(ttl));
        }
        Step::Add(key, value, ttl) => {
            model.drop_expired(now);
            let text = Some(Value::Text(value.as_bytes()));
            let added = dict.store(Op::Add, &[key], text, ttl, 0, now).0;
            if model.touch(key, now) == Some(true) {
                assert_eq!(added, Err(Error::Exists));
            } else {
                assert_eq!(added, Ok(()));
                model.set(key, Some(value), expiry(ttl));
            }
        }
        Step::Push(key, item) => {
            let pushed = dict.push(&[key], End::Right, Item::Number(item.into()), now);
            assert_eq!(pushed, model.push(key, item, now));
        }
        Step::Pop(key) => {
            let popped = dict.pop(&[key], End::Left, now);
            let want = match model.get(key, now) {
                None => Ok(None),
                Some(Kept::Value(_)) => Err(Error::ValueNotAList),
                Some(Kept::List(mut items)) => {
                    let item = items.pop_front().map(|it| Item::Number(it.into()));
                    model.0.last_mut().unwrap().1 = Kept::List(items);
                    model.0.retain(|it| it.1 != Kept::List(VecDeque::new()));
                    Ok(item)
                }
            };
            assert_eq!(popped, want);
        }
        Step::Expire(key, ttl) => {
            let entry = model.0.iter_mut().find(|it| it.0 == key);
            let want = entry.map(|it| it.2 = expiry(ttl)).ok_or(Error::NotFound);
            assert_eq!(dict.expire(&[key], ttl, now), want);
        }
        Step::Keys => {
            let alive = model.0.iter().filter(|it| it.2 == 0 || it.2 > now);
            let want: Vec<Box<[u8]>> = alive.map(|it| Box::from([it.0])).collect();
            assert_eq!(dict.keys(0, now), want);
        }
        Step::FlushExpired(max) => {
            let mut left = if max == 0 { usize::MAX } else { max };
            let before = model.0.len();
            model.0.retain(|it| {
                let goes = it.2 != 0 && it.2 <= now && left > 0;
                left -= usize::from(goes);
                !goes
            });
            assert_eq!(dict.flush_expired(max, now), before - model.0.len());
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_the_plain_model(steps in proptest::collection::vec(steps(), 1..120)) {
        let dict = Dict::new("d", 1 << 20);
        let (mut model, mut now_ms) = (Model::default(), NOW);
        for step in steps {
            take(step, &dict, &mut model, &mut now_ms);
        }
        dict.flush_all(now_ms);
        dict.flush_expired(0, now_ms);
        prop_assert_eq!(dict.free_space(), Dict::new("d", 1 << 20).free_space());
    }

    #[test]
    fn pressure_never_breaks_the_accounts(
        sizes in proptest::collection::vec((0_u8..40, 0_usize..9000), 1..300)
    ) {
        let dict = Dict::new("d", 64 << 10);
        let empty = dict.free_space();
        for (key, size) in sizes {
            let value = vec![key; size];
            if dict.store(Op::Set, &[key], Some(Value::Text(&value)), 0, 0, NOW).0.is_ok() {
                let same = dict.get_with(&[key], NOW, |found, _| found == Value::Text(&value));
                prop_assert_eq!(same, Ok(Some(true)));
            }
        }
        for key in dict.keys(0, NOW) {
            let _ = dict.store(Op::Set, &key, None, 0, 0, NOW);
        }
        prop_assert_eq!(dict.free_space(), empty);
    }
}
