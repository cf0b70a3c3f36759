#include "store/guard.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic(struct guard *) watched[GUARDS_MAX];
static _Thread_local struct guard *at_work;

/* All below may run in a handler: nothing but system calls. */

static void put(int fd, const char *text)
{
    ssize_t written = write(fd, text, strlen(text));

    (void)written; /* there is nobody left to tell */
}

static void note(const struct guard *g)
{
    int fd = g->note != NULL ? open(g->note, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;

    if (fd < 0)
        return;
    put(fd, g->text);
    (void)fsync(fd);
    close(fd);
}

void guard_end(const struct guard *g, const char *what)
{
    note(g);
    put(STDERR_FILENO, "raftd: ");
    put(STDERR_FILENO, g->path);
    put(STDERR_FILENO, " cannot be used: ");
    put(STDERR_FILENO, what);
    put(STDERR_FILENO, "; ");
    put(STDERR_FILENO, g->advice);
    put(STDERR_FILENO, "\n");
    _exit(EXIT_FAILURE);
}

static const struct guard *guard_of(const void *address)
{
    for (unsigned i = 0; i < GUARDS_MAX; i++) {
        const struct guard *g = atomic_load(&watched[i]);

        if (g != NULL && g->base != NULL && (uintptr_t)address - (uintptr_t)g->base < g->size)
            return g;
    }
    return NULL;
}

static void on_bus_error(int signal, siginfo_t *info, void *context)
{
    const struct guard *g = at_work != NULL ? at_work : guard_of(info->si_addr);

    (void)signal;
    (void)context;
    if (g != NULL)
        guard_end(g, "a part of it cannot be read, for its disk fails or it was cut short or damaged");
    put(STDERR_FILENO,
        "raftd: a file of DATADIR cannot be read: its disk fails, or it was cut short; restore DATADIR, or "
        "join anew with another one\n");
    _exit(EXIT_FAILURE);
}

/* One that did not come from damage is a fault of ours, and ends as ever: with a core, where those are wanted. */
static void on_bad_address(int number, siginfo_t *info, void *context)
{
    (void)info;
    (void)context;
    if (at_work != NULL)
        guard_end(at_work, "a page of it makes no sense");
    (void)signal(number, SIG_DFL);
}

void guard_install(void)
{
    struct sigaction action = {.sa_flags = SA_SIGINFO};

    sigemptyset(&action.sa_mask);
    action.sa_sigaction = on_bus_error;
    (void)sigaction(SIGBUS, &action, NULL);
    action.sa_sigaction = on_bad_address;
    (void)sigaction(SIGSEGV, &action, NULL);
}

void guard_watch(struct guard *g)
{
    for (unsigned i = 0; i < GUARDS_MAX; i++) {
        struct guard *nobody = NULL;

        if (atomic_compare_exchange_strong(&watched[i], &nobody, g))
            return;
    }
}

void guard_forget(struct guard *g)
{
    for (unsigned i = 0; i < GUARDS_MAX; i++) {
        struct guard *own = g;

        (void)atomic_compare_exchange_strong(&watched[i], &own, NULL);
    }
}

void guard_work(struct guard *g)
{
    at_work = g;
}
