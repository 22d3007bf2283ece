#!/bin/sh
# Makes a Debian package of Moongate: sh packaging/deb.sh [BINARY [FOLDER]]
#
# BINARY is what `sh benches/pgo.sh build` made (target/pgo/moongate) unless another is named; the
# package is written to FOLDER (target/debian), and its path printed. Needs dpkg-deb, and strip for
# a binary with symbols. Nothing is compiled here. The binary must need no newer libraries than
# packaging/debian/control says.
set -eu
cd "$(dirname "$0")/.."
binary=${1-target/pgo/moongate}
out=${2-target/debian}

if [ ! -x "$binary" ]; then
    echo "there is no $binary: sh benches/pgo.sh build makes it" >&2
    exit 1
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
arch=$(dpkg --print-architecture)
mkdir -p "$out"
tree=$(mktemp -d "$out/tree.XXXXXX")
trap 'rm -rf "$tree"' EXIT
chmod 0755 "$tree"

put() { install -D -m "$1" "$2" "$tree$3"; }
put 0755 "$binary" /usr/sbin/moongate
# A script that stands in for it in a test has no symbols.
strip --strip-debug "$tree/usr/sbin/moongate" 2>/dev/null || true
put 0644 packaging/moongate.conf /etc/moongate/conf/moongate.conf
put 0644 packaging/moongate.logrotate /etc/logrotate.d/moongate
put 0644 packaging/moongate.service /lib/systemd/system/moongate.service
put 0644 scripts/canary.lua /usr/share/moongate/scripts/canary.lua
put 0644 README.md /usr/share/doc/moongate/README.md
put 0644 CHANGELOG.md /usr/share/doc/moongate/CHANGELOG.md
put 0644 LICENSE /usr/share/doc/moongate/copyright
for example in conf/examples/*.conf; do
    put 0644 "$example" "/usr/share/doc/moongate/examples/$(basename "$example")"
done
gzip -9n "$tree/usr/share/doc/moongate/CHANGELOG.md"
install -d -m 0755 "$tree/etc/moongate/conf.d"
# Journals are state, wherever the prefix is.
ln -s /var/lib/moongate/rollouts "$tree/etc/moongate/rollouts"

for script in postinst prerm postrm; do
    put 0755 "packaging/debian/$script" "/DEBIAN/$script"
done
put 0644 packaging/debian/conffiles /DEBIAN/conffiles
size=$(du -sk "$tree" | cut -f 1)
sed "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$size/" packaging/debian/control \
    >"$tree/DEBIAN/control"
(cd "$tree" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z |
    xargs -0 md5sum) >"$tree.md5sums"
mv "$tree.md5sums" "$tree/DEBIAN/md5sums"
chmod 0644 "$tree/DEBIAN/control" "$tree/DEBIAN/md5sums"

package=$out/moongate_${version}_$arch.deb
dpkg-deb --root-owner-group --build "$tree" "$package" >/dev/null
echo "$package"
