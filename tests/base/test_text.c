#include "base/text.h"

#include <limits.h>
#include <string.h>

#include "../suite.h"
#include "base/err.h"

#define V(literal) view_of(literal, sizeof(literal) - 1)

/* ---- numbers ---- */

static const uint64_t untouched = 777;

static int number(const char *text, uint64_t max, uint64_t *out)
{
    *out = untouched;
    return text_u64(text, max, out);
}

START_TEST(numbers_are_decimal_digits)
{
    uint64_t v;

    ck_assert_int_eq(number("0", 0, &v), 0);
    ck_assert_uint_eq(v, 0);
    ck_assert_int_eq(number("42", 42, &v), 0);
    ck_assert_uint_eq(v, 42);
    ck_assert_int_eq(number("007", 10, &v), 0);
    ck_assert_uint_eq(v, 7);
    ck_assert_int_eq(number("18446744073709551615", UINT64_MAX, &v), 0);
    ck_assert_uint_eq(v, UINT64_MAX);
    ck_assert_int_eq(number("00000000000000000000000000000000005", 5, &v), 0);
    ck_assert_uint_eq(v, 5);
}
END_TEST

START_TEST(anything_but_digits_is_no_number)
{
    static const char *const wrong[] = {"",    " ",    " 1",    "1 ",  "+1", "-1",
                                        "-0",  "0x10", "1e3",   "1.0", "1a", "a1",
                                        "1\n", "\t1",  "1,000", "١",   "1-", "99999999999999999999x"};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint64_t v;

        ck_assert_int_eq(number(wrong[i], UINT64_MAX, &v), ERR_INVALID);
        ck_assert_uint_eq(v, untouched);
    }
}
END_TEST

START_TEST(a_number_over_its_maximum_is_too_long)
{
    uint64_t v;

    ck_assert_int_eq(number("43", 42, &v), ERR_TOO_LONG);
    ck_assert_uint_eq(v, untouched);
    ck_assert_int_eq(number("18446744073709551616", UINT64_MAX, &v), ERR_TOO_LONG);
    ck_assert_int_eq(number("18446744073709551620", UINT64_MAX, &v), ERR_TOO_LONG);
    ck_assert_int_eq(number("99999999999999999999999", UINT64_MAX, &v), ERR_TOO_LONG);
    ck_assert_uint_eq(v, untouched);
}
END_TEST

START_TEST(sizes_have_units_of_1024)
{
    static const struct {
        const char *text;
        uint64_t size;
    } cases[] = {
        {"0", 0},
        {"1", 1},
        {"1K", 1 << 10},
        {"1KB", 1 << 10},
        {"1KiB", 1 << 10},
        {"3M", 3 << 20},
        {"2G", UINT64_C(2) << 30},
        {"5TiB", UINT64_C(5) << 40},
        {"16777215T", UINT64_C(16777215) << 40},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t v = untouched;

        ck_assert_int_eq(text_size(cases[i].text, UINT64_MAX, &v), 0);
        ck_assert_uint_eq(v, cases[i].size);
    }
}
END_TEST

START_TEST(sizes_with_other_units_are_invalid)
{
    static const char *const wrong[] = {"",   "K",   "1k",  "1B",  "1iB",  "1Ki", "1KBB", "1 K",
                                        "1P", "1KK", "-1K", "+1K", "1.5G", "1K ", "1KM",  "KiB"};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint64_t v = untouched;

        ck_assert_int_eq(text_size(wrong[i], UINT64_MAX, &v), ERR_INVALID);
        ck_assert_uint_eq(v, untouched);
    }
}
END_TEST

START_TEST(a_size_over_its_maximum_is_too_long)
{
    uint64_t v = untouched;

    ck_assert_int_eq(text_size("1K", 1024, &v), 0);
    v = untouched;
    ck_assert_int_eq(text_size("1K", 1023, &v), ERR_TOO_LONG);
    ck_assert_int_eq(text_size("16777216T", UINT64_MAX, &v), ERR_TOO_LONG);
    ck_assert_int_eq(text_size("18446744073709551615K", UINT64_MAX, &v), ERR_TOO_LONG);
    ck_assert_int_eq(text_size("18446744073709551616", UINT64_MAX, &v), ERR_TOO_LONG);
    ck_assert_uint_eq(v, untouched);
}
END_TEST

/* ---- percent-coding ---- */

static void decodes_to(struct view in, struct view expected)
{
    uint8_t out[64];
    size_t length = 99;

    ck_assert_int_eq(text_percent_decode(in, out, sizeof out, &length), 0);
    ck_assert(view_equal(view_of(out, length), expected));
}

START_TEST(percent_decoding_is_done_once_and_leaves_the_rest)
{
    decodes_to(V(""), V(""));
    decodes_to(V("plain"), V("plain"));
    decodes_to(V("a%20b"), V("a b"));
    decodes_to(V("a+b"), V("a+b"));
    decodes_to(V("%2F%2f"), V("//"));
    decodes_to(V("..//./"), V("..//./"));
    decodes_to(V("%2541"), V("%41"));
    decodes_to(V("%00%ff%FF"), V("\0\xff\xff"));
    decodes_to(V("raw\0\x80"), V("raw\0\x80"));
    decodes_to(V("%41"), V("A"));
}
END_TEST

START_TEST(a_percent_sign_without_two_hex_digits_is_malformed)
{
    static const char *const wrong[] = {"%", "a%", "%4", "%g0", "%0g", "%%41", "% 1", "%+1", "%0x41", "%4%", "%-1"};

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint8_t out[64];
        size_t length = 99;

        ck_assert_int_eq(text_percent_decode(view_of_text(wrong[i]), out, sizeof out, &length), ERR_MALFORMED);
        ck_assert_uint_eq(length, 99);
    }
}
END_TEST

START_TEST(a_decoded_text_may_fill_its_room_but_not_exceed_it)
{
    uint8_t out[3];
    size_t length = 99;

    ck_assert_int_eq(text_percent_decode(V("%41%42%43"), out, 3, &length), 0);
    ck_assert_uint_eq(length, 3);
    length = 99;
    ck_assert_int_eq(text_percent_decode(V("%41%42%43d"), out, 3, &length), ERR_TOO_LONG);
    ck_assert_int_eq(text_percent_decode(V("a"), out, 0, &length), ERR_TOO_LONG);
    ck_assert_uint_eq(length, 99);
    ck_assert_int_eq(text_percent_decode(V(""), out, 0, &length), 0);
    ck_assert_uint_eq(length, 0);
}
END_TEST

START_TEST(encoding_leaves_unreserved_characters_and_slashes)
{
    struct bytes out;

    bytes_init(&out, 1000);
    text_percent_encode(&out, V("AZaz09-._~/"));
    text_percent_encode(&out, V(" %+?#&=\0\n\x7f\x80\xff"));
    ck_assert(view_equal(bytes_view(&out), V("AZaz09-._~/%20%25%2B%3F%23%26%3D%00%0A%7F%80%FF")));
    bytes_clear(&out);
}
END_TEST

START_TEST(every_byte_survives_encoding_and_decoding)
{
    uint8_t all[256], back[256];
    struct bytes out;
    size_t length;

    for (int i = 0; i < 256; i++)
        all[i] = (uint8_t)i;
    bytes_init(&out, 1000);
    text_percent_encode(&out, view_of(all, 256));
    ck_assert(!out.overflow);
    ck_assert_int_eq(text_percent_decode(bytes_view(&out), back, sizeof back, &length), 0);
    ck_assert_uint_eq(length, 256);
    ck_assert_mem_eq(all, back, 256);
    bytes_clear(&out);
}
END_TEST

/* ---- queries ---- */

START_TEST(a_query_is_searched_for_a_name)
{
    struct view query = V("a=1&b&c=x=y&a=2&=empty&d=&%61=enc"), v;

    ck_assert(text_query(query, "a", &v));
    ck_assert(view_equal(v, V("1")));
    ck_assert(text_query(query, "b", &v));
    ck_assert_uint_eq(v.size, 0);
    ck_assert(text_query(query, "c", &v));
    ck_assert(view_equal(v, V("x=y")));
    ck_assert(text_query(query, "d", &v));
    ck_assert_uint_eq(v.size, 0);
    ck_assert(text_query(query, "", &v));
    ck_assert(view_equal(v, V("empty")));
    ck_assert(text_query(query, "%61", &v));
    ck_assert(view_equal(v, V("enc")));
}
END_TEST

START_TEST(a_name_that_is_not_in_the_query_is_not_found)
{
    struct view v = V("untouched");

    ck_assert(!text_query(V("abc=1&b"), "a", &v));
    ck_assert(!text_query(V("abc=1&b"), "abcd", &v));
    ck_assert(!text_query(V("abc=1&b"), "B", &v));
    ck_assert(!text_query(V(""), "a", &v));
    ck_assert(!text_query(view_of(NULL, 0), "a", &v));
    ck_assert(!text_query(V("&&&"), "a", &v));
    ck_assert(view_equal(v, V("untouched")));
    ck_assert(text_query(V("&&a&"), "a", &v));
}
END_TEST

/* ---- UTF-8 and JSON ---- */

START_TEST(utf8_sequences_are_measured_and_false_ones_refused)
{
    static const struct {
        const char *text;
        size_t length;
    } cases[] = {
        {"", 0},
        {"a", 1},
        {"\x7f", 1},
        {"\x80", 0}, /* a continuation alone */
        {"\xbf", 0},
        {"\xc0\x80", 0}, /* overlong NUL */
        {"\xc1\xbf", 0},
        {"\xc2\x80", 2},
        {"\xc3\xa4", 2},
        {"\xdf\xbf", 2},
        {"\xc3", 0}, /* cut */
        {"\xc3z", 0},
        {"\xe0\x9f\xbf", 0}, /* overlong */
        {"\xe0\xa0\x80", 3},
        {"\xe2\x82\xac", 3},
        {"\xe2\x82", 0},
        {"\xe2\x82z", 0},
        {"\xed\x9f\xbf", 3},
        {"\xed\xa0\x80", 0}, /* a surrogate */
        {"\xed\xbf\xbf", 0},
        {"\xef\xbf\xbf", 3},
        {"\xf0\x8f\xbf\xbf", 0}, /* overlong */
        {"\xf0\x90\x80\x80", 4},
        {"\xf0\x9f\x98\x80", 4},
        {"\xf0\x9f\x98", 0},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\xf4\x90\x80\x80", 0}, /* over U+10FFFF */
        {"\xf5\x80\x80\x80", 0},
        {"\xff", 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ck_assert_uint_eq(text_utf8_length(view_of_text(cases[i].text)), cases[i].length);
}
END_TEST

static void escapes_to(struct view in, const char *expected)
{
    struct bytes out;

    bytes_init(&out, 1000);
    text_json_escape(&out, in);
    ck_assert(view_equal(bytes_view(&out), view_of_text(expected)));
    bytes_clear(&out);
}

START_TEST(json_strings_are_escaped)
{
    escapes_to(V(""), "");
    escapes_to(V("plain / text"), "plain / text");
    escapes_to(V("\"\\"), "\\\"\\\\");
    escapes_to(V("\b\f\n\r\t"), "\\b\\f\\n\\r\\t");
    escapes_to(V("\0\x01\x1f\x7f"), "\\u0000\\u0001\\u001f\\u007f");
    escapes_to(V("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    escapes_to(V("\xc2\x9b"), "\\u009b");
    escapes_to(V("\xc2\xa0"), "\xc2\xa0");
}
END_TEST

START_TEST(each_byte_that_is_not_utf8_becomes_a_replacement_character)
{
#define R "\xef\xbf\xbd"
    escapes_to(V("a\xff"
                 "b"),
               "a" R "b");
    escapes_to(V("\xe2\x82"), R R);
    escapes_to(V("\xed\xa0\x80"), R R R);
    escapes_to(V("\xc3\"\xc3"), R "\\\"" R);
}
END_TEST

/* ---- addresses ---- */

static void parses_to(const char *text, const char *host, unsigned port)
{
    struct address a;

    ck_assert_int_eq(address_parse(text, &a), 0);
    ck_assert_str_eq(a.host, host);
    ck_assert_uint_eq(a.port, port);
}

START_TEST(addresses_are_a_host_and_a_port)
{
    parses_to("localhost:4001", "localhost", 4001);
    parses_to("db-1.example.com:1", "db-1.example.com", 1);
    parses_to("under_score.:65535", "under_score.", 65535);
    parses_to("10.0.0.1:80", "10.0.0.1", 80);
    parses_to("[::1]:4001", "::1", 4001);
    parses_to("[fe80::1%eth0]:4001", "fe80::1%eth0", 4001);
    parses_to("[::ffff:10.0.0.1]:4001", "::ffff:10.0.0.1", 4001);
    parses_to(":4001", "localhost", 4001);
    parses_to("http://a:4001", "a", 4001);
    parses_to("http://a:4001/", "a", 4001);
    parses_to("http://[::1]:4001/", "::1", 4001);
    parses_to("a:4001/", "a", 4001);
    parses_to("http:4001", "http", 4001);
}
END_TEST

START_TEST(what_is_no_address_is_refused)
{
    static const char *const wrong[] = {
        "",
        ":",
        "a",
        "a:",
        "a:0",
        "a:65536",
        "a:-1",
        "a:+1",
        "a:1x",
        "a: 1",
        "a:1 ",
        " a:1",
        "a b:1",
        "a\n:1",
        "a:1\n",
        "a\x7f:1",
        "a\xc3\xa4:1",
        "a:1//",
        "a:1/x",
        "a/b:1",
        "::1:4001",
        "[::1]",
        "[::1]:",
        "[::1]:0",
        "[]:1",
        "[:1",
        "[::1:1",
        "::1]:1",
        "[a]:1",
        "[10.0.0.1]:1",
        "[::1%]:1",
        "[::1%a b]:1",
        "[::1]x:1",
        "x[::1]:1",
        "[[::1]]:1",
        "http://",
        "http://a",
        "http://a/",
        "https://a:1",
        "HTTP://a:1",
        "http://http://a:1",
        "u@a:1",
        "a:1?x",
        "a:99999999999999999999",
        "a:00000000000000000000000000000000000001",
        "a:/",
        "/",
        "[:::1]:1",
        "[1:2:3:4:5:6:7:8:9]:1",
        "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:1",
    };

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct address a = {.host = "untouched", .port = 9};

        ck_assert_msg(address_parse(wrong[i], &a) == ERR_INVALID, "\"%s\" was taken", wrong[i]);
        ck_assert_str_eq(a.host, "untouched");
        ck_assert_uint_eq(a.port, 9);
    }
}
END_TEST

START_TEST(a_host_has_255_bytes_at_most)
{
    char text[300];
    struct address a;

    memset(text, 'a', sizeof text);
    strcpy(text + 255, ":4001");
    ck_assert_int_eq(address_parse(text, &a), 0);
    ck_assert_uint_eq(strlen(a.host), 255);

    memset(text, 'a', sizeof text);
    strcpy(text + 256, ":4001");
    ck_assert_int_eq(address_parse(text, &a), ERR_TOO_LONG);
}
END_TEST

START_TEST(a_formatted_address_parses_again)
{
    struct address longest = {.port = 65535}, back;
    char text[ADDRESS_MAX];

    address_format(&(struct address){"localhost", 4001}, text, sizeof text);
    ck_assert_str_eq(text, "localhost:4001");
    address_format(&(struct address){"::1", 4001}, text, sizeof text);
    ck_assert_str_eq(text, "[::1]:4001");

    memset(longest.host, 'a', 255);
    address_format(&longest, text, sizeof text);
    ck_assert_int_eq(address_parse(text, &back), 0);
    ck_assert_str_eq(back.host, longest.host);
    ck_assert_uint_eq(back.port, 65535);
}
END_TEST

START_TEST(loopback_hosts_are_known)
{
    ck_assert(address_is_loopback("localhost"));
    ck_assert(address_is_loopback("LocalHost"));
    ck_assert(address_is_loopback("127.0.0.1"));
    ck_assert(address_is_loopback("127.255.255.254"));
    ck_assert(address_is_loopback("::1"));
    ck_assert(address_is_loopback("0:0:0:0:0:0:0:1"));
    ck_assert(!address_is_loopback(""));
    ck_assert(!address_is_loopback("128.0.0.1"));
    ck_assert(!address_is_loopback("0.0.0.0"));
    ck_assert(!address_is_loopback("::"));
    ck_assert(!address_is_loopback("127.evil.example"));
    ck_assert(!address_is_loopback("localhost.example"));
}
END_TEST

/* ---- paths ---- */

START_TEST(paths_are_joined_with_one_slash)
{
    char out[PATH_MAX];

    ck_assert_int_eq(path_join(out, sizeof out, "dir", "name"), 0);
    ck_assert_str_eq(out, "dir/name");
    ck_assert_int_eq(path_join(out, sizeof out, "dir/", "name"), 0);
    ck_assert_str_eq(out, "dir/name");
    ck_assert_int_eq(path_join(out, sizeof out, "/", "name"), 0);
    ck_assert_str_eq(out, "/name");
    ck_assert_int_eq(path_join(out, sizeof out, "", "name"), 0);
    ck_assert_str_eq(out, "name");
}
END_TEST

START_TEST(a_path_may_fill_its_room_but_not_exceed_it)
{
    char out[] = "untouched";

    ck_assert_int_eq(path_join(out, 9, "dir", "name"), 0);
    ck_assert_str_eq(out, "dir/name");
    strcpy(out, "untouched");
    ck_assert_int_eq(path_join(out, 8, "dir", "name"), ERR_TOO_LONG);
    ck_assert_int_eq(path_join(out, 8, "dir/", "name"), ERR_TOO_LONG);
    ck_assert_int_eq(path_join(out, 0, "", ""), ERR_TOO_LONG);
    ck_assert_str_eq(out, "untouched");
    ck_assert_int_eq(path_join(out, 1, "", ""), 0);
}
END_TEST

TEST_MAIN("text", numbers_are_decimal_digits, anything_but_digits_is_no_number, a_number_over_its_maximum_is_too_long,
          sizes_have_units_of_1024, sizes_with_other_units_are_invalid, a_size_over_its_maximum_is_too_long,
          percent_decoding_is_done_once_and_leaves_the_rest, a_percent_sign_without_two_hex_digits_is_malformed,
          a_decoded_text_may_fill_its_room_but_not_exceed_it, encoding_leaves_unreserved_characters_and_slashes,
          every_byte_survives_encoding_and_decoding, a_query_is_searched_for_a_name,
          a_name_that_is_not_in_the_query_is_not_found, utf8_sequences_are_measured_and_false_ones_refused,
          json_strings_are_escaped, each_byte_that_is_not_utf8_becomes_a_replacement_character,
          addresses_are_a_host_and_a_port, what_is_no_address_is_refused, a_host_has_255_bytes_at_most,
          a_formatted_address_parses_again, loopback_hosts_are_known, paths_are_joined_with_one_slash,
          a_path_may_fill_its_room_but_not_exceed_it)
