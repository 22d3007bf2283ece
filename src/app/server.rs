//! The start of a server, and its end.

use super::defaults::{make_log_folder, pid_file};
use super::{Failed, fail, report};
use crate::admin;
use crate::config::Loaded;
use crate::config::model::{Main, Model};
use crate::control::{Candidate, Control, Fault, Known, Source};
use crate::log;
use crate::log::{ErrorLog, Level, main_log};
use crate::rollout::journal::own_folder;
use crate::rollout::registry::Rollouts;
use crate::snapshot::build::open_error_log;
use crate::sys::daemon;
use crate::sys::daemon::Ready;
use crate::sys::environment;
use crate::sys::errno::Failure;
use crate::sys::limits;
use crate::sys::limits::Nofile;
use crate::sys::openssl;
use crate::sys::pid::PidFile;
use crate::sys::user;
use crate::sys::user::User;
use tokio::runtime::{Builder, Runtime};

/// Threads of control for files and the like.
const BLOCKING_THREADS: usize = 2;

/// The event loop of control.
///
/// # Errors
/// `epoll_create1() failed …`.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .build()
        .map_err(|error| Failure::new("epoll_create1()", error))
}

/// Serves what `source` says until a signal ends it.
///
/// # Errors
/// Why nothing was served.
pub fn serve(source: Source) -> Result<(), Failed> {
    // Faults before there is an error log are for whoever started us.
    log::install(ErrorLog::silent());
    let loaded = source.load().map_err(|diagnostics| {
        open_log_of_faults(&source);
        report(&diagnostics);
        Failed
    })?;
    let ready = match loaded.model.main.daemon {
        Some(true) => Some(daemon::detach().map_err(fail)?),
        _ => None,
    };
    open_log(&loaded.model, &source)?;
    log::bridge::take_over();
    let user = prepare(&loaded.model.main)?;
    let _pid_file = PidFile::hold(&pid_file(&loaded.model, &source.prefix)).map_err(fail)?;
    let served = runtime().map_err(fail)?.block_on(run(source, loaded, user, ready));
    log::stop();
    served
}

/// A configuration with faults names no log: they go to the default one, if that is there.
fn open_log_of_faults(source: &Source) {
    let mut model = Model::default();
    source.complete(&mut model);
    let lines = model.main.error_log.unwrap_or_default();
    if let Ok(log) = open_error_log(&lines, &source.prefix) {
        log::install(log);
    }
}

fn open_log(model: &Model, source: &Source) -> Result<(), Failed> {
    make_log_folder(model, &source.prefix).map_err(fail)?;
    let lines = model.main.error_log.as_deref().unwrap_or_default();
    let log = open_error_log(lines, &source.prefix)
        .map_err(|(at, text)| fail(format_args!("{at}: {text}")))?;
    log::install(log);
    Ok(())
}

/// What concerns the whole process: environment, folder, limits, the user that it becomes.
fn prepare(main: &Main) -> Result<Option<User>, Failed> {
    openssl::start();
    environment::keep(&main.env);
    if let Some(folder) = &main.working_directory {
        let failed = |it| Failure::new(format!("chdir(\"{}\")", folder.display()), it);
        std::env::set_current_dir(folder).map_err(|it| fail(failed(it)))?;
    }
    if let Err(failure) = raise_limit(main.worker_rlimit_nofile) {
        main_log().say(Level::Alert, format_args!("{failure}"));
    }
    let Some((name, group)) = &main.user else { return Ok(None) };
    if !user::is_root() {
        let text = "the \"user\" directive makes sense only if Moongate runs with super-user \
                    privileges, ignored";
        main_log().say(Level::Warn, format_args!("{text}"));
        return Ok(None);
    }
    User::find(name, group.as_deref()).map(Some).map_err(fail)
}

/// `worker_rlimit_nofile`; without it as many as the system allows, for all workers share them.
fn raise_limit(wanted: Option<u64>) -> Result<(), Failure> {
    let now = limits::nofile()?;
    let limit = match wanted {
        Some(soft) => Nofile { soft, hard: now.hard.max(soft) },
        None => Nofile { soft: now.hard, ..now },
    };
    if limit == now { Ok(()) } else { limits::set_nofile(limit) }
}

async fn run(
    source: Source,
    loaded: Loaded,
    user: Option<User>,
    ready: Option<Ready>,
) -> Result<(), Failed> {
    let known = Known::nothing();
    let refused = |diagnostics| {
        report(&diagnostics);
        Failed
    };
    let prefix = source.prefix.clone();
    let candidate = Candidate::compile(loaded, prefix, known).await.map_err(refused)?;
    report(&candidate.diagnostics);
    warn_of_limits(&candidate);
    let admin = admin::bind(&candidate.snapshot.model).map_err(fail)?;
    let rollouts = candidate.snapshot.rollouts.clone();
    let become_user = || user.as_ref().map_or(Ok(()), |it| settle_as(it, &rollouts));
    let control = match Control::start(source, candidate, become_user).await {
        Ok(control) => control,
        Err(Fault::Refused(diagnostics)) => return Err(refused(diagnostics)),
        Err(Fault::Os(failure)) => return Err(fail(failure)),
    };
    tokio::spawn(admin::run(admin, control.handle()));
    if let Err(error) = log::start() {
        main_log().say(Level::Alert, format_args!("no thread for logs: {error}"));
    }
    if let Some(ready) = ready {
        ready.tell().map_err(fail)?;
    }
    control.run().await;
    main_log().say(Level::Notice, format_args!("exit"));
    Ok(())
}

/// Goes on as `user`, who can open the logs and the journals of rollouts: they are its own.
fn settle_as(user: &User, rollouts: &Rollouts) -> Result<(), Failure> {
    let mut logs = log::paths().into_iter().filter(|it| it.is_file());
    logs.try_for_each(|it| user.own(&it))?;
    for file in rollouts.files() {
        if let Some(folder) = own_folder(&file) {
            user.make_private_folder(folder)?;
        }
        user.inherit(&file)?;
    }
    user.become_it()
}

/// nginx's warning: with fewer descriptors than connections clients will wait.
fn warn_of_limits(candidate: &Candidate) {
    let events = candidate.snapshot.model.events.as_ref();
    let connections = events.and_then(|it| it.worker_connections).unwrap_or(512);
    let all = connections.saturating_mul(candidate.workers()) as u64;
    if let Ok(limit) = limits::nofile()
        && all > limit.soft
    {
        let soft = limit.soft;
        main_log().say(
            Level::Warn,
            format_args!(
                "{all} worker_connections of all workers exceed open file resource limit: {soft}"
            ),
        );
    }
}
