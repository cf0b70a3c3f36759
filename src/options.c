#include "options.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/check.h"
#include "base/text.h"
#include "options_tables.h"

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

static const struct option *find(const struct option_table *t, const char *name, size_t length)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct option *o = &t->options[i];

        if (strlen(o->name) == length && strncmp(o->name, name, length) == 0)
            return o;
        if (o->alias != NULL && strlen(o->alias) == length && strncmp(o->alias, name, length) == 0)
            return o;
    }
    return NULL;
}

static int set_number(const struct option *o, struct options *out, const char *from, const char *value, struct why *why)
{
    uint64_t *field = (uint64_t *)(void *)((char *)out + o->offset);
    uint64_t number = 0;
    int err = o->kind == KIND_SIZE ? text_size(value, o->max, &number) : text_u64(value, o->max, &number);

    if (err != 0 || number < o->min)
        return why_set(why, ERR_INVALID, "%s%s must be a number from %llu to %llu, not \"%s\"", from, o->name,
                       (unsigned long long)o->min, (unsigned long long)o->max, value);
    *field = number;
    return 0;
}

static int set_flag(const struct option *o, struct options *out, const char *from, const char *value, struct why *why)
{
    bool *field = (bool *)((char *)out + o->offset);

    if (strcasecmp(value, "true") == 0 || strcasecmp(value, "t") == 0 || strcmp(value, "1") == 0)
        *field = true;
    else if (strcasecmp(value, "false") == 0 || strcasecmp(value, "f") == 0 || strcmp(value, "0") == 0)
        *field = false;
    else
        return why_set(why, ERR_INVALID, "%s%s is true or false, not \"%s\"", from, o->name, value);
    return 0;
}

/* `from` is "-" for the command line, "the environment's " for that: the error says where the value came from. */
static int set(const struct option *o, struct options *out, const char *from, const char *value, struct why *why)
{
    switch (o->kind) {
    case KIND_TEXT:
        if (value[0] == '\0')
            return why_set(why, ERR_INVALID, "%s%s wants a value: %s", from, o->name, o->argument);
        *(const char **)(void *)((char *)out + o->offset) = value;
        return 0;
    case KIND_NUMBER:
    case KIND_SIZE:
        return set_number(o, out, from, value, why);
    case KIND_FLAG:
        return set_flag(o, out, from, value, why);
    }
    return ERR_INVALID;
}

static void set_defaults(const struct option_table *t, enum profile profile, struct options *out)
{
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < t->count; i++)
        if (t->options[i].kind == KIND_NUMBER || t->options[i].kind == KIND_SIZE)
            *(uint64_t *)(void *)((char *)out + t->options[i].offset) = t->options[i].otherwise;
    out->profile = profile;
    out->host = "localhost";
    out->log_format = "text";
}

static void environment_name(const struct option *o, char *out, size_t size)
{
    snprintf(out, size, o->variable != NULL ? "%s" : "RAFTD_%s", o->variable != NULL ? o->variable : o->name);
    for (char *c = out; *c != '\0'; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
}

static bool is_known(const struct option_table *t, const char *variable, size_t length)
{
    char name[40];

    for (size_t i = 0; i < t->count; i++) {
        environment_name(&t->options[i], name, sizeof name);
        if (strlen(name) == length && strncmp(name, variable, length) == 0)
            return true;
    }
    return false;
}

/* A name mistyped, or one of another profile, shall not be without effect and without a word. What does not fit is left out. */
static void note_strangers(const struct option_table *t, struct options *out)
{
    size_t used = 0;

    for (char *const *e = environ; *e != NULL; e++) {
        size_t length = strcspn(*e, "=");

        if (strncmp(*e, "RAFTD_", 6) != 0 || is_known(t, *e, length) || used + length + 3 > sizeof out->strangers)
            continue;
        used += (size_t)snprintf(out->strangers + used, sizeof out->strangers - used, "%s%.*s", used > 0 ? ", " : "",
                                 (int)length, *e);
    }
}

static int read_environment(const struct option_table *t, struct options *out, struct why *why)
{
    for (size_t i = 0; i < t->count; i++) {
        char name[40];
        const char *value = NULL;
        int err = 0;

        environment_name(&t->options[i], name, sizeof name);
        value = getenv(name);
        if (value != NULL)
            err = set(&t->options[i], out, "environment variable for -", value, why);
        if (err != 0)
            return err;
    }
    note_strangers(t, out);
    return 0;
}

static int read_argument(const struct option_table *t, int argc, char **argv, int *at, struct options *out,
                         struct why *why)
{
    const char *text = argv[*at] + (argv[*at][1] == '-' ? 2 : 1);
    const char *equals = strchr(text, '=');
    size_t length = equals != NULL ? (size_t)(equals - text) : strlen(text);
    const struct option *o = find(t, text, length);

    if (o == NULL)
        return why_set(why, ERR_INVALID, "unknown option %s; -help lists those there are", argv[*at]);
    if (equals != NULL)
        return set(o, out, "-", equals + 1, why);
    if (o->kind == KIND_FLAG)
        return set(o, out, "-", "true", why);
    if (*at + 1 >= argc)
        return why_set(why, ERR_INVALID, "-%s wants a value: %s", o->name, o->argument);
    (*at)++;
    return set(o, out, "-", argv[*at], why);
}

/* ---- which profile ---- */

static bool is_option(const char *argument)
{
    return argument[0] == '-' && argument[1] != '\0';
}

/* Whether the command line, read by table t, has the option `name`, or for NULL an argument that is no option. */
static bool mentions(const struct option_table *t, int argc, char **argv, const char *name)
{
    bool only_paths = false;

    for (int i = 1; i < argc; i++) {
        const char *text = argv[i] + (argv[i][0] == '-' ? 1 : 0) + (strncmp(argv[i], "--", 2) == 0 ? 1 : 0);
        size_t length = strcspn(text, "=");
        const struct option *o = find(t, text, length);

        if (!only_paths && strcmp(argv[i], "--") == 0) {
            only_paths = true;
        } else if (only_paths || !is_option(argv[i])) {
            if (name == NULL)
                return true;
        } else {
            if (name != NULL && strlen(name) == length && strncmp(text, name, length) == 0)
                return true;
            if (o != NULL && o->kind != KIND_FLAG && text[length] == '\0')
                i++; /* its value */
        }
    }
    return false;
}

static enum profile choose_profile(int argc, char **argv)
{
    const struct option_table *ours = option_table_of(PROFILE_RAFTD), *etcd = option_table_of(PROFILE_RAFTEXAMPLE);
    const char *slash = strrchr(argv[0], '/');
    const char *program = slash != NULL ? slash + 1 : argv[0];

    if (strcmp(program, "raftexample") == 0)
        return PROFILE_RAFTEXAMPLE;
    if (strcmp(program, "raft") == 0 || mentions(option_table_of(PROFILE_SHAJ13), argc, argv, "api"))
        return PROFILE_SHAJ13;
    if (mentions(etcd, argc, argv, "cluster") && mentions(etcd, argc, argv, "port") &&
        !mentions(etcd, argc, argv, NULL))
        return PROFILE_RAFTEXAMPLE;
    if (getenv("HTTP_SERVER_PORT") != NULL && !mentions(ours, argc, argv, NULL))
        return PROFILE_BALSA;
    return PROFILE_RAFTD;
}

int options_parse(int argc, char **argv, struct options *out, struct why *why)
{
    enum profile profile = choose_profile(argc, argv);
    const struct option_table *t = option_table_of(profile);
    bool only_paths = false;
    int err;

    set_defaults(t, profile, out);
    err = read_environment(t, out, why);
    for (int i = 1; i < argc && err == 0; i++) {
        if (!only_paths && strcmp(argv[i], "--") == 0)
            only_paths = true;
        else if (!only_paths && is_option(argv[i]))
            err = read_argument(t, argc, argv, &i, out, why);
        else if (!t->takes_datadir)
            err = why_set(why, ERR_INVALID, "\"%s\" is no option, and nothing else is wanted", argv[i]);
        else if (out->datadir != NULL)
            err = why_set(why, ERR_INVALID, "one DATADIR is wanted, but there are \"%s\" and \"%s\"", out->datadir,
                          argv[i]);
        else
            out->datadir = argv[i];
    }
    if (err != 0 || out->help || out->version)
        return err;
    return t->complete(out, why);
}

/* ---- help ---- */

static void print_option(const struct option *o)
{
    char left[60];
    int used = 0;

    used = snprintf(left, sizeof left, "  -%s%s%s", o->alias != NULL ? o->alias : o->name,
                    o->alias != NULL ? ", -" : "", o->alias != NULL ? o->name : "");
    if (o->argument != NULL)
        snprintf(left + used, sizeof left - (size_t)used, " %s", o->argument);
    printf("%-28s %s", left, o->text);
    if (o->kind == KIND_SIZE && o->otherwise % GIB == 0)
        printf(" (%llu GiB)", (unsigned long long)(o->otherwise / GIB));
    else if (o->kind == KIND_SIZE)
        printf(" (%llu MiB)", (unsigned long long)(o->otherwise / MIB));
    else if (o->kind == KIND_NUMBER && o->otherwise != 0)
        printf(" (%llu)", (unsigned long long)o->otherwise);
    printf("\n");
}

void options_help(const struct options *o)
{
    const struct option_table *t = option_table_of(o->profile);

    printf("%s\nOptions, with one or two dashes, -x VALUE or -x=VALUE; each also as environment variable %s:\n\n",
           t->about,
           o->profile == PROFILE_BALSA ? "(http-server-port as\nHTTP_SERVER_PORT, those from -admin on as RAFTD_ADMIN)"
                                       : "RAFTD_NAME\n(RAFTD_MAX_DB_SIZE for -max-db-size)");
    for (size_t i = 0; i < t->count; i++)
        print_option(&t->options[i]);
    printf(
        "\nExit status: 0 stopped in an orderly way or removed from the cluster, 1 could not start or go on, 64 wrong "
        "usage.\nraftd(8) has the rest, raftd-http(7) the HTTP interface, raftd-profiles(7) that of the other "
        "profiles.\n");
}

enum log_level options_log_level(const struct options *o)
{
    if (o->trace)
        return LOG_LEVEL_TRACE;
    return o->debug || o->verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
}

enum log_format options_log_format(const struct options *o)
{
    return strcmp(o->log_format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
}
