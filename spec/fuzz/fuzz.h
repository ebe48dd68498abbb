/* SPDX-License-Identifier: AGPL-3.0-or-later */
/*
** What the fuzzers share. A fuzzer is one function of bytes, which ends the process by fuzz_fail when
** something is wrong:
**
**   ./dev fuzz           linked with libFuzzer, which looks for such bytes
**   the ordinary tests   linked with replay.c, which gives it those of its corpus
**
** Each is built a second time with FUZZ_CANARY defined and a mistake planted: that one must fail.
*/
#ifndef DH_SPEC_FUZZ_H
#define DH_SPEC_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifndef FUZZ_CANARY
#define FUZZ_CANARY 0
#endif

/* The fuzzer's: once, and with each input. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Say what is wrong, and abort. */
_Noreturn void fuzz_fail(const char *file, int line, const char *what);

#define HOLDS(cond) ((cond) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #cond))

/* An input, read from its beginning. What is asked for behind its end is 0, and empty. */
struct fuzz_input {
    const uint8_t *at;
    size_t left;
};

uint8_t fuzz_byte(struct fuzz_input *in);
uint64_t fuzz_number(struct fuzz_input *in, size_t bytes);

/* A text, in at most cap bytes: its length comes first. From 0xf0 on that length says how often the
** text behind it is repeated, so that few bytes make a long one. Returns its length. */
size_t fuzz_text(struct fuzz_input *in, char *dst, size_t cap);

/* The same, without zeros and with one at its end. */
void fuzz_c_string(struct fuzz_input *in, char *dst, size_t cap);

/* Is it UTF-8 (RFC 3629)? Written apart from obs/text.c, whose work it checks. */
bool fuzz_is_utf8(const char *text, size_t len);

/* Copy text with U+FFFD for what is wrong in it, as Unicode recommends (3.9, "maximal subparts"): what
** obs/text.c and control/json.c should make of it. dst has 3 * len bytes. Returns the length. */
size_t fuzz_mend(char *dst, const char *text, size_t len);

#endif
