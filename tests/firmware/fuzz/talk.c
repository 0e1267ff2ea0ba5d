#include "talk.h"

#include "small_model.h"

#define SAMPLE_NUMBER 7u

static void put_u32(uint8_t *bytes, uint32_t value)
{
    for (uint32_t i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(value >> (8 * i));
    }
}

static void put_f32(uint8_t *bytes, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    put_u32(bytes, bits);
}

static void say(const struct talk *talk, const uint8_t *bytes, uint32_t count)
{
    uint8_t *damaged = block_of(count);
    memcpy(damaged, bytes, count);
    for (uint32_t i = talk->errs ? chosen_below(40) : 0; i > 36; i--) {
        damaged[chosen_below(count)] = (uint8_t)chosen_below(256);
    }
    talk->say(talk->context, damaged, count);
    free(damaged);
}

void talk_hello(const struct talk *talk)
{
    static const uint8_t bytes[4] = {CL_HELLO, CL_WIRE_VERSION};
    say(talk, bytes, sizeof bytes);
}

void talk_configure(const struct talk *talk)
{
    static const uint8_t codecs[] = {0, 1, 2, 16, 17, 18};
    uint8_t bytes[24] = {CL_CONFIGURE};
    bytes[1] = (uint8_t)(chosen_below(4) == 0);
    bytes[2] = (uint8_t)(chosen_below(6) != 0); // the deepest cut, mostly
    bytes[4] = codecs[chosen_below(6)];
    bytes[5] = (uint8_t)chosen_below(3);
    bytes[6] = (uint8_t)chosen_below(2);
    put_f32(bytes + 8, 0.9f);
    put_f32(bytes + 12, 0.999f);
    put_f32(bytes + 16, 1e-7f);
    bytes[20] = (uint8_t)chosen_below(2);
    say(talk, bytes, sizeof bytes);
}

static void gradient(const struct talk *talk)
{
    uint8_t head[16] = {CL_GRADIENT}, piece[8 + SMALL_SMASHED] = {CL_PIECE};
    const struct cl_session *session = talk->session;
    head[1] = chosen_below(20) ? session->gradient_codec : (uint8_t)chosen_below(3);
    put_u32(head + 4, SAMPLE_NUMBER);
    put_u32(head + 8, SMALL_SMASHED);
    put_f32(head + 12, 0.01f);
    say(talk, head, sizeof head);
    for (uint32_t first = 0; first < SMALL_SMASHED && chosen_below(20) != 0;) {
        uint32_t left = SMALL_SMASHED - first;
        uint32_t count = chosen_below(3) ? left : 1 + chosen_below(left);
        uint32_t data = cl_codec_gradient_bytes(head[1], session->train.mask, first, count);
        piece[2] = (uint8_t)count;
        put_u32(piece + 4, first);
        if (chosen_below(40) == 0) {
            data = chosen_below(count + 1);
        }
        memset(piece + 8, chosen_below(20) ? (int)chosen_below(2) * 0x55 : 0x80, data);
        say(talk, piece, 8 + data);
        first += count;
    }
}

static void sample(const struct talk *talk)
{
    uint8_t bytes[12] = {CL_SAMPLE, chosen_below(4) != 0};
    put_u32(bytes + 4, SAMPLE_NUMBER);
    put_u32(bytes + 8, chosen_below(9));
    say(talk, bytes, sizeof bytes);
}

static void apply(const struct talk *talk)
{
    uint8_t bytes[12] = {CL_APPLY};
    bytes[2] =
        (uint8_t)(chosen_below(8) ? talk->session->train.samples_in_step : chosen_below(256));
    put_u32(bytes + 4, talk->session->train.step + (chosen_below(8) != 0));
    put_f32(bytes + 8, chosen_below(8) ? 0.01f : 3e38f);
    say(talk, bytes, sizeof bytes);
}

static void rescale(const struct talk *talk)
{
    uint8_t bytes[12] = {CL_RESCALE, (uint8_t)chosen_below(256)};
    put_f32(bytes + 4, chosen_below(2) ? 0.07f : 1e-30f);
    say(talk, bytes, sizeof bytes);
}

static void read(const struct talk *talk)
{
    uint8_t bytes[12] = {CL_READ, (uint8_t)chosen_below(6), (uint8_t)chosen_below(256),
                         (uint8_t)chosen_below(5)};
    put_u32(bytes + 4, chosen_below(4) ? chosen_below(600) : chosen_u32());
    say(talk, bytes, sizeof bytes);
}

static void keep(const struct talk *talk)
{
    uint8_t bytes[12] = {CL_SAVE};
    put_u32(bytes + 4, talk->session->train.step + (chosen_below(8) == 0));
    say(talk, bytes, 8);
}

static void take_back(const struct talk *talk)
{
    uint8_t bytes[12] = {CL_RESTORE};
    put_u32(bytes + 4, talk->session->run);
    put_u32(bytes + 8, talk->session->train.step - chosen_below(3));
    say(talk, bytes, sizeof bytes);
}

// Without data behind it; PROVISION has a key of noise.
static void plain(const struct talk *talk)
{
    static const uint8_t kinds[] = {CL_HELLO, CL_CLEAR, CL_STATS, CL_FORGET, CL_PROVISION};
    uint8_t bytes[4 + CL_DEVICE_ID_BYTES + CL_KEY_BYTES] = {kinds[chosen_below(sizeof kinds)]};
    bytes[1] = bytes[0] == CL_HELLO ? CL_WIRE_VERSION : 0;
    bytes[4] = (uint8_t)noise_u32();
    say(talk, bytes, bytes[0] == CL_PROVISION ? sizeof bytes : 4);
}

void talk_on(const struct talk *talk)
{
    static void (*const all[])(const struct talk *talk) = {
        talk_configure, sample, sample, sample,  gradient, gradient,  gradient,
        apply,          apply,  read,   rescale, keep,     take_back, plain};
    enum cl_state state = talk->session->state;
    if (chosen_below(4) && (state == CL_STATE_CAPTURING || state == CL_STATE_SENDING)) {
        return;
    }
    if (chosen_below(2) && state == CL_STATE_AWAITING) {
        gradient(talk);
    } else {
        all[chosen_below(sizeof all / sizeof *all)](talk);
    }
}

void reached_by(uint8_t kind)
{
    reached(REACH_SMASHED, kind == CL_ACTIVATION);
    reached(REACH_APPLIED, kind == CL_APPLIED);
    reached(REACH_REFUSED, kind == CL_ERROR);
    reached(REACH_SAVED, kind == CL_SAVED);
    reached(REACH_RESTORED, kind == CL_RESTORED);
}
