#include "fuzz.h"

// The payload that a board of the smallest kind takes, and what is longer than that.
#define PAYLOAD 128u
#define BODY (CL_LINK_HEADER_BYTES + PAYLOAD)
#define CAPACITY (BODY + CL_FRAME_CRC_BYTES)

// Feeds `data` in parts of chosen or of one length. Returns the length of the last body, 0 for
// none.
static uint32_t feed(struct cl_frame_decoder *decoder, const uint8_t *data, uint32_t count,
                     uint32_t part_max)
{
    uint32_t last = 0;
    uint8_t *block = block_of(part_max);
    for (uint32_t at = 0; at < count;) {
        uint32_t used, left = count - at, part = left < part_max ? left : part_max;
        uint8_t *copy = block + part_max - part; // ends where ASan's red zone begins
        memcpy(copy, data + at, part);
        int32_t result = cl_frame_decode(decoder, copy, part, &used);
        check(used >= 1 && used <= part, "a decoder takes bytes");
        check(result <= (int32_t)BODY, "a body fits");
        check(result != 0 || used == part, "a decoder stops at frames only");
        check(result >= 0 || result == CL_ERROR_FRAME, "what is no frame is CL_ERROR_FRAME");
        last = result > 0 ? (uint32_t)result : last;
        reached(REACH_FRAMES, result > 0);
        at += used;
    }
    free(block);
    return last;
}

// Any bytes; then, behind a zero byte, the frame of a body made of the input is read back.
void fuzz_frame(const uint8_t *data, size_t size)
{
    uint8_t *body = block_of(CAPACITY), frame[1 + CL_FRAME_BYTES(BODY)] = {0};
    struct cl_frame_decoder decoder;
    cl_frame_decoder_init(&decoder, body, CAPACITY);
    uint32_t part_max = 1 + chosen_below(64);
    (void)feed(&decoder, data, (uint32_t)size, part_max);

    uint32_t count = size > BODY ? BODY : (uint32_t)size;
    int32_t framed = cl_frame_encode(frame + 1, sizeof frame - 1, data, count);
    check(framed > 0 && memchr(frame + 1, 0, (size_t)framed) == frame + framed,
          "a frame has one zero byte, at its end");
    check(feed(&decoder, frame, (uint32_t)framed + 1u, part_max) == count,
          "behind a zero byte a frame is read back");
    check(memcmp(body, data, count) == 0, "the body is as it was");

    // In place, and with one bit changed: a CRC-32 sees all of those.
    memcpy(frame + CL_FRAME_CODE_BYTES(count), data, count);
    int32_t again = cl_frame_encode(frame, sizeof frame, frame + CL_FRAME_CODE_BYTES(count), count);
    check(again == framed, "a body may lie in the buffer of its frame");
    uint32_t bit = chosen_below(8u * ((uint32_t)framed - 1u));
    frame[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    int seen = feed(&decoder, frame, (uint32_t)framed, part_max) == 0;
    check(seen || frame[bit / 8] == 0 || count < CL_LINK_HEADER_BYTES, "a changed bit is seen");
    free(body);
}
