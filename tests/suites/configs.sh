#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# usage: tests/suites/configs.sh
#
# Have the compiler check our files, and the files that call them, in configurations
# that nobody boots: without swap, without huge pages, without debugging, without
# cram; and with an option that is nearly always off. What follows from switching an
# option, Kconfig says; the command lines are those of the kernel that the other tests
# run, with what is different undefined or defined.
# And options without which there can be no cram have to take it along. Of our files
# only those are compiled that have to do with what is off; TIER=long: all of them.
# Then no file of the engine may call a higher layer, see scripts/check-layers. Last,
# kernel-doc has to find each public function described.
#
# On the host; after the kernel was built here this takes less than a minute on two cores.
# shellcheck disable=SC1091
. "$(dirname "$0")/../../scripts/lib.sh"
. tests/suites/lib-tap.sh
help_if_asked "$@"
set -u

out=$(scripts/kernel-config --dir "")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# Ours, and what they hook
# shellcheck disable=SC2119
mapfile -t ours < <(overlay_files | sed 's/ .*//' | grep -E '^(arch|drivers|kernel|mm)/.*\.c$' |
	grep -vE '/tests/|_test\.c$')
mapfile -t hooked < <(sed -n 's|^+++ b/\(.*\)\.c$|\1.c|p' patches/linux/*.patch | sort -u)

# Those of FILES that this configuration compiles have a command line.
compiled() { # FILE...
	local f
	for f; do
		[ ! -e "$out/$(dirname "$f")/.$(basename "$f" .c).o.cmd" ] || echo "$f"
	done
}

# Kconfig's answer to switching options off
config_without() { # OPTION...
	local o
	cp "$out/.config" "$tmp/config"
	for o; do
		sed -i "s/^CONFIG_$o=.*/# CONFIG_$o is not set/" "$tmp/config"
	done
	scripts/kmake -s KCONFIG_CONFIG="$tmp/config" olddefconfig > "$tmp/log" 2>&1
}

# And to switching one on
config_with() { # OPTION
	grep -v "CONFIG_$1[ =]" "$out/.config" > "$tmp/config"
	echo "CONFIG_$1=y" >> "$tmp/config"
	scripts/kmake -s KCONFIG_CONFIG="$tmp/config" olddefconfig > "$tmp/log" 2>&1
}

# The difference, for the preprocessor
header() {
	diff <(grep -v '^#' "$out/.config" | sort) <(grep -v '^#' "$tmp/config" | sort) |
		sed -n 's/^< \(CONFIG_[A-Z0-9a-z_]*\)=m$/#undef \1_MODULE/p
			s/^< \(CONFIG_[A-Z0-9a-z_]*\)=.*/#undef \1/p
			s/^> \(CONFIG_[A-Z0-9a-z_]*\)=m$/#define \1_MODULE 1/p
			s/^> \(CONFIG_[A-Z0-9a-z_]*\)=y$/#define \1 1/p
			s/^> \(CONFIG_[A-Z0-9a-z_]*\)=\([^ym].*\)$/#define \1 \2/p'
}

# One file with $tmp/$1.h on top; says what is wrong
check_file() { # NAME FILE
	local cmd o
	o=$(dirname "$2")/$(basename "$2" .c).o
	cmd=$(sed -n "s/^savedcmd_[^ ]* := //p" "$out/$(dirname "$o")/.$(basename "$o").cmd" |
		sed "s/;.*//; s| -c -o $o | -fsyntax-only -include $tmp/$1.h |; s|-Wp,-MMD,[^ ]*||")
	case $cmd in
	*-fsyntax-only*) (cd "$out" && eval "$cmd") 2>&1 | grep -E '(error|warning):' ;;
	*) echo "$2: error: no command line" ;;
	esac
}
export -f check_file
export out tmp

# Files that have an option of their own
still_compiled() {
	if is_on CRAM_VERIFY; then cat; else grep -v '^mm/cram/verify\.c$'; fi |
		if is_on DEBUG_FS; then cat; else grep -v '^mm/cram/debugfs\.c$'; fi
}

check() { # NAME FILES...
	local name=$1 found
	shift
	header > "$tmp/$name.h"
	# shellcheck disable=SC2016 # expanded there
	found=$(printf '%s\n' "$@" | still_compiled |
		xargs -P "$(nproc)" -I{} bash -c 'check_file "$0" "$1"' "$name" {})
	[ -z "$found" ] || printf '# %s\n' "$found"
	[ -z "$found" ] && [ -s "$tmp/$name.h" ]
}

is_on() { grep -q "^CONFIG_$1=" "$tmp/config"; }

echo "TAP version 13"
scripts/kernel-tree > "$tmp/log" 2>&1 || { cat "$tmp/log"; echo "Bail out! no kernel tree"; exit 1; }
# A finished kernel may be one that was built elsewhere, without command lines
if [ ! -e "$out/mm/.vmscan.o.cmd" ] || [ ! -e "$out/mm/cram/.demote.o.cmd" ]; then
	scripts/kmake -s mm/ kernel/ fs/proc/ drivers/base/ drivers/cxl/ arch/x86/ > "$tmp/log" 2>&1 ||
		{ sed 's/^/# /' "$tmp/log"; echo "Bail out! not compiled"; exit 1; }
fi
mapfile -t ours < <(compiled "${ours[@]}")
mapfile -t hooked < <(compiled "${hooked[@]}")

# without WORDS OPTION...: our files that have WORDS in their code; TIER=long: all of ours
without() {
	local concerned=("${ours[@]}") words=$1
	shift
	[ "${TIER-}" = long ] || mapfile -t concerned < <(cd "$LINUX_TREE" &&
		printf '%s\n' "${ours[@]}" | xargs grep -lE "^([^ /]|	+[^ /*]).*($words)")
	config_without "$@"
	[ "${#concerned[@]}" -gt 1 ] && is_on CRAM && check "$(echo "$*" | tr ' ' _)" "${concerned[@]}"
	report $? "files of ours without $* (${#concerned[@]} of ${#ours[@]})"
}
without '[^a-z]swap|[a-z]_swap|swp|lru_gen|zswap' SWAP LRU_GEN
without 'huge|thp|pmd|_order|folio_nr_pages|folio_test_large|split' TRANSPARENT_HUGEPAGE
without 'debugfs|DEBUG_FS' DEBUG_FS
config_without CRAM
! is_on CRAM && ! is_on CXL_CRAM && check CRAM "${hooked[@]}"
report $? "${#hooked[@]} files with hooks without CRAM"
for options in NUMA MEMORY_FAILURE; do
	config_without $options
	! is_on CRAM && ! is_on CXL_CRAM && ! is_on CRAM_SIM
	report $? "no cram without $options"
done

# Nobody can switch it off where it is there: the architecture has it
sed -n '/^config CXL_CRAM$/,/^\t*help$/p' "$LINUX_TREE/drivers/cxl/Kconfig" |
	grep -q "depends on.*ARCH_HAS_COPY_MC"
report $? "no driver of compressed CXL memory where reading poison is not survived"

# An option that is off in nearly all kernels
mapfile -t concerned < <(cd "$LINUX_TREE" && grep -lE 'mapcount|MAPCOUNT' "${ours[@]}" "${hooked[@]}")
config_with NO_PAGE_MAPCOUNT
[ "${#concerned[@]}" -gt 1 ] && is_on NO_PAGE_MAPCOUNT && is_on CRAM &&
	check NO_PAGE_MAPCOUNT "${concerned[@]}"
report $? "${#concerned[@]} files without mapcounts of pages"

# It finds what is missing
echo '#define cram_may_demote(...) cram_no_such_thing' > "$tmp/control.h"
check_file control mm/vmscan.c | grep -q cram_no_such_thing
report $? "control: a name that is not declared is found"

# Who may call whom
found=$(scripts/check-layers 2>&1)
report $? "no file of the engine calls a higher layer" || printf '%s\n' "$found" | sed 's/^/# /'
sed '/sysfs -> node/d' Documentation/mm/cram.rst > "$tmp/layers"
scripts/check-layers "$tmp/layers" | grep -q '^sysfs calls node'
report $? "control: a call up that is not permitted is found"
sed 's/cgroups   controller/& budget/; s/residency budget/residency/' Documentation/mm/cram.rst > "$tmp/layers"
scripts/check-layers "$tmp/layers" | grep -q '^budget calls upgrade'
report $? "control: a file on a wrong layer is found"

# What a public function returns, and in which context it may be called, is said
undocumented() { "$LINUX_TREE/scripts/kernel-doc" -none -Wall "$@" 2>&1 | grep .; }
# shellcheck disable=SC2119
mapfile -t public < <(overlay_files | sed 's/ .*//' | grep '\.[ch]$')
found=$(undocumented "${public[@]}")
[ -z "$found" ]
report $? "kernel-doc finds nothing missing in ${#public[@]} files" || printf '%s\n' "$found" | sed 's/^/# /'
sed '/^ \* Return:/d' mm/cram/state.c > "$tmp/state.c"
undocumented "$tmp/state.c" | grep -q "return value of 'cram_node_open'"
report $? "control: a function that does not say what it returns is found"
echo "1..$n"
exit $failed
