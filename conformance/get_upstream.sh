#!/usr/bin/env bash
# get_upstream.sh PREFIX [SUITE]: unpacks upstream bpftrace (Debian sid: 0.27.1, bookworm: 0.17) with its libraries under PREFIX and writes
# PREFIX/bpftrace, which runs it by the prefix's own loader. Nothing is installed; the mirror is the one apt uses here.
set -euo pipefail
mkdir -p "$1"
suite=${2:-sid}
prefix=$(cd "$1" && pwd)
[ -x "$prefix/bpftrace" ] && exit 0
[ -e /var/lib/apt/lists/lock ] && ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || apt-get -qq update
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 -E '/debian/?$')
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
: > "$work/status"
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] $mirror $suite main" > "$work/sources.list"
apt=(apt-get -qq -o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
     -o Dir::State::lists="$work/lists" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache"
     -o APT::Sandbox::User=root -o APT::Install-Recommends=false -o Acquire::Check-Valid-Until=false)
"${apt[@]}" update
"${apt[@]}" install --download-only -y bpftrace
for package in "$work"/cache/archives/*.deb; do dpkg -x "$package" "$prefix"; done
cat > "$prefix/bpftrace.new" <<W
#!/bin/sh
p=$prefix
loader=\$(ls "\$p"/usr/lib64/ld-linux-x86-64.so.2 "\$p"/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2 2>/dev/null | head -1)
exec "\$loader" --library-path "\$p/usr/lib/x86_64-linux-gnu:\$p/lib/x86_64-linux-gnu" "\$p/usr/bin/bpftrace" "\$@"
W
chmod +x "$prefix/bpftrace.new"
"$prefix/bpftrace.new" --version
mv "$prefix/bpftrace.new" "$prefix/bpftrace"
