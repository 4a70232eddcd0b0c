# shellcheck shell=bash
# A room: systemd as PID 1 in name spaces of its own, over a copy of this system's root, or of another, that goes away
# with it.
# Sourced, with $top and $build set; root only.
#
#   room_possible            whether it can be made here; else $room_why
#   room_make DIR            makes it, with what `make install` installs, and boots it; DIR/root is its root
#   room_put                 the same without booting
#   inside COMMAND...        a command in it
#   room_end
#
# Set before room_make: room_below, the root that is below it; room_net=own, a network of its own, with loopback alone.

: "${top:?}" "${build:?}"
room=
room_why=
room_init=
room_below=/
room_net=

room_possible() {
	local try
	if [ "$(id -u)" != 0 ]; then
		room_why="only root can make a room"
		return 1
	fi
	try=$(mktemp -d /tmp/pngw-room.XXXXXX)
	if ! unshare -mpf sh -c "mount -t tmpfs none $try && mkdir $try/u $try/w $try/m &&
		mount -t overlay none -o lowerdir=/,upperdir=$try/u,workdir=$try/w $try/m &&
		mkdir -p $try/c && mount -t cgroup2 none $try/c" >/dev/null 2>&1; then
		room_why="mounting an overlay and control groups is not allowed here"
	fi
	rmdir "$try"
	[ -z "$room_why" ]
}

# Runs in the new name spaces, as their first process.
_room_inside() {
	local root=$1/root unit
	mount --make-rprivate /
	mount -t tmpfs none "$1"
	mkdir "$1/upper" "$1/work" "$root"
	mount -t overlay none -o "lowerdir=$room_below,upperdir=$1/upper,workdir=$1/work" "$root"
	mount -t proc proc "$root/proc"
	mount -t sysfs sysfs "$root/sys"
	mount --rbind /dev "$root/dev"
	mount -t tmpfs -o mode=755 none "$root/run"
	mount -t tmpfs -o mode=1777 none "$root/tmp"
	mkdir -p "$root/run/lock"
	if ! mountpoint -q "$root/sys/fs/cgroup"; then
		mount -t tmpfs none "$root/sys/fs/cgroup"
		mkdir "$root/sys/fs/cgroup/systemd" "$root/sys/fs/cgroup/unified"
		if ! mount -t cgroup -o none,name=systemd none "$root/sys/fs/cgroup/systemd" 2>/dev/null; then
			umount "$root/sys/fs/cgroup"
			mount -t cgroup2 none "$root/sys/fs/cgroup"
		else
			mount -t cgroup2 none "$root/sys/fs/cgroup/unified"
		fi
	fi
	rm -f "$root/etc/fstab" "$root/etc/machine-id"
	echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
	# Nothing of this system's own is to run in it, nor to be seen.
	rm -rf "$root"/etc/systemd/system/*.wants "$root"/var/lib/{pngw,cpns-server} "$root"/etc/{pngw,cpns-server} \
		"$root"/var/log/journal
	for unit in systemd-udevd.service systemd-udev-trigger.service systemd-modules-load.service \
		systemd-sysctl.service systemd-random-seed.service systemd-update-utmp.service \
		systemd-journal-flush.service systemd-hwdb-update.service kmod-static-nodes.service \
		systemd-binfmt.service systemd-pstore.service sys-kernel-debug.mount sys-kernel-tracing.mount \
		sys-kernel-config.mount dev-hugepages.mount dev-mqueue.mount systemd-remount-fs.service \
		systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-logind.service; do
		ln -sf /dev/null "$root/etc/systemd/system/$unit"
	done
	mkdir -p "$root/etc/systemd/system.conf.d" "$root/etc/systemd/journald.conf.d"
	printf '[Journal]\nReadKMsg=no\n' >"$root/etc/systemd/journald.conf.d/room.conf"
	printf '[Manager]\nDefaultTimeoutStopSec=10\nShowStatus=no\n' >"$root/etc/systemd/system.conf.d/room.conf"
	[ -z "$room_net" ] || ip link set lo up
	room_install "$root"
	echo made >"$1/made"
	cd "$root"
	mkdir -p old
	pivot_root . old
	umount -l old
	rmdir old
	# As systemd finds it when it boots a machine: it mounts credentials from a child.
	mount --make-rshared /
	exec env -i container=room PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
		/lib/systemd/systemd --unit=basic.target --log-level=warning
}

# What is in it beyond this system: may be replaced by whoever sources this.
room_install() {
	local policy
	make -s -C "$build" install DESTDIR="$1" >"$1/tmp/install.log" 2>&1 || cat "$1/tmp/install.log" >&2
	# The bus and polkit look below /usr only.
	for policy in dbus-1/system.d/org.pngw.conf polkit-1/actions/org.pngw.policy; do
		[ -e "$1/usr/share/$policy" ] || ln -s "/usr/local/share/$policy" "$1/usr/share/$policy"
	done
}

room_make() {
	local i state
	room=$1
	mkdir -p "$room"
	export -f _room_inside room_install
	export room room_below room_net top build
	unshare -mpuifC ${room_net:+-n} --kill-child bash -ec '_room_inside "$room"' >"$room.log" 2>&1 </dev/null &
	room_unshare=$!
	for ((i = 0; i < 1200; i++)); do
		sleep 0.05
		[ -d "/proc/$room_unshare" ] || break
		room_init=$(cat "/proc/$room_unshare/task/$room_unshare/children" 2>/dev/null) || true
		room_init=${room_init%% *}
		[ -n "$room_init" ] && [ "$(cat "/proc/$room_init/comm" 2>/dev/null)" = systemd ] || continue
		state=$(inside systemctl is-system-running 2>/dev/null) || true
		case $state in
		running | degraded) return 0 ;;
		esac
	done
	echo "the room was not booted:" >&2
	tail -n 30 "$room.log" >&2
	return 1
}

inside() {
	nsenter -t "$room_init" -m -p -u -i -C ${room_net:+-n} -- env -i PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
		SYSTEMD_PAGER='' TERM=dumb "$@"
}

room_end() {
	[ -n "${room_unshare:-}" ] || return 0
	kill -KILL "$room_init" 2>/dev/null || true
	kill -KILL "$room_unshare" 2>/dev/null || true
	wait "$room_unshare" 2>/dev/null || true
	rm -f "$room.log"
	rmdir "$room" 2>/dev/null || true
	room_unshare=
}
