#include <float.h>

#include "cutlayer/codec.h"
#include "fuzz.h"

// What the ranges of SPEC.md say of a message that was taken.
static void check_ranges(const struct cl_message *message)
{
    const struct cl_configure *configure = &message->as.configure;
    switch (message->kind) {
    case CL_CONFIGURE:
        check(configure->restart <= 1 && configure->optimizer <= 1 &&
                  cl_codec_is_activation(configure->activation_codec) &&
                  cl_codec_is_gradient(configure->gradient_codec),
              "CONFIGURE is in range");
        check(configure->momentum >= 0 && configure->momentum < 1 && configure->beta2 >= 0 &&
                  configure->beta2 < 1 && configure->epsilon >= 0 && configure->epsilon <= FLT_MAX,
              "CONFIGURE's floats are in range");
        break;
    case CL_GRADIENT:
        check(message->as.gradient.count >= 1 &&
                  message->as.gradient.count <= CL_SMASHED_COUNT_MAX &&
                  message->as.gradient.scale > 0 && message->as.gradient.scale <= FLT_MAX,
              "GRADIENT is in range");
        break;
    case CL_APPLY:
        check(message->as.apply.samples >= 1 && message->as.apply.learning_rate > 0 &&
                  message->as.apply.learning_rate <= FLT_MAX,
              "APPLY is in range");
        break;
    case CL_RESCALE:
        check(message->as.rescale.scale > 0 && message->as.rescale.scale <= FLT_MAX,
              "RESCALE is in range");
        break;
    case CL_READ:
        check(message->as.read.section < CL_SECTION_COUNT && message->as.read.count >= 1,
              "READ is in range");
        break;
    default:
        break;
    }
}

void fuzz_message(const uint8_t *data, size_t size)
{
    struct cl_message message;
    uint8_t *payload = block_of(size ? (uint32_t)size : 1);
    memcpy(payload, data, size);
    int32_t result = cl_message_decode(&message, payload, (uint32_t)size);
    check(result == 0 || result == CL_ERROR_KIND || result == CL_ERROR_LENGTH ||
              result == CL_ERROR_VALUE,
          "a message is taken, or refused with a reason");
    check(size == 0 || message.kind == data[0], "the kind is known whenever there is a byte");
    if (result == 0) {
        reached(REACH_MESSAGES, 1);
        check_ranges(&message);
        if (message.kind == CL_PIECE) {
            const struct cl_piece *piece = &message.as.piece;
            check(piece->data >= payload && piece->data + piece->data_bytes == payload + size &&
                      piece->count >= 1,
                  "a PIECE's data is the rest of the payload");
        } else if (message.kind == CL_PROVISION) {
            check(message.as.provision.device_id == payload + 4 &&
                      message.as.provision.key == payload + 12,
                  "a key stays where it came");
        }
    }
    free(payload);
}
