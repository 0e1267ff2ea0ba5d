#include "fuzz.h"

static uint64_t random_state;

uint32_t random_u32(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 32);
}

uint32_t random_below(uint32_t bound)
{
    return random_u32() % bound;
}

void check(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

int main(int argc, char **argv)
{
    check(argc == 4, "fuzz TARGET BYTES SEED");
    uint64_t bytes = strtoull(argv[2], 0, 10);
    random_state = strtoull(argv[3], 0, 10) * 2654435761u + 88172645463325252u;
    if (strcmp(argv[1], "frame") == 0) {
        fuzz_frame(bytes);
    } else if (strcmp(argv[1], "link") == 0) {
        fuzz_link(bytes);
    } else {
        fuzz_node(bytes);
    }
    return 0;
}
