#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# patches/systemd: they apply, what they touch compiles, its unit tests pass.
exec scripts/systemd --check
