/* SPDX-License-Identifier: AGPL-3.0-or-later */
#include "core/near.h"

#include <stdbool.h>
#include <string.h>

#include "core/limits.h"

struct rows {
    uint8_t before[DH_NAME_MAX + 1];
    uint8_t above[DH_NAME_MAX + 1];
    uint8_t row[DH_NAME_MAX + 1];
};

static uint8_t lesser(unsigned a, unsigned b) {
    return (uint8_t)(a < b ? a : b);
}

/* The row of a[i - 1], from the two before it. */
static void fill(struct rows *r, const char *a, size_t i, const char *b, size_t b_len) {
    r->row[0] = (uint8_t)i;
    for (size_t j = 1; j <= b_len; j++) {
        unsigned replaced = r->above[j - 1] + (a[i - 1] != b[j - 1] ? 1u : 0u);
        uint8_t best = lesser(replaced, 1u + lesser(r->above[j], r->row[j - 1]));
        bool is_swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
        r->row[j] = is_swap ? lesser(best, r->before[j - 2] + 1u) : best;
    }
}

size_t dh_near_distance(const char *a, size_t a_len, const char *b, size_t b_len) {
    struct rows r;
    if (a_len > DH_NAME_MAX || b_len > DH_NAME_MAX) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= b_len; j++) {
        r.above[j] = (uint8_t)j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        fill(&r, a, i, b, b_len);
        memcpy(r.before, r.above, b_len + 1);
        memcpy(r.above, r.row, b_len + 1);
    }
    return r.above[b_len];
}

void dh_near_init(struct dh_near *n, const char *word, size_t len) {
    *n = (struct dh_near){.word = word, .word_len = len, .limit = len / 3 > 0 ? len / 3 : 1};
}

void dh_near_offer(struct dh_near *n, const char *candidate, size_t len) {
    size_t edits = dh_near_distance(n->word, n->word_len, candidate, len);
    bool is_nearer = n->found == NULL ? edits <= n->limit : edits < n->limit;
    if (is_nearer && edits + 1 < len) { /* of a word of two letters one edit leaves nothing */
        n->found = candidate;
        n->found_len = len;
        n->limit = edits;
    }
}
