//! What holds when the command line does not say: prefix, configuration, the folder of logs.

use crate::config::model::{AccessLogTarget, ErrorLogTarget, Http, Model};
use crate::control::{DEFAULT_PID_FILE, Origin, Source};
use crate::sys::errno::Failure;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The configuration below the prefix.
pub const DEFAULT_FILE: &str = "conf/moongate.conf";
/// Where a package installs to.
const SYSTEM_PREFIX: &str = "/etc/moongate";
/// The default configuration, for a program without any file beside it.
const EMBEDDED: &str = include_str!("../../conf/moongate.conf");
/// nginx's default, below the prefix.
const DEFAULT_ACCESS_LOG: &str = "logs/access.log";
/// What the default configuration writes to, below the prefix.
const LOG_FOLDER: &str = "logs";

/// The source that `-c`, `-p`, `-g` and `-e` mean.
///
/// # Errors
/// When there is no current directory.
pub fn source(
    config: Option<PathBuf>,
    prefix: Option<PathBuf>,
    globals: Option<String>,
    error_log: Option<PathBuf>,
) -> Result<Source, Failure> {
    let here = env::current_dir().map_err(|it| Failure::new("getcwd()", it))?;
    let prefix = prefix.map_or_else(|| default_prefix(&here), |it| here.join(it));
    // The command line's own paths start where the command was given, as the shell completes
    // them; nginx's start in the prefix, which is tried next.
    let config = config.map(|it| if here.join(&it).is_file() { here.join(it) } else { it });
    let origin = match config {
        Some(path) => Origin::File(path),
        None if prefix.join(DEFAULT_FILE).exists() => Origin::File(DEFAULT_FILE.into()),
        None => Origin::Embedded("moongate.conf (built in)", EMBEDDED),
    };
    Ok(Source { origin, prefix, globals, error_log })
}

/// The current directory if it holds `conf/`, as a clone does; else where packages install to, if
/// that is there.
fn default_prefix(here: &Path) -> PathBuf {
    let system = Path::new(SYSTEM_PREFIX);
    if here.join("conf").is_dir() || !system.is_dir() { here } else { system }.to_owned()
}

/// The pid file of `model`.
pub fn pid_file(model: &Model, prefix: &Path) -> PathBuf {
    let path = model.main.pid.clone().unwrap_or_else(|| DEFAULT_PID_FILE.into());
    prefix.join(path)
}

/// Makes the folder of logs below the prefix if the configuration puts something there: a fresh
/// clone has none. No other folder is made.
///
/// # Errors
/// `mkdir() "PATH" failed …`.
pub fn make_log_folder(model: &Model, prefix: &Path) -> Result<(), Failure> {
    let folder = prefix.join(LOG_FOLDER);
    let error_logs = model.main.error_log.iter().flatten().filter_map(|it| match &it.target {
        ErrorLogTarget::File(path) => Some(prefix.join(path)),
        _ => None,
    });
    let access_logs = model.http.iter().flat_map(access_logs).map(|it| prefix.join(it));
    let mut written = error_logs.chain(access_logs).chain([pid_file(model, prefix)]);
    if !written.any(|it| it.parent() == Some(&folder)) {
        return Ok(());
    }
    match fs::create_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(Failure::new(format!("mkdir() \"{}\"", folder.display()), error))
        }
        _ => Ok(()),
    }
}

/// The files of access logs as written, nginx's default included.
fn access_logs(http: &Http) -> impl Iterator<Item = PathBuf> {
    let default = http.settings.access_log.is_none().then(|| DEFAULT_ACCESS_LOG.into());
    let servers = http.servers.iter().map(|it| &it.settings);
    let lines = servers.chain([&http.settings]).flat_map(|it| it.access_log.iter().flatten());
    let files = lines.filter_map(|it| match &it.target {
        AccessLogTarget::File(path) => Some(path.clone()),
        AccessLogTarget::Syslog(_) => None,
    });
    files.chain(default)
}
