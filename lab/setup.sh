#!/usr/bin/env bash
# setup.sh KERNEL...: QEMU, and for each of 6.1, 6.12 and 7 a distribution's kernel in .cache/KERNEL: its
# ELF file, its modules and, where virtiofs is one of them, an initramfs. Nothing of it is installed.
# Packages come from the Debian mirror that this machine's apt already uses.
set -euo pipefail
cd "$(dirname "$0")"
declare -A suites=([6.1]=bookworm [6.12]=bookworm-backports [7]=sid)

type -P qemu-system-x86_64 zstd lz4 depmod busybox cpio >/dev/null && test -x /usr/lib/qemu/virtiofsd || {
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends qemu-system-x86 zstd lz4 kmod busybox-static cpio >/dev/null
}

# kernel NAME SUITE DIRECTORY: fill the directory
kernel() {
  local mirror root=$3/root
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 -E '/debian/?$')
  mkdir -p "$3"/lists/partial "$3"/cache/archives/partial
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $2 main" >"$3/sources"
  local apt=(-qq -o "Dir::Etc::SourceList=$3/sources" -o Dir::Etc::SourceParts=/dev/null
             -o "Dir::State::Lists=$3/lists" -o "Dir::Cache=$3/cache" -o APT::Sandbox::User=root)
  apt-get "${apt[@]}" update
  local image parts
  image=$(apt-cache "${apt[@]}" depends linux-image-cloud-amd64 | awk '/Depends: linux-image-[0-9]/ {print $2; exit}')
  parts=$(apt-cache "${apt[@]}" depends "$image" | awk '/Depends: linux-(base|binary|modules)-[0-9]/ {print $2}')
  # shellcheck disable=SC2086 # some images come in parts
  (cd "$3" && apt-get "${apt[@]}" download "$image" $parts && for deb in *.deb; do dpkg -x "$deb" root; done)
  test -d "$root/lib/modules" || mv "$root/usr/lib" "$root/lib"

  local version
  version=$(ls "$root/lib/modules")
  mkdir -p "$3/out/lib/modules" "$root/boot"
  part() { find "$root/boot" "$root/lib/modules/$version" -maxdepth 1 -name "$1*" -type f; }
  python3 vmlinux.py "$(part vmlinuz)" "$3/out/vmlinux"
  cp "$(part config)" "$3/out/config"
  mv "$root/lib/modules/$version" "$3/out/lib/modules"
  depmod -b "$3/out" "$version"
  grep -q '^CONFIG_VIRTIO_FS=y' "$3/out/config" || initramfs "$3" "$version"
  rm -rf ".cache/$1" && mv "$3/out" ".cache/$1"
  echo "$image: lab/.cache/$1"
}

# initramfs DIRECTORY VERSION: what mounts the root when the kernel alone cannot
initramfs() {
  local files=$1/initramfs name
  mkdir -p "$files"/{bin,dev,proc,root}
  cp "$(command -v busybox)" "$files/bin"
  cp initramfs-init "$files/init"
  for name in virtio_pci virtio_console virtiofs; do
    modprobe -d "$1/out" -S "$2" --show-depends "$name" | awk '$1 == "insmod" {print $2}'
  done | awk '!seen[$0]++' | while read -r name; do
    cp "$name" "$files" && basename "$name" >>"$files/modules"
  done
  (cd "$files" && find . | cpio -o -H newc --quiet) >"$1/out/initramfs"
}

mkdir -p .cache
for name in "$@"; do
  test -n "${suites[$name]:-}" || { echo "no kernel $name, only ${!suites[*]}" >&2; exit 2; }
  test -e ".cache/$name/vmlinux" && continue
  work=$(mktemp -d "$PWD/.cache/setup.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  kernel "$name" "${suites[$name]}" "$work"
  rm -rf "$work"
done
