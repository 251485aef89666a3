#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
T=32 ONLY="lazily freed" exec /cram/cram_upgraded
