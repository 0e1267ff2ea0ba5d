// A sensor that hears: recordings of one second, or a word that a microphone hears, to the head's
// input of 49 x 40 x 1, by integers alone.
//
// 1. The front end (kws/frontend.h), fresh for each recording, takes 16,000 samples (PCM, int16,
//    little-endian, 16 kHz) as 100 chunks of 160 and gives 98 frames of 40 values.
// 2. Frames 2t and 2t + 1 are joined: u = min(255, (3 * (frame[2t][c] + frame[2t + 1][c])) >> 4).
// 3. q = u - 128. So the head's input scale is 1/128 and its zero point -128.
//
// demos/cutlayer_kws/features.py has the same rule for hosts.
#ifndef KWS_AUDIO_H
#define KWS_AUDIO_H

#include "cutlayer/head.h"
#include "cutlayer/microphone.h"
#include "cutlayer/port.h"
#include "cutlayer/recordings.h"
#include "cutlayer/sensor.h"
#include "kws/frontend.h"
#include "kws/word.h"

#define KWS_RECORDING_SAMPLES 16000

// How long a word may keep us waiting, and how long a microphone may take to give the rest of it.
#define KWS_LISTEN_MS 10000u
#define KWS_REST_MS 5000u

// The sensor's own code: nobody spoke for KWS_LISTEN_MS.
#define KWS_ERROR_NOTHING_HEARD (CL_ERROR_PORT - 32)

// What it works in, lent by the node for one sample (sensor.h). The same bytes on every board: no
// pointer.
struct kws_audio_work {
    struct kws_frontend frontend;
    struct kws_word word;
    uint16_t frame[KWS_CHANNELS]; // an even one that waits for the odd one
};

struct kws_audio {
    struct cl_sensor sensor; // hand this to the node
    struct kws_audio_work *work;
    const struct cl_recordings *recordings;
    uint32_t recording; // being captured
    uint32_t chunk;     // next one of it
    uint32_t next_live;
    uint32_t frame_count;

    const struct cl_microphone *microphone; // null without one
    const struct cl_port *port;             // its clock
    uint8_t listens;                        // to the microphone, for the present sample
    uint32_t since_ms;                      // the listening or the word began
    uint32_t sample_count;                  // in the next chunk
};

// Prepares a sensor for `head`. CL_RECORDING_LIVE takes the recordings in turn, until
// kws_audio_listen.
// Returns the number of recordings, or CL_ERROR_VALUE when the head's input is not that of step 3.
int32_t kws_audio_init(struct kws_audio *audio, const struct cl_recordings *recordings,
                       const struct cl_head *head) CL_CHECK_RESULT;

// Lets CL_RECORDING_LIVE be the next word that `microphone` hears, if that is not null; `port` has
// the clock.
void kws_audio_listen(struct kws_audio *audio, const struct cl_microphone *microphone,
                      const struct cl_port *port);

#endif
