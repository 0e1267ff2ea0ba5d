// The receive ring: an interrupt fills it while the head runs. Indices run freely; the interrupt
// writes only `end`, the program only `begin`.
#include "cortex_m/chip.h"
#include "cortex_m/cortex_m.h"

#if CORTEX_M_RECEIVE_BYTES & (CORTEX_M_RECEIVE_BYTES - 1)
#error "cutlayer.receive_bytes of the board's JSON is not a power of two"
#endif

static uint8_t ring[CORTEX_M_RECEIVE_BYTES];
static volatile uint32_t ring_begin, ring_end;

// What does not fit is lost; the host keeps to the credit that it has been given.
void cortex_m_received(uint8_t byte)
{
    uint32_t end = ring_end;
    if (end - ring_begin < CORTEX_M_RECEIVE_BYTES) {
        ring[end % CORTEX_M_RECEIVE_BYTES] = byte;
        ring_end = end + 1;
    }
}

uint32_t cortex_m_waiting(void)
{
    return ring_end - ring_begin;
}

int32_t cortex_m_read(uint8_t *data, uint32_t capacity)
{
    uint32_t begin = ring_begin;
    uint32_t count = ring_end - begin;
    if (count > capacity) {
        count = capacity;
    }
    for (uint32_t i = 0; i < count; ++i) {
        data[i] = ring[(begin + i) % CORTEX_M_RECEIVE_BYTES];
    }
    ring_begin = begin + count;
    return (int32_t)count;
}
