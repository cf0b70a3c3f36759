/* fuzz.h -- one target of a fuzzer: bytes from anybody, and CHECKs of what must hold whatever they are.
 *
 * With configure --enable-fuzzers CC=clang a target is a libFuzzer program:
 *     tests/fuzz/fuzz_message -max_total_time=60 CORPUS-TO-GROW ../tests/fuzz/corpus/message
 * Without, run_corpus.c is its main: it tries every file of tests/fuzz/corpus/NAME and small changes of each. A file that
 * found a fault joins the corpus with the change that mends it. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
