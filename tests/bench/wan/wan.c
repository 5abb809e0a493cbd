/* SPDX-License-Identifier: MIT */
/* A small wide-area network between two network namespaces, joined by a TUN device in each.
 *
 *     wan CONFIG HOST_FD SWARM_FD
 *
 * The descriptors are those of the namespaces. One side is the host, the other the swarm, and every
 * packet belongs to the peer whose address it has on the swarm's side. From a peer to the host it
 * passes
 *
 *     the peer's uplink -> half the round trip, jitter and loss -> the host's downlink
 *
 * and from the host to a peer the same in the other direction. A link has a rate and a queue; what
 * finds the queue full is dropped. Packets of one peer and direction stay in order.
 *
 * CONFIG has a thing on each line, and # begins a comment:
 *
 *     seed 1
 *     host down=50 up=20 queue=100
 *     default rtt=50 jitter=2 up=5 down=20 loss=0 queue=200
 *     peer 198.18.0.7 rtt=120 up=2.5 loss=0.005 on=20 off=20 phase=3
 *
 * Rates are in Mbit/s, and 0 is no limit. Times are in ms, but on, off and phase are in seconds: of
 * these a peer's packets all vanish in the part that is off. Loss is a fraction in each direction.
 * `default` is for the peers after it. A packet of an address without a line is dropped.
 *
 * It says "ready" when both devices are there. Then it is told on stdin, a line each:
 *
 *     begin SECONDS    the phases of on and off begin now, as if they ran for so long
 *     stats            it answers with one line of JSON
 *
 * The end of stdin is its own. Jitter and loss come from a generator for each peer and direction.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define MS_NS  INT64_C(1000000)
#define SEC_NS INT64_C(1000000000)

#define DEVICE "wan"

enum {
        PACKET_MAX = 1504,   /* bytes; the devices have an MTU of 1500 */
        HEADER_BYTES = 20,   /* of IPv4, at least */
        SOURCE_AT = 12,      /* RFC 791 §3.1 */
        DESTINATION_AT = 16, /* RFC 791 §3.1 */
        PEERS_MAX = 1024,
        IN_FLIGHT_MAX = 1 << 17,  /* packets: 200 MB */
        BATCH = 512,              /* packets read at once from a device */
        BUSY_NS = 300 * 1000,     /* between two looks while packets come */
        WAIT_MIN_NS = 100 * 1000, /* what a wait for the next packet takes at least */
        QUEUE_MIN_BYTES = 32768,  /* what a queue holds at least, however slow its link */
        TIMER_SLACK_NS = 1000,
        PRIORITY = -15,
        RNG_WARM_UP = 20, /* numbers thrown away: the first depend on the seed's few bits */
        LINE_MAX_BYTES = 512,
        COMMAND_MAX_BYTES = 64,
};

struct settings {
        double up;    /* Mbit/s */
        double down;  /* Mbit/s */
        double queue; /* ms of a link's rate */
        double rtt;   /* ms */
        double jitter;
        double loss; /* a fraction, in each direction */
        double on;   /* seconds */
        double off;
        double phase;
};

struct link {
        int64_t free_at; /* when all that is queued has left */
        int64_t longest; /* ns, the most a packet waited */
        uint64_t bytes;
        uint64_t packets;
        uint64_t dropped; /* packets that found the queue full */
};

/* One direction of one peer. */
struct way {
        struct link link; /* the peer's own */
        uint64_t rng;
        int64_t last;  /* when its last packet comes out of the wide area: order is kept */
        uint64_t lost; /* packets */
};

struct peer {
        struct in_addr address;
        struct settings is;
        struct way to_host;
        struct way from_host;
};

enum stage {
        ENTERS,  /* the sender's link */
        CROSSED, /* the wide area */
        ARRIVES, /* out of the receiver's link */
};

struct packet {
        int64_t at;        /* when its next stage begins */
        uint64_t number;   /* of two at one time the first goes first */
        struct peer *peer; /* borrowed from the network */
        struct packet *next;
        enum stage stage;
        bool to_host;
        uint16_t length;
        unsigned char data[PACKET_MAX];
};

struct network {
        /* set once */
        uint64_t seed;
        struct settings host;
        struct settings model; /* of the peers to come in the configuration */
        int host_fd;
        int swarm_fd;
        int64_t began;

        int64_t phases_began; /* 0: all peers are on */
        struct link host_down;
        struct link host_up;
        struct peer peers[PEERS_MAX];
        size_t n_peers;

        struct packet *heap[IN_FLIGHT_MAX]; /* the next one on top */
        size_t n_heap;
        uint64_t n_packets;
        struct packet *unused;

        char command[COMMAND_MAX_BYTES]; /* what stdin has said of a line */
        size_t n_command;
};

_Noreturn static void die(const char *what)
{
        fprintf(stderr, "wan: %s: %s\n", what, strerror(errno));
        exit(EXIT_FAILURE);
}

static int64_t now_ns(void)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * SEC_NS + t.tv_nsec;
}

/* xorshift64: 0 to 1, without 1. */
static double random_next(uint64_t *state)
{
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return (double)(*state >> 11) / (double)(UINT64_C(1) << 53);
}

/* ---- the configuration --------------------------------------------------------------------- */

struct place {
        const char *path;
        unsigned line;
};

__attribute__((format(printf, 2, 3))) _Noreturn static void bad(const struct place *at,
                                                                const char *format, ...)
{
        va_list arguments;

        fprintf(stderr, "wan: %s:%u: ", at->path, at->line);
        va_start(arguments, format);
        vfprintf(stderr, format, arguments);
        va_end(arguments);
        fputc('\n', stderr);
        exit(EXIT_FAILURE);
}

static const struct key {
        const char *name;
        size_t offset;
        bool host; /* the host has it too */
        double most;
} keys[] = {
        {"up", offsetof(struct settings, up), true, 1e5},
        {"down", offsetof(struct settings, down), true, 1e5},
        {"queue", offsetof(struct settings, queue), true, 1e5},
        {"rtt", offsetof(struct settings, rtt), false, 1e5},
        {"jitter", offsetof(struct settings, jitter), false, 1e5},
        {"loss", offsetof(struct settings, loss), false, 1},
        {"on", offsetof(struct settings, on), false, 1e5},
        {"off", offsetof(struct settings, off), false, 1e5},
        {"phase", offsetof(struct settings, phase), false, 1e5},
};

static void read_settings(const struct place *at, char **rest, struct settings *to, bool host)
{
        char *word;

        while ((word = strtok_r(NULL, " \t", rest))) {
                char *value = strchr(word, '='), *end;
                const struct key *key = NULL;
                double number;

                if (!value)
                        bad(at, "'%s' is not NAME=VALUE", word);
                *value++ = '\0';
                for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
                        if (!strcmp(keys[i].name, word) && (keys[i].host || !host))
                                key = &keys[i];
                }
                if (!key)
                        bad(at, "there is no '%s' here", word);
                number = strtod(value, &end);
                if (end == value || *end != '\0' || !(number >= 0 && number <= key->most))
                        bad(at, "%s is a number from 0 to %g, not '%s'", word, key->most, value);
                *(double *)((char *)to + key->offset) = number;
        }
}

static struct peer *find_peer(struct network *net, struct in_addr address)
{
        for (size_t i = 0; i < net->n_peers; i++) {
                if (net->peers[i].address.s_addr == address.s_addr)
                        return &net->peers[i];
        }
        return NULL;
}

static struct peer *add_peer(struct network *net, const struct place *at, const char *word)
{
        struct in_addr address;
        struct peer *peer;

        if (!word || inet_pton(AF_INET, word, &address) != 1)
                bad(at, "a peer begins with its IPv4 address");
        if (find_peer(net, address))
                bad(at, "%s has a line already", word);
        if (net->n_peers == PEERS_MAX)
                bad(at, "more than %d peers", PEERS_MAX);
        peer = &net->peers[net->n_peers++];
        peer->address = address;
        peer->is = net->model;
        return peer;
}

static void seed_peer(struct peer *peer, uint64_t seed)
{
        uint64_t address = ntohl(peer->address.s_addr);

        /* Odd constants: neither generator may begin with 0. */
        peer->to_host.rng = (seed * UINT64_C(0x9e3779b97f4a7c15)) ^ (address << 20) ^ 0x1234567;
        peer->from_host.rng = peer->to_host.rng ^ UINT64_C(0xdeadbeefcafe);
        for (int i = 0; i < RNG_WARM_UP; i++) {
                random_next(&peer->to_host.rng);
                random_next(&peer->from_host.rng);
        }
}

static void read_line(struct network *net, const struct place *at, char *line)
{
        char *rest, *word = strtok_r(line, " \t", &rest);

        if (!word)
                return;
        if (!strcmp(word, "host")) {
                read_settings(at, &rest, &net->host, true);
        } else if (!strcmp(word, "default")) {
                read_settings(at, &rest, &net->model, false);
        } else if (!strcmp(word, "peer")) {
                struct peer *peer = add_peer(net, at, strtok_r(NULL, " \t", &rest));

                read_settings(at, &rest, &peer->is, false);
        } else if (!strcmp(word, "seed")) {
                char *number = strtok_r(NULL, " \t", &rest), *end = NULL;

                errno = 0;
                net->seed = number ? strtoull(number, &end, 10) : 0;
                if (!number || *end != '\0' || errno || net->seed == 0)
                        bad(at, "a seed is a number from 1 on");
        } else {
                bad(at, "'%s' is none of seed, host, default and peer", word);
        }
}

static void read_config(struct network *net, const char *path)
{
        struct place at = {path, 0};
        char line[LINE_MAX_BYTES];
        FILE *f = fopen(path, "re");

        if (!f)
                die(path);
        while (fgets(line, sizeof line, f)) {
                at.line++;
                if (!strchr(line, '\n') && !feof(f))
                        bad(&at, "the line is longer than %d bytes", LINE_MAX_BYTES - 2);
                line[strcspn(line, "#\n")] = '\0';
                read_line(net, &at, line);
        }
        if (ferror(f))
                die(path);
        fclose(f);
        if (net->n_peers == 0)
                bad(&at, "there is no peer");
        for (size_t i = 0; i < net->n_peers; i++)
                seed_peer(&net->peers[i], net->seed);
}

/* ---- the packets under way ----------------------------------------------------------------- */

static bool is_before(const struct packet *a, const struct packet *b)
{
        return a->at < b->at || (a->at == b->at && a->number < b->number);
}

static void drop(struct network *net, struct packet *p)
{
        p->next = net->unused;
        net->unused = p;
}

/* Its stage begins at that time. */
static void push(struct network *net, struct packet *p, enum stage stage, int64_t at)
{
        struct packet **heap = net->heap;
        size_t i;

        if (net->n_heap == IN_FLIGHT_MAX) {
                drop(net, p);
                return;
        }
        p->stage = stage;
        p->at = at;
        p->number = net->n_packets++;
        for (i = net->n_heap++; i > 0 && is_before(p, heap[(i - 1) / 2]); i = (i - 1) / 2)
                heap[i] = heap[(i - 1) / 2];
        heap[i] = p;
}

static struct packet *pop(struct network *net)
{
        struct packet **heap = net->heap, *top = heap[0], *last = heap[--net->n_heap];
        size_t i = 0, child;

        while ((child = 2 * i + 1) < net->n_heap) {
                if (child + 1 < net->n_heap && is_before(heap[child + 1], heap[child]))
                        child++;
                if (!is_before(heap[child], last))
                        break;
                heap[i] = heap[child];
                i = child;
        }
        if (net->n_heap > 0)
                heap[i] = last;
        return top;
}

/* When a packet that comes to the link at that time has left it; -1: the queue is full. */
static int64_t pass_link(struct link *l, double mbit, double queue_ms, int64_t at, unsigned length)
{
        int64_t start = l->free_at > at ? l->free_at : at;
        int64_t wait = start - at;

        if (mbit > 0) {
                double ns_per_byte = 8e3 / mbit;
                double queue_ns = queue_ms * (double)MS_NS;
                double least_ns = QUEUE_MIN_BYTES * ns_per_byte;

                if ((double)wait > (queue_ns > least_ns ? queue_ns : least_ns)) {
                        l->dropped++;
                        return -1;
                }
                l->free_at = start + (int64_t)(length * ns_per_byte);
        } else {
                l->free_at = at;
        }
        if (wait > l->longest)
                l->longest = wait;
        l->bytes += length;
        l->packets++;
        return l->free_at;
}

static bool is_off(const struct network *net, const struct peer *peer, int64_t at)
{
        int64_t on = (int64_t)(peer->is.on * (double)SEC_NS);
        int64_t off = (int64_t)(peer->is.off * (double)SEC_NS);
        int64_t phase = (int64_t)(peer->is.phase * (double)SEC_NS);

        if (off == 0 || net->phases_began == 0 || at < net->phases_began)
                return false;
        return (at - net->phases_began + phase) % (on + off) >= on;
}

static void enter(struct network *net, struct packet *p, int64_t at)
{
        struct peer *peer = p->peer;
        struct way *way = p->to_host ? &peer->to_host : &peer->from_host;
        int64_t out;

        if (is_off(net, peer, at)) {
                way->lost++;
                drop(net, p);
                return;
        }
        if (p->to_host)
                out = pass_link(&way->link, peer->is.up, peer->is.queue, at, p->length);
        else
                out = pass_link(&net->host_up, net->host.up, net->host.queue, at, p->length);
        if (out < 0) {
                drop(net, p);
                return;
        }
        if (peer->is.loss > 0 && random_next(&way->rng) < peer->is.loss) {
                way->lost++;
                drop(net, p);
                return;
        }
        out += (int64_t)(peer->is.rtt / 2 * (double)MS_NS);
        if (peer->is.jitter > 0)
                out += (int64_t)(peer->is.jitter * random_next(&way->rng) * (double)MS_NS);
        if (out < way->last)
                out = way->last;
        way->last = out;
        push(net, p, CROSSED, out);
}

static void come_near(struct network *net, struct packet *p, int64_t at)
{
        const struct settings *is = &p->peer->is;
        int64_t out;

        if (p->to_host)
                out = pass_link(&net->host_down, net->host.down, net->host.queue, at, p->length);
        else
                out = pass_link(&p->peer->from_host.link, is->down, is->queue, at, p->length);
        if (out < 0)
                drop(net, p);
        else
                push(net, p, ARRIVES, out);
}

static void arrive(struct network *net, struct packet *p)
{
        ssize_t r = write(p->to_host ? net->host_fd : net->swarm_fd, p->data, p->length);

        /* A device that is down, or does not like the packet, loses it as a network does. */
        if (r < 0 && errno != EIO && errno != EAGAIN && errno != EINVAL)
                die("write to the device " DEVICE);
        drop(net, p);
}

static void forward(struct network *net, int64_t now)
{
        while (net->n_heap > 0 && net->heap[0]->at <= now) {
                struct packet *p = pop(net);

                if (p->stage == CROSSED)
                        come_near(net, p, p->at);
                else
                        arrive(net, p);
        }
}

static struct packet *fresh_packet(struct network *net)
{
        struct packet *p = net->unused;

        if (p) {
                net->unused = p->next;
                return p;
        }
        p = malloc(sizeof *p);
        if (!p)
                die("memory for a packet");
        return p;
}

/* Takes what a device has; returns how many packets. */
static unsigned take(struct network *net, bool to_host, int64_t now)
{
        unsigned n;

        for (n = 0; n < BATCH; n++) {
                struct packet *p = fresh_packet(net);
                ssize_t r = read(to_host ? net->swarm_fd : net->host_fd, p->data, sizeof p->data);
                struct in_addr address;

                if (r < 0 && errno != EAGAIN && errno != EINTR && errno != EIO)
                        die("read from the device " DEVICE);
                if (r <= 0) {
                        drop(net, p);
                        break;
                }
                if (r < HEADER_BYTES || p->data[0] >> 4 != 4) {
                        drop(net, p); /* IPv6: what the kernel says by itself */
                        continue;
                }
                memcpy(&address, p->data + (to_host ? SOURCE_AT : DESTINATION_AT), sizeof address);
                p->peer = find_peer(net, address);
                p->to_host = to_host;
                p->length = (uint16_t)r;
                if (p->peer)
                        enter(net, p, now);
                else
                        drop(net, p);
        }
        return n;
}

/* ---- what it is told ----------------------------------------------------------------------- */

static void print_link(const char *name, const struct link *l, uint64_t lost)
{
        printf("\"%s\":{\"bytes\":%" PRIu64 ",\"packets\":%" PRIu64 ",\"dropped\":%" PRIu64
               ",\"lost\":%" PRIu64 ",\"longest_ms\":%.1f}",
               name, l->bytes, l->packets, l->dropped, lost, (double)l->longest / (double)MS_NS);
}

static double seconds(struct timeval t)
{
        return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static void print_stats(const struct network *net)
{
        struct rusage used;

        getrusage(RUSAGE_SELF, &used);
        printf("{\"seconds\":%.3f,\"cpu_s\":%.3f,",
               (double)(now_ns() - net->began) / (double)SEC_NS,
               seconds(used.ru_utime) + seconds(used.ru_stime));
        print_link("host_down", &net->host_down, 0);
        putchar(',');
        print_link("host_up", &net->host_up, 0);
        printf(",\"peers\":[");
        for (size_t i = 0; i < net->n_peers; i++) {
                const struct peer *peer = &net->peers[i];
                char text[INET_ADDRSTRLEN];

                inet_ntop(AF_INET, &peer->address, text, sizeof text);
                printf("%s{\"address\":\"%s\",", i > 0 ? "," : "", text);
                print_link("up", &peer->to_host.link, peer->to_host.lost);
                putchar(',');
                print_link("down", &peer->from_host.link, peer->from_host.lost);
                putchar('}');
        }
        printf("]}\n");
        fflush(stdout);
}

static void obey(struct network *net, const char *command)
{
        const char *begin = "begin ";

        if (!strcmp(command, "stats")) {
                print_stats(net);
        } else if (!strncmp(command, begin, strlen(begin))) {
                double ran_s = strtod(command + strlen(begin), NULL);

                net->phases_began = now_ns() - (int64_t)(ran_s * (double)SEC_NS);
        } else {
                fprintf(stderr, "wan: no such command: %s\n", command);
                exit(EXIT_FAILURE);
        }
}

/* Reads what stdin has; false at its end. */
static bool listen_to_stdin(struct network *net)
{
        char *end;
        ssize_t r = read(STDIN_FILENO, net->command + net->n_command,
                         sizeof net->command - net->n_command);

        if (r <= 0)
                return false;
        net->n_command += (size_t)r;
        while ((end = memchr(net->command, '\n', net->n_command))) {
                size_t taken = (size_t)(end - net->command) + 1;

                *end = '\0';
                obey(net, net->command);
                net->n_command -= taken;
                memmove(net->command, net->command + taken, net->n_command);
        }
        return net->n_command < sizeof net->command;
}

/* ---- the devices --------------------------------------------------------------------------- */

/* Opens a TUN device in a namespace and comes back to its own. */
static int open_device(int home, const char *word)
{
        struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI, .ifr_name = DEVICE};
        char *end;
        long there = strtol(word, &end, 10);
        int fd;

        errno = EBADF;
        if (end == word || *end != '\0' || there < 0 || there > INT32_MAX)
                die(word);
        if (setns((int)there, CLONE_NEWNET) < 0)
                die("enter a network namespace");
        fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
                die("/dev/net/tun");
        if (ioctl(fd, TUNSETIFF, &request) < 0)
                die("make the device " DEVICE);
        if (setns(home, CLONE_NEWNET) < 0)
                die("come back to the own network namespace");
        return fd;
}

static void open_devices(struct network *net, char **argv)
{
        int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

        if (home < 0)
                die("/proc/self/ns/net");
        net->host_fd = open_device(home, argv[2]);
        net->swarm_fd = open_device(home, argv[3]);
        close(home);
}

static void run(struct network *net)
{
        enum { STDIN, HOST, SWARM, SOURCES };
        struct pollfd sources[SOURCES] = {
                [STDIN] = {.fd = STDIN_FILENO, .events = POLLIN},
                [HOST] = {.fd = net->host_fd, .events = POLLIN},
                [SWARM] = {.fd = net->swarm_fd, .events = POLLIN},
        };
        bool busy = false;

        for (;;) {
                struct timespec wait = {0, BUSY_NS};
                int64_t now;

                /* While packets come they are looked for every 0.3 ms, many at a time. */
                if (!busy) {
                        int64_t next = net->n_heap > 0 ? net->heap[0]->at - now_ns() : SEC_NS;

                        if (next < WAIT_MIN_NS)
                                next = WAIT_MIN_NS;
                        wait = (struct timespec){next / SEC_NS, next % SEC_NS};
                }
                if (ppoll(sources, busy ? HOST : SOURCES, &wait, NULL) < 0) {
                        if (errno != EINTR)
                                die("poll");
                        continue;
                }
                if (sources[STDIN].revents && !listen_to_stdin(net))
                        return;
                now = now_ns();
                busy = take(net, true, now) + take(net, false, now) > 0;
                forward(net, now);
        }
}

int main(int argc, char **argv)
{
        struct network *net;

        if (argc != 4) {
                fprintf(stderr, "usage: wan CONFIG HOST_FD SWARM_FD\n");
                return 2;
        }
        net = calloc(1, sizeof *net);
        if (!net)
                die("memory");
        net->seed = 1;
        net->host.queue = 100;
        net->model = (struct settings){.rtt = 40, .queue = 200};
        read_config(net, argv[1]);
        open_devices(net, argv);
        net->began = now_ns();
        /* Both make it more precise, and it runs without them too. */
        (void)prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS);
        (void)setpriority(PRIO_PROCESS, 0, PRIORITY);
        puts("ready");
        fflush(stdout);
        run(net);
        return EXIT_SUCCESS;
}
