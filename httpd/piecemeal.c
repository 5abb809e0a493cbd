/* SPDX-License-Identifier: MIT */
#include "piecemeal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
#include "common/cleanup.h"

static bool is_coded(const struct piecemeal *p)
{
        return p->rq->minor >= 1;
}

static int begin(struct piecemeal *p)
{
        _cleanup_free_ char *headers = NULL;

        if (asprintf(&headers, "%s%s", p->headers ? p->headers : "",
                     is_coded(p) ? "Transfer-Encoding: chunked\r\n" : "") < 0) {
                headers = NULL;
                return -ENOMEM;
        }
        p->begun = true;
        return request_answer_head(p->rq, p->status, headers, p->type, REQUEST_UNBOUNDED);
}

static int send_chunk(const struct piecemeal *p, const char *data, size_t len)
{
        char size[32];
        int n = snprintf(size, sizeof size, "%zx\r\n", len);
        int r = is_coded(p) ? client_send(&p->rq->client, size, (size_t)n) : 0;

        if (r == 0)
                r = client_send(&p->rq->client, data, len);
        return r == 0 && is_coded(p) ? client_send(&p->rq->client, "\r\n", 2) : r;
}

int piecemeal_give(struct piecemeal *p, const char *data, size_t *len)
{
        int r = 0;

        if (*len < PIECEMEAL_BYTES)
                return 0;
        if (!p->begun)
                r = begin(p);
        if (r == 0 && !p->rq->head)
                r = send_chunk(p, data, *len);
        *len = 0;
        return r;
}

int piecemeal_finish(struct piecemeal *p, const char *data, size_t len)
{
        static const char end[] = "0\r\n\r\n";
        int r = 0;

        if (!p->begun)
                return request_answer(p->rq, p->status, p->headers, p->type, data, len);
        if (p->rq->head)
                return p->status;
        if (len > 0)
                r = send_chunk(p, data, len);
        if (r == 0 && is_coded(p))
                (void)client_send(&p->rq->client, end, strlen(end));
        return p->status;
}

int piecemeal_add(struct piecemeal *p, const char *text)
{
        size_t len = strlen(text);

        if (buffer_grow(&p->text, &p->room, p->len + len) < 0)
                return -ENOMEM;
        memcpy(p->text + p->len, text, len);
        p->len += len;
        return 0;
}

int piecemeal_send(struct piecemeal *p)
{
        return piecemeal_give(p, p->text, &p->len);
}

int piecemeal_end(struct piecemeal *p)
{
        return piecemeal_finish(p, p->text, p->len);
}

void piecemeal_clear(struct piecemeal *p)
{
        free(p->text);
        p->text = NULL;
        p->len = p->room = 0;
}
