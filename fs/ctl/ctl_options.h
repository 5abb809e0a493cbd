/* SPDX-License-Identifier: MIT */
/* ctl_options.h: magnetctl's command line. */
#ifndef FS_CTL_OPTIONS_H
#define FS_CTL_OPTIONS_H

#include "ctl/ctl.h"

enum ctl_parsed {
        CTL_PARSED_COMMAND, /* run it */
        CTL_PARSED_DONE,    /* --help or --version: answered */
        CTL_PARSED_WRONG,   /* complained */
};

/* Parses the command line into c->opt and the arguments, which are argv's own (reordered), and says
 * which command is meant. Asks nothing of the mount. */
enum ctl_parsed ctl_parse(int argc, char **argv, struct ctl *c, void (**ret)(struct ctl *));

#endif
