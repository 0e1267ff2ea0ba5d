#include "kws/audio.h"

#define JOINED_FRAMES 49
#define RECORDING_BYTES (KWS_RECORDING_SAMPLES * 2u)
#define CHUNK_BYTES (KWS_CHUNK_SAMPLES * 2u)

static uint32_t now_ms(const struct kws_audio *audio)
{
    return audio->port->now_ms(audio->port->context);
}

static int32_t start_listening(struct kws_audio *audio)
{
    audio->listens = 1;
    audio->sample_count = 0;
    audio->since_ms = now_ms(audio);
    kws_word_init(&audio->work->word, 0);
    return audio->microphone->start(audio->microphone->context);
}

static int32_t start(void *context, uint32_t recording, void *memory)
{
    struct kws_audio *audio = context;
    uint32_t count = audio->sensor.recording_count;
    audio->work = memory;
    audio->listens = 0;
    audio->chunk = 0;
    audio->frame_count = 0;
    kws_frontend_init(&audio->work->frontend);
    if (recording == CL_RECORDING_LIVE && audio->microphone) {
        return start_listening(audio);
    }
    if (recording == CL_RECORDING_LIVE && count > 0) {
        recording = audio->next_live;
        audio->next_live = (recording + 1) % count;
    }
    if (recording >= count) {
        return CL_ERROR_SENSOR;
    }
    audio->recording = recording;
    kws_word_init(&audio->work->word, 1);
    return CL_OK;
}

static int32_t read_chunk(const struct kws_audio *audio, int16_t *samples)
{
    const struct cl_recordings *recordings = audio->recordings;
    const uint8_t *bytes = (const uint8_t *)samples;
    uint32_t offset = audio->recording * RECORDING_BYTES + audio->chunk * CHUNK_BYTES;
    int32_t count = recordings->read(recordings->context, offset, samples, CHUNK_BYTES);
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

// A chunk is in the front end's slot, and its spectrum has one in the ring. Returns 1 when the word
// has begun.
static int32_t take_chunk(struct kws_audio *audio, uint32_t *spectrum)
{
    struct kws_audio_work *work = audio->work;
    int32_t has_begun =
        kws_word_heard(&work->word, kws_frontend_slot(&work->frontend)); // before it moves
    if (kws_frontend_filter(&work->frontend, spectrum) > 0) {
        kws_word_filled(&work->word);
    }
    return has_begun;
}

// Takes the word's next spectrum. Returns 1 when it was the last.
static int32_t take_spectrum(struct kws_audio *audio, uint32_t *spectrum, int8_t *input)
{
    struct kws_audio_work *work = audio->work;
    uint16_t frame[KWS_CHANNELS];
    uint32_t odd = audio->frame_count & 1u;
    kws_frontend_scale(&work->frontend, spectrum, odd ? frame : work->frame);
    if (odd) {
        join_frames(work->frame, frame, &input[audio->frame_count / 2 * KWS_CHANNELS]);
    }
    audio->frame_count += 1;
    return audio->frame_count == KWS_WORD_FRAMES;
}

// Reads what the microphone has, at most to the end of a chunk. Returns the samples read, or
// negative.
static int32_t hear(struct kws_audio *audio)
{
    const struct cl_microphone *microphone = audio->microphone;
    struct kws_audio_work *work = audio->work;
    uint32_t *spectrum = kws_word_slot(&work->word);
    if (!spectrum) {
        return 0;
    }
    int32_t count = microphone->read(microphone->context,
                                     kws_frontend_slot(&work->frontend) + audio->sample_count,
                                     KWS_CHUNK_SAMPLES - audio->sample_count);
    if (count < 0) {
        return count;
    }
    audio->sample_count += (uint32_t)count;
    if (audio->sample_count == KWS_CHUNK_SAMPLES) {
        uint8_t had_begun = work->word.has_begun;
        audio->sample_count = 0;
        if (take_chunk(audio, spectrum) && !had_begun) {
            audio->since_ms = now_ms(audio);
        }
    }
    return count;
}

// Returns 1 when a whole word is in `input`, 0 for more to do, CL_SENSOR_WAITS, or negative.
static int32_t step_listening(struct kws_audio *audio, int8_t *input)
{
    int32_t count = hear(audio);
    if (count < 0) {
        return count;
    }
    uint32_t *spectrum = kws_word_next(&audio->work->word);
    if (spectrum) {
        return take_spectrum(audio, spectrum, input);
    }
    uint32_t waited_ms = now_ms(audio) - audio->since_ms;
    if (audio->work->word.has_begun) {
        if (waited_ms > KWS_REST_MS) {
            return CL_ERROR_SENSOR;
        }
    } else if (waited_ms > KWS_LISTEN_MS) {
        return KWS_ERROR_NOTHING_HEARD;
    }
    return count > 0 ? 0 : CL_SENSOR_WAITS;
}

static int32_t step_recording(struct kws_audio *audio, int8_t *input, int32_t *label)
{
    struct kws_audio_work *work = audio->work;
    int32_t result = read_chunk(audio, kws_frontend_slot(&work->frontend));
    if (result < 0) {
        return result;
    }
    audio->chunk += 1;
    (void)take_chunk(audio, kws_word_slot(&work->word)); // never null: each step takes what it puts
    uint32_t *spectrum = kws_word_next(&work->word);
    result = spectrum ? take_spectrum(audio, spectrum, input) : 0;
    if (result > 0) {
        *label = audio->recordings->label(audio->recordings->context, audio->recording);
    }
    return result;
}

static int32_t step(void *context, int8_t *input, uint32_t input_bytes, int32_t *label)
{
    struct kws_audio *audio = context;
    if (input_bytes != JOINED_FRAMES * KWS_CHANNELS || audio->frame_count >= KWS_WORD_FRAMES) {
        return CL_ERROR_ARGUMENT;
    }
    if (!audio->listens) {
        return step_recording(audio, input, label);
    }
    *label = CL_LABEL_NONE; // whoever asked for the word knows it
    int32_t result = step_listening(audio, input);
    if (result == 1 || result < 0) {
        audio->microphone->stop(audio->microphone->context);
    }
    return result;
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
    audio->chunk = 0;
    audio->frame_count = KWS_WORD_FRAMES; // nothing to do before `start`
    audio->work = 0;
    audio->listens = 0;
    audio->microphone = 0;
    audio->sensor.context = audio;
    audio->sensor.memory_bytes = sizeof(struct kws_audio_work);
    audio->sensor.start = start;
    audio->sensor.step = step;
    audio->sensor.recording_count = recordings->bytes / RECORDING_BYTES;
    audio->sensor.is_live = 0;
    return (int32_t)audio->sensor.recording_count;
}

void kws_audio_listen(struct kws_audio *audio, const struct cl_microphone *microphone,
                      const struct cl_port *port)
{
    audio->microphone = microphone;
    audio->port = port;
    audio->sensor.is_live = microphone != 0;
}
