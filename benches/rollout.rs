//! What rollouts promise, measured: how many requests a bad canary costs, how often a healthy one
//! is rolled back, and what a pick costs. It fails where a promise is broken.
//!
//! `cargo bench --bench rollout` runs all of it (some minutes on two cores); `-- quick` a tenth of
//! the runs, `-- pick` the cost of a pick alone. Seeds are fixed: everybody sees the same table.

use moongate::config;
use moongate::config::diagnostic::Diagnostics;
use moongate::rollout::analysis::Limit;
use moongate::rollout::hash::Random;
use moongate::rollout::signature::Secret;
use moongate::rollout::simulation::{Rates, World, requests_until_rollback, rolls_back_within};
use moongate::rollout::{Assign, Client, Needs, Shares};
use moongate::vars::{Names, Source, Var};
use std::hint::black_box;
use std::thread;
use std::time::Instant;

const HEALTHY: f64 = 0.001;

/// The table, and whether all of it is as promised.
struct Report {
    quick: bool,
    broken: usize,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|it| it == word);
    let mut report = Report { quick: has("quick"), broken: 0 };
    picks(&mut report);
    if !has("pick") {
        detection(&mut report);
        grey(&mut report);
        false_alarms(&mut report);
    }
    println!("\n{} promises broken", report.broken);
    std::process::exit(i32::from(report.broken > 0));
}

impl Report {
    fn runs(&self, all: u64) -> u64 {
        if self.quick { all / 10 } else { all }
    }

    /// A tenth of the runs knows a median less well.
    fn is_soon(&self, median: u64, most: u64) -> bool {
        median <= if self.quick { most + most / 10 } else { most }
    }

    fn line(&mut self, what: &str, value: &str, promise: &str, kept: bool) {
        let mark = if kept { "" } else { "  BROKEN" };
        self.broken += usize::from(!kept);
        println!("{what:<58} {value:>18}   {promise}{mark}");
    }
}

/// `task` for seeds up to `runs`, on all cores, the results in the order of the seeds.
fn each<T: Send>(runs: u64, task: impl Fn(&mut Random) -> T + Sync) -> Vec<T> {
    let cores = thread::available_parallelism().map_or(2, usize::from) as u64;
    let task = &task;
    thread::scope(|scope| {
        let parts: Vec<_> = (0..cores)
            .map(|core| {
                let seeds = runs * core / cores..runs * (core + 1) / cores;
                scope.spawn(move || seeds.map(|it| task(&mut Random::new(it))).collect::<Vec<_>>())
            })
            .collect();
        parts.into_iter().flat_map(|it| it.join().expect("no simulation panics")).collect()
    })
}

fn limits() -> (Limit, Limit) {
    let (failures, slow) = Limit::both(Some(0.005), Some(0.01), 1);
    (failures.expect("it is on"), slow.expect("it is on"))
}

/// The median of the requests until a rollback, and the share of runs that had one in 30 000.
fn found(world: &World, runs: u64) -> (u64, f64) {
    let mut all = each(runs, |it| requests_until_rollback(world, 30_000, it));
    let caught = all.iter().flatten().count();
    all.sort_unstable_by_key(|it| it.unwrap_or(u64::MAX));
    (all[all.len() / 2].unwrap_or(u64::MAX), caught as f64 / all.len() as f64)
}

fn detection(report: &mut Report) {
    println!("\ncanary requests until the rollback: median (share of runs); 5 % weight");
    let (failures, slow) = limits();
    let healthy = Rates { stable: HEALTHY, canary: HEALTHY };
    let runs = report.runs(4000);
    for (name, limit) in [("5xx", failures), ("p99", slow)] {
        for (times, most, share) in
            [(1.0, 2000, 0.95), (2.0, 400, 0.99), (10.0, 60, 0.99), (40.0, 15, 0.99)]
        {
            let rates = Rates { canary: limit.share * times, ..healthy };
            let (median, caught) = found(&World { limit, weight: 0.05, rates, change: None }, runs);
            let what = format!("{name}: canary at {times} L, stable at 0.1 %");
            let promise = format!("<= {most}, {:.0} %", share * 100.0);
            let value = format!("{median} ({:.1} %)", caught * 100.0);
            report.line(&what, &value, &promise, report.is_soon(median, most) && caught >= share);
        }
    }
    for (weight, most) in [(0.10, 450), (0.25, 600), (0.50, 1100)] {
        let rates = Rates { canary: 0.01, ..healthy };
        let (median, caught) =
            found(&World { limit: failures, weight, rates, change: None }, report.runs(6000));
        let what = format!("5xx: canary at 2 L, weight {:.0} %", weight * 100.0);
        let value = format!("{median} ({:.1} %)", caught * 100.0);
        report.line(&what, &value, &format!("<= {most}"), report.is_soon(median, most));
    }
    for (name, limit, canary, most) in [
        ("5xx", failures, 0.05, 180),
        ("5xx", failures, 0.2, 40),
        ("5xx", failures, 1.0, 8),
        ("p99", slow, 0.1, 180),
        ("p99", slow, 0.4, 40),
        ("p99", slow, 1.0, 8),
    ] {
        let change = Some((10_000, Rates { canary, ..healthy }));
        let world = World { limit, weight: 0.05, rates: healthy, change };
        let (median, caught) = found(&world, report.runs(2000));
        let what = format!("{name}: after 10000 healthy requests, {:.0} %", canary * 100.0);
        let value = format!("{median} ({:.1} %)", caught * 100.0);
        report.line(&what, &value, &format!("<= {most}"), report.is_soon(median, most));
    }
}

/// Between L/2 and L nothing is promised: it is shown.
fn grey(report: &mut Report) {
    println!("\nthe grey zone: share rolled back within 30000 canary requests");
    let (failures, _) = limits();
    for canary in [0.0025, 0.003, 0.0035, 0.004, 0.0045] {
        let rates = Rates { stable: HEALTHY, canary };
        let world = World { limit: failures, weight: 0.05, rates, change: None };
        let (_, caught) = found(&world, report.runs(2000));
        let what = format!("5xx: canary at {:.2} %, L = 0.5 %, stable at 0.1 %", canary * 100.0);
        report.line(&what, &format!("{:.1} %", caught * 100.0), "no promise", true);
    }
}

fn false_alarms(report: &mut Report) {
    println!("\nfalse rollbacks, both limits together, canary and stable alike; 5 % weight");
    let (failures, slow) = limits();
    let world = |limit, rate, change| World {
        limit,
        weight: 0.05,
        rates: Rates { stable: rate, canary: rate },
        change,
    };
    let mut alarms = |what: String, worlds: [World; 2], seconds, per_minute, runs| {
        let all = each(runs, |it| rolls_back_within(&worlds, seconds, per_minute, it));
        let share = all.iter().filter(|it| **it).count() as f64 / all.len() as f64;
        report.line(&what, &format!("{:.2} %", share * 100.0), "<= 1 %", share <= 0.01);
    };
    let (half_hours, days) = if alarms_are_quick() { (1000, 40) } else { (10_000, 2000) };
    for per_minute in [20.0, 50.0, 100.0, 200.0, 500.0, 1000.0] {
        for rate in [HEALTHY, 0.006, 0.02] {
            let what =
                format!("{:.1} % bad, {per_minute} canary requests/min, 30 min", rate * 100.0);
            let worlds = [world(failures, rate, None), world(slow, rate, None)];
            alarms(what, worlds, 1800, per_minute, half_hours);
        }
        let jump = Some((per_minute as u64 * 10, Rates { stable: 0.2, canary: 0.2 }));
        let what = format!("both jump to 20 %, {per_minute} canary requests/min, 30 min");
        let worlds = [world(failures, HEALTHY, jump), world(slow, HEALTHY, jump)];
        alarms(what, worlds, 1800, per_minute, half_hours);
    }
    let worlds = [world(failures, HEALTHY, None), world(slow, HEALTHY, None)];
    alarms("0.1 % bad, 1000 canary requests/min, 24 h".to_owned(), worlds, 86_400, 1000.0, days);
}

fn alarms_are_quick() -> bool {
    std::env::args().any(|it| it == "quick")
}

/// A request with a few headers.
struct Asked(Vec<(&'static [u8], String)>);

impl Source for Asked {
    fn append(&self, var: &Var, out: &mut Vec<u8>) -> bool {
        let (Var::Http(name) | Var::Cookie(name)) = var else { return false };
        let field = self.0.iter().find(|(known, _)| **known == **name);
        field.inspect(|(_, value)| out.extend_from_slice(value.as_bytes())).is_some()
    }
}

fn compiled(lines: &str) -> Assign {
    let text = format!(
        "events {{ }} http {{ upstream a {{ server 127.0.0.1; }} upstream b {{ server 127.0.0.1; }}
         rollout api {{ stable a; canary b version=v2; weight 5%; {lines} }} }}"
    );
    let model = config::load_text("conf", &text, None).expect("it is sound").model;
    let needs = Needs {
        names: &Names::default(),
        read: &|_| Err("no file".to_owned()),
        own_secret: Secret::new(b"a secret for the bench").expect("it is long"),
    };
    let rollout = &model.http.expect("it has one").rollouts[0];
    Assign::compile(rollout, &needs, &mut Diagnostics::default()).expect("it is sound")
}

fn picks(report: &mut Report) {
    println!("a pick (that none allocates is a test)");
    let shares = Shares::default();
    shares.layout.set(&[500]);
    let usual = "header X-Canary-Version; header X-Env-Tag value gray; cookie canary;
                 when $http_x_beta canary; sticky $http_x_user_id;";
    let signed = compiled("sticky cookie uid;");
    let cookie = signed.cookie_value(&[3; 16]).expect("it has a cookie");
    let user = || (&b"x_user_id"[..], "7f1c9a52-31c4-4f1e-9b0a-2f8d1f3f6a11".to_owned());
    let header = || (&b"x_canary_version"[..], "v2".to_owned());
    for (what, assign, fields, most) in [
        ("by weight, after two headers, a cookie and a rule", compiled(usual), vec![user()], 100.0),
        ("by header", compiled(usual), vec![user(), header()], 100.0),
        ("by a key alone", compiled("sticky $http_x_user_id;"), vec![user()], 100.0),
        ("by chance", compiled(""), vec![], 100.0),
        ("by a signed cookie (HMAC-SHA256)", signed, vec![(&b"uid"[..], cookie)], 2000.0),
    ] {
        let asked = Asked(fields);
        let each = cost(&assign, &shares, &asked);
        report.line(what, &format!("{each:.0} ns"), &format!("< {most} ns"), each < most);
    }
}

/// Nanoseconds a pick: the least of many rounds.
fn cost(assign: &Assign, shares: &Shares, asked: &Asked) -> f64 {
    const PICKS: u32 = 20_000;
    let mut random = Random::new(1);
    let mut scratch = Vec::with_capacity(256);
    let mut least = f64::MAX;
    for _ in 0..50 {
        let start = Instant::now();
        for _ in 0..PICKS {
            let random = &mut || random.draw();
            let address = None;
            let mut client = Client { vars: asked, address, now_s: 0, random, key: None };
            black_box(assign.pick(shares, black_box(&mut client), &mut scratch));
        }
        least = least.min(start.elapsed().as_nanos() as f64 / f64::from(PICKS));
    }
    least
}
