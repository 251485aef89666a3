/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages of what runs for systemd. */
#ifndef CRAMCG_NOTE_H
#define CRAMCG_NOTE_H

/*
 * Into the journal, at a syslog priority, whatever becomes of stderr: a unit may have
 * sent that elsewhere.  On a terminal, or without a journal, to stderr.
 */
void note(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
