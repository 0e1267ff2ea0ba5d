// What a library that is not ours (an interpreter's) asks of the C library where there is no
// operating system: a failed check stops the board, and there is no heap. The linker takes away
// what nobody calls.
#include <stddef.h>

#include "cortex_m/cortex_m.h"

#define UNUSABLE ((void *)-1)

void abort(void);
void __assert_func(const char *file, int line, const char *function, const char *expression);
void *_sbrk(ptrdiff_t bytes);

void abort(void)
{
    cortex_m_stop("abort");
    for (;;) {
    }
}

void __assert_func(const char *file, int line, const char *function, const char *expression)
{
    (void)file;
    (void)line;
    (void)function;
    cortex_m_stop(expression);
    abort();
}

void *_sbrk(ptrdiff_t bytes)
{
    (void)bytes;
    return UNUSABLE;
}
