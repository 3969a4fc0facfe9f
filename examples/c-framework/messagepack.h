/* As much MessagePack as the protocol needs: maps, arrays, text, bytes and whole numbers.
 *
 * Reading never copies: a `reader` is a place in the frame. Every read checks that what it wants
 * lies inside; nesting is bounded. Writing goes into a buffer that grows.
 */
#ifndef MESSAGEPACK_H
#define MESSAGEPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 32 };

/* ------------------------------------------------------------------ reading */

struct reader {
    const uint8_t *at, *end;
};

enum kind { MAP, ARRAY, TEXT, BYTES, WHOLE, OTHER, BROKEN };

/* What stands at a place. count: pairs, elements or bytes; whole: the number itself. */
struct item {
    enum kind kind;
    uint64_t count;
    int64_t whole;
    const uint8_t *data;
};

static inline bool take(struct reader *from, size_t count, uint64_t *number)
{
    if ((size_t)(from->end - from->at) < count)
        return false;
    *number = 0;
    for (size_t i = 0; i < count; i++)
        *number = *number << 8 | *from->at++;
    return true;
}

static inline struct item counted(struct reader *from, enum kind kind, size_t width, uint64_t count)
{
    struct item item = {kind, count, 0, NULL};
    if (width && !take(from, width, &item.count))
        item.kind = BROKEN;
    item.data = from->at;
    if (item.kind == TEXT || item.kind == BYTES || item.kind == OTHER) {
        if ((uint64_t)(from->end - from->at) < item.count)
            item.kind = BROKEN;
        else
            from->at += item.count;
    }
    return item;
}

static inline struct item whole(struct reader *from, size_t width, bool is_signed)
{
    struct item item = {WHOLE, 0, 0, NULL};
    uint64_t number;
    if (!take(from, width, &number)) {
        item.kind = BROKEN;
        return item;
    }
    if (is_signed && width < 8 && number >> (8 * width - 1))
        number |= ~UINT64_C(0) << (8 * width);
    if (!is_signed && number > INT64_MAX)
        item.kind = OTHER;
    else
        memcpy(&item.whole, &number, sizeof number);
    return item;
}

/* The next item; a map's or an array's elements come next. */
static inline struct item next(struct reader *from)
{
    uint64_t head;
    if (!take(from, 1, &head))
        return (struct item){BROKEN, 0, 0, NULL};
    if (head <= 0x7f)
        return (struct item){WHOLE, 0, (int64_t)head, NULL};
    if (head >= 0xe0)
        return (struct item){WHOLE, 0, (int64_t)head - 0x100, NULL};
    if (head <= 0x8f)
        return counted(from, MAP, 0, head & 0x0f);
    if (head <= 0x9f)
        return counted(from, ARRAY, 0, head & 0x0f);
    if (head <= 0xbf)
        return counted(from, TEXT, 0, head & 0x1f);
    switch (head) {
    case 0xc0: case 0xc2: case 0xc3: return counted(from, OTHER, 0, 0); /* nil, false, true */
    case 0xc4: case 0xc5: case 0xc6: return counted(from, BYTES, (size_t)1 << (head - 0xc4), 0);
    case 0xca: return counted(from, OTHER, 0, 4); /* numbers with a fraction: passed over */
    case 0xcb: return counted(from, OTHER, 0, 8);
    case 0xcc: case 0xcd: case 0xce: case 0xcf:
        return whole(from, (size_t)1 << (head - 0xcc), false);
    case 0xd0: case 0xd1: case 0xd2: case 0xd3:
        return whole(from, (size_t)1 << (head - 0xd0), true);
    case 0xd9: case 0xda: case 0xdb: return counted(from, TEXT, (size_t)1 << (head - 0xd9), 0);
    case 0xdc: case 0xdd: return counted(from, ARRAY, (size_t)2 << (head - 0xdc), 0);
    case 0xde: case 0xdf: return counted(from, MAP, (size_t)2 << (head - 0xde), 0);
    default: return (struct item){BROKEN, 0, 0, NULL}; /* extensions are not used */
    }
}

/* Passes over one item with everything inside it. */
static inline bool skip(struct reader *from, int depth)
{
    struct item item = next(from);
    if (item.kind == BROKEN || depth > MAX_DEPTH)
        return false;
    uint64_t inside = item.kind == MAP ? item.count : 0;
    if (item.kind == MAP || item.kind == ARRAY)
        inside += item.count;
    for (uint64_t i = 0; i < inside; i++)
        if (!skip(from, depth + 1))
            return false;
    return true;
}

static inline bool is_text(struct item item, const char *text)
{
    return item.kind == TEXT && item.count == strlen(text) && !memcmp(item.data, text, item.count);
}

/* Moves `value` to what a map holds under `key`. */
static inline bool find(struct reader map, const char *key, struct reader *value)
{
    struct item head = next(&map);
    for (uint64_t i = 0; head.kind == MAP && i < head.count; i++) {
        struct item name = next(&map);
        if (name.kind != TEXT)
            return false;
        if (is_text(name, key)) {
            *value = map;
            return true;
        }
        if (!skip(&map, 0))
            return false;
    }
    return false;
}

/* ------------------------------------------------------------------ writing */

struct writer {
    uint8_t *data;
    size_t size, room;
};

static inline void put(struct writer *to, const void *data, size_t size)
{
    if (to->room - to->size < size) {
        to->room = 2 * to->room + size;
        to->data = realloc(to->data, to->room);
        if (!to->data)
            abort();
    }
    if (size)
        memcpy(to->data + to->size, data, size);
    to->size += size;
}

static inline void put_head(struct writer *to, uint8_t head, uint64_t number, int width)
{
    uint8_t bytes[9] = {head};
    for (int i = 0; i < width; i++)
        bytes[1 + i] = (uint8_t)(number >> 8 * (width - 1 - i));
    put(to, bytes, 1 + (size_t)width);
}

static inline void put_map(struct writer *to, uint32_t pairs) { put_head(to, 0xdf, pairs, 4); }
static inline void put_array(struct writer *to, uint32_t count) { put_head(to, 0xdd, count, 4); }
static inline void put_whole(struct writer *to, int64_t n) { put_head(to, 0xd3, (uint64_t)n, 8); }
static inline void put_true(struct writer *to) { put_head(to, 0xc3, 0, 0); }

static inline void put_text(struct writer *to, const char *text)
{
    put_head(to, 0xdb, strlen(text), 4);
    put(to, text, strlen(text));
}

static inline void put_bytes(struct writer *to, const void *data, uint32_t size)
{
    put_head(to, 0xc6, size, 4);
    put(to, data, size);
}

#endif
