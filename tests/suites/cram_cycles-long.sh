#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
exec /cram/cram_cycles 512 100 16
