/* SPDX-License-Identifier: MIT */
/* sandbox_filter.h: the system calls that are left (sandbox.h). For sandbox.c alone. */
#ifndef HTTPD_SANDBOX_FILTER_H
#define HTTPD_SANDBOX_FILTER_H

/* Puts the filter on all threads. no_new_privs has to be set. -errno: there is none now. */
int sandbox_filter(void);

#endif
