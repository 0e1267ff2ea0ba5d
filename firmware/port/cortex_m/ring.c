// The receive ring: an interrupt fills it while the head runs. The interrupt writes only `end`, the
// program only `begin`; where they meet it is empty, so one place more than its bytes is kept.
#include "cortex_m/chip.h"
#include "cortex_m/cortex_m.h"
#include "cutlayer/node.h"

#define PLACES (CL_NODE_RECEIVE_BYTES + 1u)

static volatile uint8_t ring[PLACES];
static volatile uint32_t ring_begin, ring_end;

static uint32_t after(uint32_t place)
{
    return place + 1 < PLACES ? place + 1 : 0;
}

// What does not fit is lost; the host keeps to the credit that it has been given.
void cortex_m_received(uint8_t byte)
{
    const uint32_t end = ring_end, next = after(end);
    if (next != ring_begin) {
        ring[end] = byte;
        ring_end = next;
    }
}

uint32_t cortex_m_waiting(void)
{
    const uint32_t begin = ring_begin, end = ring_end;
    return end >= begin ? end - begin : end + PLACES - begin;
}

int32_t cortex_m_read(uint8_t *data, uint32_t capacity)
{
    const uint32_t waiting = cortex_m_waiting();
    const uint32_t count = waiting < capacity ? waiting : capacity;
    uint32_t begin = ring_begin;
    for (uint32_t i = 0; i < count; ++i) {
        data[i] = ring[begin];
        begin = after(begin);
    }
    ring_begin = begin;
    return (int32_t)count;
}
