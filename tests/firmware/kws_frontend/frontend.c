// A stand-in for kws/frontend.h: a frame is the first samples of its chunk, without their signs.
#include "kws/frontend.h"

#define CHUNKS_BEFORE_A_WINDOW (KWS_WINDOW_SAMPLES / KWS_CHUNK_SAMPLES - 1)

void kws_frontend_init(struct kws_frontend *frontend)
{
    frontend->window_count = 0;
}

int16_t *kws_frontend_slot(struct kws_frontend *frontend)
{
    return frontend->window;
}

int32_t kws_frontend_filter(struct kws_frontend *frontend, uint32_t *spectrum)
{
    if (frontend->window_count++ < CHUNKS_BEFORE_A_WINDOW) {
        return 0;
    }
    for (uint32_t c = 0; c < KWS_CHANNELS; ++c) {
        const int16_t sample = frontend->window[c];
        spectrum[c] = (uint32_t)(sample < 0 ? -sample : sample);
    }
    return KWS_CHANNELS;
}

void kws_frontend_scale(struct kws_frontend *frontend, uint32_t *spectrum, uint16_t *frame)
{
    (void)frontend;
    for (uint32_t c = 0; c < KWS_CHANNELS; ++c) {
        frame[c] = (uint16_t)spectrum[c];
    }
}
