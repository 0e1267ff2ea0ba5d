#include "fuzz.h"

#define FRAME_PAYLOAD 200u

void fuzz_frame(uint64_t bytes)
{
    uint32_t capacity = CL_LINK_HEADER_BYTES + FRAME_PAYLOAD + CL_FRAME_CRC_BYTES;
    uint8_t *body = malloc(capacity);
    struct cl_frame_decoder decoder;
    cl_frame_decoder_init(&decoder, body, capacity);
    uint64_t whole = 0;
    while (bytes > 0) {
        uint8_t data[CL_FRAME_BYTES(CL_LINK_HEADER_BYTES + FRAME_PAYLOAD + 8u)];
        uint8_t source[CL_LINK_HEADER_BYTES + FRAME_PAYLOAD + 8u];
        uint32_t count = 1 + random_below(sizeof source);
        uint32_t few = random_below(3); // few zeros, many zeros, or anything
        for (uint32_t i = 0; i < count; i++) {
            source[i] = (uint8_t)(few == 0   ? 1 + random_below(255)
                                  : few == 1 ? random_below(2)
                                             : random_u32());
        }
        if (random_below(4) == 0) {
            memcpy(data, source, count);
        } else {
            int32_t framed = cl_frame_encode(data, sizeof data, source, count);
            check(framed > 0, "a body is framed");
            count = (uint32_t)framed;
            for (uint32_t i = random_below(3); i > 0; i--) {
                data[random_below(count)] = (uint8_t)random_u32();
            }
        }
        bytes = bytes > count ? bytes - count : 0;
        for (uint32_t at = 0; at < count;) {
            uint32_t used, part = 1 + random_below(count - at);
            int32_t result = cl_frame_decode(&decoder, data + at, part, &used);
            check(used >= 1 && used <= part, "a decoder takes bytes");
            check(result <= (int32_t)(capacity - CL_FRAME_CRC_BYTES), "a body fits");
            whole += result > 0;
            at += used;
        }
    }
    check(whole > 0, "some frames get through");
    free(body);
}
