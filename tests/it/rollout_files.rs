//! What rollouts keep on the disk: whose it is, where it may be, and what is said where it may not.

use crate::harness::client::get;
use crate::harness::server::{Kind, Server, Setup};
use crate::harness::settles;
use crate::rollout_control::{STEPS, conf, rollout_command, status};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

/// Debian's user without anything.
const NOBODY: u32 = 65534;

/// A gateway that gives up root's privileges, in a folder that others may look into.
fn as_nobody() -> Setup {
    let setup = Setup::new(Kind::Moongate);
    fs::set_permissions(setup.prefix(), Permissions::from_mode(0o755)).expect("it is ours");
    setup
}

fn with_user(lines: &str) -> String {
    format!("user nobody nogroup;\n{}", conf(lines))
}

fn is_root() -> bool {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Owner and mode.
fn whose(path: &Path) -> (u32, u32) {
    let it = fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (it.uid(), it.mode() & 0o777)
}

fn weight(server: &Server) -> u64 {
    status(server)["weight"].as_u64().expect("a number")
}

#[test]
fn a_folder_for_journals_is_made_for_whom_the_workers_run_as() {
    let mut server = as_nobody().start(&with_user(STEPS));
    let folder = server.prefix().join("rollouts");
    rollout_command(&server, "promote api");
    assert_eq!(weight(&server), 500);
    if !is_root() {
        server.expect_logged("\"user\" directive makes sense only if");
        assert_eq!(whose(&folder).1, 0o700);
        return;
    }
    assert_eq!(whose(&folder), (NOBODY, 0o700));
    assert_eq!(whose(&folder.join("api.journal")), (NOBODY, 0o600));
    // Another one has its place there, too, long after root is no more.
    let shop = "rollout shop { stable one; canary two version=v2; weight 5%; } rollout api";
    let text = with_user(STEPS).replace("rollout api", shop);
    server.rewrite_conf(&text);
    server.signal(libc::SIGHUP);
    settles("there are two", 200, || get(server.named_port("ADMIN"), "/rollouts/shop").status());
    rollout_command(&server, "abort shop");
    assert_eq!(whose(&folder.join("shop.journal")), (NOBODY, 0o600));
    // One that is to be where only root may write is refused, and the rest goes on.
    server.rewrite_conf(&text.replace("weight 5%;", "weight 5%; journal shop.journal;"));
    server.signal(libc::SIGHUP);
    server
        .expect_logged("/shop.journal\" failed (13: Permission denied); whom workers run as must");
    assert_eq!(weight(&server), 500);
}

#[test]
fn a_journal_of_root_s_is_taken_over_where_its_folder_is_the_user_s() {
    if !is_root() {
        return assert_ne!(whose(Path::new("/")), (NOBODY, 0), "there is nothing to take over");
    }
    let home = tempfile::tempdir().expect("a folder");
    let folder = home.path();
    let journal = folder.join("api.journal");
    let lines = format!("{STEPS} journal {};", journal.display());
    let server = Setup::new(Kind::Moongate).start(&conf(&lines));
    rollout_command(&server, "promote api");
    server.quit();
    assert_eq!(whose(&journal), (0, 0o600));
    // As long as the folder is root's it is refused, with what to do.
    fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("it is ours");
    let exit = as_nobody().run_to_end(&with_user(&lines));
    assert_eq!(exit.status.code(), Some(1), "{}", exit.said);
    let advice = format!("must be the owner of \"{}\"", folder.display());
    assert!(exit.said.contains(&advice), "{}", exit.said);
    assert_eq!(whose(&journal), (0, 0o600), "nothing was changed");
    // Where it is the user's, what root left is, too; but no file that has another name as well.
    chown(folder, Some(NOBODY), None).expect("root may");
    let other = folder.join("other");
    fs::hard_link(&journal, &other).expect("a link");
    let exit = as_nobody().run_to_end(&with_user(&lines));
    assert!(exit.said.contains("failed (13: Permission denied)"), "{}", exit.said);
    fs::remove_file(&other).expect("it is there");
    let server = as_nobody().start(&with_user(&lines));
    assert_eq!(weight(&server), 500, "it goes on from there");
    assert_eq!(whose(&journal), (NOBODY, 0o600));
}

#[test]
fn what_another_version_wrote_is_put_aside_with_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = folder.path().join("api.journal");
    // A first line whose sum is right: of the kind, then of the JSON.
    let json = r#"{"magic":"moongate-journal-2","rollout":"api","secret":"00"}"#;
    let mut sum = crc32fast::Hasher::new();
    sum.update(b"J");
    sum.update(json.as_bytes());
    fs::write(&journal, format!("J {:08x} {json}\n", sum.finalize())).expect("a file");
    let lines = format!("weight 100%; journal {};", journal.display());
    let server = Setup::new(Kind::Moongate).start(&conf(&lines));
    server.expect_logged("another version wrote it: moongate-journal-2");
    assert_eq!((weight(&server), get(server.port(), "/").text()), (0, "stable".to_owned()));
    assert!(folder.path().join("api.journal.unreadable").exists());
}

/// A folder of the gateway's alone, of 64 KiB, at `path`: a disk that is soon full.
fn on_a_small_disk(path: &Path) -> Setup {
    let mount = format!("mount -t tmpfs -o size=64k none {} && exec \"$0\" \"$@\"", path.display());
    let namespace: &[&str] = match is_root() {
        true => &["unshare", "--mount", "sh", "-c", &mount],
        false => &["unshare", "--map-root-user", "--mount", "sh", "-c", &mount],
    };
    Setup::new(Kind::Moongate).under(namespace)
}

#[test]
fn on_a_full_disk_nothing_advances_and_a_rollback_happens_all_the_same() {
    let disk = tempfile::tempdir().expect("a folder");
    let lines = format!("{STEPS} journal {}/api.journal;", disk.path().display());
    let server = on_a_small_disk(disk.path()).start(&conf(&lines));
    assert_eq!(rollout_command(&server, "promote api").0, Some(0));
    // As the server sees it.
    let path = disk.path().strip_prefix("/").expect("it is absolute");
    let ballast = Path::new("/proc").join(server.pid().to_string()).join("root").join(path);
    let ballast = ballast.join("ballast");
    let full = fs::write(&ballast, vec![0; 1 << 20]).expect_err("there is no room");
    assert_eq!(full.raw_os_error(), Some(libc::ENOSPC), "{full}");
    // What is left of the last page takes a few records more.
    let (was, said) = (1..40)
        .map(|percent| (weight(&server), format!("set-weight api {percent}%")))
        .find_map(|(was, words)| match rollout_command(&server, &words) {
            (Some(0), _) => None,
            (_, said) => Some((was, said)),
        })
        .expect("it is full at last");
    assert!(said.contains("failed (28: No space left on device)"), "{said}");
    assert_eq!(weight(&server), was, "what is not written has not happened");
    let (code, said) = rollout_command(&server, "abort api");
    assert_eq!(weight(&server), 0, "{code:?} {said}");
    assert_eq!(get(server.port(), "/").text(), "stable");
    server.expect_logged("[crit]");
    fs::remove_file(&ballast).expect("it is ours");
    settles("it can be written again", Some(0), || rollout_command(&server, "resume api").0);
    assert_eq!(weight(&server), 100);
}
