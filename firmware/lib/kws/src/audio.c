#include "kws/audio.h"

#define CHUNKS (KWS_RECORDING_SAMPLES / KWS_CHUNK_SAMPLES)
#define JOINED_FRAMES 49
#define RECORDING_BYTES (KWS_RECORDING_SAMPLES * 2u)
#define CHUNK_BYTES (KWS_CHUNK_SAMPLES * 2u)

static int32_t start(void *context, uint32_t recording)
{
    struct kws_audio *audio = context;
    uint32_t count = audio->sensor.recording_count;
    if (recording == CL_RECORDING_LIVE && count > 0) {
        recording = audio->next_live;
        audio->next_live = (recording + 1) % count;
    }
    if (recording >= count) {
        return CL_ERROR_SENSOR;
    }
    audio->recording = recording;
    audio->chunk = 0;
    audio->frame_count = 0;
    kws_frontend_init(&audio->frontend);
    return CL_OK;
}

static int32_t read_chunk(const struct kws_audio *audio, int16_t *samples)
{
    const struct cl_recordings *recordings = audio->recordings;
    uint8_t bytes[CHUNK_BYTES];
    uint32_t offset = audio->recording * RECORDING_BYTES + audio->chunk * CHUNK_BYTES;
    int32_t count = recordings->read(recordings->context, offset, bytes, CHUNK_BYTES);
    if (count != (int32_t)CHUNK_BYTES) {
        return CL_ERROR_SENSOR;
    }
    for (uint32_t i = 0; i < KWS_CHUNK_SAMPLES; ++i) {
        samples[i] = (int16_t)(uint16_t)(bytes[2 * i] | (uint32_t)bytes[2 * i + 1] << 8);
    }
    return CL_OK;
}

static void join_frames(const uint16_t *even, const uint16_t *odd, int8_t *input)
{
    for (uint32_t c = 0; c < KWS_CHANNELS; ++c) {
        uint32_t joined = (3 * ((uint32_t)even[c] + odd[c])) >> 4;
        input[c] = (int8_t)((int32_t)(joined > 255 ? 255 : joined) - 128);
    }
}

// One chunk of 10 ms.
static int32_t step(void *context, int8_t *input, uint32_t input_bytes, int32_t *label)
{
    struct kws_audio *audio = context;
    if (input_bytes != JOINED_FRAMES * KWS_CHANNELS || audio->chunk >= CHUNKS) {
        return CL_ERROR_ARGUMENT;
    }
    int16_t samples[KWS_CHUNK_SAMPLES];
    int32_t result = read_chunk(audio, samples);
    if (result < 0) {
        return result;
    }
    uint16_t frame[KWS_CHANNELS];
    uint32_t odd = audio->frame_count & 1u;
    result = kws_frontend_chunk(&audio->frontend, samples, odd ? frame : audio->frame);
    if (result > 0) {
        if (odd) {
            join_frames(audio->frame, frame, &input[audio->frame_count / 2 * KWS_CHANNELS]);
        }
        audio->frame_count += 1;
    }
    audio->chunk += 1;
    if (audio->chunk < CHUNKS) {
        return 0;
    }
    *label = audio->recordings->label(audio->recordings->context, audio->recording);
    return 1;
}

int32_t kws_audio_init(struct kws_audio *audio, const struct cl_recordings *recordings,
                       const struct cl_head *head)
{
    struct cl_shape shape = head->input_shape;
    if (shape.height != JOINED_FRAMES || shape.width != KWS_CHANNELS || shape.channels != 1 ||
        head->input_scale != 1.0f / 128.0f || head->input_zero_point != -128) {
        return CL_ERROR_VALUE;
    }
    audio->recordings = recordings;
    audio->next_live = 0;
    audio->recording = 0;
    audio->chunk = CHUNKS;
    audio->sensor.context = audio;
    audio->sensor.start = start;
    audio->sensor.step = step;
    audio->sensor.recording_count = recordings->bytes / RECORDING_BYTES;
    return (int32_t)audio->sensor.recording_count;
}
