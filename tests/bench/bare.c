/* bare.c -- civetweb alone with an empty handler: what scripts/bench.sh measures raftd against.
 *
 * usage: bare PORT THREADS; ends with SIGTERM or SIGINT. It reads each body, as any server must, and answers 200. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <civetweb.h>

static int answer(struct mg_connection *connection, void *unused)
{
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    char body[4096];

    (void)unused;
    while (mg_read(connection, body, sizeof body) > 0)
        ;
    mg_write(connection, reply, sizeof reply - 1);
    return 200;
}

int main(int argc, char **argv)
{
    struct mg_callbacks callbacks;
    struct mg_context *context;
    sigset_t ends;
    int number;

    if (argc != 3) {
        fprintf(stderr, "usage: bare PORT THREADS\n");
        return 64;
    }
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL); /* before threads exist, so that they inherit it */

    const char *options[] = {"listening_ports",       argv[1], "num_threads", argv[2],
                             "enable_keep_alive",     "yes",   "tcp_nodelay", "1",
                             "keep_alive_timeout_ms", "10000", NULL};

    memset(&callbacks, 0, sizeof callbacks);
    mg_init_library(0);
    context = mg_start(&callbacks, NULL, options);
    if (context == NULL) {
        fprintf(stderr, "bare: cannot listen on port %s with %s threads\n", argv[1], argv[2]);
        return 1;
    }
    mg_set_request_handler(context, "/", answer, NULL);
    sigwait(&ends, &number);
    mg_stop(context);
    mg_exit_library();
    return 0;
}
