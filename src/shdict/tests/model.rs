//! Random operations on a dictionary and on a plain model of one.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

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
