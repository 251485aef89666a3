#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
# usage: tools/cramcg/screens/shots.sh CGROUP
#
# What cramcg shows on a terminal of 96 columns, taken from tmux: doctor, nodes, list, show
# CGROUP and top, each after a line "=== NAME.txt".
case ${1-} in ''|-h|--help) sed -n '3,/^[^#]/{/^#/!q;s/^# \{0,1\}//;p}' "$0"; exit 0 ;; esac
tmp=$(mktemp)
trap 'rm -f "$tmp"' EXIT

screen() { tmux -L "record-$$" -f /dev/null "$@"; }
screen new-session -d -x 96 -y 24 "PS1='# ' bash --norc"
screen set-option -g status off
shows() { # REGEX: within five minutes; leaves the screen in $tmp
	for _ in $(seq 300); do
		screen capture-pane -p > "$tmp"
		! grep -qE -- "$1" "$tmp" || return 0
		sleep 1
	done
}
# A command, and after it a prompt: what is between them is its screen
shot() { # NAME COMMAND
	screen send-keys clear Enter
	for _ in $(seq 100); do
		screen capture-pane -p > "$tmp"
		[ "$(grep -c . "$tmp")" != 1 ] || break
		sleep 0.2
	done
	screen send-keys "$2" Enter
	for _ in $(seq 300); do
		screen capture-pane -p > "$tmp"
		[ "$(grep -c '^#' "$tmp")" -lt 2 ] || break
		sleep 0.2
	done
	echo "=== $1.txt"
	# Without the prompt at the end; a long line is one line in a text
	screen capture-pane -p -J | awk '/^# *$/ && seen { exit } { seen = 1; print }'
}
shows '^#'
shot doctor "cramcg doctor"
shot nodes "cramcg nodes"
shot list "cramcg list --tree"
shot show "cramcg show $1"
screen send-keys "clear; cramcg top" Enter
# Not the first refresh: there are rates, and some history
shows 'demote/s [1-9]'
sleep 12
shows 'demote/s [1-9]'
echo "=== top.txt"
screen capture-pane -p
echo "=== top.ansi"
screen capture-pane -p -e
echo "=== end"
screen kill-server
