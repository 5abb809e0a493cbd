/* SPDX-License-Identifier: MIT */
#include "ctl/ctl_list.h"

#include <string.h>

static const char blanks[] = " \t\r\n\v\f";
static const char byte_order_mark[] = "\xef\xbb\xbf";

bool ctl_list_is_text(const char *data, size_t len)
{
        for (size_t i = 0; i < len; i++) {
                unsigned char b = (unsigned char)data[i];

                if (b == 0x7f || (b < ' ' && (b == 0 || !strchr(blanks, b))))
                        return false;
        }
        return true;
}

char *ctl_list_trim(char *text)
{
        size_t len;

        text += strspn(text, blanks);
        len = strlen(text);
        while (len > 0 && strchr(blanks, text[len - 1]))
                len--;
        text[len] = '\0';
        return text;
}

char *ctl_list_next(struct ctl_list *l)
{
        if (l->number == 0 && strncmp(l->rest, byte_order_mark, strlen(byte_order_mark)) == 0)
                l->rest += strlen(byte_order_mark);
        while (*l->rest) {
                char *line = l->rest;
                size_t len = strcspn(line, "\n");

                l->rest += len + (line[len] ? 1 : 0);
                line[len] = '\0';
                l->number++;
                line = ctl_list_trim(line);
                if (*line && *line != '#')
                        return line;
        }
        return NULL;
}
