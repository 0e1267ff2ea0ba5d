// Frames: COBS( body || CRC-32(body) ) and a zero byte (SPEC.md, section 1).
// A frame that lost or changed a byte is dropped whole; the next zero byte is where the next frame
// starts.
#ifndef CUTLAYER_FRAME_H
#define CUTLAYER_FRAME_H

#include "cutlayer/error.h"

#define CL_FRAME_CRC_BYTES 4u

// Code bytes that COBS adds at most to a body of `bytes` and its CRC-32.
#define CL_FRAME_CODE_BYTES(bytes) (((bytes) + CL_FRAME_CRC_BYTES + 253u) / 254u)

// Bytes of the longest frame of a body of `bytes`, its zero byte included: for static arrays, and
// in less code.
#define CL_FRAME_BYTES(bytes) ((bytes) + CL_FRAME_CRC_BYTES + CL_FRAME_CODE_BYTES(bytes) + 1u)
uint32_t cl_frame_bytes(uint32_t bytes);

// CRC-32 of IEEE 802.3 (zlib's) over `count` bytes, going on from `crc`; start with 0.
uint32_t cl_crc32(uint32_t crc, const void *data, uint32_t count);

// Writes the frame of `body` to `frame`. The body may lie in the same buffer, CL_FRAME_CODE_BYTES
// or more behind the start of `frame`: so one buffer does for both. Returns the bytes written, or
// CL_ERROR_MEMORY when `capacity` is below CL_FRAME_BYTES(body_bytes).
int32_t cl_frame_encode(uint8_t *frame, uint32_t capacity, const uint8_t *body,
                        uint32_t body_bytes) CL_CHECK_RESULT;

// Takes frames out of a stream of bytes. `body` is the caller's: `capacity` bytes, room for the
// longest body and its CRC-32. It may be changed between two frames.
struct cl_frame_decoder {
    uint8_t *body;
    uint32_t capacity;
    uint32_t count; // bytes decoded of the present frame
    uint8_t left;   // bytes to come of the present COBS block
    uint8_t zero;   // 1 when the present block stands for a zero byte at its end
    uint8_t any;    // 1 when the present frame is not empty
    uint8_t bad;    // 1 when the present frame is too long
};

void cl_frame_decoder_init(struct cl_frame_decoder *decoder, uint8_t *body, uint32_t capacity);

// Takes bytes up to the end of a frame or of `data`; `used` says how many.
// Returns the length of the body now in `body` (valid until the next call), 0 when the frame is not
// whole yet and all bytes were taken, CL_ERROR_FRAME when a frame ended that has to be dropped. Go
// on until `used` is `count`.
int32_t cl_frame_decode(struct cl_frame_decoder *decoder, const uint8_t *data, uint32_t count,
                        uint32_t *used) CL_CHECK_RESULT;

#endif
