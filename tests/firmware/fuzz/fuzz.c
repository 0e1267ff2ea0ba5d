#include "fuzz.h"

static const struct {
    const char *name;
    void (*run)(const uint8_t *data, size_t size);
} targets[] = {
    {"guard", fuzz_guard},     {"codec", fuzz_codec}, {"frame", fuzz_frame},
    {"link", fuzz_link},       {"node", fuzz_node},   {"message", fuzz_message},
    {"session", fuzz_session}, {"slots", fuzz_slots}, {"train", fuzz_train},
    {"window", fuzz_window},
};

static const uint8_t *choices;
static size_t choices_count;
static uint64_t noise;
static uint64_t reaches[REACH_COUNT];
static void (*target)(const uint8_t *data, size_t size);

uint32_t noise_u32(void)
{
    noise ^= noise << 13;
    noise ^= noise >> 7;
    noise ^= noise << 17;
    return (uint32_t)(noise >> 32);
}

int choices_left(void)
{
    return choices_count > 0;
}

static uint32_t chosen(uint32_t bytes)
{
    uint32_t value = 0;
    for (uint32_t i = 0; i < bytes; i++) {
        if (choices_count == 0) {
            return noise_u32();
        }
        value |= (uint32_t)*choices++ << (8 * i);
        choices_count--;
    }
    return value;
}

uint32_t chosen_u32(void)
{
    return chosen(4);
}

uint32_t chosen_below(uint32_t bound)
{
    return chosen(bound <= 0x100 ? 1 : bound <= 0x10000 ? 2 : 4) % bound;
}

void *block_of(uint32_t bytes)
{
    void *block = 0;
    check(posix_memalign(&block, 16, bytes) == 0, "there is memory");
    return block;
}

void check(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

void reached(enum reach what, uint64_t times)
{
    reaches[what] += times;
}

static void report(void)
{
    static const char *const names[REACH_COUNT] = {"frames",  "messages", "delivered", "coded",
                                                   "smashed", "added",    "applied",   "refused",
                                                   "saved",   "restored", "records"};
    fputs("reached {", stderr);
    for (uint32_t i = 0; i < REACH_COUNT; i++) {
        fprintf(stderr, "%s\"%s\": %lu", i ? ", " : "", names[i], (unsigned long)reaches[i]);
    }
    fputs("}\n", stderr);
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    const char *name = getenv("CUTLAYER_FUZZ_TARGET");
    for (size_t i = 0; name && i < sizeof targets / sizeof *targets; i++) {
        if (strcmp(targets[i].name, name) == 0) {
            target = targets[i].run;
        }
    }
    check(target != 0, "CUTLAYER_FUZZ_TARGET names a target");
    return atexit(report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    choices = data;
    choices_count = size;
    noise = 88172645463325252u + cl_crc32(0, data, (uint32_t)size);
    target(data, size);
    return 0;
}
