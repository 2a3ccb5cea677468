/* A crowd of clients: load PORT CLIENTS SECONDS PATH BODY [EVENTS] [DROP_PERMILLE] [KEY] [MOST]
 *
 * One thread on epoll; each client asks, reads the whole answer, checks it, and asks again on the
 * same connection. EVENTS > 0: the answer is a stream whose events must be numbered 0..EVENTS-1 and
 * end with a finish and [DONE]; 0: a body, the same each time. DROP_PERMILLE of the answers are cut by
 * the client at a random byte. Prints one line of JSON. A request ends in microseconds, so nothing
 * is allocated while it runs.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES = 1 << 16, SAMPLES = 1 << 22, EVENTS_AT_ONCE = 256, MOST_CLIENTS = 1 << 14 };
typedef enum { HEAD, LENGTH, SIZE, DATA, AFTER_DATA, TRAILER } State;

typedef struct {
    int fd, chunked, finished, done, first_seen;
    State state;
    long status, left, next_event, body_bytes, cut_after;
    uint64_t hash;
    size_t line_bytes;
    int64_t asked_us;
    char line[LINE_BYTES]; /* of the head, of a chunk's size, of the stream */
    char rest[LINE_BYTES]; /* of an event that is not whole yet */
    size_t rest_bytes;
} Client;

static Client clients[MOST_CLIENTS];
static int client_count, epoll_fd, port;
static const char *body;
static char request[LINE_BYTES];
static size_t request_bytes;
static long events_wanted, drop_permille, most = -1;
static int64_t until_us;
static uint64_t expected_hash;
static long requests, asked, chunks, errors, dropped, connects, read_bytes;
static char first_error[300];
static float *took_us, *first_us, *delay_us;
static long took_count, first_count, delay_count;

static int64_t now_us(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000LL + at.tv_nsec / 1000;
}

static void note(float *samples, long *count, int64_t us) {
    if (*count < SAMPLES) samples[(*count)++] = us;
}

static void dial(Client *one) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int yes = 1;
    one->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(one->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) {
        perror("connect");
        exit(1);
    }
    connects++;
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = one};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, one->fd, &event);
    one->asked_us = 0;
}

static void ask(Client *one) {
    if (most >= 0 && asked >= most) return;
    asked++;
    one->state = HEAD;
    one->line_bytes = one->rest_bytes = 0;
    one->chunked = one->finished = one->done = one->first_seen = 0;
    one->next_event = one->body_bytes = 0;
    one->left = -1;
    one->hash = 1469598103934665603ULL;
    one->cut_after = -1;
    if (drop_permille && random() % 1000 < drop_permille) one->cut_after = random() % 2000;
    one->asked_us = now_us();
    if (send(one->fd, request, request_bytes, MSG_NOSIGNAL) != (ssize_t)request_bytes) {
        errors++;
        snprintf(first_error, sizeof first_error, "a request could not be sent");
    }
}

static void redial(Client *one) {
    close(one->fd);
    if (now_us() < until_us && (most < 0 || asked < most)) dial(one);
    else one->fd = -1, client_count--;
}

static void fail(Client *one, const char *why) {
    errors++;
    if (!*first_error)
        snprintf(first_error, sizeof first_error, "%s (status %ld, event %ld) %.120s", why,
                 one->status, one->next_event, one->line);
    for (char *at = first_error; *at; at++)
        if (*at == '"' || *at == '\\' || *at < ' ') *at = '\'';
}

static void answered(Client *one) {
    int64_t now = now_us();
    if (one->status != 200) fail(one, "not 200");
    else if (events_wanted && one->next_event != events_wanted) fail(one, "events are missing");
    else if (events_wanted && (!one->finished || !one->done)) fail(one, "no finish");
    else if (!events_wanted && expected_hash && one->hash != expected_hash) fail(one, "another body");
    else {
        requests++;
        note(took_us, &took_count, now - one->asked_us);
        if (!events_wanted && !expected_hash) expected_hash = one->hash;
    }
    if (now < until_us) ask(one);
    else if (most < 0 || asked >= most) redial(one);
}

/* One whole event of a stream. */
static void event(Client *one, char *text, int64_t now) {
    chunks++;
    char *said = strstr(text, "\"content\":\"");
    if (said) {
        char *end;
        long number = strtol(said + 11, &end, 10);
        if (*end == '@') {
            if (number != one->next_event) fail(one, "an event is missing");
            one->next_event = number + 1;
            note(delay_us, &delay_count, now - strtoll(end + 1, NULL, 10));
        }
    }
    if (strstr(text, "\"finish_reason\":\"")) one->finished = 1;
    if (strstr(text, "data: [DONE]")) one->done = 1;
    if (strstr(text, "\"error\":")) fail(one, text);
}

static void take(Client *one, const char *data, size_t size, int64_t now) {
    one->body_bytes += size;
    if (!events_wanted) {
        for (size_t i = 0; i < size; i++) one->hash = (one->hash ^ (uint8_t)data[i]) * 1099511628211ULL;
        return;
    }
    if (!one->first_seen && memmem(data, size, "@", 1)) {
        one->first_seen = 1;
        note(first_us, &first_count, now - one->asked_us);
    }
    if (one->rest_bytes + size >= LINE_BYTES) {
        fail(one, "an event without end");
        one->rest_bytes = 0;
        return;
    }
    memcpy(one->rest + one->rest_bytes, data, size);
    one->rest_bytes += size;
    one->rest[one->rest_bytes] = 0;
    char *at = one->rest, *end;
    while ((end = strstr(at, "\n\n"))) {
        *end = 0;
        event(one, at, now);
        at = end + 2;
    }
    one->rest_bytes -= at - one->rest;
    memmove(one->rest, at, one->rest_bytes);
}

/* A line of the head or of the chunked coding, without its end. False: the answer is over. */
static int line(Client *one) {
    char *text = one->line;
    if (one->state == SIZE) {
        one->left = strtol(text, NULL, 16);
        one->state = one->left ? DATA : TRAILER;
        return 1;
    }
    if (one->state == AFTER_DATA) return one->state = SIZE, 1;
    if (one->state == TRAILER) return *text != 0;
    if (!strncmp(text, "HTTP/1.1 ", 9)) one->status = strtol(text + 9, NULL, 10);
    else if (!strncasecmp(text, "content-length:", 15)) one->left = strtol(text + 15, NULL, 10);
    else if (!strncasecmp(text, "transfer-encoding:", 18)) one->chunked = 1;
    else if (!*text) {
        one->state = one->chunked ? SIZE : LENGTH;
        return one->chunked || one->left != 0;
    }
    return 1;
}

/* False: the connection is another one now. */
static int feed(Client *one, char *data, size_t size) {
    int64_t now = now_us();
    read_bytes += size;
    while (size) {
        if (one->state == LENGTH || one->state == DATA) {
            size_t part = (long)size < one->left ? size : (size_t)one->left;
            take(one, data, part, now);
            data += part, size -= part, one->left -= part;
            if (one->left == 0 && one->state == LENGTH) {
                answered(one);
                return 0;
            }
            if (one->left == 0) one->state = AFTER_DATA;
            continue;
        }
        char byte = *data++;
        size--;
        if (byte == '\n') {
            if (one->line_bytes && one->line[one->line_bytes - 1] == '\r') one->line_bytes--;
            one->line[one->line_bytes] = 0;
            one->line_bytes = 0;
            if (!line(one)) {
                answered(one);
                return 0;
            }
        } else if (one->line_bytes < LINE_BYTES - 1) {
            one->line[one->line_bytes++] = byte;
        }
    }
    return 1;
}

static void readable(Client *one) {
    static char data[1 << 17];
    ssize_t got = recv(one->fd, data, sizeof data, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        if (one->asked_us && now_us() < until_us) fail(one, got ? "reset" : "closed");
        redial(one);
        return;
    }
    if (one->cut_after >= 0 && (one->cut_after -= got) < 0) {
        dropped++;
        redial(one);
        return;
    }
    feed(one, data, got);
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double quantile(float *samples, long count, double share) {
    if (!count) return 0;
    long at = share * count;
    return samples[at < count ? at : count - 1];
}

static void print(double seconds) {
    qsort(took_us, took_count, sizeof *took_us, by_size);
    qsort(first_us, first_count, sizeof *first_us, by_size);
    qsort(delay_us, delay_count, sizeof *delay_us, by_size);
    printf("{\"requests\":%ld,\"chunks\":%ld,\"errors\":%ld,\"dropped\":%ld,\"connects\":%ld,"
           "\"read_bytes\":%ld,\"seconds\":%.3f,\"p50_us\":%.0f,\"p99_us\":%.0f,\"first_p50_us\":%.0f,"
           "\"delay_p50_us\":%.0f,\"delay_p99_us\":%.0f,\"error\":\"%s\"}\n",
           requests, chunks, errors, dropped, connects, read_bytes, seconds,
           quantile(took_us, took_count, .5), quantile(took_us, took_count, .99),
           quantile(first_us, first_count, .5), quantile(delay_us, delay_count, .5),
           quantile(delay_us, delay_count, .99), first_error);
}

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    port = atoi(argv[1]);
    client_count = atoi(argv[2]);
    double seconds = atof(argv[3]);
    body = argv[5];
    events_wanted = argc > 6 ? atol(argv[6]) : 0;
    drop_permille = argc > 7 ? atol(argv[7]) : 0;
    const char *key = argc > 8 ? argv[8] : "any";
    most = argc > 9 ? atol(argv[9]) : -1;
    took_us = malloc(SAMPLES * sizeof *took_us);
    first_us = malloc(SAMPLES * sizeof *first_us);
    delay_us = malloc(SAMPLES * sizeof *delay_us);
    request_bytes = snprintf(request, sizeof request,
                             "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: "
                             "application/json\r\nAuthorization: Bearer %s\r\nUser-Agent: load\r\n"
                             "Accept: */*\r\nContent-Length: %zu\r\n\r\n%s",
                             argv[4], port, key, strlen(body), body);
    epoll_fd = epoll_create1(0);
    int64_t began = now_us();
    until_us = began + seconds * 1e6;
    for (int i = 0, all = client_count; i < all; i++) dial(&clients[i]);
    struct epoll_event events[EVENTS_AT_ONCE];
    /* Answers that run at the end have another five seconds. */
    while (client_count > 0 && now_us() < until_us + 5000000) {
        if (most >= 0 && asked >= most && requests + errors + dropped >= asked) break;
        int count = epoll_wait(epoll_fd, events, EVENTS_AT_ONCE, 100);
        for (int i = 0; i < count; i++) {
            Client *one = events[i].data.ptr;
            if (one->fd < 0) continue;
            if (!one->asked_us) {
                struct epoll_event event = {.events = EPOLLIN, .data.ptr = one};
                epoll_ctl(epoll_fd, EPOLL_CTL_MOD, one->fd, &event);
                ask(one);
            } else {
                readable(one);
            }
        }
    }
    print((now_us() - began) / 1e6);
}
