//! What picks do, and each trap that others fell into.

use super::*;
use crate::config;
use crate::config::diagnostic::Diagnostics;
use crate::rollout::Needs;
use crate::rollout::hash::{BUCKETS, Random};
use crate::vars::Names;
use std::collections::HashMap;

const SECRET: &[u8] = b"0123456789abcdef";

/// A request by its headers and cookies, `http_x` and `cookie_x`.
#[derive(Default)]
struct Asked(HashMap<String, String>);

impl Source for Asked {
    fn append(&self, var: &Var, out: &mut Vec<u8>) -> bool {
        let (kind, name) = match var {
            Var::Http(name) => ("http_", name),
            Var::Cookie(name) => ("cookie_", name),
            Var::Arg(name) => ("arg_", name),
            _ => return false,
        };
        let value = self.0.get(&format!("{kind}{}", String::from_utf8_lossy(name)));
        value.inspect(|it| out.extend_from_slice(it.as_bytes())).is_some()
    }
}

struct Fixture {
    assign: Assign,
    shares: Shares,
    random: Random,
}

impl Fixture {
    /// A rollout `api` of `stable`, `v2` and `v3` with these lines, all faults as an error.
    fn compile(lines: &str) -> Result<Self, String> {
        let text = format!(
            "http {{ upstream a {{ server 127.0.0.1; }} upstream b {{ server 127.0.0.1; }}
             upstream c {{ server 127.0.0.1; }} rollout api {{ stable a; canary b version=v2;
             canary c version=v3; {lines} }} }} events {{ }}"
        );
        let loaded = config::load_text("conf", &text, None).map_err(|it| it.to_string())?;
        let needs = Needs {
            names: &Names::default(),
            read: &|path| if path == "secret" { Ok(SECRET.to_vec()) } else { Err("none".into()) },
            own_secret: Secret::new(b"the journal's own").unwrap(),
        };
        let mut diagnostics = Diagnostics::default();
        let rollout = &loaded.model.http.unwrap().rollouts[0];
        let assign = Assign::compile(rollout, &needs, &mut diagnostics);
        let assign = assign.ok_or_else(|| diagnostics.to_string())?;
        Ok(Self { assign, shares: Shares::default(), random: Random::new(1) })
    }

    fn new(lines: &str) -> Self {
        Self::compile(lines).unwrap()
    }

    fn with_weights(self, weights: &[u16]) -> Self {
        self.shares.layout.set(weights);
        self
    }

    fn pick_from(&mut self, address: &str, asked: &[(&str, &str)]) -> Pick {
        let pairs = asked.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let vars = Asked(pairs.collect());
        let mut random = || self.random.draw();
        let address = address.parse().ok();
        let mut client =
            Client { vars: &vars, address, now_s: 1000, random: &mut random, key: None };
        self.assign.pick(&self.shares, &mut client, &mut Vec::new())
    }

    /// (variant, reason) of a request with these variables.
    fn pick(&mut self, asked: &[(&str, &str)]) -> (u8, &'static str) {
        let pick = self.pick_from("192.0.2.1", asked);
        (pick.variant, pick.reason.as_str())
    }
}

#[test]
fn header_then_cookie_then_rule_then_weight_and_never_before_all() {
    let mut it = Fixture::new(
        "cookie c; header X-V; header X-W; when $http_beta v3; sticky $http_user; weight 100%;",
    )
    .with_weights(&[BUCKETS]);
    let all = [("http_x_v", "v3"), ("cookie_c", "v2"), ("http_beta", "1"), ("http_user", "u")];
    assert_eq!(it.pick(&all), (2, "header"));
    assert_eq!(it.pick(&all[1..]), (1, "cookie"));
    assert_eq!(it.pick(&all[2..]), (2, "rule"));
    assert_eq!(it.pick(&all[3..]), (1, "weight"));
    assert_eq!(it.pick(&[]), (0, "no_key"));
    assert_eq!(it.pick(&[("http_x_v", "v2"), ("cookie_c", "never")]), (0, "never"));
    assert_eq!(it.pick(&[("http_x_v", "v2"), ("http_x_w", "never")]), (0, "never"));
    assert_eq!(it.pick(&[("http_x_v", "nonsense"), ("http_x_w", "v2")]), (1, "header"));
    assert_eq!(it.pick(&[("http_x_v", "stable"), ("http_user", "u")]), (0, "header"));
}

#[test]
fn ingress_nginx_s_header_and_cookie() {
    let mut it = Fixture::new("header X-Canary; cookie canary; weight 0;");
    for (asked, expected) in [
        (("http_x_canary", "always"), (1, "header")),
        (("http_x_canary", "never"), (0, "never")),
        (("http_x_canary", "Always"), (0, "random")),
        (("http_x_canary", ""), (0, "random")),
        (("cookie_canary", "always"), (1, "cookie")),
        (("cookie_canary", "never"), (0, "never")),
        (("cookie_canary", "yes"), (0, "random")),
    ] {
        assert_eq!(it.pick(&[asked]), expected, "{asked:?}");
    }
    // The header wins over the cookie; its other values leave the word to the cookie.
    assert_eq!(it.pick(&[("http_x_canary", "x"), ("cookie_canary", "always")]), (1, "cookie"));
    assert_eq!(it.pick(&[("http_x_canary", "always"), ("cookie_canary", "x")]), (1, "header"));
}

#[test]
fn a_value_or_a_pattern_replaces_always_but_never_stays() {
    let mut it =
        Fixture::new("header X-Env value gray; header X-Tag pattern \"^gray-\\d+$\"; weight 0;");
    assert_eq!(it.pick(&[("http_x_env", "gray")]), (1, "header"));
    assert_eq!(it.pick(&[("http_x_env", "always")]), (0, "random"));
    assert_eq!(it.pick(&[("http_x_env", "never"), ("http_x_tag", "gray-1")]), (0, "never"));
    assert_eq!(it.pick(&[("http_x_tag", "gray-17")]), (1, "header"));
    assert_eq!(it.pick(&[("http_x_tag", "x-gray-17")]), (0, "random"));
    assert_eq!(it.pick(&[("http_x_tag", "never")]), (0, "never"));
}

#[test]
fn a_pattern_that_cannot_be_decided_matches_nothing() {
    let mut it = Fixture::new(
        "header X-T pattern \"(*UTF)^.$\"; when $http_r ~ \"(*UTF)^.$\" v2;
         when $http_r !~ \"(*UTF)^.$\" v3; weight 0;",
    );
    assert_eq!(it.pick(&[("http_x_t", "é")]), (1, "header"));
    struct Raw;
    impl Source for Raw {
        fn append(&self, _: &Var, out: &mut Vec<u8>) -> bool {
            out.push(0xff);
            true
        }
    }
    let mut client = Client { vars: &Raw, address: None, now_s: 0, random: &mut || 1, key: None };
    let pick = it.assign.pick(&it.shares, &mut client, &mut Vec::new());
    assert_eq!((pick.variant, pick.reason), (0, Reason::Random));
}

#[test]
fn affinity_does_not_beat_the_explicit_header() {
    let mut it = Fixture::new("header X-V; sticky cookie uid secret_file=secret; weight 100%;")
        .with_weights(&[BUCKETS]);
    let uid = it.assign.cookie_value(&[5; 16]).unwrap();
    assert_eq!(it.pick(&[("cookie_uid", &uid)]), (1, "weight"));
    assert_eq!(it.pick(&[("cookie_uid", &uid), ("http_x_v", "v3")]), (2, "header"));
    assert_eq!(it.pick(&[("cookie_uid", &uid), ("http_x_v", "never")]), (0, "never"));
}

#[test]
fn weight_0_is_no_traffic() {
    let mut it = Fixture::new("weight 0;").with_weights(&[0, 0]);
    for _ in 0..10_000 {
        assert_eq!(it.pick(&[]), (0, "random"));
    }
}

#[test]
fn rules_know_the_operators_of_if() {
    let mut it = Fixture::new(
        "when $http_e = $arg_e v2; when $http_n != \"\" v3; when $http_agent ~* iphone canary;
         when $http_case ~ Q stable; weight 0;",
    );
    assert_eq!(it.pick(&[("http_e", "x"), ("arg_e", "x")]), (1, "rule"));
    assert_eq!(it.pick(&[("http_e", "x"), ("http_n", "y")]), (2, "rule"));
    assert_eq!(it.pick(&[("http_e", "x"), ("http_agent", "An IPHONE")]), (1, "rule"));
    assert_eq!(it.pick(&[("http_e", "x"), ("http_case", "Q")]), (0, "rule"));
    assert_eq!(it.pick(&[("http_e", "x"), ("http_case", "q")]), (0, "random"));
    let mut it = Fixture::new("when $http_on v2; weight 0;");
    for (value, variant) in [("1", 1), ("off", 1), ("0", 0), ("", 0)] {
        assert_eq!(it.pick(&[("http_on", value)]).0, variant, "{value}");
    }
}

#[test]
fn what_is_malformed_is_refused_and_matches_nothing() {
    for (lines, fault) in [
        ("when $http_x ~ \"(\" v2;", "missing closing parenthesis"),
        ("when $nosuch v2;", "unknown \"nosuch\" variable"),
        ("when $http_x == y v2;", "unexpected \"==\" in condition"),
        ("when $http_x = y v4;", "unknown variant \"v4\""),
        ("header X pattern \"[\";", "missing terminating ]"),
        ("sticky $nosuch;", "unknown \"nosuch\" variable"),
        ("sticky cookie uid secret_file=gone;", "none"),
        ("trust token secret_file=gone;", "none"),
    ] {
        let error = Fixture::compile(&format!("{lines} weight 5%;")).err().unwrap_or_default();
        assert!(error.contains(fault), "{lines}: {error}");
        assert!(error.contains("conf:"), "{lines} has no place: {error}");
    }
}

#[test]
fn only_trusted_addresses_choose() {
    let mut it = Fixture::new("header X-V; trust 10.0.0.0/8 2001:db8::/32; weight 0;");
    let asked = [("http_x_v", "v2")];
    for (address, variant) in
        [("10.1.2.3", 1), ("2001:db8::7", 1), ("11.0.0.1", 0), ("::1", 0), ("unix", 0)]
    {
        assert_eq!(it.pick_from(address, &asked).variant, variant, "{address}");
    }
    let never = it.pick_from("11.0.0.1", &[("http_x_v", "never")]);
    assert_eq!(never.reason, Reason::Random, "who may not choose may not refuse either");
}

#[test]
fn a_token_lets_its_bearer_choose() {
    let mut it = Fixture::new("header X-V; trust token secret_file=secret header=X-Key; weight 0;");
    let secret = Secret::new(SECRET).unwrap();
    let (good, old) = (secret.token("api", 1001), secret.token("api", 1000));
    assert_eq!(it.pick(&[("http_x_v", "v2")]), (0, "random"));
    assert_eq!(it.pick(&[("http_x_v", "v2"), ("http_x_key", &good)]), (1, "header"));
    assert_eq!(it.pick(&[("http_x_v", "v2"), ("http_x_key", &old)]), (0, "random"));
    assert_eq!(it.pick(&[("http_x_v", "v2"), ("http_x_key", &secret.token("b", 1001))]).0, 0);
}

#[test]
fn a_missing_key_does_what_was_said() {
    let mut stable = Fixture::new("sticky $http_u; weight 50%;").with_weights(&[5000]);
    let mut random =
        Fixture::new("sticky $http_u on_missing=random; weight 50%;").with_weights(&[5000]);
    let mut seen = [0, 0];
    for _ in 0..1000 {
        assert_eq!(stable.pick(&[]), (0, "no_key"));
        assert_eq!(stable.pick(&[("http_u", "")]), (0, "no_key"));
        let (variant, reason) = random.pick(&[]);
        assert_eq!(reason, "random");
        seen[usize::from(variant)] += 1;
    }
    assert!(seen[0] > 400 && seen[1] > 400, "{seen:?}");
}

#[test]
fn five_percent_are_five_percent() {
    let mut it = Fixture::new("sticky $http_u; weight 5%;").with_weights(&[500]);
    let mut random = Fixture::new("weight 5%;").with_weights(&[500]);
    let (mut sticky, mut by_chance) = (0, 0);
    for number in 0..100_000 {
        sticky += u32::from(it.pick(&[("http_u", &format!("user-{number}"))]).0);
        by_chance += u32::from(random.pick(&[]).0);
    }
    assert!((4700..=5300).contains(&sticky), "{sticky}");
    assert!((4700..=5300).contains(&by_chance), "{by_chance}");
}

#[test]
fn nobody_flips_while_a_weight_only_grows() {
    let mut it = Fixture::new("sticky $http_u; weight 1%;");
    let users: Vec<String> = (0..2000).map(|it| format!("user-{it}")).collect();
    let mut before = vec![0; users.len()];
    it.shares.layout.set(&[0, 1000]);
    for weight in [100, 500, 2500, 5000, 9000] {
        it.shares.layout.set(&[weight, 1000]);
        for (user, before) in users.iter().zip(&mut before) {
            let (variant, _) = it.pick(&[("http_u", user)]);
            assert!(*before == 0 || *before == variant, "{user} went from {before} to {variant}");
            *before = variant;
        }
    }
    let again = Fixture::new("sticky $http_u; weight 1%;");
    again.shares.layout.set(&[9000, 1000]);
    let same = users.iter().all(|it_| {
        let bucket = again.assign.bucket_of(it_.as_bytes());
        again.shares.layout.owner(bucket)
            == it.shares.layout.owner(it.assign.bucket_of(it_.as_bytes()))
    });
    assert!(same, "another worker, process or node sees the same");
}

#[test]
fn another_rollout_picks_other_users() {
    let one = Fixture::new("weight 5%;").assign;
    let mut two = Fixture::new("weight 5%;").assign;
    two.salt = hash(0, b"shop");
    let both = (0..100_000)
        .map(|it| format!("user-{it}"))
        .filter(|it| one.bucket_of(it.as_bytes()) < 500 && two.bucket_of(it.as_bytes()) < 500)
        .count();
    assert!((180..320).contains(&both), "5 % of 5 %, not {both}");
}

#[test]
fn a_user_without_a_key_gets_a_signed_cookie_and_keeps_the_variant() {
    let mut it =
        Fixture::new("sticky $http_u; sticky cookie uid; weight 50%;").with_weights(&[5000]);
    for _ in 0..200 {
        let first = it.pick_from("192.0.2.1", &[]);
        let cookie = it.assign.cookie_value(&first.issue.unwrap()).unwrap();
        let next = it.pick_from("192.0.2.1", &[("cookie_uid", &cookie)]);
        assert_eq!((next.variant, next.issue, next.reason), (first.variant, None, Reason::Weight));
        assert_eq!(next.user, first.user);
    }
    let forged = it.pick_from("192.0.2.1", &[("cookie_uid", &"0".repeat(65))]);
    assert!(forged.issue.is_some(), "a forged cookie is replaced");
    assert!(it.pick_from("192.0.2.1", &[("http_u", "alice")]).issue.is_none());
}

#[test]
fn a_closed_canary_gets_nothing_whoever_asks() {
    let mut it = Fixture::new("header X-V; when $http_beta v2; sticky $http_u; weight 100%;")
        .with_weights(&[BUCKETS]);
    it.shares.close(0b010);
    assert_eq!(it.pick(&[("http_x_v", "v2")]), (0, "rolled_back"));
    assert_eq!(it.pick(&[("http_beta", "1")]), (0, "rolled_back"));
    assert_eq!(it.pick(&[("http_u", "u")]), (0, "rolled_back"));
    assert_eq!(it.pick(&[("http_x_v", "v3")]), (2, "header"));
    it.shares.close(0);
    assert_eq!(it.pick(&[("http_x_v", "v2")]), (1, "header"));
}

/// Other tests allocate meanwhile: a pick that did would do so in each of many short moments.
#[test]
#[cfg(debug_assertions)]
fn a_pick_allocates_nothing() {
    let mut it = Fixture::new(
        "header X-V; cookie c; when $http_beta = 1 v2; sticky $http_u; sticky cookie uid;
         weight 5%;",
    );
    let uid = it.assign.cookie_value(&[5; 16]).unwrap();
    let pairs = |pairs: &[(&str, &str)]| {
        Asked(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
    };
    let mut scratch = Vec::with_capacity(256);
    for asked in [
        pairs(&[]),
        pairs(&[("http_u", "alice")]),
        pairs(&[("cookie_uid", &uid)]),
        pairs(&[("http_x_v", "v2")]),
        pairs(&[("http_beta", "1")]),
    ] {
        // The names of variables are made into texts by the fixture alone.
        let vars = Counted(&asked, std::cell::Cell::new(0));
        let mut least = u64::MAX;
        for _ in 0..2000 {
            let mut random = || it.random.draw();
            let mut client =
                Client { vars: &vars, address: None, now_s: 0, random: &mut random, key: None };
            vars.1.set(0);
            let before = crate::sys::alloc::count();
            it.assign.pick(&it.shares, &mut client, &mut scratch);
            least = least.min((crate::sys::alloc::count() - before).saturating_sub(vars.1.get()));
        }
        assert_eq!(least, 0);
    }
}

/// A request that knows how much its own evaluation allocated.
struct Counted<'a>(&'a Asked, std::cell::Cell<u64>);

impl Source for Counted<'_> {
    fn append(&self, var: &Var, out: &mut Vec<u8>) -> bool {
        let before = crate::sys::alloc::count();
        let is_set = self.0.append(var, out);
        self.1.set(self.1.get() + crate::sys::alloc::count() - before);
        is_set
    }
}
