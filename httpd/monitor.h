/* SPDX-License-Identifier: MIT */
/* monitor.h: the handler of /metrics: for Prometheus and what understands it. For routes.c. */
#ifndef HTTPD_MONITOR_H
#define HTTPD_MONITOR_H

#include "routes.h"

/* GET, HEAD /metrics, in Prometheus' text format 0.0.4. */
int monitor_show(struct request *rq, const struct route_match *match);

#endif
