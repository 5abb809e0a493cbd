/* SPDX-License-Identifier: MIT */
#include "common/mountinfo.h"

#include <stddef.h>
#include <string.h>

/* \ooo as the kernel writes space, tab, newline, backslash and '#' in a mountinfo field. In place.
 */
static void decode_octal(char *s)
{
        char *out = s;

        while (*s) {
                if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
                    s[3] >= '0' && s[3] <= '7') {
                        *out++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
                        s += 4;
                } else
                        *out++ = *s++;
        }
        *out = 0;
}

bool mountinfo_split(char *line, struct mountinfo *ret)
{
        enum { DEVICE = 2, ROOT, DIR_, OPTIONS, FIELDS };
        char *field[FIELDS] = {NULL}, *save = NULL, *word;
        unsigned i;

        for (i = 0; i < FIELDS; i++) {
                field[i] = strtok_r(i ? NULL : line, " \n", &save);
                if (!field[i])
                        return false;
        }
        /* any number of optional fields, then "-" and the type */
        do {
                word = strtok_r(NULL, " \n", &save);
                if (!word)
                        return false;
        } while (strcmp(word, "-") != 0);
        word = strtok_r(NULL, " \n", &save);
        if (!word)
                return false;

        decode_octal(field[DIR_]);
        *ret = (struct mountinfo){field[DEVICE], field[ROOT], field[DIR_], word};
        return true;
}
