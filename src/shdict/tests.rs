//! Tests of the dictionaries; figures and texts are lua-nginx-module 0.10.23's on the same calls.

mod model;

use super::*;

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

/// Does one operation of the recorded trace and shows its results as the trace does.
fn answer(dict: &Dict, op: &str, key: &[u8], size: usize) -> String {
    let text = vec![b'x'; size];
    let counted = |text: &[u8]| format!("x{}", text.len());
    let store = |op| match dict.store(op, key, Some(Value::Text(&text)), 0, 0, NOW) {
        (Ok(()), forcible) => Ok(format!("true nil {forcible}")),
        (Err(error), forcible) => Ok(format!("false {error} {forcible}")),
    };
    let answered = match op {
        "set" => store(Op::Set),
        "safe_set" => store(Op::SafeSet),
        "add" => store(Op::Add),
        "replace" => store(Op::Replace),
        "delete" => dict.store(Op::Set, key, None, 0, 0, NOW).0.map(|()| "true nil nil".into()),
        "get" => dict
            .get_with(key, NOW, |value, _| match value {
                Value::Text(text) => counted(text),
                other => show(other),
            })
            .map(|found| format!("{} nil nil", found.unwrap_or("nil".into()))),
        "incr" => dict
            .incr(key, f64::from(u32::try_from(size).unwrap()), Some((1.0, 0)), NOW)
            .map(|(number, forcible)| format!("{number} nil {forcible}")),
        "rpush" => dict
            .push(key, End::Right, Item::Text(text.clone().into()), NOW)
            .map(|len| format!("{len} nil nil")),
        "lpop" => dict.pop(key, End::Left, NOW).map(|item| match item {
            Some(Item::Text(text)) => format!("{} nil nil", counted(&text)),
            other => format!("{} nil nil", other.map_or("nil", |_| "number")),
        }),
        "llen" => dict.list_len(key, NOW).map(|len| format!("{len} nil nil")),
        "keys" => Ok(format!("{} nil nil", keys(dict, 0).join(","))),
        "free" => Ok(format!("{} nil nil", dict.free_space())),
        other => panic!("no such operation: {other}"),
    };
    answered.unwrap_or_else(|error| match error {
        Error::NoMemoryForList => format!("false {error} nil"),
        _ => format!("nil {error} nil"),
    })
}

#[test]
fn a_full_zone_evicts_and_fragments_as_nginx_s() {
    let dict = Dict::new("d", 100 << 10);
    let lines = include_str!("trace.txt").lines().filter(|it| !it.starts_with('#'));
    for (number, line) in lines.enumerate() {
        let mut fields = line.splitn(4, ' ');
        let mut field = || fields.next().unwrap();
        let (op, key, size, want) = (field(), field(), field(), field());
        let got = answer(&dict, op, key.as_bytes(), size.parse().unwrap());
        assert_eq!(got, want, "operation {number}: {op} {key} {size}");
    }
}
