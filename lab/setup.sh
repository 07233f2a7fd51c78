#!/usr/bin/env bash
# setup.sh [SUITE]: QEMU, and in .cache/ a distribution's kernel as ELF, out of its package. Nothing
# of the kernel is installed. SUITE: of the Debian mirror that this machine's apt already uses.
set -euo pipefail
cd "$(dirname "$0")"
suite=${1:-bookworm-backports}
kernel=.cache/vmlinux-$suite
command -v qemu-system-x86_64 zstd >/dev/null && test -x /usr/lib/qemu/virtiofsd ||
  apt-get install -y -qq --no-install-recommends qemu-system-x86 zstd >/dev/null
test -e "$kernel" && exit

mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 -E '/debian/?$')
work=$(mkdir -p .cache && mktemp -d "$PWD/.cache/setup.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/lists/partial "$work"/cache/archives/partial
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$work/sources"
apt=(-qq -o "Dir::Etc::SourceList=$work/sources" -o Dir::Etc::SourceParts=/dev/null
     -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root)
apt-get "${apt[@]}" update
package=$(apt-cache "${apt[@]}" depends linux-image-cloud-amd64 | awk '/Depends: linux-image-[0-9]/ {print $2; exit}')
(cd "$work" && apt-get "${apt[@]}" download "$package" && dpkg -x "$package"_*.deb .)
python3 vmlinux.py "$work"/boot/vmlinuz-* "$work/vmlinux"
mv "$work/vmlinux" "$kernel"
ln -sf "$(basename "$kernel")" .cache/vmlinux
echo "$package: lab/$kernel"
