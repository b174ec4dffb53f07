#!/bin/sh
# Installs, upgrades or removes the SwellSight agent on Raspberry Pi OS, Debian, Ubuntu and JetPack 6. It needs one
# archive of `npm run package` and no network. It can be interrupted at any point and run again. See docs/install.md.
# In `A && B || fail …`, fail is also meant for B.
# shellcheck disable=SC2015
set -eu
umask 022
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH

SERVICE_USER=swellsight
SERVICE=swellsight.service

usage() {
  cat <<'END'
usage: install.sh [options] ARCHIVE
       install.sh --uninstall [--purge]

  ARCHIVE          swellsight-VERSION-ARCH.tar.gz; with ARCHIVE.sha256 beside it, the digest is checked
  --no-start       do not start or restart the service
  --trust-root F   the TUF root file of the repository from which updates of the agent may come
  --with-ffmpeg    also install ffmpeg with apt-get, which needs a network
  --root DIR       install into the file system of an image; implies --no-start
  --uninstall      remove the agent; keeps the configuration and the state
  --purge          with --uninstall: also remove the configuration, the state and the user
END
}

say() { printf '%s\n' "$*"; }
# One line: what is wrong; what to do.
fail() {
  printf 'install.sh: %s; %s\n' "$1" "$2" >&2
  exit 1
}

root='' archive='' trust_root='' start=1 with_ffmpeg=0 uninstall=0 purge=0

read_options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --no-start) start=0 ;;
      --with-ffmpeg) with_ffmpeg=1 ;;
      --uninstall) uninstall=1 ;;
      --purge) purge=1 ;;
      --trust-root)
        [ $# -ge 2 ] && [ -f "$2" ] || fail "--trust-root names no file" 'name the file metadata/1.root.json of the repository'
        trust_root=$2
        shift
        ;;
      --root)
        [ $# -ge 2 ] || fail '--root has no value' 'name the directory of the image'
        root=$(cd "$2" 2>/dev/null && pwd -P) || fail "$2 is not a directory" 'mount the image first'
        [ "$root" != / ] || root=''
        start=0
        shift
        ;;
      --help | -h)
        usage
        exit 0
        ;;
      -*)
        usage >&2
        exit 2
        ;;
      *)
        [ -z "$archive" ] || fail "two archives: $archive and $1" 'name one'
        archive=$1
        ;;
    esac
    shift
  done
  if [ "$uninstall" = 0 ]; then
    [ "$purge" = 0 ] || fail '--purge belongs to --uninstall' 'use both'
    [ -n "$archive" ] || {
      usage >&2
      exit 2
    }
  fi
}

# --- Checks ---------------------------------------------------------------------------------------------------------

# Debian's name of the architecture of the programs, which may have fewer bits than the kernel.
architecture() {
  if [ -n "$root" ]; then
    dpkg-query --admindir "$root/var/lib/dpkg" --showformat '${Architecture}' --show dpkg 2>/dev/null
  else
    dpkg --print-architecture 2>/dev/null
  fi
}

glibc_version() {
  if [ -n "$root" ]; then
    dpkg-query --admindir "$root/var/lib/dpkg" --showformat '${Version}' --show libc6 2>/dev/null | sed 's/[^0-9.].*//'
  else
    getconf GNU_LIBC_VERSION 2>/dev/null | sed -n 's/^glibc //p'
  fi
}

# A key of the first level of release.json, which has one key in each line.
release_value() {
  sed -n "s/^  \"$1\": \"\{0,1\}\([^\",]*\)\"\{0,1\},\$/\1/p" "$work/release.json"
}

# The line of an account or a group in the files of an image, or in all sources of a running system, such as LDAP.
entry() {
  if [ -z "$root" ] && command -v getent >/dev/null; then getent "$1" "$2"
  else grep "^$2:" "$root/etc/$1" 2>/dev/null; fi
}

# Whether the account is one that this installer creates: not that of a person.
is_own_account() {
  entry passwd "$SERVICE_USER" | awk -F : '$3 >= 1000 || $3 == 0 || $6 != "/var/lib/swellsight" { exit 1 }'
}

check_machine() {
  [ "$(id -u)" = 0 ] || fail 'this needs root' 'run it with sudo'
  command -v dpkg >/dev/null || fail 'this system has no dpkg' 'use Raspberry Pi OS, Debian, Ubuntu or JetPack 6, or the container image'
  command -v systemctl >/dev/null || fail 'this system has no systemd' 'use the container image'
  [ "$start" = 0 ] || [ -d /run/systemd/system ] || fail 'systemd does not run here' 'add --no-start, and start the service later'
  if [ -z "$root" ] && grep -Eq '(^| )(boot=overlay|overlayroot=(tmpfs|device))' /proc/cmdline; then
    fail 'the root file system is an overlay in memory' 'switch it off with raspi-config or overlayroot-chroot, restart and install again'
  fi
  [ "$uninstall" = 1 ] || is_own_account ||
    fail "there is another account $SERVICE_USER" 'rename it with usermod --login: the agent needs this name for a system account'
  mkdir -p "$opt/versions" 2>/dev/null || fail "cannot write $opt" 'remount the file system with: mount -o remount,rw /'
}

check_archive() {
  [ -f "$archive" ] || fail "$archive does not exist" 'name the archive of npm run package'
  digest=$(sha256sum <"$archive" | cut -d ' ' -f 1)
  if [ -f "$archive.sha256" ]; then
    expected=$(cut -d ' ' -f 1 <"$archive.sha256")
    [ "$digest" = "$expected" ] || fail "$archive is damaged: its SHA-256 is not that of $archive.sha256" 'copy both files again'
  fi
  tar --extract --gzip --to-stdout --occurrence=1 --file "$archive" release.json >"$work/release.json" 2>/dev/null ||
    fail "$archive is not an archive of the agent" 'build one with npm run package'
  [ "$(release_value format)" = 1 ] || fail "$archive has another format" 'use the install.sh of that archive'
  version=$(release_value version)
  case $version in
    '' | *[!0-9A-Za-z.+-]*) fail "$archive names no version" 'build it again with npm run package' ;;
  esac
}

check_platform() {
  wanted=$(release_value arch)
  actual=$(architecture) || fail "$root has no list of packages" 'name the root directory of a Debian system'
  if [ "$actual" != "$wanted" ]; then
    case $actual in
      armhf | armel | i386)
        fail "the programs of this system have 32 bits ($actual), whatever its kernel has" 'install the 64-bit edition of the system'
        ;;
      *) fail "this archive is for $wanted, and this system is $actual" "use the archive for $actual" ;;
    esac
  fi
  wanted=$(release_value glibc)
  actual=$(glibc_version)
  oldest=$(printf '%s\n' "$wanted" "${actual:-0}" | sort -V | head -n 1)
  [ "$oldest" = "$wanted" ] ||
    fail "the C library is ${actual:-not glibc}, and the agent needs glibc $wanted" 'use Debian 12, Raspberry Pi OS bookworm, Ubuntu 22.04, JetPack 6 or newer'
}

check_space() {
  [ ! -d "$version_dir" ] || return 0
  # Each file in blocks of 4 KiB, and 64 MiB for what else the system writes meanwhile.
  needed_kb=$(sed -n 's/^ *"size": \([0-9]*\),$/\1/p' "$work/release.json" |
    awk '{ kb += 4 * int(($1 + 4095) / 4096) } END { print kb + 65536 }')
  free_kb=$(df -Pk "$opt" | awk 'NR == 2 { print $4 }')
  [ "$free_kb" -ge "$needed_kb" ] ||
    fail "$opt has $((free_kb / 1024)) MB free, and this needs $((needed_kb / 1024)) MB" 'free some space, for example with: apt-get clean'
}

# --- Steps of an installation; each one leaves a state from which the next run continues -----------------------------

# An update must not change the versions at the same time. It continues afterwards, and notes which version runs.
stop_updater() {
  [ -z "$root" ] && [ -d /run/systemd/system ] && [ -f /etc/systemd/system/swellsight-update.path ] || return 0
  updater_stopped=1
  systemctl --quiet stop swellsight-update.path swellsight-update.service || true
}

finish() {
  rm -rf "$work"
  if [ "$updater_stopped" = 1 ] && [ -x "$opt/updater/run" ] && [ -f /etc/systemd/system/swellsight-update.path ]; then
    systemctl --quiet start --no-block swellsight-update.path swellsight-update.service || true
  fi
}

in_image() {
  if [ -n "$root" ]; then "$@" --prefix "$root" "$SERVICE_USER"; else "$@" "$SERVICE_USER"; fi
}

add_user() {
  entry group "$SERVICE_USER" >/dev/null || in_image groupadd --system
  entry passwd "$SERVICE_USER" >/dev/null ||
    in_image useradd --system --gid "$SERVICE_USER" --home-dir /var/lib/swellsight --no-create-home --shell /usr/sbin/nologin
  # For cameras and for GPUs. Not every system has both groups.
  for group in video render; do
    if entry group "$group" >/dev/null; then in_image usermod --append --groups "$group"; fi
  done
  owner=$(entry passwd "$SERVICE_USER" | cut -d : -f 3,4)
}

make_directories() {
  install -d -m 0755 "$root/etc/swellsight" "$root/var/lib/swellsight-updater"
  install -d -m 0700 "$root/etc/swellsight/secrets"
  install -d -m 0750 "$root/var/lib/swellsight"
  chown "$owner" "$root/var/lib/swellsight"
}

unpack_version() {
  if [ -d "$version_dir" ]; then
    # All files were on the disk when it got its name. A worn card may have damaged it since.
    if ! tar --compare --gzip --file "$archive" --directory "$version_dir" >/dev/null 2>&1; then
      say "repairing $version_dir"
      extract "$version_dir"
    fi
    return 0
  fi
  say "unpacking version $version to $version_dir"
  unfinished=$opt/versions/.new-$name
  rm -rf "$unfinished"
  mkdir "$unfinished"
  extract "$unfinished"
  if [ -z "$root" ]; then
    [ "$("$unfinished/node/bin/node" "$unfinished/dist/main.js" --version)" = "$version" ] ||
      fail "version $version does not run on this machine" 'see the lines above'
  fi
  mv -T "$unfinished" "$version_dir"
  sync -f "$opt/versions"
}

extract() {
  # The clock of a machine without a battery may be years behind: then tar would warn about every file.
  tar --extract --gzip --same-owner --same-permissions --warning=no-timestamp --file "$archive" --directory "$1" ||
    fail 'the archive could not be unpacked' 'check the disk, copy the archive again and run this again'
  chmod 0755 "$1"
  # For the updater, which names versions by the digests of their archives.
  say "$digest" >"$1/archive.sha256"
  sync -f "$1"
}

# put_file SOURCE TARGET MODE: replaces the target in one step, and only when it differs.
put_file() {
  if ! cmp -s "$1" "$2"; then
    mkdir -p "${2%/*}"
    install -m "$3" "$1" "$2.swellsight-new"
    touch "$restart_pending"
    mv -T "$2.swellsight-new" "$2"
    # For reload_daemons. These lines may run in a subshell.
    case $2 in */journald.conf.d/*) touch "$work/journald-changed" ;; esac
  fi
}

write_first_configuration() {
  config=$root/etc/swellsight/swellsight.yaml
  if [ ! -e "$config" ]; then
    install -m 0640 "$version_dir/config/device.yaml" "$config.swellsight-new"
    chown "0:${owner#*:}" "$config.swellsight-new"
    mv -T "$config.swellsight-new" "$config"
    say "wrote $config with a simulated camera: set your own"
  fi
}

systemd_version() {
  if [ -n "$root" ]; then
    dpkg-query --admindir "$root/var/lib/dpkg" --showformat '${Version}' --show systemd 2>/dev/null
  else
    systemctl --version | sed -n '1s/^systemd //p'
  fi | sed 's/[^0-9].*//'
}

# Where a file below systemd/ of the archive goes; empty: nowhere.
target_of() {
  case $1 in
    before-250/*) if [ "$systemd" -lt 250 ]; then say "/etc/systemd/system/${1#before-250/}"; fi ;;
    since-254/*) if [ "$systemd" -ge 254 ]; then say "/etc/systemd/system/${1#since-254/}"; fi ;;
    jetson/*) if [ -e "$root/etc/nv_tegra_release" ]; then say "/etc/systemd/system/${1#jetson/}"; fi ;;
    journald.conf.d/* | system.conf.d/*) say "/etc/systemd/$1" ;;
    tmpfiles.d/*) say "/etc/$1" ;;
    udev/*) say "/etc/udev/rules.d/${1#udev/}" ;;
    *.service | *.path | *.timer | *.service.d/*.conf) say "/etc/systemd/system/$1" ;;
  esac
}

# The files below systemd/ that are installed: source and target in each line.
system_files() {
  (cd "$version_dir/systemd" 2>/dev/null && find . -type f | sed 's|^\./||' | sort) | while read -r file; do
    target=$(target_of "$file")
    [ -z "$target" ] || say "$file $target"
  done
}

install_files() {
  systemd=$(systemd_version)
  : "${systemd:=0}"
  list=$opt/installed-files
  touch "$list"
  {
    say /usr/local/bin/swellsight
    system_files | cut -d ' ' -f 2
  } >"$list.new"
  # Both lists, until the files of the former version are gone.
  sort -u "$list.new" "$list" >"$list.both"
  mv -T "$list.both" "$list"
  put_file "$version_dir/bin/swellsight.sh" "$root/usr/local/bin/swellsight" 0755
  system_files | while read -r file target; do put_file "$version_dir/systemd/$file" "$root$target" 0644; done
  while read -r target; do
    if ! grep -qxF "$target" "$list.new"; then
      touch "$restart_pending"
      rm -f "$root$target"
    fi
  done <"$list"
  mv -T "$list.new" "$list"
  reload_daemons
}

# The other daemons read their files at their start only.
reload_daemons() {
  [ -z "$root" ] || return 0
  if [ -e /run/udev/control ]; then
    udevadm control --reload && udevadm trigger --subsystem-match=dma_heap || true
  fi
  if [ -e "$work/journald-changed" ] && [ -d /run/systemd/system ]; then
    systemctl --quiet try-restart systemd-journald || true
    rm -f "$work/journald-changed"
  fi
}

# The updater is a copy of its own, so that no version can damage it. Hard links: it needs almost no space.
install_updater() {
  [ -d "$version_dir/dist/updater" ] || return 0
  new=$opt/.updater-new
  rm -rf "$new"
  mkdir "$new"
  for part in node dist node_modules package.json; do cp -al "$version_dir/$part" "$new/$part"; done
  install -m 0755 "$version_dir/systemd/count-start" "$new/count-start"
  printf '%s\n' '#!/bin/sh' 'cd /opt/swellsight/updater && exec node/bin/node dist/updater/main.js run' >"$new/run"
  chmod 0755 "$new/run"
  # An interrupted run may have left only the old directory.
  for file in "$trust_root" "$opt/updater/agent-root.json" "$opt/.updater-old/agent-root.json"; do
    if [ -f "$file" ]; then
      install -m 0644 "$file" "$new/agent-root.json"
      break
    fi
  done
  sync -f "$opt"
  if [ -d "$opt/updater" ]; then
    rm -rf "$opt/.updater-old"
    mv -T "$opt/updater" "$opt/.updater-old"
  fi
  mv -T "$new" "$opt/updater"
  rm -rf "$opt/.updater-old"
}

# Removes the versions that nothing needs: not running, not the one before, and not known to the updater.
remove_old_versions() {
  for directory in "$opt"/versions/*; do
    # Installed again: the one before is not known.
    [ "$former" != "$name" ] || break
    kept=${directory##*/}
    [ -d "$directory" ] || continue
    [ "$kept" != "$name" ] && [ "$kept" != "$former" ] || continue
    ! grep -q "\"${kept##*-}" "$root/var/lib/swellsight-updater/state.json" 2>/dev/null || continue
    say "removing version $kept"
    # Renamed first: a half removed version must not look like a complete one.
    rm -rf "$opt/versions/.old-$kept"
    mv -T "$directory" "$opt/versions/.old-$kept"
  done
  rm -rf "$opt"/versions/.old-* "$opt"/versions/.new-*
}

# The version that ran last: the one to return to. After an interruption between switch and start, the link already names
# one that has never run.
former_version() {
  former=$(readlink "$opt/current" 2>/dev/null) || former=''
  former=${former##*/}
  started=$(cat "$last_started" 2>/dev/null) || started=''
  if [ -n "$started" ] && [ -d "$opt/versions/$started" ]; then former=$started; fi
}

point_current_to() {
  rm -f "$opt/.current-new"
  ln -s "versions/$1" "$opt/.current-new"
  mv -T "$opt/.current-new" "$opt/current"
  sync -f "$opt"
}

# A version that cannot read the configuration must not take the place of one that can.
check_configuration() {
  SWELLSIGHT_CONFIG=/etc/swellsight/swellsight.yaml CREDENTIALS_DIRECTORY=/etc/swellsight/secrets \
    "$version_dir/node/bin/node" "$version_dir/dist/main.js" check-config >"$work/faults" 2>&1 && return 0
  cat "$work/faults" >&2
  fail "version $version does not accept /etc/swellsight/swellsight.yaml" 'correct the keys above and run this again'
}

enable_service() {
  for unit in "$SERVICE" swellsight-update.path swellsight-update.service swellsight-trial.timer; do
    [ ! -f "$root/etc/systemd/system/$unit" ] || systemctl ${root:+"--root=$root"} --quiet enable "$unit"
  done
}

# With its own units, command line and updater.
return_to_former() {
  version_dir=$opt/versions/$former
  point_current_to "$former"
  install_files
  systemctl daemon-reload
  if systemctl restart "$SERVICE"; then rm -f "$restart_pending" "$last_started"; fi
  install_updater
}

start_service() {
  if [ ! -e "$restart_pending" ] && systemctl --quiet is-active "$SERVICE"; then
    say "version $version runs already"
    return 0
  fi
  systemctl daemon-reload
  systemctl reset-failed "$SERVICE" 2>/dev/null || true
  if systemctl restart "$SERVICE" 2>/dev/null; then
    rm -f "$restart_pending" "$last_started"
    say "version $version runs"
    return 0
  fi
  journalctl --no-pager --output=cat --lines=20 --unit="$SERVICE" >&2 || true
  [ -n "$former" ] && [ "$former" != "$name" ] && [ -d "$opt/versions/$former" ] ||
    fail "version $version does not start" 'see journalctl -u swellsight'
  return_to_former
  fail "version $version does not start, so $former runs again" 'see journalctl -u swellsight'
}

report_ffmpeg() {
  [ -z "$root" ] || return 0
  command -v ffmpeg >/dev/null && return 0
  if [ "$with_ffmpeg" = 1 ]; then
    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends ffmpeg ||
      fail 'ffmpeg could not be installed' 'check the network, then run this again; the agent itself is installed'
    return 0
  fi
  say 'ffmpeg is missing: cameras of the kinds rtsp, hls, v4l2 and video do not work; install it with: sudo apt update && sudo apt install ffmpeg'
}

install_agent() {
  check_archive
  check_platform
  name=$version-$(printf '%.12s' "$digest")
  version_dir=$opt/versions/$name
  former_version
  check_space
  stop_updater
  trial=$root/var/lib/swellsight-updater/trial.json
  # Without an installed version it is a rest of a removed one.
  [ -n "$former" ] || rm -f "$trial"
  [ ! -e "$trial" ] || fail 'an update is on trial' 'wait for its end, or end it with: sudo swellsight agent rollback'
  add_user
  make_directories
  unpack_version
  write_first_configuration
  [ -n "$root" ] || check_configuration
  install_files
  if [ "$(readlink "$opt/current" 2>/dev/null)" != "versions/$name" ]; then
    touch "$restart_pending"
    if [ "$start" = 1 ] && [ -n "$former" ]; then
      say "$former" >"$last_started.new"
      mv -T "$last_started.new" "$last_started"
    fi
    point_current_to "$name"
  fi
  install_updater
  # A new installation starts it too.
  if [ "$start" = 1 ]; then updater_stopped=1; fi
  enable_service
  if [ "$start" = 1 ]; then start_service; else
    rm -f "$last_started"
    say "version $version is installed"
  fi
  remove_old_versions
  report_ffmpeg
}

# --- Removal --------------------------------------------------------------------------------------------------------

# Removes a directory, also one that is a link to another place or a mount point. A failure does not stop the removal.
remove_tree() {
  [ -e "$1" ] || [ -L "$1" ] || return 0
  if [ -L "$1" ]; then
    # A link of an image may lead out of the image.
    [ -n "$root" ] || find -H "$1" -xdev -mindepth 1 -delete || say "could not remove all of $1"
    say "removed the link $1 to $(readlink "$1")"
    rm -f "$1" || true
    return 0
  fi
  find "$1" -xdev -mindepth 1 -delete || say "could not remove all of $1"
  rmdir "$1" 2>/dev/null && return 0
  if mountpoint -q "$1"; then say "kept $1, which is a mount point; its content is removed"
  else say "could not remove $1"; fi
}

remove_agent() {
  for unit in swellsight-update.path swellsight-trial.timer swellsight-update.service "$SERVICE"; do
    [ -f "$root/etc/systemd/system/$unit" ] || continue
    if [ -z "$root" ] && [ -d /run/systemd/system ]; then systemctl --quiet stop "$unit" || true; fi
    systemctl ${root:+"--root=$root"} --quiet disable "$unit" || true
  done
  if [ -f "$opt/installed-files" ]; then
    while read -r target; do rm -f "$root$target"; done <"$opt/installed-files"
  fi
  rmdir "$root"/etc/systemd/system/swellsight*.d 2>/dev/null || true
  for file in "$root"/etc/systemd/system/swellsight*.d/*; do
    [ ! -f "$file" ] || say "kept your drop-in $file"
  done
  if [ -z "$root" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
  # It describes versions that are gone, and an open trial in it would refuse each later installation.
  remove_tree "$root/var/lib/swellsight-updater"
  [ -n "$root" ] || rm -rf /run/swellsight-secrets
  if [ "$purge" = 1 ]; then
    for directory in etc/swellsight var/lib/swellsight var/cache/swellsight; do remove_tree "$root/$directory"; done
    if ! entry passwd "$SERVICE_USER" >/dev/null; then :
    elif is_own_account; then in_image userdel || say "could not remove the user $SERVICE_USER"
    else say "kept the account $SERVICE_USER, which is not that of the agent"; fi
  fi
  remove_tree "$opt"
  if [ "$purge" = 1 ]; then say 'removed the agent, its configuration and its state'
  else say 'removed the agent; /etc/swellsight and /var/lib/swellsight are kept (--purge removes them)'; fi
}

read_options "$@"
opt=$root/opt/swellsight
# Exists while the running service may be older than the installed files.
restart_pending=$opt/.restart-pending
# Exists from the switch to a version until it has started: the version that ran before.
last_started=$opt/.last-started
updater_stopped=0
work=$(mktemp -d)
trap finish EXIT
trap 'exit 130' INT TERM HUP
check_machine
# One installation at a time. The updater has a lock of its own; stop_updater stops it.
exec 9>"$opt/.lock"
flock -n 9 || fail 'another installation runs' 'wait for its end and run this again'
if [ "$uninstall" = 1 ]; then remove_agent; else install_agent; fi
