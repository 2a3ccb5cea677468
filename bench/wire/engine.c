/* An engine double: what a gateway costs is measured against an engine that costs nearly nothing.
 *
 * One thread on epoll. It takes the flags that rbee gives a llama-server and prints the line by
 * which the real one tells its port. What it answers stands in the request, in words that every
 * gateway passes on (anywhere in the body): `events=64 pace_us=5000 burst=1`, or nothing. Each event
 * says its number and the microsecond (CLOCK_MONOTONIC) at which it was sent: "content":"17@12345 ".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_BYTES = 1 << 17, OUT_BYTES = 1 << 18, EVENTS_AT_ONCE = 256, MOST_FDS = 1 << 16 };

typedef struct {
    int fd;
    size_t in_bytes, out_bytes, out_sent;
    char *in, *out;
    int events, sent_events, burst, usage, role_sent, closes;
    int64_t pace_us, due_us;
    int heap_at; /* in the heap of timers; -1: not in it */
} Connection;

static Connection *connections[MOST_FDS];
static Connection *heap[MOST_FDS];
static int heap_count, epoll_fd;
static const char *alias = "double";
static long accepted;

static int64_t now_us(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000LL + at.tv_nsec / 1000;
}

/* --- timers: a binary heap by the time at which the next events are due --- */

static void place(Connection *one, int at) {
    heap[at] = one;
    one->heap_at = at;
}

static void sift(int at) {
    Connection *one = heap[at];
    while (at > 0 && heap[(at - 1) / 2]->due_us > one->due_us) {
        place(heap[(at - 1) / 2], at);
        at = (at - 1) / 2;
    }
    for (;;) {
        int child = 2 * at + 1;
        if (child + 1 < heap_count && heap[child + 1]->due_us < heap[child]->due_us) child++;
        if (child >= heap_count || heap[child]->due_us >= one->due_us) break;
        place(heap[child], at);
        at = child;
    }
    place(one, at);
}

static void schedule(Connection *one, int64_t due_us) {
    one->due_us = due_us;
    if (one->heap_at < 0) place(one, heap_count++);
    sift(one->heap_at);
}

static void unschedule(Connection *one) {
    int at = one->heap_at;
    if (at < 0) return;
    one->heap_at = -1;
    heap_count--;
    if (at == heap_count) return;
    place(heap[heap_count], at);
    sift(at);
}

/* --- bytes out --- */

static void drop(Connection *one) {
    unschedule(one);
    connections[one->fd] = NULL;
    close(one->fd);
    free(one->in);
    free(one->out);
    free(one);
}

static void add(Connection *one, const char *data, size_t size) {
    memcpy(one->out + one->out_bytes, data, size);
    one->out_bytes += size;
}

/* False: the connection is gone. */
static int flush(Connection *one) {
    while (one->out_sent < one->out_bytes) {
        ssize_t sent = send(one->fd, one->out + one->out_sent, one->out_bytes - one->out_sent,
                            MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EAGAIN) {
                struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.fd = one->fd};
                epoll_ctl(epoll_fd, EPOLL_CTL_MOD, one->fd, &event);
                one->out_bytes -= one->out_sent;
                memmove(one->out, one->out + one->out_sent, one->out_bytes);
                one->out_sent = 0;
                return 1;
            }
            drop(one);
            return 0;
        }
        one->out_sent += sent;
    }
    one->out_sent = one->out_bytes = 0;
    if (one->closes && one->events == 0) {
        drop(one);
        return 0;
    }
    return 1;
}

static void add_event(Connection *one, const char *json) {
    char text[1024];
    int size = snprintf(text, sizeof text, "data: %s\n\n", json);
    char chunk[1100];
    int all = snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", size, text);
    add(one, chunk, all);
}

static void add_chat(Connection *one, const char *delta, const char *finish) {
    char json[900];
    snprintf(json, sizeof json,
             "{\"choices\":[{\"finish_reason\":%s,\"index\":0,\"delta\":{%s}}],\"created\":1,"
                 "\"id\":\"chatcmpl-double\",\"model\":\"%s\",\"system_fingerprint\":\"b0-double\","
                 "\"object\":\"chat.completion.chunk\"}",
                 finish, delta, alias);
    add_event(one, json);
}

static int has_room(Connection *one) { return one->out_bytes < OUT_BYTES - 4096; }

/* What is due now; False: the connection is gone. A client that does not read is waited for. */
static int stream(Connection *one) {
    if (!has_room(one)) {
        schedule(one, now_us() + 5000);
        return 1;
    }
    if (!one->role_sent) {
        one->role_sent = 1;
        const char *head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                           "Transfer-Encoding: chunked\r\n\r\n";
        add(one, head, strlen(head));
        add_chat(one, "\"role\":\"assistant\",\"content\":null", "null");
    }
    for (int i = 0; i < one->burst && one->sent_events < one->events && has_room(one);
         i++, one->sent_events++) {
        char delta[64];
        snprintf(delta, sizeof delta, "\"content\":\"%d@%lld \"", one->sent_events,
                 (long long)now_us());
        add_chat(one, delta, "null");
    }
    if (one->sent_events == one->events && has_room(one)) {
        add_chat(one, "", "\"length\"");
        if (one->usage) {
            char json[300];
            snprintf(json, sizeof json,
                     "{\"choices\":[],\"created\":1,\"id\":\"chatcmpl-double\",\"model\":\"%s\","
                     "\"object\":\"chat.completion.chunk\",\"usage\":{\"completion_tokens\":%d,"
                     "\"prompt_tokens\":9,\"total_tokens\":%d}}",
                     alias, one->events, one->events + 9);
            add_event(one, json);
        }
        const char *done = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
        add(one, done, strlen(done));
        one->events = 0;
        unschedule(one);
    } else {
        schedule(one, one->due_us + (has_room(one) ? one->pace_us : 5000));
    }
    return flush(one);
}

/* --- requests --- */

static long number_after(const char *text, const char *name, long otherwise) {
    const char *found = strstr(text, name);
    return found ? strtol(found + strlen(name), NULL, 10) : otherwise;
}

static int whole(Connection *one, const char *json) {
    char head[200];
    size_t size = strlen(json);
    int head_bytes = snprintf(head, sizeof head,
                              "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                              "Content-Length: %zu\r\n\r\n", size);
    add(one, head, head_bytes);
    add(one, json, size);
    return flush(one);
}

/* About 600 bytes, as an embedding of a few dozen numbers is. */
static const char *embedding(void) {
    static char json[1024];
    if (!*json) {
        char *at = json + sprintf(json, "{\"object\":\"list\",\"model\":\"%s\",\"usage\":"
                                  "{\"prompt_tokens\":9,\"total_tokens\":9},\"data\":[{\"object\":"
                                  "\"embedding\",\"index\":0,\"embedding\":[0.0", alias);
        for (int i = 0; i < 44; i++) at += sprintf(at, ",0.%08d", 7919 * (i + 1) * 13 % 99999989);
        sprintf(at, "]}]}");
    }
    return json;
}

static int chat(Connection *one, const char *body) {
    one->events = number_after(body, "events=", 16);
    one->pace_us = number_after(body, "pace_us=", 0);
    one->burst = number_after(body, "burst=", one->pace_us ? 1 : one->events);
    one->usage = strstr(body, "include_usage") != NULL;
    one->sent_events = one->role_sent = 0;
    if (!strstr(body, "\"stream\":true") && !strstr(body, "\"stream\": true")) {
        char json[400];
        snprintf(json, sizeof json,
                 "{\"id\":\"chatcmpl-double\",\"object\":\"chat.completion\",\"created\":1,"
                 "\"model\":\"%s\",\"choices\":[{\"index\":0,\"finish_reason\":\"length\",\"message\":"
                 "{\"role\":\"assistant\",\"content\":\"0@0 \"}}],\"usage\":{\"prompt_tokens\":9,"
                 "\"completion_tokens\":1,\"total_tokens\":10}}", alias);
        return whole(one, json);
    }
    one->due_us = now_us();
    return stream(one);
}

static int answer(Connection *one, const char *line, const char *body) {
    if (!strncmp(line, "POST /v1/embeddings ", 20)) return whole(one, embedding());
    if (!strncmp(line, "POST /v1/chat/", 14)) return chat(one, body);
    if (!strncmp(line, "POST /completion ", 17)) {
        /* The self-test of a worker: eight tokens. */
        char json[600] = "{\"tokens\":[0,1,2,3,4,5,6,7],\"completion_probabilities\":[";
        for (int i = 0; i < 8; i++)
            strcat(json, i ? ",{\"logprob\":-0.1,\"bytes\":[97]}" : "{\"logprob\":-0.1,\"bytes\":[97]}");
        return whole(one, strcat(json, "]}"));
    }
    if (!strncmp(line, "GET /v1/models ", 15)) {
        char json[300];
        snprintf(json, sizeof json, "{\"object\":\"list\",\"data\":[{\"id\":\"%s\",\"object\":\"model\","
                 "\"created\":1,\"owned_by\":\"double\"}]}", alias);
        return whole(one, json);
    }
    if (!strncmp(line, "GET /connects ", 14)) {
        char json[64];
        snprintf(json, sizeof json, "{\"accepted\":%ld}", accepted);
        return whole(one, json);
    }
    return whole(one, "{\"status\":\"ok\"}");
}

/* Takes one complete request off the input; False: there is none, or the connection is gone. */
static int next_request(Connection *one) {
    one->in[one->in_bytes] = 0;
    char *end = memmem(one->in, one->in_bytes, "\r\n\r\n", 4);
    if (!end) return 0;
    size_t length = 0;
    for (char *line = one->in; line < end; line = strstr(line, "\r\n") + 2) {
        if (!strncasecmp(line, "content-length:", 15)) length = strtoul(line + 15, NULL, 10);
        if (!strncasecmp(line, "connection: close", 17)) one->closes = 1;
    }
    size_t all = end + 4 - one->in + length;
    if (all >= IN_BYTES) {
        drop(one);
        return 0;
    }
    if (one->in_bytes < all) return 0;
    char saved = one->in[all];
    one->in[all] = 0;
    int fd = one->fd;
    if (!answer(one, one->in, end + 4)) return 0;
    one = connections[fd];
    one->in[all] = saved;
    one->in_bytes -= all;
    memmove(one->in, one->in + all, one->in_bytes);
    return 1;
}

static void readable(Connection *one) {
    int fd = one->fd;
    ssize_t got = recv(fd, one->in + one->in_bytes, IN_BYTES - 1 - one->in_bytes, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN) drop(one);
        return;
    }
    one->in_bytes += got;
    while (connections[fd] == one && one->events == 0 && next_request(one)) {
    }
}

static void take_connection(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= MOST_FDS) {
            close(fd);
            continue;
        }
        int yes = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        Connection *one = calloc(1, sizeof *one);
        one->fd = fd;
        one->in = malloc(IN_BYTES);
        one->out = malloc(OUT_BYTES);
        one->heap_at = -1;
        connections[fd] = one;
        accepted++;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static void serve(int listener) {
    struct epoll_event events[EVENTS_AT_ONCE];
    for (;;) {
        struct timespec wait = {1, 0};
        if (heap_count) {
            int64_t left_us = heap[0]->due_us - now_us();
            if (left_us < 0) left_us = 0;
            if (left_us < 1000000) wait = (struct timespec){0, left_us * 1000};
        }
        int count = epoll_pwait2(epoll_fd, events, EVENTS_AT_ONCE, &wait, NULL);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                take_connection(listener);
                continue;
            }
            Connection *one = connections[fd];
            if (!one) continue;
            if (events[i].events & EPOLLOUT) {
                struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
                epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event);
                if (!flush(one)) continue;
            }
            if (events[i].events & ~EPOLLOUT) readable(one);
        }
        int64_t now = now_us();
        while (heap_count && heap[0]->due_us <= now) {
            Connection *one = heap[0];
            int fd = one->fd;
            if (stream(one) && one->events == 0)
                while (connections[fd] == one && one->events == 0 && next_request(one)) {
                }
        }
    }
}

int main(int argc, char **argv) {
    int port = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--version")) {
            fprintf(stderr, "version: 0 (double)\n");
            return 0;
        }
        if (!strcmp(argv[i], "--list-devices")) {
            printf("Available devices:\n");
            return 0;
        }
        if (!strcmp(argv[i], "--port") && i + 1 < argc) port = atoi(argv[i + 1]);
        if (!strcmp(argv[i], "--alias") && i + 1 < argc) alias = argv[i + 1];
    }
    signal(SIGPIPE, SIG_IGN);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) {
        fprintf(stderr, "couldn't bind HTTP server socket, hostname: 127.0.0.1, port: %d\n", port);
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&address, &size);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    fprintf(stderr, "main: server is listening on http://127.0.0.1:%d\n", ntohs(address.sin_port));
    serve(listener);
}
