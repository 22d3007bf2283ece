//! What a server uses: CPU time and memory of a process, all its threads and its children.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

/// Kibibytes to mebibytes.
pub const MIB: f64 = 1024.0;

/// What it had used at one moment.
pub struct Usage {
    /// Nanoseconds on a CPU of each thread that lives.
    threads: BTreeMap<u32, f64>,
    /// Seconds in user space and in the kernel, of the ended threads too; hundredths at best.
    user: f64,
    system: f64,
}

/// Seconds of CPU between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    pub user: f64,
    pub system: f64,
}

impl Usage {
    /// Reads it from `/proc`.
    pub fn of(pid: u32) -> Self {
        let mut usage = Self { threads: BTreeMap::new(), user: 0.0, system: 0.0 };
        for pid in family(pid) {
            let (user, system) = ticks(pid);
            usage.user += user;
            usage.system += system;
            for thread in threads(pid) {
                let path = format!("/proc/{pid}/task/{thread}/schedstat");
                let text = fs::read_to_string(path).unwrap_or_default();
                let spent = text.split_whitespace().next().and_then(|it| it.parse().ok());
                usage.threads.insert(thread, spent.unwrap_or(0.0));
            }
        }
        usage
    }

    /// What was spent since `before`. The scheduler's nanoseconds say how much, the ticks how it
    /// divides; when a thread has ended in between, the ticks say both.
    pub fn since(&self, before: &Self) -> Spent {
        let (user, system) = (self.user - before.user, self.system - before.system);
        let all_live = before.threads.keys().all(|it| self.threads.contains_key(it));
        let exact: f64 = self
            .threads
            .iter()
            .map(|(thread, now)| now - before.threads.get(thread).unwrap_or(&0.0))
            .sum();
        let ticked = user + system;
        if !all_live || exact <= 0.0 || ticked <= 0.0 {
            return Spent { user, system };
        }
        let scale = exact / 1e9 / ticked;
        Spent { user: user * scale, system: system * scale }
    }
}

/// A process and all its descendants.
pub fn family(pid: u32) -> Vec<u32> {
    let mut members = vec![pid];
    let mut next = 0;
    while let Some(pid) = members.get(next).copied() {
        next += 1;
        for thread in threads(pid) {
            let path = format!("/proc/{pid}/task/{thread}/children");
            let text = fs::read_to_string(path).unwrap_or_default();
            members.extend(text.split_whitespace().filter_map(|it| it.parse::<u32>().ok()));
        }
    }
    members
}

/// Resident memory now, KiB, together.
pub fn resident_kib(pid: u32) -> f64 {
    family(pid).into_iter().map(|it| status(it, "VmRSS:")).sum()
}

/// The most that was resident since [`forget_peak`], KiB, together.
pub fn peak_kib(pid: u32) -> f64 {
    family(pid).into_iter().map(|it| status(it, "VmHWM:")).sum()
}

/// The peak begins anew (proc(5), `clear_refs`).
pub fn forget_peak(pid: u32) {
    for pid in family(pid) {
        fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("it is our process");
    }
}

fn status(pid: u32, field: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|it| it.strip_prefix(field)).unwrap_or_default();
    line.split_whitespace().next().and_then(|it| it.parse().ok()).unwrap_or(0.0)
}

fn threads(pid: u32) -> Vec<u32> {
    let folder = PathBuf::from(format!("/proc/{pid}/task"));
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries.flatten().filter_map(|it| it.file_name().to_str()?.parse().ok()).collect()
}

/// User and system seconds of a process, its threads together, the ended ones too.
fn ticks(pid: u32) -> (f64, f64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let mut ticks = fields.split_whitespace().skip(11).filter_map(|it| it.parse::<f64>().ok());
    // USER_HZ is 100 on every Linux that user space can see.
    let mut next = || ticks.next().unwrap_or(0.0) / 100.0;
    (next(), next())
}
