//! Rollouts: which variant a request gets, what tells it apart, who answers when it fails.

use crate::harness::client::{Response, get, request};
use crate::harness::origin::{Answer, Origin};
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::{eventually, settles};
use crate::health::switched;

/// A gateway whose rollout `api` leads to `stable` and `canary` (`v2`), with these lines; and these
/// in its location.
fn start(stable: &Origin, canary: &Origin, lines: &str, location: &str) -> Server {
    Setup::new(Kind::Moongate)
        .with("STABLE", format!("127.0.0.1:{}", stable.port))
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .start(&conf(lines, location))
}

fn conf(lines: &str, location: &str) -> String {
    format!(
        "http {{ log_format variant \"$uri $canary_version $rollout_reason $rollout_weight\";\n\
         access_log logs/access.log variant;\n\
         upstream backend_v1 {{ server $STABLE; }} upstream backend_v2 {{ server $CANARY; }}\n\
         rollout api {{ stable backend_v1; canary backend_v2 version=v2; {lines} }}\n\
         server {{ listen 127.0.0.1:$PORT;\n\
         location / {{ {location} proxy_pass http://$rollout_api; }} }} }}"
    )
}

fn asking(server: &Server, fields: &str) -> Response {
    request(server.port(), "GET", "/", fields)
}

#[test]
fn the_decided_label_goes_everywhere_and_the_client_s_own_nowhere() {
    let (stable, canary) = (Origin::saying("stable"), Origin::saying("canary"));
    let shown = "add_header X-Served-By $canary_version;";
    let server = start(&stable, &canary, "header X-Canary-Version; weight 0;", shown);
    let answer = asking(&server, "x-canary-version: v2\r\n");
    assert_eq!((answer.text().as_str(), answer.header("x-served-by")), ("canary", Some("v2")));
    // What is no label chooses nothing, and does not reach anybody as one.
    let answer = asking(&server, "X-Canary-Version: v2, evil\r\nX-CANARY-VERSION: v2\r\n");
    assert_eq!((answer.text().as_str(), answer.header("x-served-by")), ("stable", Some("stable")));
    for (origin, label) in [(&stable, "stable"), (&canary, "v2")] {
        let received = origin.take_received();
        assert_eq!(received[0].head.all("x-canary-version"), [label]);
    }
    // Counted when they are logged, which the client does not wait for.
    let metrics = eventually("both are counted", || {
        let metrics = get(server.named_port("ADMIN"), "/metrics").text();
        let has = |it: &str| metrics.contains(&format!("canary_version=\"{it}\",code=\"200\"}} 1"));
        (has("v2") && has("stable")).then_some(metrics)
    });
    let chosen = "moongate_rollout_decisions_total{canary_version=\"v2\",reason=\"header\",\
                  rollout=\"api\"} 1";
    assert!(metrics.contains(chosen), "{metrics}");
    settles(
        "the access log",
        vec!["/ stable random 0%".to_owned(), "/ v2 header 0%".into()],
        || {
            let mut lines: Vec<_> =
                server.read("logs/access.log").lines().map(str::to_owned).collect();
            lines.sort();
            lines
        },
    );
}

const BY_HEADER: &str = "header X-Canary-Version; weight 0;";

#[test]
fn a_canary_without_a_peer_falls_back_to_stable_and_says_so() {
    let (stable, canary) = (Origin::saying("stable"), Origin::saying("canary"));
    let text = conf(BY_HEADER, "add_header X-Why $rollout_reason always;")
        .replace("server $CANARY;", "server $CANARY down;");
    let server = Setup::new(Kind::Moongate)
        .with("STABLE", format!("127.0.0.1:{}", stable.port))
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .start(&text);
    let answer = asking(&server, "X-Canary-Version: v2\r\n");
    assert_eq!((answer.text().as_str(), answer.header("x-why")), ("stable", Some("no_peer")));
    assert_eq!(stable.received()[0].header("x-canary-version"), Some("stable"));
}

#[test]
fn a_canary_whose_last_peer_is_lost_by_probes_falls_back_until_it_is_well_again() {
    let (stable, (canary, is_well)) = (Origin::saying("stable"), switched("canary"));
    let text = conf(BY_HEADER, "add_header X-Why $rollout_reason always;").replace(
        "server $CANARY;",
        "server $CANARY; health_check uri=/healthz interval=20ms fails=2 passes=2;",
    );
    let server = Setup::new(Kind::Moongate)
        .with("STABLE", format!("127.0.0.1:{}", stable.port))
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .start(&text);
    let served = || {
        let answer = asking(&server, "X-Canary-Version: v2\r\n");
        (answer.text(), answer.header("x-why").unwrap_or_default().to_owned())
    };
    let by_canary = ("canary".to_owned(), "header".to_owned());
    assert_eq!(served(), by_canary);
    is_well.store(false, std::sync::atomic::Ordering::SeqCst);
    settles("stable stands in", ("stable".to_owned(), "no_peer".to_owned()), served);
    let received = stable.received();
    assert_eq!(received[0].header("x-canary-version"), Some("stable"), "told as what it is");
    is_well.store(true, std::sync::atomic::Ordering::SeqCst);
    settles("the canary is back", by_canary, served);
}

/// (status, body, `$rollout_reason`, `$canary_version`) of a request to a canary that answers so.
fn retried(answer: Answer, location: &str, method: &str) -> (u16, String, String, String) {
    let stable = Origin::saying("stable");
    let canary = Origin::start(move |_| answer.clone());
    let lines = "header X-Canary-Version; weight 0; retry_on_stable on;";
    let shown = "add_header X-Why $rollout_reason always;\n\
                 add_header X-Label $canary_version always; ";
    let server = start(&stable, &canary, lines, &(shown.to_owned() + location));
    let fields = "X-Canary-Version: v2\r\nContent-Length: 0\r\n";
    let answer = request(server.port(), method, "/", fields);
    let field = |name| answer.header(name).unwrap_or_default().to_owned();
    (answer.status(), answer.text(), field("x-why"), field("x-label"))
}

#[test]
fn stable_stands_in_for_a_canary_that_fails() {
    let stands_in = (200, "stable".to_owned(), "retried_on_stable".to_owned(), "stable".to_owned());
    let broken = Answer::new("500 Internal Server Error", "", "broken");
    let quick = "proxy_read_timeout 200ms;";
    for (answer, location) in
        [(broken.clone(), ""), (Answer::Close, ""), (Answer::Reset, ""), (Answer::Hang, quick)]
    {
        assert_eq!(retried(answer.clone(), location, "GET"), stands_in, "{answer:?}");
    }
    // What may not be done twice is not; what failed for another reason is the canary's answer.
    let (status, body, why, label) = retried(broken, "", "POST");
    assert_eq!((status, body.as_str()), (500, "broken"));
    assert_eq!((why.as_str(), label.as_str()), ("header", "v2"));
    let (status, _, why, _) = retried(Answer::new("404 Not Found", "", "none"), "", "GET");
    assert_eq!((status, why.as_str()), (404, "header"));
}

#[test]
fn stable_stands_in_within_a_budget() {
    let stable = Origin::saying("stable");
    let canary = Origin::start(|_| Answer::new("503 Service Unavailable", "", "ill"));
    let lines = "header X-Canary-Version; weight 0; retry_on_stable on;";
    let server = start(&stable, &canary, lines, "");
    let answers: Vec<u16> =
        (0..40).map(|_| asking(&server, "X-Canary-Version: v2\r\n").status()).collect();
    let stood_in = answers.iter().filter(|it| **it == 200).count();
    // Ten at first, and one in ten.
    assert_eq!((stood_in, answers[0]), (14, 200), "{answers:?}");
    assert_eq!(canary.received().len(), 40);
}

#[test]
fn a_script_that_decides_alone_is_counted_by_its_label() {
    let (stable, canary) = (Origin::saying("stable"), Origin::saying("canary"));
    let text = conf("weight 0;", "").replace(
        "location /",
        "location /alone { set $to backend_v1; access_by_lua_block {\n\
         if ngx.var.arg_v == 'v2' then ngx.var.to = 'backend_v2' end\n\
         ngx.var.canary_version = ngx.var.arg_v }\n\
         proxy_pass http://$to; }\n\
         location /var { set $to ''; access_by_lua_block { ngx.var.to = ngx.var.rollout_api }\n\
         proxy_pass http://$to; }\n\
         location /",
    );
    let server = Setup::new(Kind::Moongate)
        .with("STABLE", format!("127.0.0.1:{}", stable.port))
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .start(&text);
    assert_eq!(get(server.port(), "/alone?v=v2").text(), "canary");
    assert_eq!(get(server.port(), "/alone?v=made-up").text(), "stable");
    assert_eq!(get(server.port(), "/var").text(), "stable");
    assert_eq!(canary.received()[0].header("x-canary-version"), Some("v2"));
    assert_eq!(stable.received()[0].header("x-canary-version"), None);
    assert_eq!(stable.received()[1].header("x-canary-version"), Some("stable"));
    let metrics = get(server.named_port("ADMIN"), "/metrics").text();
    assert!(!metrics.contains("made-up"), "{metrics}");
    let has = |line: &str| metrics.lines().any(|it| line.split('|').all(|part| it.contains(part)));
    assert!(has("http_requests_total|\"/alone\"|backend_v2|canary_version=\"v2\""), "{metrics}");
    assert!(has("http_requests_total|\"/alone\"|backend_v1|canary_version=\"other\""), "{metrics}");
}

#[test]
fn probes_carry_their_variant_s_label_from_the_start() {
    let (stable, canary) = (Origin::saying("stable"), Origin::saying("canary"));
    let text = conf("weight 0;", "")
        .replace("$STABLE; }", "$STABLE; health_check interval=60s; }")
        .replace(
            "$CANARY; }",
            "$CANARY; health_check interval=60s header \"X-Probe: 1\";\n\
             health_check uri=/own interval=60s header \"x-canary-version: mine\"; }",
        );
    let server = Setup::new(Kind::Moongate)
        .with("STABLE", format!("127.0.0.1:{}", stable.port))
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .start(&text);
    let label = |origin: &Origin, uri: &str| {
        eventually("a probe", || {
            let found = origin.received().into_iter().find(|it| it.target() == uri);
            found.map(|it| it.head.all("x-canary-version").join(","))
        })
    };
    assert_eq!(label(&stable, "/"), "stable");
    assert_eq!(label(&canary, "/"), "v2");
    assert_eq!(label(&canary, "/own"), "mine", "the operator's own word stays");
    drop(server);
}

#[test]
fn a_signed_cookie_keeps_a_user_and_cannot_be_made_up() {
    let (stable, canary) = (
        Origin::start(|_| Answer::new("200 OK", "Set-Cookie: who=mine\r\nSet-Cookie: a=b\r\n", "")),
        Origin::saying("canary"),
    );
    let lines = "weight 0; sticky cookie who max_age=30d samesite=Lax;";
    let server = start(&stable, &canary, lines, "");
    let first = get(server.port(), "/");
    let set: Vec<_> = first.head.all("set-cookie").into_iter().map(str::to_owned).collect();
    assert_eq!(set.len(), 2, "{set:?}");
    assert_eq!(set[0], "a=b");
    let (pair, attributes) = set[1].split_once("; ").expect("attributes");
    assert_eq!(attributes, "Path=/; Max-Age=2592000; SameSite=Lax; HttpOnly");
    assert_eq!(pair.len(), "who=".len() + 65, "{pair}");
    let issued = |cookie: &str| {
        let answer = asking(&server, &format!("Cookie: x=1; {cookie}\r\n"));
        answer.head.all("set-cookie").iter().any(|it| it.starts_with("who=") && it.len() > 60)
    };
    assert!(!issued(pair), "the user has one");
    let last = if pair.ends_with('0') { "1" } else { "0" };
    assert!(issued(&format!("{}{last}", &pair[..pair.len() - 1])), "a forged one is none");
    assert!(issued("who=alice"));
}

#[test]
fn scripts_ask_rollouts() {
    let (stable, canary) = (Origin::saying("stable"), Origin::saying("canary"));
    let text = conf("header X-Canary-Version; weight 25%; sticky $arg_user;", "").replace(
        "location /",
        "location /ask { content_by_lua_block {\n\
         local rollout = require 'moongate.rollout'\n\
         local function show(...) local t = {...}\n\
         for i = 1, select('#', ...) do t[i] = tostring(t[i]) end\n\
         ngx.say(table.concat(t, ' ')) end\n\
         show(rollout.pick('api', 'alice'))\n\
         show(rollout.pick('api', 'bob'))\n\
         show(ngx.var.rollout_api, ngx.var.canary_version, ngx.var.rollout_reason)\n\
         show(rollout.weight('api'), rollout.weight('api', 'stable'), rollout.state('api'))\n\
         show(rollout.pick('none'))\n\
         show(rollout.weight('api', 'v9'))\n\
         show(rollout.set_weight('api', 101))\n\
         show(rollout.set_weight('api', 1, 'stable'))\n\
         show(rollout.abort('none'))\n\
         show(pcall(rollout.pick))\n\
         show(pcall(rollout.set_weight, 'api'))\n\
         } }\n\
         location /set { content_by_lua_block {\n\
         ngx.say(tostring(require 'moongate.rollout'.set_weight('api', '100%'))) } }\n\
         location /abort { content_by_lua_block {\n\
         ngx.say(tostring(require 'moongate.rollout'.abort('api'))) } }\n\
         location /",
    );
    let server = Setup::new(Kind::Moongate)
        .with("STABLE", format!("127.0.0.1:{}", stable.port))
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .start(&text);
    let answer = get(server.port(), "/ask").text();
    let lines: Vec<_> = answer.lines().collect();
    let (first, second) = (lines[0], lines[1]);
    assert!(["v2 backend_v2 weight", "stable backend_v1 weight"].contains(&first), "{first}");
    assert_eq!(first, second, "a rollout decides once a request");
    let words: Vec<_> = first.split(' ').collect();
    assert_eq!(lines[2], format!("{} {} weight", words[1], words[0]));
    assert_eq!(lines[3], "25 75 steady");
    assert_eq!(
        lines[4..],
        [
            "nil no rollout \"none\"",
            "nil no version \"v9\" in rollout \"api\"",
            "nil a weight is 0 to 100 percent",
            "nil stable has what is left",
            "nil no rollout \"none\"",
            "false bad argument #1 to '?' (string expected, got no value)",
            "false bad argument #2 to '?' (number or string expected, got no value)",
        ]
    );
    assert_eq!(get(server.port(), "/set").text(), "true\n");
    settles("all of it is the canary's", "canary".into(), || get(server.port(), "/?user=x").text());
    assert_eq!(get(server.port(), "/abort").text(), "true\n");
    settles("stable has it", "stable".into(), || get(server.port(), "/?user=x").text());
    let answer = asking(&server, "X-Canary-Version: v2\r\n");
    assert_eq!(answer.text(), "stable", "whoever asks");
}

/// An error page is another upstream's: neither labelled nor counted as the variant's.
#[test]
fn what_another_upstream_answers_is_not_the_variant_s() {
    let stable = Origin::saying("stable");
    let canary = Origin::start(|_| Answer::new("503 Service Unavailable", "", "ill"));
    let spare = Origin::saying("spare");
    let text = conf(BY_HEADER, "proxy_intercept_errors on; error_page 503 = @spare;")
        .replace("location /", "location @spare { proxy_pass http://$SPARE; } location /");
    let server = Setup::new(Kind::Moongate)
        .with("STABLE", format!("127.0.0.1:{}", stable.port))
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .with("SPARE", format!("127.0.0.1:{}", spare.port))
        .start(&text);
    assert_eq!(asking(&server, "X-Canary-Version: v2\r\n").text(), "spare");
    assert_eq!(canary.received()[0].header("x-canary-version"), Some("v2"));
    let label = spare.received()[0].header("x-canary-version").map(str::to_owned);
    assert_eq!(label.as_deref(), Some("v2"), "as the client sent it");
}

/// Two hosts, two rollouts: the rules of one choose nothing in the other.
#[test]
fn rules_of_one_rollout_are_not_another_s() {
    let (stable, canary) = (Origin::saying("stable"), Origin::saying("canary"));
    let text = "http { upstream one { server $STABLE; } upstream two { server $CANARY; }\n\
         rollout a { stable one; canary two version=v2; when $arg_beta canary; weight 0; }\n\
         rollout b { stable one; canary two version=v2; header X-Beta value yes; weight 0; }\n\
         server { listen 127.0.0.1:$PORT; server_name a;\n\
         location / { proxy_pass http://$rollout_a; } }\n\
         server { listen 127.0.0.1:$PORT; server_name b;\n\
         location / { proxy_pass http://$rollout_b; } } }";
    let server = Setup::new(Kind::Moongate)
        .with("STABLE", format!("127.0.0.1:{}", stable.port))
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .start(text);
    let body = |host: &str| {
        let fields = format!("Host: {host}\r\n");
        let mut bodies = Vec::new();
        for (uri, more) in [("/?beta=1", ""), ("/", "X-Beta: yes\r\n")] {
            let mut client =
                crate::harness::client::Client::connect(server.port()).expect("it listens");
            let head = format!("GET {uri} HTTP/1.1\r\n{fields}{more}\r\n");
            client.send(head).expect("sent");
            bodies.push(client.response("GET").expect("an answer").text());
        }
        bodies
    };
    assert_eq!(body("a"), ["canary", "stable"]);
    assert_eq!(body("b"), ["stable", "canary"]);
}

#[test]
fn a_log_that_asks_decides_nothing() {
    let (stable, canary) = (Origin::saying("stable"), Origin::saying("canary"));
    let text = conf("weight 100%;", "")
        .replace("$uri $canary_version", "$uri [$rollout_api] [$canary_version]")
        .replace("location /", "location /file { return 200 x; } location /");
    let server = Setup::new(Kind::Moongate)
        .with("STABLE", format!("127.0.0.1:{}", stable.port))
        .with("CANARY", format!("127.0.0.1:{}", canary.port))
        .start(&text);
    get(server.port(), "/file");
    settles("the log", true, || server.read("logs/access.log").starts_with("/file [-] [] - -\n"));
    let metrics = get(server.named_port("ADMIN"), "/metrics").text();
    let counted = metrics.lines().filter(|it| it.starts_with("moongate_rollout_decisions_total"));
    assert!(counted.clone().count() > 0);
    assert!(counted.into_iter().all(|it| it.ends_with(" 0")), "{metrics}");
}
