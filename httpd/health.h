/* SPDX-License-Identifier: MIT */
/* health.h: a thread that looks after the mount, so that no other has to risk a call that may hang.
 * Each second it asks whether the mount is still there, and on demand it reads .magnetfs/session.
 */
#ifndef HTTPD_HEALTH_H
#define HTTPD_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "mountpoint.h"

struct health;

enum health_state {
        HEALTH_UNKNOWN, /* the first look isn't over */
        HEALTH_FINE,
        HEALTH_FOREIGN, /* at the first look: no mount of magnetfs; health_error() says why */
        HEALTH_GONE,    /* it was fine, and is gone */
};

/* Starts the thread; it adds 1 to the eventfd notify_fd when the state changes. m must live as long
 * as the program: a thread that hangs in the mount cannot be ended. -errno. */
int health_start(struct mountpoint *m, int notify_fd, struct health **ret);

/* Any thread; never block. */
enum health_state health_state(struct health *h);
int health_error(struct health *h);

/* Whether the mount has been leaving a call unanswered for so long that nobody else should try. Any
 * thread; never blocks. */
bool health_is_stuck(struct health *h);

/* Reads .magnetfs/session anew, in at most timeout_ms. -ETIMEDOUT: the mount does not answer;
 * -errno of the read. The caller frees *ret. Any thread. */
int health_session(struct health *h, unsigned timeout_ms, char **ret);

#endif
