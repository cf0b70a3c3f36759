/* The table of options: defaults, the environment, the command line, and the line that says what is wrong. */
#include "options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"

static struct options o;
static struct why why;

/* Parses a command line of words; ends with NULL. */
static int parse(const char *first, ...)
{
    static char words[32][400];
    static char *argv[34];
    int argc = 1;
    va_list rest;

    argv[0] = strcpy(words[31], "raftd");
    va_start(rest, first);
    for (const char *word = first; word != NULL; word = va_arg(rest, const char *)) {
        snprintf(words[argc], sizeof words[0], "%s", word);
        argv[argc] = words[argc];
        argc++;
    }
    va_end(rest);
    argv[argc] = NULL;
    why.text[0] = '\0';
    return options_parse(argc, argv, &o, &why);
}

#define PARSE(...) parse(__VA_ARGS__, NULL)

/* Wrong usage, and the line says `said`. */
#define ck_assert_wrong(said, ...)                                                                                     \
    do {                                                                                                               \
        ck_assert_int_eq(PARSE(__VA_ARGS__), ERR_INVALID);                                                             \
        ck_assert_msg(strstr(why.text, said) != NULL, "\"%s\" does not say \"%s\"", why.text, said);                   \
        ck_assert_ptr_null(strchr(why.text, '\n'));                                                                    \
    } while (0)

START_TEST(the_defaults_are_those_of_the_manual)
{
    ck_assert_int_eq(PARSE("dir"), 0);
    ck_assert_str_eq(o.datadir, "dir");
    ck_assert_uint_eq(o.port, 4001);
    ck_assert_uint_eq(o.peer_port, 14001);
    ck_assert_str_eq(o.host, "localhost");
    ck_assert_ptr_null(o.bind);
    ck_assert_ptr_null(o.join);
    ck_assert_ptr_null(o.name);
    ck_assert_uint_eq(o.join_timeout_ms, 30000);
    ck_assert_uint_eq(o.max_value_size, 1 << 20);
    ck_assert_uint_eq(o.log_max_entries, 200000);
    ck_assert(!o.learner);
    ck_assert(!o.help);
    ck_assert(!o.version);
    ck_assert_int_eq(options_log_level(&o), LOG_LEVEL_INFO);
    ck_assert_int_eq(options_log_format(&o), LOG_FORMAT_TEXT);
    ck_assert_uint_le(2 * o.heartbeat_ms, o.election_ms);
}
END_TEST

START_TEST(options_come_in_four_forms)
{
    ck_assert_int_eq(PARSE("-port", "1", "--host", "a", "-name=b", "--join=c:2", "dir"), 0);
    ck_assert_uint_eq(o.port, 1);
    ck_assert_str_eq(o.host, "a");
    ck_assert_str_eq(o.name, "b");
    ck_assert_str_eq(o.join, "c:2");
    ck_assert_int_eq(PARSE("dir", "-p", "7", "-h=b"), 0); /* the short names, and after DATADIR, too */
    ck_assert_uint_eq(o.port, 7);
    ck_assert_uint_eq(o.peer_port, 10007);
    ck_assert_str_eq(o.host, "b");
    ck_assert_int_eq(PARSE("-port", "1", "-port", "2", "dir"), 0); /* the last one counts */
    ck_assert_uint_eq(o.port, 2);
}
END_TEST

START_TEST(flags_need_no_value_but_may_have_one)
{
    ck_assert_int_eq(PARSE("-learner", "-v", "-join=:1", "dir"), 0);
    ck_assert(o.learner);
    ck_assert_int_eq(options_log_level(&o), LOG_LEVEL_DEBUG);
    ck_assert_int_eq(PARSE("-learner=false", "-trace=1", "dir"), 0);
    ck_assert(!o.learner);
    ck_assert_int_eq(options_log_level(&o), LOG_LEVEL_TRACE);
    ck_assert_wrong("-learner is true or false, not \"maybe\"", "-learner=maybe", "dir");
}
END_TEST

START_TEST(help_and_version_need_nothing_else)
{
    ck_assert_int_eq(PARSE("-help"), 0);
    ck_assert(o.help);
    ck_assert_int_eq(PARSE("--version"), 0);
    ck_assert(o.version);
}
END_TEST

START_TEST(a_directory_is_wanted)
{
    ck_assert_wrong("Data path argument required", "-p", "1");
    ck_assert_wrong("Data path argument required", "");
    ck_assert_wrong("there are \"a\" and \"b\"", "a", "b");
    ck_assert_int_eq(PARSE("--", "-dir"), 0); /* one that looks like an option */
    ck_assert_str_eq(o.datadir, "-dir");
    ck_assert_int_eq(PARSE("-p", "1", "--", "--"), 0);
    ck_assert_str_eq(o.datadir, "--");
}
END_TEST

START_TEST(what_we_do_not_know_is_refused)
{
    ck_assert_wrong("unknown option -nonsense", "-nonsense", "dir");
    ck_assert_wrong("unknown option --por=1", "--por=1", "dir"); /* no abbreviations */
    ck_assert_wrong("unknown option -PORT", "-PORT", "1", "dir");
    ck_assert_wrong("unknown option -=1", "-=1", "dir");
    ck_assert_wrong("-port wants a value", "dir", "-port");
    ck_assert_wrong("-name wants a value", "-name=", "dir");
}
END_TEST

START_TEST(numbers_have_limits)
{
    ck_assert_wrong("-port must be a number from 1 to 65535, not \"0\"", "-port", "0", "dir");
    ck_assert_wrong("not \"65536\"", "-port", "65536", "dir");
    ck_assert_wrong("not \"80x\"", "-port", "80x", "dir");
    ck_assert_wrong("not \"-1\"", "-port=-1", "dir");
    ck_assert_wrong("not \"\"", "-port=", "dir");
    ck_assert_wrong("-threads", "-threads", "1", "dir");
    ck_assert_wrong("-heartbeat", "-heartbeat", "1", "dir");
}
END_TEST

START_TEST(sizes_have_units)
{
    ck_assert_int_eq(PARSE("-max-value-size", "64KiB", "-max-db-size=2G", "dir"), 0);
    ck_assert_uint_eq(o.max_value_size, 65536);
    ck_assert_uint_eq(o.max_db_size, (uint64_t)2 << 30);
    ck_assert_wrong("-max-value-size", "-max-value-size", "33M", "dir");
    ck_assert_wrong("-max-db-size", "-max-db-size", "15M", "dir");
    ck_assert_wrong("-max-db-size", "-max-db-size", "1X", "dir");
}
END_TEST

START_TEST(some_do_not_go_together)
{
    ck_assert_wrong("set -peer-port", "-port", "60000", "dir");
    ck_assert_int_eq(PARSE("-port", "60000", "-peer-port", "60001", "dir"), 0);
    ck_assert_wrong("must differ", "-port", "5", "-peer-port", "5", "dir");
    ck_assert_wrong("at most half", "-heartbeat", "100", "-election-timeout", "199", "dir");
    ck_assert_int_eq(PARSE("-heartbeat", "100", "-election-timeout", "200", "dir"), 0);
}
END_TEST

START_TEST(texts_are_looked_at)
{
    char name[100];

    ck_assert_wrong("-name must be", "-name", "a b", "dir");
    memset(name, 'n', sizeof name - 1);
    name[63] = '\0';
    ck_assert_int_eq(PARSE("-name", name, "dir"), 0);
    name[63] = 'n';
    name[64] = '\0';
    ck_assert_wrong("-name must be", "-name", name, "dir");
    ck_assert_wrong("-log-format is text or json", "-log-format", "xml", "dir");
    ck_assert_int_eq(PARSE("-log-format=json", "dir"), 0);
    ck_assert_int_eq(options_log_format(&o), LOG_FORMAT_JSON);
    ck_assert_wrong("-host wants", "-host", "a/b", "dir");
    ck_assert_wrong("-host wants", "-host", "a:b", "dir");
    ck_assert_int_eq(PARSE("-host", "::1", "dir"), 0);
    ck_assert_int_eq(PARSE("-host", "10.0.0.1", "dir"), 0);
}
END_TEST

START_TEST(each_target_of_join_is_an_address)
{
    char many[OPTIONS_JOIN_MAX + 10] = "";

    ck_assert_int_eq(PARSE("-host", "b", "-join", "a:1,[::1]:2,10.0.0.1:3", "dir"), 0);
    ck_assert_wrong("-join wants HOST:PORT", "-join", "a", "dir");
    ck_assert_wrong("-join wants HOST:PORT", "-join", "a:1,,b:2", "dir");
    ck_assert_wrong("-join wants HOST:PORT", "-join", "a:1,", "dir");
    ck_assert_wrong("-join wants HOST:PORT", "-join", "a:0x1", "dir");
    memset(many, 'a', 300);
    strcpy(many + 300, ":1"); /* one name that is too long */
    ck_assert_wrong("-join wants HOST:PORT", "-join", many, "dir");
}
END_TEST

START_TEST(a_list_of_targets_has_a_limit)
{
    char many[OPTIONS_JOIN_MAX + 10] = "";
    char program[] = "raftd", host[] = "-host=b", join[] = "-join", dir[] = "dir";
    char *argv[] = {program, host, join, many, dir, NULL};

    while (strlen(many) < OPTIONS_JOIN_MAX)
        strcat(many, "host:1,");
    strcat(many, "h:1");
    ck_assert_int_eq(options_parse(5, argv, &o, &why), ERR_INVALID);
    ck_assert_ptr_nonnull(strstr(why.text, "too many"));
}
END_TEST

/* Issue 3, Membership: "0.0.0.0 and localhost are never advertised to members elsewhere". */
START_TEST(a_host_is_one_that_others_can_reach)
{
    ck_assert_wrong("-bind", "-host", "0.0.0.0", "dir");
    ck_assert_wrong("-bind", "-host", "::", "dir");
    ck_assert_wrong("set -host", "-join", "localhost:1,a:1", "dir");
    ck_assert_wrong("set -host", "-host", "127.0.0.1", "-join", "10.0.0.1:1", "dir");
    ck_assert_int_eq(PARSE("-host", "::1", "-join", "localhost:1,127.0.0.1:2", "dir"), 0);
    ck_assert_int_eq(PARSE("-host", "a", "-join", "localhost:1", "dir"), 0); /* a tunnel, perhaps */
}
END_TEST

/* The same at the start of the other profiles, in the words of their options. */
START_TEST(a_host_of_another_profile_is_one_that_others_can_reach)
{
    ck_assert_wrong("set the URL of this member in --cluster", "--cluster", "http://127.0.0.1:1,http://a:2", "--port",
                    "3");
    ck_assert_wrong("0.0.0.0", "--cluster", "http://0.0.0.0:1", "--port", "3");
    ck_assert_int_eq(PARSE("--id=2", "--cluster", "http://127.0.0.1:1,http://a:2", "--port", "3"), 0);
    ck_assert_wrong("set -raft", "-api", ":1", "-raft", ":2", "-join", "a:2");
    ck_assert_wrong("set -raft", "-api", "127.0.0.1:1", "-join", "10.0.0.1:2");
    ck_assert_int_eq(PARSE("-api", "10.0.0.2:1", "-raft", ":2", "-join", "10.0.0.1:2"), 0);
    ck_assert_int_eq(PARSE("-api", ":1", "-raft", "[2001:db8::1]:2", "-join", "a:2"), 0);
}
END_TEST

START_TEST(a_learner_joins)
{
    ck_assert_wrong("-learner is for a server that joins", "-learner", "dir");
    ck_assert_wrong("-learner is for a server that joins", "-p", "2", "-learner", "-cluster", "localhost:2", "dir");
    ck_assert_int_eq(PARSE("-learner", "-join", "localhost:1", "dir"), 0);
    ck_assert(o.learner);
}
END_TEST

START_TEST(a_list_names_this_member_and_is_sorted)
{
    ck_assert_int_eq(PARSE("-p", "2", "-cluster", "localhost:3,http://localhost:1/,localhost:2", "dir"), 0);
    ck_assert_str_eq(o.cluster, "localhost:1,localhost:2,localhost:3");
    ck_assert_str_eq(o.join, "localhost:1,localhost:3");
    ck_assert_uint_eq(o.id, 2);
    ck_assert_uint_eq(o.cluster_size, 3);
    ck_assert_int_eq(PARSE("-p", "2", "-cluster", "localhost:2", "dir"), 0);
    ck_assert_ptr_null(o.join); /* alone */
    ck_assert_wrong("does not name this member", "-cluster", "localhost:2,localhost:3", "dir");
    ck_assert_wrong("twice", "-p", "2", "-cluster", "localhost:2,localhost:2", "dir");
    ck_assert_wrong("HOST:PORT", "-p", "2", "-cluster", "localhost:2,x", "dir");
    ck_assert_wrong("set -host", "-p", "2", "-cluster", "localhost:2,a:1", "dir");
    ck_assert_wrong("exclude each other", "-p", "2", "-cluster", "localhost:2", "-join", "localhost:1", "dir");
    ck_assert_wrong("16 members", "-p", "2", "-cluster",
                    "l:1,l:2,l:3,l:4,l:5,l:6,l:7,l:8,l:9,l:10,l:11,l:12,l:13,l:14,l:15,l:16,l:17", "-host", "l", "dir");
}
END_TEST

/* ---- the environment ---- */

START_TEST(the_environment_comes_before_the_command_line)
{
    setenv("RAFTD_PORT", "55", 1);
    setenv("RAFTD_MAX_VALUE_SIZE", "2K", 1);
    setenv("RAFTD_LEARNER", "1", 1);
    setenv("RAFTD_NAME", "env", 1);
    ck_assert_int_eq(PARSE("-join=:1", "dir"), 0);
    ck_assert_uint_eq(o.port, 55);
    ck_assert_uint_eq(o.max_value_size, 2048);
    ck_assert(o.learner);
    ck_assert_str_eq(o.name, "env");
    ck_assert_int_eq(PARSE("-port", "56", "-learner=false", "dir"), 0);
    ck_assert_uint_eq(o.port, 56);
    ck_assert(!o.learner);
    setenv("RAFTD_PORT", "nonsense", 1);
    ck_assert_wrong("environment", "dir");
    ck_assert_ptr_nonnull(strstr(why.text, "port"));
    unsetenv("RAFTD_PORT");
    unsetenv("RAFTD_MAX_VALUE_SIZE");
    unsetenv("RAFTD_LEARNER");
    unsetenv("RAFTD_NAME");
    ck_assert_int_eq(PARSE("dir"), 0);
    ck_assert_uint_eq(o.port, 4001);
}
END_TEST

START_TEST(what_looks_like_ours_in_the_environment_and_is_not_is_noted)
{
    setenv("RAFTD_PROT", "55", 1);
    setenv("RAFTD_LEARNER", "0", 1);
    ck_assert_int_eq(PARSE("dir"), 0);
    ck_assert_ptr_nonnull(strstr(o.strangers, "RAFTD_PROT"));
    ck_assert_ptr_null(strstr(o.strangers, "RAFTD_LEARNER"));
    ck_assert_int_eq(PARSE("-api=:1"), 0); /* shaj13 has no such option */
    ck_assert_ptr_nonnull(strstr(o.strangers, "RAFTD_LEARNER"));
    unsetenv("RAFTD_PROT");
    unsetenv("RAFTD_LEARNER");
    ck_assert_int_eq(PARSE("dir"), 0);
    ck_assert_ptr_null(strstr(o.strangers, "RAFTD_PROT"));
}
END_TEST

/* ---- other profiles ---- */

START_TEST(raftexamples_command_line_is_known_by_its_words)
{
    ck_assert_int_eq(PARSE("--id", "2", "--cluster",
                           "http://127.0.0.1:1001,http://127.0.0.1:1002,http://localhost:1003", "--port", "1022"),
                     0);
    ck_assert_int_eq(o.profile, PROFILE_RAFTEXAMPLE);
    ck_assert_uint_eq(o.port, 1022);
    ck_assert_uint_eq(o.peer_port, 1002);
    ck_assert_str_eq(o.host, "127.0.0.1");
    ck_assert_str_eq(o.join, "127.0.0.1:1001,localhost:1003");
    ck_assert_str_eq(o.name, "2");
    ck_assert_str_eq(o.datadir, "raftexample-2");
    ck_assert_uint_eq(o.log_max_entries, 20000);
    ck_assert_wrong("none of the 1 URLs", "--id", "2", "--cluster", "http://127.0.0.1:1001", "--port", "1022");
    ck_assert_wrong("unknown option --id=2", "--id=2", "--cluster=http://a:1,http://b:2", "-port=3", "--", "dir");
}
END_TEST

START_TEST(raftexamples_defaults_are_its_own)
{
    char program[] = "/usr/libexec/raftd/raftexample", join[] = "--join=true";
    char *argv[] = {program, NULL, NULL};

    ck_assert_int_eq(options_parse(1, argv, &o, &why), 0);
    ck_assert_int_eq(o.profile, PROFILE_RAFTEXAMPLE);
    ck_assert_uint_eq(o.id, 1);
    ck_assert_uint_eq(o.port, 9121);
    ck_assert_uint_eq(o.peer_port, 9021);
    ck_assert_str_eq(o.host, "127.0.0.1");
    ck_assert_str_eq(o.datadir, "raftexample-1");
    ck_assert(!o.joins);
    argv[1] = join;
    ck_assert_int_eq(options_parse(2, argv, &o, &why), 0);
    ck_assert(o.joins);
}
END_TEST

START_TEST(shaj13s_too)
{
    ck_assert_int_eq(PARSE("-raft", ":1081", "-api", "127.0.0.1:1091", "-state_dir", "d", "-join", "127.0.0.1:1080"),
                     0);
    ck_assert_int_eq(o.profile, PROFILE_SHAJ13);
    ck_assert_uint_eq(o.port, 1091);
    ck_assert_uint_eq(o.peer_port, 1081);
    ck_assert_str_eq(o.datadir, "d");
    ck_assert_str_eq(o.join, "127.0.0.1:1080");
    ck_assert_str_eq(o.host, "127.0.0.1"); /* -raft names no host */
    ck_assert_str_eq(o.client_bind, "127.0.0.1");
    ck_assert_int_eq(PARSE("-raft", "10.0.0.1:1081", "-api", ":1091"), 0);
    ck_assert_str_eq(o.host, "10.0.0.1");
    ck_assert_str_eq(o.client_bind, "");
    ck_assert_int_eq(PARSE("-api=:1091"), 0);
    ck_assert_str_eq(o.host, "localhost");
    ck_assert_uint_eq(o.peer_port, 8080);
    ck_assert_wrong("-api wants", "-api", "x", "-raft", ":1");
}
END_TEST

START_TEST(balsas_environment_counts_without_a_directory)
{
    setenv("HTTP_SERVER_PORT", "1071", 1);
    ck_assert_wrong("RAFT_NODE_ID", "-v");
    setenv("RAFT_SERVER_PORT", "1072", 1);
    setenv("RAFT_NODE_ID", "node1", 1);
    setenv("RAFT_VOLUME_DIR", "vol", 1);
    ck_assert_int_eq(PARSE("-v"), 0);
    ck_assert_int_eq(o.profile, PROFILE_BALSA);
    ck_assert_uint_eq(o.port, 1071);
    ck_assert_uint_eq(o.peer_port, 1072);
    ck_assert_str_eq(o.datadir, "vol");
    ck_assert_int_eq(PARSE("dir"), 0); /* ours */
    ck_assert_int_eq(o.profile, PROFILE_RAFTD);
    ck_assert_uint_eq(o.port, 4001);
    unsetenv("HTTP_SERVER_PORT");
    unsetenv("RAFT_SERVER_PORT");
    unsetenv("RAFT_NODE_ID");
    unsetenv("RAFT_VOLUME_DIR");
}
END_TEST

TEST_MAIN("options", raftexamples_defaults_are_its_own, raftexamples_command_line_is_known_by_its_words, shaj13s_too,
          balsas_environment_counts_without_a_directory, the_defaults_are_those_of_the_manual,
          options_come_in_four_forms, flags_need_no_value_but_may_have_one, help_and_version_need_nothing_else,
          a_directory_is_wanted, what_we_do_not_know_is_refused, numbers_have_limits, sizes_have_units,
          some_do_not_go_together, texts_are_looked_at, each_target_of_join_is_an_address,
          a_list_of_targets_has_a_limit, a_host_is_one_that_others_can_reach, a_list_names_this_member_and_is_sorted,
          a_host_of_another_profile_is_one_that_others_can_reach, a_learner_joins,
          the_environment_comes_before_the_command_line, what_looks_like_ours_in_the_environment_and_is_not_is_noted)
