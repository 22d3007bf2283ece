//! The Debian package: what `packaging/deb.sh` puts in it, and that Moongate takes its
//! configuration.

use crate::harness::client::get;
use crate::harness::server::{Kind, Setup, binary};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Makes the package with the binary under test, and unpacks it with its scripts.
fn unpacked(folder: &Path) -> Option<()> {
    // Other systems have other packages.
    Command::new("dpkg-deb").arg("--version").output().ok()?;
    let stand_in = folder.join("binary");
    // The real one takes long to be packed.
    fs::copy("/bin/true", &stand_in).expect("a program");
    let made = Command::new("sh")
        .arg("packaging/deb.sh")
        .args([&stand_in, &folder.join("out")])
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "{said}");
    let package = String::from_utf8_lossy(&made.stdout).trim().to_owned();
    assert!(package.contains(&format!("moongate_{}_", env!("CARGO_PKG_VERSION"))), "{package}");
    let status = Command::new("dpkg-deb").args(["-R", &package]).arg(folder.join("x")).status();
    assert!(status.expect("dpkg-deb").success());
    Some(())
}

#[test]
fn the_package_holds_what_it_names_and_its_configuration_serves() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(()) = unpacked(folder.path()) else { return };
    let root = folder.path().join("x");
    let read = |path: &str| fs::read_to_string(root.join(path)).expect(path);
    let unit = read("lib/systemd/system/moongate.service");
    assert!(unit.contains("ExecReload=/bin/kill -HUP $MAINPID"), "{unit}");
    for line in read("DEBIAN/conffiles").lines() {
        assert!(root.join(line.trim_start_matches('/')).is_file(), "{line}");
    }
    let sums = read("DEBIAN/md5sums");
    for path in sums.lines().filter_map(|it| it.split_once("  ")).map(|it| it.1) {
        assert!(root.join(path).is_file(), "{path}");
    }
    let journals = fs::read_link(root.join("etc/moongate/rollouts"));
    assert_eq!(journals.ok().as_deref(), Some(Path::new("/var/lib/moongate/rollouts")));
    assert!(sums.contains("usr/sbin/moongate") && sums.contains("examples/balancer.conf"));
    for script in ["postinst", "prerm", "postrm"] {
        let checked = Command::new("sh").arg("-n").arg(root.join("DEBIAN").join(script)).status();
        assert!(checked.expect("a shell").success(), "{script}");
    }
    assert!(binary().is_file());

    // As it is, but for places that only root may write to, and the port.
    let conf = read("etc/moongate/conf/moongate.conf")
        .replace("user moongate;", "")
        .replace("/var/log/moongate", "logs")
        .replace("/var/lib/moongate", "logs")
        .replace("pid /run/moongate.pid;", "")
        .replace("/etc/moongate/conf.d", "conf.d")
        .replace("127.0.0.1:8000", "127.0.0.1:$PORT");
    let server = Setup::new(Kind::Moongate).start(&conf);
    assert!(get(server.port(), "/").text().starts_with("Moongate is installed"));
}
