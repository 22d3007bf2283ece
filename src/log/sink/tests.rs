//! Queues, their limits, their places: whole ways from a line to a file.

use super::*;
use crate::log::{AccessSink, Buffering, ErrorLog, flush, main_log, reopen_all, start, stop};
use std::fs;
use std::io::Read;
use std::path::Path;
use std::thread;

fn path_target(path: &Path) -> Target {
    Target::File(path.to_owned())
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

/// Reopens all logs; says how many faults are about `path`. Other tests have logs too.
fn faults_of(path: &Path) -> usize {
    let wanted = format!("open() \"{}\" failed", path.display());
    reopen_all().iter().filter(|it| it.to_string().starts_with(&wanted)).count()
}

/// A sink that only `drain` empties, whether or not another test runs the writer.
fn detached(target: &Target, pace: Pace) -> Sink {
    Sink {
        place: Open::new(target).unwrap(),
        pace,
        target: target.clone(),
        shards: [Shard::default()].into(),
        output: Mutex::default(),
        dropped: AtomicU64::new(0),
        reported: Mutex::default(),
    }
}

fn queue(sink: &Sink, line: &[u8]) {
    let mut queue = sink.shards[0].0.lock();
    if queue.lines == 0 {
        queue.since = clock::monotonic();
    }
    queue.lines += 1;
    queue.bytes.extend_from_slice(line);
}

#[test]
fn the_writer_starts_writes_and_stops() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("error.log");
    let log = ErrorLog::open(&[(path_target(&path), Level::Error)]).unwrap();
    start().unwrap();
    log.say(Level::Error, format_args!("written by the writer"));
    while lines(&path).is_empty() {
        thread::yield_now();
    }
    stop();
    log.say(Level::Error, format_args!("written at once"));
    let (pid, tid) = sys::thread::ids();
    let written = lines(&path);
    assert!(written[0].ends_with(&format!(" [error] {pid}#{tid}: written by the writer")));
    assert!(written[1].ends_with("written at once"), "{written:?}");
}

#[test]
fn a_line_has_nginx_s_shape() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("error.log");
    let log = ErrorLog::open(&[(path_target(&path), Level::Info)]).unwrap();
    clock::testing::freeze(1_795_435_200_000);
    let context = |line: &mut crate::log::Line| {
        line.field("client", "127.0.0.1").field("server", "").quoted("request", "GET /\n HTTP/1.1");
    };
    log.write(Level::Warn, Some(7), format_args!("it is {}", 1), Some(&context));
    log.write_bytes(Level::Debug, None, b"not taken", None);
    log.write_bytes(Level::Stderr, None, b"\xff", None);
    flush();
    let (pid, tid) = sys::thread::ids();
    let time = String::from_utf8(clock::log_time().to_vec()).unwrap();
    let context = r#", client: 127.0.0.1, server: , request: "GET /\x0A HTTP/1.1""#;
    let mut expected =
        format!("{time} [warn] {pid}#{tid}: *7 it is 1{context}\n{time} [] {pid}#{tid}: ")
            .into_bytes();
    expected.extend_from_slice(b"\xff\n");
    assert_eq!(fs::read(&path).unwrap(), expected);
}

#[test]
fn each_log_takes_its_level() {
    let dir = tempfile::tempdir().unwrap();
    let paths = ["all.log", "grave.log"].map(|it| dir.path().join(it));
    let targets = [(path_target(&paths[0]), Level::Debug), (path_target(&paths[1]), Level::Crit)];
    let log = ErrorLog::open(&targets).unwrap();
    log.say(Level::Debug, format_args!("a"));
    log.say(Level::Crit, format_args!("b"));
    flush();
    assert_eq!(paths.map(|it| lines(&it).len()), [2, 1]);
    assert!(log.enabled(Level::Debug) && !ErrorLog::silent().enabled(Level::Emerg));
    assert!(!main_log().enabled(Level::Debug));
}

#[test]
fn a_log_that_cannot_be_opened_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none/access.log");
    let fault = AccessSink::open(&path_target(&path), None).unwrap_err().to_string();
    let expected = format!("open() \"{}\" failed (2: No such file or directory)", path.display());
    assert_eq!(fault, expected);
}

#[test]
fn rotation_loses_no_line() {
    const LINES: usize = 20_000;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("access.log");
    let log = AccessSink::open(&path_target(&path), None).unwrap();
    let workers: Vec<_> = (0..4)
        .map(|worker| {
            let log = log.clone();
            thread::spawn(move || {
                for number in 0..LINES / 4 {
                    log.write(format!("{worker} {number}").as_bytes());
                }
            })
        })
        .collect();
    for number in 0..5 {
        fs::rename(&path, dir.path().join(format!("old.{number}"))).unwrap();
        assert_eq!(faults_of(&path), 0);
    }
    workers.into_iter().for_each(|it| it.join().unwrap());
    flush();
    let mut numbers = [0; 4];
    let mut files: Vec<_> = (0..5).map(|it| dir.path().join(format!("old.{it}"))).collect();
    files.push(path);
    for line in files.iter().flat_map(|it| lines(it)) {
        let (worker, number) = line.split_once(' ').unwrap();
        let next = &mut numbers[worker.parse::<usize>().unwrap()];
        assert_eq!(number.parse::<usize>().unwrap(), *next, "lines of a worker keep their order");
        *next += 1;
    }
    assert_eq!(numbers.iter().sum::<usize>(), LINES);
}

#[test]
fn a_file_that_cannot_be_reopened_stays_open() {
    let dir = tempfile::tempdir().unwrap();
    let (folder, moved) = (dir.path().join("logs"), dir.path().join("moved"));
    fs::create_dir(&folder).unwrap();
    let path = folder.join("access.log");
    let log = AccessSink::open(&path_target(&path), None).unwrap();
    fs::rename(&folder, &moved).unwrap();
    assert_eq!(faults_of(&path), 1);
    log.write(b"still here");
    flush();
    assert_eq!(lines(&moved.join("access.log")), ["still here"]);
}

#[test]
fn lines_are_written_when_they_are_due() {
    clock::testing::freeze(1_795_435_200_000);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.log");
    let sink = detached(&path_target(&path), Pace { bytes: 10, age_ms: Some(50) });
    assert_eq!(sink.drain(false), Left::Nothing);
    queue(&sink, b"one\n");
    assert_eq!((sink.drain(false), lines(&path).len()), (Left::Timed, 0));
    clock::testing::advance_ms(50);
    sink.drain(false);
    assert_eq!(lines(&path), ["one"], "old enough");
    queue(&sink, b"two, long\n");
    sink.drain(false);
    assert_eq!(lines(&path).len(), 2, "long enough");

    let lazy = detached(&path_target(&path), Pace { bytes: 10, age_ms: None });
    queue(&lazy, b"three\n");
    assert_eq!((lazy.drain(false), lines(&path).len()), (Left::Untimed, 2));
    lazy.drain(true);
    assert_eq!(lines(&path).len(), 3);
}

#[test]
fn a_full_disk_costs_lines_but_no_time() {
    clock::testing::freeze(1_795_435_200_000);
    let full = Target::File("/dev/full".into());
    let sink = detached(&full, Pace { bytes: 0, age_ms: Some(0) });
    queue(&sink, b"kept for later\n");
    assert_eq!(sink.drain(false), Left::Timed);
    let fault = sink.write_out(&mut sink.output.lock(), clock::monotonic(), true);
    assert_eq!(fault, None, "told once a minute");
    clock::testing::advance_ms(COMPLAINT_MS);
    let fault = sink.write_out(&mut sink.output.lock(), clock::monotonic(), true);
    let expected = "write() to \"/dev/full\" failed (28: No space left on device)";
    assert_eq!(fault.as_deref(), Some(expected));
    let before = dropped_lines();
    let line = vec![b'x'; SHARD_LIMIT / 2];
    queue(&sink, &line);
    queue(&sink, &line);
    sink.push(1, |_| panic!("there is no room"));
    assert_eq!(sink.dropped.load(Ordering::Relaxed), 1);
    assert!(dropped_lines() > before);
    assert_eq!(sink.unreported(true), None, "nothing is told while the place fails");
    assert_eq!(sink.output.lock().paused_until, clock::monotonic().plus_ms(PAUSE_MS));
}

#[test]
fn dropped_lines_are_told_of_once_a_second() {
    clock::testing::freeze(1_795_435_200_000);
    let dir = tempfile::tempdir().unwrap();
    let target = path_target(&dir.path().join("a.log"));
    let sink = detached(&target, Pace { bytes: 0, age_ms: Some(0) });
    sink.count_dropped(3);
    assert_eq!(sink.unreported(false), Some(3));
    sink.count_dropped(2);
    assert_eq!(sink.unreported(false), None);
    assert_eq!(sink.drain(false), Left::Timed, "the writer comes back to tell");
    clock::testing::advance_ms(REPORT_MS);
    assert_eq!((sink.unreported(false), sink.unreported(true)), (Some(2), None));
    assert_eq!(sink.drain(false), Left::Nothing);
}

#[test]
fn a_pipe_whose_reader_sleeps_keeps_its_lines_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fifo");
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let open_both_ends = fs::OpenOptions::new().read(true).write(true).open(&path);
    let mut reader = open_both_ends.unwrap();
    let sink = detached(&path_target(&path), Pace { bytes: 0, age_ms: Some(0) });
    let sent = vec![b'x'; 300_000];
    queue(&sink, &sent);
    assert_eq!(sink.drain(true), Left::Timed, "the reader takes nothing");
    let mut got = 0;
    while got < sent.len() {
        let mut taken = vec![0; 10_000.min(sent.len() - got)];
        got += reader.read(&mut taken).unwrap();
        sink.drain(true);
    }
    assert_eq!(sink.drain(false), Left::Nothing);
}

#[test]
fn buffers_are_shared_by_target_and_kept_by_pace() {
    let dir = tempfile::tempdir().unwrap();
    let target = path_target(&dir.path().join("a.log"));
    let buffering = Some(Buffering { bytes: 4096, flush_ms: None });
    let first = AccessSink::open(&target, buffering).unwrap();
    let second = AccessSink::open(&target, buffering).unwrap();
    first.write(b"1");
    second.write(b"2");
    AccessSink::open(&target, None).unwrap().write(b"3");
    flush();
    let Target::File(path) = &target else { unreachable!() };
    assert_eq!(lines(path).len(), 3);
}

#[test]
fn syslog_takes_both_kinds_of_lines() {
    clock::testing::freeze(1_795_435_200_000);
    let receiver = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = receiver.local_addr().unwrap();
    let target = Target::Syslog(format!("server={server},tag=gate,nohostname"));
    let received = || {
        let mut bytes = [0; 200];
        let len = receiver.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..len]).into_owned()
    };
    AccessSink::open(&target, None).unwrap().write(b"GET /");
    flush();
    let access = received();
    assert!(access.starts_with("<190>") && access.ends_with(" gate: GET /"), "{access}");
    let log = ErrorLog::open(&[(target, Level::Error)]).unwrap();
    log.say(Level::Crit, format_args!("it is\ntwo lines"));
    flush();
    let error = received();
    assert!(error.starts_with("<186>") && error.ends_with(": it is\ntwo lines"), "{error}");
}
