//! OpenResty's own test suites against Moongate, in sandboxes (README.md beside this file).
//!
//!     cargo test --test conformance -- [--nginx] [--binary PROGRAM] [--listed] [--within MINUTES]
//!     cargo test --test conformance -- [--nginx] [--binary PROGRAM] SUITE[/FILE] [BLOCK]
//!
//! It fails when a block that real nginx passes does not pass, time after time, and is not in
//! `expected.toml`; it says so when one is there and passes.

mod lists;
mod sandbox;

use lists::{Block, Reference, SUITES};
use sandbox::{Job, SIDE_BY_SIDE, Server, Verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs};

/// Real nginx and the modules whose suites run.
const NGINX: &str = "/usr/sbin/nginx";
const MODULES: [&str; 6] = ["ndk", "lua", "echo", "headers_more_filter", "set_misc", "memc"];

/// Blocks that are tried again at most: when more fail it is no accident.
const MOST_RETRIED: usize = 150;
/// How often: alone, one at a time, so that no other's load fails them.
const RETRIES: usize = 2;

#[derive(Default)]
struct Arguments {
    nginx: bool,
    binary: Option<PathBuf>,
    suite: Option<String>,
    file: Option<String>,
    block: Option<String>,
    listed: bool,
    within: Option<Duration>,
}

impl Arguments {
    fn read() -> Self {
        let mut it = Self::default();
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--nginx" => it.nginx = true,
                "--listed" => it.listed = true,
                "--binary" => it.binary = words.next().map(PathBuf::from),
                "--within" => {
                    let minutes = words.next().and_then(|it| it.parse().ok());
                    let minutes: u64 = minutes.expect("--within takes a number of minutes");
                    it.within = Some(Duration::from_secs(60 * minutes));
                }
                // What cargo passes on to every test binary.
                "--quiet" | "--nocapture" => {}
                _ if it.suite.is_none() => {
                    let (suite, file) = word.split_once('/').unwrap_or((&word, ""));
                    it.suite = Some(suite.to_owned());
                    it.file = Some(file.to_owned()).filter(|it| !it.is_empty());
                }
                _ => it.block = Some(word),
            }
        }
        it
    }

    fn server(&self) -> Server {
        if self.nginx {
            let folder = "/usr/lib/nginx/modules";
            let line = |it: &&str| match *it {
                "ndk" => format!("load_module {folder}/ndk_http_module.so; "),
                name => format!("load_module {folder}/ngx_http_{name}_module.so; "),
            };
            let main = MODULES.iter().map(line).collect();
            return Server { binary: NGINX.into(), main, http: String::new() };
        }
        let ours = || PathBuf::from(env!("CARGO_BIN_EXE_moongate"));
        let binary = self.binary.clone().unwrap_or_else(ours);
        // What is refused by default although nginx takes it, and can be had.
        let http = "server_identity nginx; bare_lf_in_headers on;".to_owned();
        Server { binary, main: String::new(), http }
    }

    fn is_whole(&self) -> bool {
        self.suite.is_none() && !self.listed
    }

    fn jobs(&self) -> Vec<Job> {
        if self.listed {
            return jobs_of(lists::expected().iter().flat_map(|it| &it.blocks));
        }
        let mut jobs = Vec::new();
        for (suite, _) in SUITES {
            if self.suite.as_ref().is_some_and(|it| it != suite) {
                continue;
            }
            let wanted = |file: &String| self.file.as_ref().is_none_or(|it| file.contains(it));
            let block = self.block.as_ref().map(|it| match it.parse::<u32>() {
                Ok(number) => format!("TEST {number}"),
                Err(_) => it.clone(),
            });
            let blocks: Vec<_> = block.into_iter().collect();
            let job = |file| Job { suite: suite.to_owned(), file, blocks: blocks.clone() };
            let mut files: Vec<_> = files(suite).into_iter().filter(wanted).collect();
            // The longest first.
            files.sort_by_cached_key(|it| std::cmp::Reverse(blocks_in(suite, it)));
            jobs.extend(files.into_iter().map(job));
        }
        jobs
    }
}

/// The `.t` files of a suite, below its `t/`.
fn files(suite: &str) -> Vec<String> {
    let home = sandbox::folder(suite).join("t");
    let mut files = Vec::new();
    let mut folders = vec![home.clone()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            panic!("{} is not there: sh tests/setup.sh tests", folder.display())
        };
        for path in entries.map(|it| it.expect("a folder can be read").path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "t") {
                let name = path.strip_prefix(&home).expect("it is below");
                files.push(name.to_str().expect("names are ASCII").to_owned());
            }
        }
    }
    files.sort();
    files
}

/// How many blocks a file has; those that sleep count for more.
fn blocks_in(suite: &str, file: &str) -> usize {
    let text = fs::read_to_string(sandbox::folder(suite).join("t").join(file)).unwrap_or_default();
    let count = |what: &str| text.matches(what).count();
    count("\n=== ") + 2 * (count("--- timeout") + count("--- wait") + count("--- abort"))
}

fn main() -> ExitCode {
    let arguments = Arguments::read();
    let server = arguments.server();
    let until = arguments.within.map(|it| Instant::now() + it);
    let (verdicts, not_run) = sandbox::run(&server, arguments.jobs(), SIDE_BY_SIDE, until);
    let verdicts = by_block(verdicts);
    for job in &not_run {
        println!("not run for want of time: {} {}", job.suite, job.file);
    }
    if arguments.nginx {
        return keep_reference(&arguments, &verdicts);
    }
    if arguments.block.is_some() || arguments.file.is_some() {
        verdicts.values().for_each(show);
    }
    judge(&arguments, &server, verdicts, &not_run)
}

/// One verdict a block: the worst, where a file has a name twice.
fn by_block(verdicts: Vec<Verdict>) -> BTreeMap<Block, Verdict> {
    let mut all: BTreeMap<Block, Verdict> = BTreeMap::new();
    for verdict in verdicts {
        let known = all.get(&verdict.block);
        if known.is_none_or(|it| it.word == "pass") {
            all.insert(verdict.block.clone(), verdict);
        }
    }
    all
}

fn show(verdict: &Verdict) {
    println!("{} {}", verdict.block, verdict.word);
    verdict.because.iter().for_each(|it| println!("    {}", it.trim_end().replace('\n', "\n    ")));
}

/// Writes what real nginx passes; tiers stay as they are, and a new block is in A.
fn keep_reference(arguments: &Arguments, verdicts: &BTreeMap<Block, Verdict>) -> ExitCode {
    if arguments.file.is_some() {
        verdicts.values().for_each(show);
        return ExitCode::SUCCESS;
    }
    for (suite, _) in SUITES {
        let before = lists::reference(suite);
        let passed = verdicts.values().filter(|it| it.block.suite == suite && it.word == "pass");
        let now: Reference = passed
            .map(|it| (it.block.clone(), before.get(&it.block).copied().unwrap_or('A')))
            .collect();
        println!("{suite}: nginx passes {}", now.len());
        if !now.is_empty() {
            write_reference(suite, &now);
        }
    }
    write_failing(verdicts.values().filter(|it| it.word != "pass"));
    ExitCode::SUCCESS
}

/// Holds the verdicts against the lists; what failed unexpectedly is tried again.
fn judge(
    arguments: &Arguments,
    server: &Server,
    mut verdicts: BTreeMap<Block, Verdict>,
    not_run: &[Job],
) -> ExitCode {
    let reference: Reference = SUITES.iter().flat_map(|(it, _)| lists::reference(it)).collect();
    let groups = lists::expected();
    let listed: BTreeSet<&Block> = groups.iter().flat_map(|it| &it.blocks).collect();
    let by_chance: BTreeSet<&Block> =
        groups.iter().filter(|it| it.sometimes).flat_map(|it| &it.blocks).collect();
    let is_left =
        |block: &Block| not_run.iter().any(|it| it.suite == block.suite && it.file == block.file);
    let has_run =
        |block: &&Block| verdicts.contains_key(*block) || (arguments.is_whole() && !is_left(block));
    let judged: Vec<Block> = reference.keys().filter(has_run).cloned().collect();
    let failed = |verdicts: &BTreeMap<Block, Verdict>, it: &Block| {
        verdicts.get(it).is_none_or(|it| it.word != "pass")
    };
    write_failing(judged.iter().filter_map(|it| verdicts.get(it)).filter(|it| it.word != "pass"));
    let unexpected = |verdicts: &BTreeMap<Block, Verdict>| -> Vec<Block> {
        judged.iter().filter(|it| !listed.contains(it) && failed(verdicts, it)).cloned().collect()
    };
    let mut broken = unexpected(&verdicts);
    for _ in 0..RETRIES {
        if broken.is_empty() || broken.len() > MOST_RETRIED {
            break;
        }
        for (block, verdict) in by_block(sandbox::run(server, jobs_of(broken.iter()), 1, None).0) {
            if verdict.word == "pass" {
                println!("flake: {block}: {:?}", verdicts.get(&block).map(|it| &it.because));
            }
            verdicts.insert(block, verdict);
        }
        broken = unexpected(&verdicts);
    }
    write_failing(judged.iter().filter_map(|it| verdicts.get(it)).filter(|it| it.word != "pass"));
    let healed = judged
        .iter()
        .filter(|it| listed.contains(it) && !by_chance.contains(it) && !failed(&verdicts, it))
        .collect::<Vec<_>>();
    for block in &broken {
        println!("failed, and is not in expected.toml: {block}");
    }
    for block in &healed {
        println!("passed, and is in expected.toml: {block}");
    }
    for block in listed.iter().filter(|it| !reference.contains_key(**it)) {
        println!("is in expected.toml, and real nginx does not pass it: {block}");
    }
    print_score(&reference, &judged, |it| !failed(&verdicts, it));
    let passed = judged.iter().filter(|it| !failed(&verdicts, it)).count();
    let is_good = broken.is_empty() && passed > 0;
    let word = if is_good { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {} failed;", broken.len());
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes `reference/SUITE.txt`.
fn write_reference(suite: &str, blocks: &Reference) {
    let mut lines: BTreeMap<&str, BTreeMap<char, Vec<&str>>> = BTreeMap::new();
    for (block, tier) in blocks {
        let file = lines.entry(&block.file).or_default();
        file.entry(*tier).or_default().push(&block.name);
    }
    let mut text = String::from("# What real nginx passes; `--nginx` writes this file anew.\n");
    for (file, tiers) in lines {
        text.push_str(file);
        for (tier, names) in tiers {
            text.push_str(&format!(" {tier}:{}", gather(&names)));
        }
        text.push('\n');
    }
    fs::write(lists::reference_path(suite), text).expect("the reference is writable");
}

/// `1-3,7a` of the names, numbers first.
fn gather(names: &[&str]) -> String {
    let mut numbers: Vec<u32> = names.iter().filter_map(|it| it.parse().ok()).collect();
    numbers.sort_unstable();
    let runs = numbers.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => unreachable!("a chunk is not empty"),
    });
    let others = names.iter().filter(|it| it.parse::<u32>().is_err());
    runs.chain(others.map(|it| (*it).to_owned())).collect::<Vec<_>>().join(",")
}

/// The jobs that run `blocks`, one a file.
fn jobs_of<'a>(blocks: impl Iterator<Item = &'a Block>) -> Vec<Job> {
    let mut files: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for block in blocks {
        let is_number = block.name.starts_with(|it: char| it.is_ascii_digit());
        let name = if is_number { format!("TEST {}", block.name) } else { block.name.clone() };
        files.entry((&block.suite, &block.file)).or_default().push(name);
    }
    let job = |((suite, file), blocks): ((&str, &str), Vec<String>)| Job {
        suite: suite.to_owned(),
        file: file.to_owned(),
        blocks,
    };
    files.into_iter().map(job).collect()
}

fn print_score(reference: &Reference, judged: &[Block], passed: impl Fn(&Block) -> bool) {
    let mut counts: BTreeMap<(&str, char), (usize, usize)> = BTreeMap::new();
    for block in judged {
        let count = counts.entry((&block.suite, reference[block])).or_default();
        count.0 += usize::from(passed(block));
        count.1 += 1;
    }
    for ((suite, tier), (passed, all)) in counts {
        let share = 100.0 * passed as f64 / all as f64;
        println!("{suite} {tier}: {passed} of {all} ({share:.1} %)");
    }
}

/// `target/conformance.txt`: what did not pass, the most frequent cause first.
fn write_failing<'a>(verdicts: impl Iterator<Item = &'a Verdict>) {
    let mut causes: BTreeMap<String, Vec<&Verdict>> = BTreeMap::new();
    for verdict in verdicts {
        let first = verdict.because.first().map_or("", String::as_str);
        let cause = first.rsplit("servroot/conf/").next().unwrap_or_default();
        let cause: String = cause.chars().filter(|it| !it.is_ascii_digit()).take(90).collect();
        causes.entry(format!("{}: {}", verdict.word, cause.trim())).or_default().push(verdict);
    }
    let mut causes: Vec<_> = causes.into_iter().collect();
    causes.sort_by_key(|(_, verdicts)| std::cmp::Reverse(verdicts.len()));
    let mut text = String::new();
    for (cause, verdicts) in causes {
        text.push_str(&format!("## {} x {}\n", verdicts.len(), cause.replace('\n', " ")));
        for verdict in verdicts {
            text.push_str(&format!("    {}: {:?}\n", verdict.block, verdict.because));
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/conformance.txt");
    fs::write(&path, text).expect("target is writable");
}
