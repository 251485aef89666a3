#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Guest script of screens/record: three users of two emulated devices, and what cramcg
# shows of them.
cd "$(dirname "$0")" || exit
# shellcheck disable=SC1091 # of tests/suites
{
	. ./lib-tap.sh
	. ./lib-cxl.sh
	. ./lib-cxl-test.sh
}
export LOCPATH=$PWD TERMINFO=$PWD/terminfo SHELL=/bin/bash TZ=UTC CRAMCG_STATE=/tmp/state
export LC_ALL=C.UTF-8
mkdir $CRAMCG_STATE

cgroups db tenants/a tenants/b
echo "+memory +cram" > "$CGROOT/tenants/cgroup.subtree_control"
limit() { # CGROUP FILE=VALUE...
	local cg=$1 file
	shift
	for file; do echo "${file#*=}" > "$CGROOT/$cg/cram.${file%%=*}" || exit; done
}
limit db max=64M low=16M writable_budget=8M
limit tenants max=96M writable_budget=16M
limit tenants/a max=16M

# What compresses well, twice, and what compresses not so well
user_start db db 48
user_start a tenants/a 24
user_start b tenants/b 32 256
for name in db a b; do user_ask $name pageout > /dev/null; done
# Two of them work: they write, and what they write is demoted again
user_say db churn
user_say b churn
./shots.sh /tenants/a
