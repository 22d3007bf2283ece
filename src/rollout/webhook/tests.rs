//! Receivers that are well, that come back, that refuse, and that are never there.

use super::*;
use crate::rollout::controller::{Event, Kind};
use crate::rollout::status::Status;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

fn transition(name: &str, urls: &[String]) -> News {
    let event = Event {
        kind: Kind::RolledBack,
        canary: "v2".to_owned(),
        reason: "worse".to_owned(),
        from: 500,
        to: 0,
    };
    let status = Arc::new(Status::pending(name));
    let at_ms = 1_700_000_000_000;
    News::Transition(Transition { event, at_ms, number: 1, status, webhooks: urls.into() })
}

/// Answers each connection with the next of `statuses`; gives what was posted.
async fn receiver(statuses: Vec<u16>) -> (String, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (sender, posted) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        for status in statuses {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 65_536];
            let mut length = 0;
            let text = loop {
                length += stream.read(&mut bytes[length..]).await.unwrap();
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                if text.ends_with("}") && text.contains("\r\n\r\n{") {
                    break text;
                }
            };
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            sender.send(text).unwrap();
        }
    });
    (url, posted)
}

fn resolver() -> Arc<ArcSwap<Resolver>> {
    Arc::new(ArcSwap::from_pointee(Resolver::system()))
}

fn counted(rollout: &str, result: &str) -> u64 {
    metrics::catalog().rollout_webhooks.with_label_values(&[rollout, result]).get()
}

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(work)
}

#[test]
fn a_transition_is_told_with_its_numbers() {
    on_runtime(async {
        let (url, mut posted) = receiver(vec![204]).await;
        let (tell, transitions) = queue().unwrap();
        let _teller = Teller::start(transitions, resolver());
        tell(transition("told", std::slice::from_ref(&url)));
        tell(transition("silent", &[]));
        let text = posted.recv().await.unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /hook HTTP/1.0\r\nHost: 127.0.0.1:"), "{head}");
        assert!(head.contains("\r\nContent-Type: application/json\r\n"), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            (&body["rollout"], &body["id"]),
            (&"told".into(), &"told-1700000000000-1".into())
        );
        assert_eq!((&body["event"], &body["from"]), (&"rolled_back".into(), &500.into()));
        assert_eq!(body["at"], "Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(body["status"]["state"], "steady");
    });
}

#[test]
fn one_that_comes_back_is_told_in_order_and_a_dead_one_delays_nobody() {
    on_runtime(async {
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (url, mut posted) = receiver(vec![503, 200, 200]).await;
        let (tell, transitions) = queue().unwrap();
        let _teller = Teller::start(transitions, resolver());
        let urls = [format!("http://{dead}/"), url];
        tell(transition("first", &urls));
        tell(transition("second", &urls));
        let mut names = Vec::new();
        for _ in 0..3 {
            let text = posted.recv().await.unwrap();
            names.push(if text.contains("\"rollout\":\"first\"") { "first" } else { "second" });
        }
        assert_eq!(names, ["first", "first", "second"], "the 503 was tried again");
    });
}

#[test]
fn what_is_refused_is_given_up_and_counted() {
    on_runtime(async {
        let (url, mut posted) = receiver(vec![400, 200]).await;
        let (tell, transitions) = queue().unwrap();
        let teller = Teller::start(transitions, resolver());
        tell(transition("refused", std::slice::from_ref(&url)));
        tell(transition("refused", &[url]));
        posted.recv().await.unwrap();
        posted.recv().await.unwrap();
        while counted("refused", "delivered") == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!((counted("refused", "failed"), counted("refused", "delivered")), (1, 1));
        teller.end().await;
    });
}

#[test]
fn queues_have_ends() {
    let (tell, receiver) = queue().unwrap();
    for _ in 0..MOST_WAITING + 3 {
        tell(transition("crowded", &["http://127.0.0.1:1/".to_owned()]));
    }
    assert_eq!(counted("crowded", "dropped"), 3);
    drop(receiver);
    let all = u64::try_from(MOST_WAITING).unwrap() + 3;
    assert_eq!(counted("crowded", "dropped"), all, "what waited and is not kept is counted");
    tell(transition("crowded", &["http://127.0.0.1:1/".to_owned()]));
    assert_eq!(counted("crowded", "dropped"), all, "the process is ending");
}

#[test]
fn the_end_waits_for_what_can_be_delivered_and_tells_what_was_not() {
    on_runtime(async {
        let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (url, mut posted) = receiver(vec![503, 200]).await;
        let (tell, transitions) = queue().unwrap();
        let teller = Teller::start(transitions, resolver());
        tell(transition("last", &[url, format!("http://{dead}/")]));
        teller.end().await;
        assert!(posted.recv().await.is_some() && posted.recv().await.is_some());
        assert_eq!((counted("last", "delivered"), counted("last", "dropped")), (1, 1));
    });
}
