#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# A node is taken offline, and its driver unbound, while processes read, write and
# demote: done or EBUSY, and no byte differs.
cd "$(dirname "$0")" || exit 1
. ./lib-cxl.sh
. ./lib-tap.sh
. ./lib-cxl-test.sh

: "${ROUNDS:=8}"
USERS="a b c"

alive() { for u in $USERS; do user_alive "$u" || { cat "/tmp/$u.log"; return 1; }; done; }

done_or_busy() {
	if refused_with "" node_set state offline > /tmp/refused; then
		grep busy /tmp/why && busy=$((busy + 1)) && state_is open
	else
		done=$((done + 1))
		state_is offline && [ "$(cg_file job/cram.current)" = 0 ] && within 10 books_zero job
	fi
}
drains() {
	done=0 busy=0
	for r in $(seq "$ROUNDS"); do
		if ! done_or_busy || ! alive; then
			echo "round $r: $(node_file state)"
			node_set state open
			return 1
		fi
		node_set state open
		within 30 more_demoted $(($(demotions) + 500)) || { echo "round $r: nothing is demoted after"; return 1; }
	done
	echo "$done done, $busy EBUSY"
	[ "$done" -gt 0 ]
}
# One process holds pages all the time
held_busy() {
	user_ask held hold > /dev/null
	refused_with busy node_set state offline && within 30 state_is open &&
		resident_more held $((64 * 1024))
}
unbound() {
	t0=$(uptime_ms)
	write "$DEV" "$DRIVER/unbind" && cxl_node_gone 30000 && echo "$(($(uptime_ms) - t0)) ms"
}

slot_off() {
	slot=$(grep -l "${PCI%.*}" /sys/bus/pci/slots/*/address)
	write 0 "${slot%/address}/power" && [ ! -e "/sys/bus/pci/devices/$PCI" ]
}

echo "TAP version 13"
echo "1..15"
cgroups job held
check "a node comes up" node_up
[ -n "${NODE:-}" ] || { echo "Bail out! no node"; exit 1; }
for u in $USERS; do user_start "$u" job 16; done
check "processes demote, read and write" busy a b c
check "meanwhile the node goes offline, or says EBUSY, $ROUNDS times" drains
tail -n 1 /tmp/out | sed 's/^/# /'
check "nobody has met a wrong byte" calm a b c
check "all content is right" user_verify a b c

user_start held held 2
check "with a process that keeps references" demoted held held 1
busy a b c
check "offline is refused, and the node stays open" held_busy
user_ask held release > /dev/null
check "the driver is unbound under load" unbound
sed 's/^/# /' /tmp/out
check "nobody has met a wrong byte" calm a b c
check "all content is right" user_verify a b c held
for u in $USERS; do user_end "$u"; done

write "$DEV" "$DRIVER/bind"
check "the driver is bound again" cxl_node_wait 20000
check "with held pages" hold_pages held held 1
check "the slot is powered off" slot_off
check "what was held is lost" held_lost held
check "the books are zero" within 30 books_zero job held
exit $failed
