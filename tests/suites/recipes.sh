#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Guest script: run every recipe of cram-integration.rst, which is beside it, one after
# another, each as on a freshly booted machine; one line of TAP for each.  Commands are
# in the document only.  There a mark says what the next literal block is:
#
#	.. recipe: NAME			commands.  Where the first line begins with "# ", the
#					lines that do are the commands, and others are
#					what they print; else all lines are a script of bash
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
# In checks there are: NODE, a cram node; is A B; within SECONDS COMMAND..., until it
# succeeds; says REGEX COMMAND..., with a line that is so, whatever the status.
#
# ONLY=NAME picks, as everywhere; LIMIT=90: seconds for one.

cd "$(dirname "$0")" || exit 1
. ./lib-tap.sh

: "${LIMIT:=90}" "${DOCUMENT:=cram-integration.rst}"
NODE=$(cut -d, -f1 /sys/devices/system/node/has_private_memory | cut -d- -f1)
export NODE

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
		prompts = kind != "file" && substr(line, RLENGTH + 1, 2) == "# "
		say("at=" NR)
		if (kind == "file")
			say("file " quote(path) " << \"END OF THE FILE\"")
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
			sub(/^> /, "", line)
			say(line)
		} else if (substr(line, 1, 2) == "# ") {
			line = substr(line, 3)
			say(line)
		} else
			return
		goes_on = line ~ /\\$/
	}
	function end() {
		if (inside && kind == "file")
			say("END OF THE FILE")
		if (marked && !inside)
			say("fault " quote("line " marked ": no block follows this mark"))
		inside = marked = blank = goes_on = 0
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
trap 'echo "line $at of the document and below: $BASH_COMMAND: status $?"' ERR
fault() { echo "$1"; return 1; }
is() { [ "$1" = "$2" ] || { echo "\"$1\" is not \"$2\""; return 1; }; }
within() {
	local tries=$(($1 * 10))
	shift
	until "$@"; do
		tries=$((tries - 1))
		[ $tries -gt 0 ] || { echo "not within the time: $*"; return 1; }
		sleep 0.1
	done
}
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
	find /sys/fs/cgroup -depth -name cgroup.subtree_control | while read -r file; do
		! grep -qw cram "$file" || echo -cram > "$file"
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
	systemctl daemon-reload || status=1
	systemctl reset-failed
	disable
	return "$status"
}

# run_document DOCUMENT: lines of TAP, and its plan at last
run_document() {
	local dir name start
	dir=$(mktemp -d)
	extract "$1" "$dir"
	while read -r name <&3; do
		case "|${ONLY:-}|" in '||') ;; *) [[ $name =~ ${ONLY} ]] || continue ;; esac
		start=$SECONDS
		check "$name" run_one "$dir" "$name"
		echo "# $name: $((SECONDS - start)) s"
	done 3< "$dir/names"
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

.. recipe: enables

::

	# echo +cram > /sys/fs/cgroup/cgroup.subtree_control

.. recipe-check: enables

	grep -w cram /sys/fs/cgroup/cgroup.subtree_control
END
control() {
	local want got
	(n=0 LIMIT=2 ONLY='' run_document control.rst) > control.tap
	got=$(sed -n 's/^\(not ok\|ok\) [0-9]* - /\1 /p' control.tap)
	want=$(printf 'ok %s\n' good; printf 'not ok %s\n' fails wrong unchecked hangs stays empty silent; echo "ok enables")
	[ "$got" = "$want" ] || { cat control.tap; return 1; }
	[ ! -e /run/recipe-control ] || { find /run/recipe-control; return 1; }
	! grep -w cram /sys/fs/cgroup/cgroup.subtree_control
}

echo "TAP version 13"
check "control: a recipe that fails is noticed" control
run_document "$DOCUMENT"
echo "1..$n"
exit "$failed"
