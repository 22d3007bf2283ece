//! Giving up root's privileges: `user NAME [GROUP]`.

use crate::sys::errno::Failure;
use crate::sys::open;
use std::ffi::{CStr, CString};
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, chown, fchown};
use std::path::Path;

/// Somebody in the system's user database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: CString,
    uid: libc::uid_t,
    gid: libc::gid_t,
}

impl User {
    /// Looks up `name`, and `group`, which is called like the user unless given. At start, before
    /// any thread: the database's functions share their memory.
    ///
    /// # Errors
    /// `getpwnam("NAME") failed …` or `getgrnam("GROUP") failed …`.
    pub fn find(name: &str, group: Option<&str>) -> Result<Self, Failure> {
        let group = group.unwrap_or(name);
        let user = named(name, "getpwnam")?;
        let in_group = named(group, "getgrnam")?;
        // SAFETY: the name is a C string; what comes back is read before the next call.
        let uid = unsafe { libc::getpwnam(user.as_ptr()).as_ref() }.map(|it| it.pw_uid);
        // SAFETY: as above.
        let gid = unsafe { libc::getgrnam(in_group.as_ptr()).as_ref() }.map(|it| it.gr_gid);
        let uid = uid.ok_or_else(|| missing("getpwnam", name))?;
        let gid = gid.ok_or_else(|| missing("getgrnam", group))?;
        Ok(Self { name: user, uid, gid })
    }

    /// Becomes this user, for good, with all its groups. glibc takes every thread along.
    ///
    /// # Errors
    /// `setgid(N) failed …`, `initgroups(NAME, N) failed …`, `setuid(N) failed …`.
    pub fn become_it(&self) -> Result<(), Failure> {
        let Self { name, uid, gid } = self;
        // SAFETY: plain numbers.
        check(unsafe { libc::setgid(*gid) }, || format!("setgid({gid})"))?;
        // SAFETY: the name is a C string.
        check(unsafe { libc::initgroups(name.as_ptr(), *gid) }, || {
            format!("initgroups({}, {gid})", shown(name))
        })?;
        // SAFETY: plain numbers.
        check(unsafe { libc::setuid(*uid) }, || format!("setuid({uid})"))
    }

    /// Makes this user the owner of `path`: of a log that must be opened again after
    /// [`Self::become_it`].
    ///
    /// # Errors
    /// `chown("PATH", UID) failed …`.
    pub fn own(&self, path: &Path) -> Result<(), Failure> {
        chown(path, Some(self.uid), None).map_err(|it| self.cannot_own(path, it))
    }

    /// Makes `folder`, where it is missing, for this user alone.
    ///
    /// # Errors
    /// `mkdir() "PATH" failed …`, `chown("PATH", UID) failed …`.
    pub fn make_private_folder(&self, folder: &Path) -> Result<(), Failure> {
        let is_new = fs::symlink_metadata(folder).is_err();
        open::make_private_folder(folder)?;
        if is_new { self.own(folder) } else { Ok(()) }
    }

    /// Makes this user the owner of a file that root left in a folder of the user's, when it ran
    /// without one. Only of a regular file with one name: who owns a folder may put links there.
    ///
    /// # Errors
    /// `chown("PATH", UID) failed …`.
    pub fn inherit(&self, path: &Path) -> Result<(), Failure> {
        let is_ours = path.parent().and_then(|it| fs::metadata(it).ok());
        if is_ours.is_none_or(|it| it.uid() != self.uid) {
            return Ok(());
        }
        let mut options = OpenOptions::new();
        let options = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let Ok(file) = options.open(path) else { return Ok(()) };
        let is_inherited =
            file.metadata().is_ok_and(|it| it.is_file() && it.nlink() == 1 && it.uid() == 0);
        if !is_inherited {
            return Ok(());
        }
        fchown(&file, Some(self.uid), None).map_err(|it| self.cannot_own(path, it))
    }

    fn cannot_own(&self, path: &Path, error: io::Error) -> Failure {
        Failure::new(format!("chown(\"{}\", {})", path.display(), self.uid), error)
    }
}

/// Whether the process may change its user at all.
pub fn is_root() -> bool {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn named(name: &str, call: &str) -> Result<CString, Failure> {
    CString::new(name).map_err(|_| missing(call, name))
}

/// The database's functions leave `errno` alone when there simply is no such entry.
fn missing(call: &str, name: &str) -> Failure {
    Failure::new(format!("{call}(\"{name}\")"), io::Error::from_raw_os_error(libc::ENOENT))
}

fn shown(name: &CStr) -> String {
    name.to_string_lossy().into_owned()
}

fn check(code: i32, attempt: impl FnOnce() -> String) -> Result<(), Failure> {
    if code == 0 { Ok(()) } else { Err(Failure::last(attempt())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test: the database's functions are not for several threads.
    #[test]
    fn users_and_groups_are_found_or_named() {
        let root = User::find("root", None).unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        let user = User::find("no such user", None).unwrap_err().to_string();
        assert!(user.starts_with("getpwnam(\"no such user\") failed (2:"), "{user}");
        let group = User::find("root", Some("no such group")).unwrap_err().to_string();
        assert!(group.starts_with("getgrnam(\"no such group\") failed"), "{group}");
        assert!(User::find("a\0b", None).is_err());
        // SAFETY: takes nothing and cannot fail.
        assert_eq!(is_root(), unsafe { libc::getuid() } == 0);
    }
}
