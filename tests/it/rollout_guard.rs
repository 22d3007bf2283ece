//! A canary that starts to fail loses its traffic by itself; a growing one keeps its users.

use crate::harness::client::{Client, get};
use crate::harness::origin::{Answer, Origin};
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::settles;
use crate::rollout_control::rollout_command;
use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The share of the canary in percent, and requests a second of both: 50 of them reach the canary.
const SHARE: u32 = 25;
const RATE: u32 = 200;
/// How long a canary is well before it fails, and how soon it must be off then.
const HEALTHY: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(10);

/// A canary that answers until it is told to fail, and when it was asked last.
struct Patient {
    origin: Origin,
    is_ill: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
}

fn patient(illness: Answer) -> Patient {
    let (is_ill, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (ill, count) = (Arc::clone(&is_ill), Arc::clone(&asked));
    let origin = Origin::start(move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        if ill.load(Ordering::SeqCst) { illness.clone() } else { Answer::ok("canary") }
    });
    Patient { origin, is_ill, asked }
}

fn start(stable: &Origin, canary: &Origin, lines: &str) -> Server {
    let conf = format!(
        "worker_processes 2; http {{ access_log off;\n\
         upstream backend_v1 {{ server $STABLE; }} upstream backend_v2 {{ server $CANARY; }}\n\
         rollout api {{ stable backend_v1; canary backend_v2 version=v2;\n\
         sticky $arg_user; {lines} }}\n\
         server {{ listen 127.0.0.1:$PORT; keepalive_requests 1000000;\n\
         location / {{ proxy_pass http://$rollout_api; }}\n\
         location /which {{ set $to $rollout_api; return 200 $canary_version; }}\n\
         location /state {{ content_by_lua_block {{\n\
         ngx.say(require 'moongate.rollout'.state('api')) }} }}\n\
         location /set {{ content_by_lua_block {{\n\
         ngx.say(tostring(require 'moongate.rollout'.set_weight('api', ngx.var.arg_w))) }} }}\n\
         }} }}"
    );
    Setup::new(Kind::Moongate)
        .with("STABLE", format!("127.0.0.1:{}", stable.port))
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .start(&conf)
}

fn state(server: &Server) -> String {
    get(server.port(), "/state").text().trim().to_owned()
}

/// Clients that come and do not care how long an answer takes: one a request, so that a canary
/// which hangs is asked as often as one that answers.
struct Crowd {
    port: u16,
    rate: u32,
    began: Instant,
    sent: u32,
    waiting: std::collections::VecDeque<TcpStream>,
}

impl Crowd {
    fn new(port: u16, rate: u32) -> Self {
        Self { port, rate, began: Instant::now(), sent: 0, waiting: Default::default() }
    }

    /// Sends what is due by now, each request from another user.
    fn come(&mut self) {
        let due = self.began.elapsed().as_millis() * u128::from(self.rate) / 1000;
        while u128::from(self.sent) < due {
            self.sent += 1;
            let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) else {
                continue;
            };
            let _ = write!(stream, "GET /?user={} HTTP/1.0\r\n\r\n", self.sent);
            self.waiting.push_back(stream);
            // Whoever has waited this long is gone.
            while self.waiting.len() > 4000 {
                self.waiting.pop_front();
            }
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How long a canary that falls ill so is asked after that, milliseconds; and how many requests
/// a second reached it.
fn time_to_off(illness: Answer, share: u32, rate: u32, lines: &str) -> (u128, u32) {
    let (stable, patient) = (Origin::saying("stable"), patient(illness));
    let server = start(&stable, &patient.origin, &format!("weight {share}%; {lines}"));
    let mut crowd = Crowd::new(server.port(), rate);
    while crowd.began.elapsed() < HEALTHY {
        crowd.come();
    }
    assert_eq!(state(&server), "steady");
    let healthy = patient.asked.load(Ordering::SeqCst);
    let rate = u32::try_from(healthy).expect("some") * 1000
        / u32::try_from(crowd.began.elapsed().as_millis()).expect("some");
    patient.is_ill.store(true, Ordering::SeqCst);
    let fell_ill = Instant::now();
    let (mut asked, mut last) = (healthy, fell_ill);
    while fell_ill.elapsed() < PATIENCE && last.elapsed() < Duration::from_secs(3) {
        crowd.come();
        let now = patient.asked.load(Ordering::SeqCst);
        if now > asked {
            (asked, last) = (now, Instant::now());
        }
    }
    assert_eq!(state(&server), "rolled_back", "{}", server.error_log());
    let before = patient.asked.load(Ordering::SeqCst);
    for user in 0..20 {
        assert_eq!(get(server.port(), &format!("/?user={user}")).text(), "stable");
    }
    assert_eq!(patient.asked.load(Ordering::SeqCst), before);
    ((last - fell_ill).as_millis(), rate)
}

#[track_caller]
fn is_off_in_time(what: &str, illness: Answer) {
    let (took, rate) = time_to_off(illness, SHARE, RATE, "");
    println!("{what}: off after {took} ms, {rate} requests/s reached the canary");
    assert!(rate >= 45, "{rate} requests/s");
    assert!(took < PATIENCE.as_millis(), "{what}: {took} ms");
}

#[test]
fn a_canary_that_answers_500_is_off_within_10_s() {
    is_off_in_time("500s", Answer::new("500 Internal Server Error", "", "broken"));
}

#[test]
fn a_canary_that_turns_slow_is_off_within_10_s() {
    is_off_in_time("slow", Answer::ok("late").after(Duration::from_millis(2500)));
}

#[test]
fn a_canary_that_hangs_is_off_within_10_s() {
    is_off_in_time("hanging", Answer::Hang);
}

#[test]
fn a_canary_that_resets_connections_is_off_within_10_s() {
    is_off_in_time("resets", Answer::Reset);
}

#[test]
fn a_canary_with_few_requests_is_off_too() {
    for (what, illness) in
        [("500s", Answer::new("500 Internal Server Error", "", "")), ("hanging", Answer::Hang)]
    {
        let (took, rate) = time_to_off(illness, 5, 50, "");
        println!("{what}, 5 % of 50/s: off after {took} ms, {rate} requests/s reached the canary");
    }
}

#[test]
fn what_stable_answers_in_its_place_is_charged_to_the_canary() {
    let illness = Answer::new("503 Service Unavailable", "", "ill");
    let (took, _) = time_to_off(illness, SHARE, RATE, "retry_on_stable on;");
    assert!(took < PATIENCE.as_millis(), "{took} ms");
}

/// Bodies of `/which` for these users, pipelined over one connection.
fn variants(server: &Server, users: std::ops::Range<u32>) -> Vec<String> {
    let mut client = Client::connect(server.port()).expect("it listens");
    let users: Vec<u32> = users.collect();
    let mut found = Vec::with_capacity(users.len());
    for part in users.chunks(100) {
        let lines: String = part
            .iter()
            .map(|it| format!("GET /which?user={it} HTTP/1.1\r\nHost: a\r\n\r\n"))
            .collect();
        client.send(lines).expect("sent");
        found.extend(part.iter().map(|_| client.response("GET").expect("an answer").text()));
    }
    found
}

fn set_weight(server: &Server, percent: u32) {
    assert_eq!(get(server.port(), &format!("/set?w={percent}")).text(), "true\n");
}

#[test]
fn nobody_s_variant_flips_while_the_weight_grows_nor_over_a_reload() {
    let (stable, canary) = (Origin::saying("stable"), Origin::saying("canary"));
    let server = start(&stable, &canary, "weight 1%;");
    let mut before = variants(&server, 0..500);
    for percent in [5, 25, 60, 100] {
        set_weight(&server, percent);
        let expected = usize::try_from(percent).expect("small") * 5;
        let count = |all: &[String]| all.iter().filter(|it| *it == "v2").count();
        settles("the weight holds", true, || {
            count(&variants(&server, 0..500)).abs_diff(expected) < 60
        });
        let now = variants(&server, 0..500);
        let flipped = before.iter().zip(&now).filter(|(was, is)| *was == "v2" && *is != "v2");
        assert_eq!(flipped.count(), 0, "at {percent} %");
        before = now;
    }
    set_weight(&server, 25);
    settles("fewer", true, || variants(&server, 0..500).iter().any(|it| it == "stable"));
    let before = variants(&server, 0..500);
    server.signal(libc::SIGHUP);
    settles("another configuration", true, || {
        server.error_log().contains("serves configuration 2")
    });
    assert_eq!(variants(&server, 0..500), before, "a reload changes nothing");
}

#[test]
fn two_canaries_grow_beside_each_other_into_stable_s_users_alone() {
    let server = Setup::new(Kind::Moongate).start(
        "http { upstream a { server 127.0.0.1:1; } upstream b { server 127.0.0.1:2; }\n\
         upstream c { server 127.0.0.1:3; }\n\
         rollout api { stable a; canary b version=v2; canary c version=v3 weight=10%;\n\
         sticky $arg_user; steps 5% 5m, 20% 5m, 60% 5m, 80%; }\n\
         server { listen 127.0.0.1:$PORT; keepalive_requests 1000000;\n\
         location /which { set $to $rollout_api; return 200 $canary_version; } } }",
    );
    let users = || variants(&server, 0..2000);
    let count = |all: &[String], label: &str| all.iter().filter(|it| *it == label).count();
    let says = |words: &str| {
        let (code, said) = rollout_command(&server, words);
        assert_eq!(code, Some(0), "{words}: {said}");
    };
    let mut before = users();
    for (words, shares) in [
        ("promote api", (20, 10)),
        ("set-weight api 30% --canary v3", (20, 30)),
        ("promote api", (60, 30)),
        // What v3 has v2 does not get, though its step says more.
        ("promote api", (70, 30)),
    ] {
        says(words);
        let is_near =
            |all: &[String], label, percent: usize| count(all, label).abs_diff(20 * percent) < 120;
        settles("the weights hold", true, || {
            let now = users();
            is_near(&now, "v2", shares.0) && is_near(&now, "v3", shares.1)
        });
        let now = users();
        let moved = before.iter().zip(&now).filter(|(was, is)| was != is);
        let from: Vec<&String> = moved.map(|(was, _)| was).collect();
        assert!(!from.is_empty() && from.iter().all(|it| *it == "stable"), "{words}: {from:?}");
        before = now;
    }
    assert_eq!(count(&before, "stable"), 0);
    // One that shrinks gives its users to stable, and the other one keeps its own.
    says("set-weight api 10% --canary v3");
    settles("v3 shrinks", true, || count(&users(), "stable") > 0);
    let now = users();
    for (was, is) in before.iter().zip(&now).filter(|(was, is)| was != is) {
        assert_eq!((was.as_str(), is.as_str()), ("v3", "stable"));
    }
    says("abort api");
    settles("all is stable's", 2000, || count(&users(), "stable"));
}

#[test]
fn five_percent_of_a_hundred_thousand_are_five_percent() {
    let (stable, canary) = (Origin::saying("stable"), Origin::saying("canary"));
    let server = start(&stable, &canary, "weight 5%;");
    let chosen = variants(&server, 0..100_000).iter().filter(|it| *it == "v2").count();
    println!("{chosen} of 100000");
    assert!((4700..=5300).contains(&chosen), "{chosen}");
}
