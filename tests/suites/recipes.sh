#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Guest script: run every recipe of cram-integration.rst, which is beside it, one after
# another, each as on a freshly booted machine; one line of TAP for each.  Commands are
# in the document only.  There a mark says what the next literal block is:
#
#	.. recipe: NAME			commands.  Where the first line begins with "# ", the
#					lines that do are the commands, and others are
#					what they print; "$ " in the same way, which are
#					run by the user nobody.  Else all lines are a
#					script of bash
#	.. recipe-file: NAME PATH	the content of a file
#	.. recipe-check: NAME		commands that succeed when all is as the text says.  A
#					block indented right below the mark is one that
#					the reader does not see
#	.. recipe-undo: NAME		commands that run at last, whether it went well or not
#
# The blocks of one NAME are run in their order in the document by one shell, with set -e,
# so variables and directories stay.  A recipe needs a check.  When it is over, its files
# are as they were before, nothing is failed, and cram is enabled nowhere.
#
# In checks there are: NODE, a cram node; is A B; fails COMMAND..., because set -e does not
# look at what follows a "!"; within SECONDS COMMAND..., until it succeeds; says REGEX
# COMMAND..., with a line that is so, whatever the status.
#
# ONLY=NAME picks, as everywhere; LIMIT=600: seconds for one.

cd "$(dirname "$0")" || exit 1
. ./lib-tap.sh

: "${LIMIT:=600}" "${DOCUMENT:=cram-integration.rst}"

# Programs in Go start twice as fast in a guest: nothing is collected in the second that they
# live, and no signals interrupt them.
export GOGC=off GODEBUG=asyncpreemptoff=1

# extract DOCUMENT DIRECTORY: NAME.sh and NAME.undo for each recipe, and the file "names",
# in order.  What is wrong with the document is a line of the script that fails.
extract() {
	awk -v dir="$2" -v q="'" '
	function say(text) { print text > (dir "/" name (kind == "undo" ? ".undo" : ".sh")) }
	function quote(s) { gsub(q, q "\\" q q, s); return q s q }
	function begin(line) {
		match(line, /^[ \t]+/)
		indent = substr(line, 1, RLENGTH)
		inside = 1
		prompt = substr(line, RLENGTH + 1, 2)
		prompts = kind != "file" && (prompt == "# " || prompt == "$ ")
		user = prompts && prompt == "$ "
		say("at=" NR)
		if (kind == "file")
			say("file " quote(path) " << \"END OF THE FILE\"")
		if (user)
			say("as_nobody << \"END OF THE USER\"")
		if (kind == "check")
			checked[name] = 1
	}
	function add(line) {
		while (blank > 0) {
			if (!prompts)
				say("")
			blank--
		}
		if (substr(line, 1, length(indent)) == indent)
			line = substr(line, length(indent) + 1)
		if (!prompts) {
			say(line)
			return
		}
		if (goes_on) {
			sub(/^>[ \t]*/, "", line)
			say(line)
		} else if (substr(line, 1, 2) == prompt) {
			line = substr(line, 3)
			say(line)
		} else
			return
		goes_on = line ~ /\\$/
	}
	function end() {
		if (inside && kind == "file")
			say("END OF THE FILE")
		if (inside && user)
			say("END OF THE USER")
		if (marked && !inside)
			say("fault " quote("line " marked ": no block follows this mark"))
		inside = marked = blank = goes_on = user = 0
	}
	/^\.\. recipe(-file|-check|-undo)?: / {
		end()
		kind = $2
		sub(/^recipe-?/, "", kind)
		sub(/:$/, "", kind)
		name = $3
		path = $4
		marked = NR
		first = 1
		colons = 0
		if (!(name in seen)) {
			seen[name] = 1
			names[++n] = name
		}
		next
	}
	!marked { next }
	/^[ \t]*$/ {
		if (inside)
			blank++
		next
	}
	/^[ \t]/ {
		if (!inside && (first || colons))
			begin($0)
		if (inside)
			add($0)
		next
	}
	{
		if (inside)
			end()
		first = 0
		colons = /::$/
	}
	END {
		end()
		kind = ""
		for (i = 1; i <= n; i++) {
			name = names[i]
			if (!checked[name])
				say("fault " quote("this recipe has no check"))
			print name > (dir "/names")
		}
	}' "$1"
}

# What a recipe is run with
prelude() {
	cat << 'EOF_PRELUDE'
set -eE -o pipefail
at=0
NODE=$(cut -d, -f1 /sys/devices/system/node/has_private_memory | cut -d- -f1)
trap 'echo "line $at of the document and below: $BASH_COMMAND: status $?" >&2' ERR
fault() { echo "$1"; return 1; }
is() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
fails() { # (What set -e does not see is a command behind "!")
	! "$@" || { echo "this succeeded: $*"; return 1; }
}
within() {
	local tries=$(($1 * 10))
	shift
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { echo "not within the time: $*"; return 1; }
		sleep 0.1
	done
}
# In this directory, all of it or as far as it goes
as_nobody() { setpriv --reuid nobody --clear-groups bash -e; }
says() {
	local regex=$1 said
	shift
	said=$("$@" 2>&1) || :
	echo "$said"
	grep -Eq -e "$regex" <<< "$said" || { echo "no line like: $regex"; return 1; }
}
# A file of the recipe: what was there before comes back after it
file() {
	local kept
	kept=$kept_dir/$(tr / % <<< "$1")
	if [ ! -e "$kept" ] && [ ! -e "$kept.none" ]; then
		if [ -e "$1" ]; then cp -a "$1" "$kept"; else : > "$kept.none"; fi
	fi
	mkdir -p "$(dirname "$1")"
	cat > "$1"
}
EOF_PRELUDE
	printf 'kept_dir=%q\n' "$1"
}

# put_back DIRECTORY: its files are as they were; empty directories go
put_back() {
	local kept path
	for kept in "$1"/*; do
		[ -e "$kept" ] || continue
		path=$(basename "$kept" .none | tr % /)
		case $kept in
		*.none)
			rm -f "$path"
			rmdir -p --ignore-fail-on-non-empty "$(dirname "$path")" 2> /dev/null ;;
		*) cp -a "$kept" "$path" ;;
		esac
	done
}

# As after boot: cram is enabled nowhere
disable() {
	local file
	find /sys/fs/cgroup -depth -name cgroup.subtree_control -exec grep -slw cram {} + |
		while read -r file; do
			echo -cram > "$file"
		done
}

run_one() { # DIRECTORY NAME
	local status=0 kept=$1/$2.kept
	mkdir "$kept"
	{ prelude "$kept"; cat "$1/$2.sh"; } > "$1/$2.run"
	timeout -k 5 "$LIMIT" bash "$1/$2.run" < /dev/null || { status=$?; echo "(status $status)"; }
	if [ -e "$1/$2.undo" ]; then
		{ prelude "$kept"; cat "$1/$2.undo"; } > "$1/$2.run"
		timeout -k 5 "$LIMIT" bash "$1/$2.run" < /dev/null || { status=$?; echo "undo: (status $status)"; }
	fi
	put_back "$kept"
	return "$status"
}

# As after boot.  A reload takes ten seconds in a guest, so it is left to the next recipe if
# that has one.
clean_up() { # DIRECTORY NAME
	if ls "$1/$2.kept"/*systemd* > /dev/null 2>&1; then
		systemctl reset-failed
		: > "$1/stale"
	fi
	disable
}
prepare() { # DIRECTORY NAME
	[ -e "$1/stale" ] || return 0
	rm "$1/stale"
	grep -qw daemon-reload "$1/$2.sh" || systemctl daemon-reload
}

# Does README.md have a line for each?  (Where it is: with the document itself.)
listed() { # DIRECTORY NAME
	grep -q "^| $2 |" README.md || { echo "README.md has no line for $2"; missing=1; }
}
all_listed() {
	local missing=0
	recipes "$DOCUMENT" listed
	return "$missing"
}

# recipes DOCUMENT COMMAND...: the command is run with the directory and the name of each
recipes() {
	local dir name
	dir=$(mktemp -d)
	extract "$1" "$dir"
	shift
	while read -r name <&3; do
		[ -z "${ONLY:-}" ] || [[ $name =~ ${ONLY} ]] || continue
		"$@" "$dir" "$name"
	done 3< "$dir/names"
}

one() { # DIRECTORY NAME
	local start=$SECONDS
	prepare "$@"
	check "$2" run_one "$@"
	clean_up "$@"
	echo "# $2: $((SECONDS - start)) s"
}

# --- first: would a wrong recipe be noticed? -----------------------------------------

cat > control.rst << 'END'
.. recipe-file: good /run/recipe-control/a/file

A file::

	[Section]
	Key='a $value'

	  indented

.. recipe: good

Commands, and what they print::

	# cd /run/recipe-control
	# printf '%s\n' \
	>	one > two
	false
	# here=$(cat two)

Text between.

	false, a quotation

.. recipe-check: good

	is "$here" one
	is "$PWD" /run/recipe-control
	is "$(sed -n 2p a/file)" "Key='a \$value'"
	is "$(sed -n 4p a/file)" "  indented"

.. recipe-undo: good

	rm /run/recipe-control/two

.. recipe: fails

::

	# false
	# true

.. recipe-check: fails

	true

.. recipe: wrong

::

	true

.. recipe-check: wrong

	is 1 2
	true

.. recipe: unchecked

::

	true

.. recipe: hangs

::

	sleep 1000

.. recipe-check: hangs

	true

.. recipe: stays

::

	true

.. recipe-check: stays

	true

.. recipe-undo: stays

	false

.. recipe: empty

Text only.

.. recipe-check: empty

	true

.. recipe: silent

::

	echo something

.. recipe-check: silent

	says nothing echo something

.. recipe: succeeds

::

	true

.. recipe-check: succeeds

	fails false
	fails true

.. recipe: user

::

	$ id -un > /tmp/recipe-control
	root
	# false

.. recipe-check: user

	is "$(cat /tmp/recipe-control)" nobody
	rm /tmp/recipe-control
END
verdict() { # DIRECTORY NAME
	[ "$2" != hangs ] || LIMIT=3
	if run_one "$@" > "$1/$2.out" 2>&1; then
		got+=" $2"
	else
		got+=" not-$2"
	fi
	[[ $got =~ ( not-good| not-user) ]] && cat "$1/$2.out"
	LIMIT=$limit
}
control() {
	local got='' limit=$LIMIT
	ONLY='' recipes control.rst verdict
	echo "$got"
	[ "$got" = " good not-fails not-wrong not-unchecked not-hangs not-stays not-empty not-silent not-succeeds user" ] &&
		[ ! -e /run/recipe-control ]
}

echo "TAP version 13"
check "control: a recipe that fails is noticed" control
check "README.md has a line for each" all_listed
recipes "$DOCUMENT" one
echo "1..$n"
exit "$failed"
