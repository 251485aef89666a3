# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
#
# What the scripts of this directory share: where things are, how to say so, how
# to fail.  Sourced, never run.

# Called from make or not: variables of its command line are in the environment,
# and must not become overrides in the kernel's makefiles.
unset MAKEFLAGS MFLAGS MAKEOVERRIDES MAKELEVEL

# Every script runs from the top of the repository.
TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$TOP" || exit

: "${CRAM_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/cram}"
: "${LINUX_SERIES:=7.3}"
export LINUX_TREE=$TOP/build/linux
export CRAM_CACHE PATH="$PATH:/usr/sbin:/sbin"		# mkfs is not for root only

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

# help_if_asked "$@": print the head comment of the calling script.
help_if_asked() {
	case ${1-} in
	-h|--help)
		sed -n '3,/^[^#]/{/^#/!q;s/^# \{0,1\}//;p}' "$0"
		exit 0 ;;
	esac
}

# sha FILE...: the SHA-256 of what they hold together.
sha() { cat -- "$@" | sha256sum | cut -d' ' -f1; }

# as_root COMMAND...: run it as root, through sudo where needed.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "root is needed for: $* (and there is no sudo)"
	fi
}

# debian_mirror: the Debian archive that this host's apt uses already.
debian_mirror() {
	local uri
	# shellcheck disable=SC2016 # apt expands these
	uri=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' \
		'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 2>/dev/null |
		awk '$2 == "main" { sub("/$", "", $1); print $1; exit }')
	echo "${DEBIAN_MIRROR:-${uri:-http://deb.debian.org/debian}}"
}

# apt_private DIR SUITE...: make an apt configuration of its own in DIR that knows
# only these suites (source and binary); prints the name of its apt.conf.  Network
# settings of the host (proxies, checks) stay in force.
apt_private() {
	local dir=$1 mirror suite key=/usr/share/keyrings/debian-archive-keyring.gpg
	shift
	mirror=$(debian_mirror)
	[ -e "$key" ] || die "no $key: run make deps"
	mkdir -p "$dir/state/lists/partial" "$dir/cache/archives/partial" "$dir/log"
	: > "$dir/status"
	for suite; do
		echo "deb [signed-by=$key] $mirror $suite main"
		echo "deb-src [signed-by=$key] $mirror $suite main"
	done > "$dir/sources.list"
	cat > "$dir/apt.conf" <<-CONF
	Dir::Etc::sourcelist "$dir/sources.list";
	Dir::Etc::sourceparts "/dev/null";
	Dir::Etc::preferences "/dev/null";
	Dir::Etc::preferencesparts "/dev/null";
	Dir::State "$dir/state";
	Dir::State::status "$dir/status";
	Dir::Cache "$dir/cache";
	Dir::Log "$dir/log";
	Acquire::Languages "none";
	Acquire::Retries "2";
	APT::Get::List-Cleanup "false";
	APT::Update::Post-Invoke-Success "";
	APT::Update::Post-Invoke "";
	CONF
	# Root's apt would drop to a user that cannot write below a home directory.
	[ "$(id -u)" != 0 ] || echo 'APT::Sandbox::User "root";' >> "$dir/apt.conf"
	echo "$dir/apt.conf"
}

# git_plain ...: git without what a user's configuration may change.
git_plain() {
	GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null \
		git -c core.quotePath=false -c core.looseCompression=1 -c gc.auto=0 \
		-c advice.detachedHead=false "$@"
}

# apt_suite SUITE: the name of an apt.conf that knows this suite and no other, with lists
# that are some hours old at most.
apt_suite() {
	local conf
	conf=$(apt_private "$CRAM_CACHE/apt/$1" "$1") || return
	if [ ! -e "$conf.updated" ] || [ -n "$(find "$conf.updated" -mmin +360)" ]; then
		APT_CONFIG=$conf apt-get update -q >&2 || return
		touch "$conf.updated"
	fi
	echo "$conf"
}

# apply_patches GITDIR BASE PATCH...: what "git am" would make of the patches on
# top of commit BASE, without a work tree; prints the last commit.  No fuzz: every
# line of context has to be there (git apply never does with less).
apply_patches() {
	local gitdir=$1 commit=$2 patch tmp tree key value
	local name='' email='' date='' subject=''
	shift 2
	tmp=$(mktemp -d)
	GIT_DIR=$gitdir GIT_INDEX_FILE=$tmp/index git_plain read-tree "$commit" || return
	for patch; do
		git_plain mailinfo --encoding=UTF-8 "$tmp/msg" "$tmp/diff" < "$patch" > "$tmp/info" || return
		while IFS= read -r line; do
			key=${line%%: *} value=${line#*: }
			case $key in
			Author) name=$value ;;
			Email) email=$value ;;
			Date) date=$value ;;
			Subject) subject=$value ;;
			esac
		done < "$tmp/info"
		if ! GIT_DIR=$gitdir GIT_INDEX_FILE=$tmp/index git_plain apply --cached \
			--whitespace=nowarn "$tmp/diff"; then
			say "${patch##*/} does not apply"
			rm -rf "$tmp"
			return 1
		fi
		tree=$(GIT_DIR=$gitdir GIT_INDEX_FILE=$tmp/index git_plain write-tree) || return
		commit=$({ printf '%s\n\n' "$subject"; cat "$tmp/msg"; } |
			GIT_DIR=$gitdir GIT_AUTHOR_NAME=$name GIT_AUTHOR_EMAIL=$email \
			GIT_AUTHOR_DATE=$date GIT_COMMITTER_NAME=$name \
			GIT_COMMITTER_EMAIL=$email GIT_COMMITTER_DATE=$date \
			git_plain commit-tree "$tree" -p "$commit") || return
	done
	rm -rf "$tmp"
	echo "$commit"
}

# patches NAME: the patches to existing files of linux, qemu, systemd or crun, in order.
patches() {
	local p
	for p in "patches/$1"/[0-9]*.patch; do
		[ ! -e "$p" ] || echo "$p"
	done
}

# overlay_files [--all]: new files of this repository and their place in a kernel
# tree, one pair per line.  --all adds those that only the posted series places.
overlay_files() {
	local map=(kernel mm include drivers fs lib arch Documentation) dir from to f
	[ "${1-}" != --all ] || map+=(tests/selftests:tools/testing/selftests/cram)
	for dir in "${map[@]}"; do
		from=${dir%%:*} to=${dir#*:}
		[ -d "$from" ] || continue
		find "$from" -type f ! -name '*~' ! -name '.*.sw?' ! -name '*.orig' \
			! -name '*.rej' ! -name '*.o' ! -name '*.ko' ! -name '.*.cmd' | LC_ALL=C sort |
			while read -r f; do
				echo "$f $to${f#"$from"}"
			done
	done
}
