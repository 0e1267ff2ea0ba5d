// Any machine: rest is a delay, which a core with an RTOS gives to others.
#include "parts.h"

uint32_t (*const machine_stack_bytes)(void *context) = 0;

void machine_rest()
{
    delay(1);
}

// The only serial port is the link.
void machine_log(void *, const char *)
{
}
