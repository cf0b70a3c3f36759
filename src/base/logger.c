#include "base/logger.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/text.h"

#define RING_SIZE    (64 * 1024) /* bytes of finished lines that wait */
#define MESSAGE_SIZE 1024        /* bytes of one message, before escaping; the rest is cut */
#define LINE_LIMIT   (16 * 1024) /* bytes of one line; more than escaping can make of a message */
#define CHUNK_SIZE   4096        /* bytes at a time: a pipe that polls writable takes PIPE_BUF without blocking */
#define STACK_SIZE   (64 * 1024) /* bytes */
#define POLL_MS      100         /* how often a stuck output is looked at again */
#define LAST_WORDS   500         /* ms that a stuck output is given when no thread can wait for it any longer */

struct settings {
    enum log_format format;
    char name[64];
};

static _Atomic int threshold = LOG_LEVEL_INFO; /* alone outside the lock: every log_* reads it */

/* `lock` is a leaf: nothing else is locked under it, and nothing under it waits for a disk or a terminal. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake; /* the writing thread waits here for lines */
    pthread_t thread;
    struct settings settings;
    char ring[RING_SIZE];
    size_t head, used; /* the oldest byte, and how many there are */
    uint64_t dropped;  /* lines since the last report of them */
    bool running;      /* the thread takes lines; else they are written at once */
    bool stopping;
    uint64_t give_up_at; /* while stopping */
} logger = {
    .lock = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
    .settings = {.format = LOG_FORMAT_TEXT, .name = "raftd"},
};

static const char *level_name(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "error";
    case LOG_LEVEL_WARN:
        return "warn";
    case LOG_LEVEL_INFO:
        return "info";
    case LOG_LEVEL_DEBUG:
        return "debug";
    case LOG_LEVEL_TRACE:
        return "trace";
    }
    return "?";
}

static const char *level_label(enum log_level level)
{
    switch (level) {
    case LOG_LEVEL_ERROR:
        return "[ERROR]";
    case LOG_LEVEL_WARN:
        return "[WARN] ";
    case LOG_LEVEL_INFO:
        return "[INFO] ";
    case LOG_LEVEL_DEBUG:
        return "[DEBUG]";
    case LOG_LEVEL_TRACE:
        return "[TRACE]";
    }
    return "[?]    ";
}

/* ---- one line ---- */

/* For a terminal: whatever is not printable text becomes \n, \t or \xNN, so that one event is one line and no value can
 * move the cursor. */
static void append_printable(struct bytes *out, struct view in)
{
    while (in.size > 0) {
        size_t length = text_utf8_length(in);
        uint8_t first = in.data[0];

        if (first == '\n') {
            bytes_append_text(out, "\\n");
        } else if (first == '\t') {
            bytes_append_text(out, "\\t");
        } else if (length == 0 || first < 0x20 || first == 0x7f) {
            bytes_printf(out, "\\x%02x", (unsigned)first);
            length = 1;
        } else if (first == 0xc2 && in.data[1] < 0xa0) { /* the C1 controls */
            bytes_printf(out, "\\x%02x", (unsigned)in.data[1]);
        } else {
            bytes_append(out, in.data, length);
        }
        in = view_of(in.data + length, in.size - length);
    }
}

static bool is_key_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

/* The length of the key if "key=" is at `p`, else 0. The line's own fields are no keys: a value cannot forge them. */
static size_t key_length(const char *p)
{
    static const char *const own[] = {"time", "level", "node", "event", "message"};
    size_t length = 0;

    while (is_key_char(p[length]))
        length++;
    if (p[length] != '=')
        return 0;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        if (strlen(own[i]) == length && memcmp(own[i], p, length) == 0)
            return 0;
    }
    return length;
}

/* Where the words at `p` end: before the next " key=" or at the end of the text. */
static const char *end_of_words(const char *p)
{
    for (; *p != '\0'; p++) {
        if (*p == ' ' && key_length(p + 1) > 0)
            break;
    }
    return p;
}

/* Where the value at `p` ends: as words do, or behind its closing quote, so that a quoted one may hold " key=". */
static const char *end_of_value(const char *p)
{
    const char *quote = *p == '"' ? strchr(p + 1, '"') : NULL;

    while (quote != NULL && quote[1] != '\0' && (quote[1] != ' ' || key_length(quote + 2) == 0))
        quote = strchr(quote + 1, '"');
    return quote != NULL ? quote + 1 : end_of_words(p);
}

static struct view without_quotes(struct view v)
{
    if (v.size >= 2 && v.data[0] == '"' && v.data[v.size - 1] == '"')
        return view_of(v.data + 1, v.size - 2);
    return v;
}

/* An integer as JSON writes it. */
static bool is_number(struct view v)
{
    size_t i = v.size > 0 && v.data[0] == '-' ? 1 : 0;

    if (i == v.size || v.size > 20 || (v.data[i] == '0' && v.size > i + 1))
        return false;
    for (; i < v.size; i++) {
        if (v.data[i] < '0' || v.data[i] > '9')
            return false;
    }
    return true;
}

static void append_field(struct bytes *out, struct view key, struct view value)
{
    bytes_append_text(out, ",\"");
    text_json_escape(out, key);
    bytes_append_text(out, "\":");
    if (is_number(value)) {
        bytes_append(out, value.data, value.size);
        return;
    }
    bytes_append_char(out, '"');
    text_json_escape(out, without_quotes(value));
    bytes_append_char(out, '"');
}

static struct view view_between(const char *start, const char *end)
{
    return view_of(start, (size_t)(end - start));
}

/* "event: words key=value key=value", every part of which may be missing. A value ends before the next key, so it may
 * hold spaces. */
static void append_json_fields(struct bytes *out, const char *message)
{
    const char *end = end_of_words(message);
    const char *colon = strstr(message, ": ");
    const char *p = colon != NULL && colon < end ? colon : end;

    bytes_append_text(out, ",\"event\":\"");
    text_json_escape(out, view_between(message, p));
    bytes_append_char(out, '"');
    if (p == colon)
        p++;
    while (*p == ' ')
        p++;
    if (*p != '\0' && key_length(p) == 0) {
        const char *words = p;

        p = end_of_words(p);
        append_field(out, view_of_text("message"), view_between(words, p));
        p += *p == ' ';
    }
    while (*p != '\0') {
        const char *value = p + key_length(p) + 1;

        end = end_of_value(value);
        append_field(out, view_between(p, value - 1), view_between(value, end));
        p = end + (*end == ' ');
    }
}

static void make_line(struct bytes *out, const struct settings *settings, enum log_level level, const char *message)
{
    char time[32];

    clock_wall_text(time, sizeof time);
    switch (settings->format) {
    case LOG_FORMAT_TEXT:
        bytes_printf(out, "%s %s ", time, level_label(level));
        append_printable(out, view_of_text(settings->name));
        bytes_append_text(out, ": ");
        append_printable(out, view_of_text(message));
        break;
    case LOG_FORMAT_JSON:
        bytes_printf(out, "{\"time\":\"%s\",\"level\":\"%s\",\"node\":\"", time, level_name(level));
        text_json_escape(out, view_of_text(settings->name));
        bytes_append_char(out, '"');
        append_json_fields(out, message);
        bytes_append_char(out, '}');
        break;
    }
    bytes_append_char(out, '\n');
    CHECK(!out->overflow);
}

/* ---- the ring; all of it under the lock ---- */

static bool ring_put(struct view line)
{
    size_t tail = (logger.head + logger.used) % RING_SIZE;
    size_t first = RING_SIZE - tail;

    if (line.size > RING_SIZE - logger.used)
        return false;
    if (first > line.size)
        first = line.size;
    memcpy(logger.ring + tail, line.data, first);
    memcpy(logger.ring, line.data + first, line.size - first);
    logger.used += line.size;
    return true;
}

/* Copies the oldest bytes to `out`, whole lines if one fits, and leaves them in the ring. */
static size_t ring_peek(char out[static CHUNK_SIZE])
{
    size_t size = logger.used < CHUNK_SIZE ? logger.used : CHUNK_SIZE;
    size_t first = RING_SIZE - logger.head;
    const char *newline;

    if (first > size)
        first = size;
    memcpy(out, logger.ring + logger.head, first);
    memcpy(out + first, logger.ring, size - first);
    newline = memrchr(out, '\n', size);
    return newline == NULL ? size : (size_t)(newline - out) + 1;
}

static void ring_drop(size_t size)
{
    logger.head = (logger.head + size) % RING_SIZE;
    logger.used -= size;
}

static void report_dropped(void)
{
    struct bytes line;
    char message[80];

    bytes_init(&line, LINE_LIMIT);
    snprintf(message, sizeof message, "log lines dropped: count=%llu", (unsigned long long)logger.dropped);
    make_line(&line, &logger.settings, LOG_LEVEL_WARN, message);
    if (ring_put(bytes_view(&line)))
        logger.dropped = 0;
    bytes_clear(&line);
}

/* ---- the writing thread ---- */

/* Writes what the output takes now, waiting at most POLL_MS for it. Returns how much of `lines` is dealt with: all
 * where the output is broken, since nobody could be told. */
static size_t write_some(struct view lines)
{
    struct pollfd output = {.fd = STDERR_FILENO, .events = POLLOUT};
    ssize_t written;

    if (poll(&output, 1, POLL_MS) <= 0)
        return 0;
    written = write(STDERR_FILENO, lines.data, lines.size < CHUNK_SIZE ? lines.size : CHUNK_SIZE);
    if (written >= 0)
        return (size_t)written;
    return errno == EINTR || errno == EAGAIN ? 0 : lines.size;
}

static void *write_lines(void *unused)
{
    char chunk[CHUNK_SIZE];

    pthread_mutex_lock(&logger.lock);
    for (;;) {
        size_t size, written;

        if (logger.dropped > 0)
            report_dropped();
        if (logger.stopping && (logger.used == 0 || clock_now_ms() >= logger.give_up_at))
            break;
        if (logger.used == 0) {
            pthread_cond_wait(&logger.wake, &logger.lock);
            continue;
        }
        size = ring_peek(chunk);
        pthread_mutex_unlock(&logger.lock);
        written = write_some(view_of(chunk, size));
        pthread_mutex_lock(&logger.lock);
        ring_drop(written);
    }
    logger.running = false;
    logger.used = 0;
    pthread_mutex_unlock(&logger.lock);
    return unused;
}

/* Signals are for the main thread, which waits for them: block them all before the thread inherits our mask. */
static int make_thread(void)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    int error;

    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, STACK_SIZE) == 0);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&logger.thread, &attributes, write_lines, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return error == 0 ? 0 : ERR_NO_RESOURCES;
}

/* ---- what others call ---- */

void logger_configure(enum log_level level, enum log_format format, const char *name)
{
    pthread_mutex_lock(&logger.lock);
    logger.settings.format = format;
    snprintf(logger.settings.name, sizeof logger.settings.name, "%s", name != NULL ? name : "raftd");
    pthread_mutex_unlock(&logger.lock);
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

int logger_start(void)
{
    int err = 0;

    pthread_mutex_lock(&logger.lock);
    if (!logger.running) {
        logger.stopping = false;
        err = make_thread();
        logger.running = err == 0;
    }
    pthread_mutex_unlock(&logger.lock);
    return err;
}

void logger_stop(void)
{
    bool running;

    pthread_mutex_lock(&logger.lock);
    running = logger.running;
    logger.stopping = true;
    logger.give_up_at = clock_now_ms() + LAST_WORDS;
    pthread_cond_signal(&logger.wake);
    pthread_mutex_unlock(&logger.lock);
    if (running)
        pthread_join(logger.thread, NULL);
}

bool logger_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&threshold, memory_order_relaxed);
}

/* Without the thread, at the start and the end of the process. A stuck output must not keep us from ending. */
static void write_at_once(struct view line)
{
    uint64_t give_up_at = clock_now_ms() + LAST_WORDS;

    while (line.size > 0 && clock_now_ms() < give_up_at) {
        size_t written = write_some(line);

        line = view_of(line.data + written, line.size - written);
    }
}

void logger_write(enum log_level level, const char *format, ...)
{
    int saved_errno = errno;
    char message[MESSAGE_SIZE];
    struct settings settings;
    struct bytes line;
    va_list args;
    bool running;

    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    pthread_mutex_lock(&logger.lock);
    settings = logger.settings;
    pthread_mutex_unlock(&logger.lock);
    bytes_init(&line, LINE_LIMIT);
    make_line(&line, &settings, level, message);

    pthread_mutex_lock(&logger.lock);
    running = logger.running;
    if (running) {
        if (!ring_put(bytes_view(&line)))
            logger.dropped++;
        pthread_cond_signal(&logger.wake);
    }
    pthread_mutex_unlock(&logger.lock);
    if (!running)
        write_at_once(bytes_view(&line));
    bytes_clear(&line);
    errno = saved_errno;
}
