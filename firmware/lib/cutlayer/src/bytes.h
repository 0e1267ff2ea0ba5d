// Little-endian fields of the wire, whatever the machine's own order.
#ifndef CUTLAYER_BYTES_H
#define CUTLAYER_BYTES_H

#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__

// One load or store each: compilers do not merge the bytes of a store, and count those of a load
// before they merge them.
static inline void cl_put_u16(uint8_t *bytes, uint16_t value)
{
    memcpy(bytes, &value, sizeof value);
}

static inline void cl_put_u32(uint8_t *bytes, uint32_t value)
{
    memcpy(bytes, &value, sizeof value);
}

static inline uint16_t cl_get_u16(const uint8_t *bytes)
{
    uint16_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static inline uint32_t cl_get_u32(const uint8_t *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

#else

static inline void cl_put_u16(uint8_t *bytes, uint16_t value)
{
    bytes[0] = (uint8_t)(value & 0xFFu);
    bytes[1] = (uint8_t)(value >> 8);
}

static inline void cl_put_u32(uint8_t *bytes, uint32_t value)
{
    cl_put_u16(bytes, (uint16_t)(value & 0xFFFFu));
    cl_put_u16(bytes + 2, (uint16_t)(value >> 16));
}

static inline uint16_t cl_get_u16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | ((uint16_t)bytes[1] << 8));
}

static inline uint32_t cl_get_u32(const uint8_t *bytes)
{
    return cl_get_u16(bytes) | ((uint32_t)cl_get_u16(bytes + 2) << 16);
}

#endif

static inline void cl_put_f32(uint8_t *bytes, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    cl_put_u32(bytes, bits);
}

static inline float cl_get_f32(const uint8_t *bytes)
{
    uint32_t bits = cl_get_u32(bytes);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
