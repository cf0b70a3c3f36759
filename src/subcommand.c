#include "subcommand.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void print_help(const struct subcommand *c)
{
    printf("raftd %s %s\n\n%s Options:\n\n", c->name, c->usage, c->about);
    for (size_t i = 0; i < c->option_count; i++) {
        const struct suboption *o = &c->options[i];
        char left[48];

        snprintf(left, sizeof left, "%s%s%s", o->name, o->argument != NULL ? " " : "",
                 o->argument != NULL ? o->argument : "");
        printf("  -%-20s %s\n", left, o->text);
    }
    printf("  -%-20s %s\n", "help", "print this and exit");
    printf("\nExit status: 0 done, 1 it could not be, 64 wrong usage. raftd(8) has the rest.\n");
}

static const struct suboption *find(const struct subcommand *c, const char *name, size_t size)
{
    for (size_t i = 0; i < c->option_count; i++)
        if (strlen(c->options[i].name) == size && strncmp(c->options[i].name, name, size) == 0)
            return &c->options[i];
    return NULL;
}

static enum subcommand_ending complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

static enum subcommand_ending complain(const char *format, ...)
{
    va_list args;

    fprintf(stderr, "raftd: ");
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\n");
    return SUBCOMMAND_WRONG;
}

/* The option at argv[*i]; moves *i to its argument, if that is a word of its own. */
static enum subcommand_ending take_option(const struct subcommand *c, int argc, char **argv, int *i)
{
    const char *name = argv[*i] + (argv[*i][1] == '-' ? 2 : 1);
    size_t size = strcspn(name, "=");
    const struct suboption *o = find(c, name, size);

    if (strcmp(name, "help") == 0) {
        print_help(c);
        return SUBCOMMAND_HELPED;
    }
    if (o == NULL || (o->argument == NULL && name[size] == '='))
        return complain("unknown option %s; raftd %s -help lists them", argv[*i], c->name);
    if (o->argument == NULL) {
        *o->flag = true;
        return SUBCOMMAND_GO_ON;
    }
    if (name[size] == '=')
        *o->text_out = name + size + 1;
    else if (*i + 1 < argc)
        *o->text_out = argv[++*i];
    else
        return complain("option %s wants an argument, %s", argv[*i], o->argument);
    return SUBCOMMAND_GO_ON;
}

enum subcommand_ending subcommand_parse(const struct subcommand *c, int argc, char **argv, const char **arguments)
{
    size_t count = 0;

    for (int i = 1; i < argc; i++) {
        enum subcommand_ending ending = SUBCOMMAND_GO_ON;

        if (argv[i][0] == '-' && argv[i][1] != '\0')
            ending = take_option(c, argc, argv, &i);
        else if (c->wanted[count] == NULL)
            ending = complain("one argument too many, \"%s\": raftd %s -help says what is wanted", argv[i], c->name);
        else
            arguments[count++] = argv[i];
        if (ending != SUBCOMMAND_GO_ON)
            return ending;
    }
    if (c->wanted[count] != NULL)
        return complain(
            "%s is missing: raftd %s -help says what is wanted (to start a server in a directory of that name, "
            "write it as a path)",
            c->wanted[count], c->name);
    return SUBCOMMAND_GO_ON;
}
