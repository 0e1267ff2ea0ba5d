#include "cutlayer/frame.h"

// Reflected polynomial 0xEDB88320, four bits at a time: 64 bytes of flash instead of 1024.
static const uint32_t crc_table[16] = {
    0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
    0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
    0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
};

uint32_t cl_crc32(uint32_t crc, const void *data, uint32_t count)
{
    const uint8_t *bytes = data;
    crc = ~crc & 0xFFFFFFFFu;
    for (uint32_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ crc_table[crc & 15u];
        crc = (crc >> 4) ^ crc_table[crc & 15u];
    }
    return ~crc & 0xFFFFFFFFu;
}

uint32_t cl_frame_bytes(uint32_t bytes)
{
    return CL_FRAME_BYTES(bytes);
}

struct cobs {
    uint8_t *out;
    uint32_t count;
    uint32_t code_at; // place of the present block's code
    uint8_t code;
    uint8_t open; // 0 after a full block that nothing has followed yet
};

static void cobs_open(struct cobs *cobs)
{
    cobs->code_at = cobs->count++;
    cobs->code = 1;
    cobs->open = 1;
}

static void cobs_put(struct cobs *cobs, uint8_t byte)
{
    if (!cobs->open) {
        cobs_open(cobs);
    }
    if (byte == 0) {
        cobs->out[cobs->code_at] = cobs->code;
        cobs_open(cobs);
        return;
    }
    cobs->out[cobs->count++] = byte;
    if (++cobs->code == 0xFF) {
        cobs->out[cobs->code_at] = cobs->code;
        cobs->open = 0;
    }
}

int32_t cl_frame_encode(uint8_t *frame, uint32_t capacity, const uint8_t *body, uint32_t body_bytes)
{
    if (capacity < cl_frame_bytes(body_bytes)) {
        return CL_ERROR_MEMORY;
    }
    struct cobs cobs = {.out = frame};
    uint32_t crc = cl_crc32(0, body, body_bytes);
    for (uint32_t i = 0; i < body_bytes; i++) {
        cobs_put(&cobs, body[i]);
    }
    for (uint32_t i = 0; i < CL_FRAME_CRC_BYTES; i++) {
        cobs_put(&cobs, (uint8_t)(crc >> (8u * i)));
    }
    if (cobs.open) {
        frame[cobs.code_at] = cobs.code;
    }
    frame[cobs.count++] = 0;
    return (int32_t)cobs.count;
}

static void decoder_restart(struct cl_frame_decoder *decoder)
{
    decoder->count = 0;
    decoder->left = 0;
    decoder->zero = 0;
    decoder->any = 0;
    decoder->bad = 0;
}

void cl_frame_decoder_init(struct cl_frame_decoder *decoder, uint8_t *body, uint32_t capacity)
{
    decoder->body = body;
    decoder->capacity = capacity;
    decoder_restart(decoder);
}

static void decoder_put(struct cl_frame_decoder *decoder, uint8_t byte)
{
    if (decoder->count < decoder->capacity) {
        decoder->body[decoder->count++] = byte;
    } else {
        decoder->bad = 1;
    }
}

// Returns the length of the body of the frame that ended just now, or CL_ERROR_FRAME.
static int32_t decoder_end(const struct cl_frame_decoder *decoder)
{
    if (decoder->bad || decoder->left > 0 || decoder->count <= CL_FRAME_CRC_BYTES) {
        return CL_ERROR_FRAME;
    }
    uint32_t body_bytes = decoder->count - CL_FRAME_CRC_BYTES;
    const uint8_t *sent = decoder->body + body_bytes;
    uint32_t crc = cl_crc32(0, decoder->body, body_bytes);
    for (uint32_t i = 0; i < CL_FRAME_CRC_BYTES; i++) {
        if (sent[i] != (uint8_t)(crc >> (8u * i))) {
            return CL_ERROR_FRAME;
        }
    }
    return (int32_t)body_bytes;
}

int32_t cl_frame_decode(struct cl_frame_decoder *decoder, const uint8_t *data, uint32_t count,
                        uint32_t *used)
{
    for (uint32_t i = 0; i < count; i++) {
        uint8_t byte = data[i];
        if (byte == 0) {
            if (!decoder->any) {
                continue;
            }
            int32_t result = decoder_end(decoder);
            decoder_restart(decoder);
            *used = i + 1;
            return result;
        }
        decoder->any = 1;
        if (decoder->left > 0) {
            decoder->left--;
            decoder_put(decoder, byte);
            continue;
        }
        // The zero byte of a block is known to be data only when another block follows.
        if (decoder->zero) {
            decoder_put(decoder, 0);
        }
        decoder->left = (uint8_t)(byte - 1);
        decoder->zero = byte != 0xFF;
    }
    *used = count;
    return 0;
}
