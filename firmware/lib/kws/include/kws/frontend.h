// TensorFlow's microfrontend with the settings of the Python package pymicro-features: 16 kHz,
// window 30 ms, stride 10 ms, 40 channels from 125 to 7,500 Hz, noise reduction, PCAN gain, log.
// Same bits as the package.
//
// No allocation: the tables that the microfrontend works out at start (with libm) are made at build
// time and lie in flash, the buffers are in the caller's struct.
#ifndef KWS_FRONTEND_H
#define KWS_FRONTEND_H

#include "cutlayer/error.h"
#include "kws/onset.h"
#include "tensorflow/lite/experimental/microfrontend/lib/frontend.h"

#define KWS_CHANNELS 40
#define KWS_WINDOW_SAMPLES 480
#define KWS_FFT_SAMPLES 512

struct kws_frontend {
    struct FrontendState state;
    void *fft[3]; // the FFT's own state: where its tables and its buffer are
    int16_t window_input[KWS_WINDOW_SAMPLES];
    int16_t window_output[KWS_WINDOW_SAMPLES];
    int16_t fft_input[KWS_FFT_SAMPLES];
    struct complex_int16_t fft_output[KWS_FFT_SAMPLES / 2 + 4]; // the filters read up to 3 beyond
    struct complex_int16_t fft_buffer[KWS_FFT_SAMPLES / 2];
    uint64_t filterbank_work[KWS_CHANNELS + 1];
    uint32_t noise_estimate[KWS_CHANNELS];
};

#ifdef __cplusplus
extern "C" {
#endif

// Prepares a front end: silence before, no noise known.
void kws_frontend_init(struct kws_frontend *frontend);

// Takes samples [KWS_CHUNK_SAMPLES]. Returns KWS_CHANNELS when `frame` [KWS_CHANNELS] is filled, 0
// when the first window is not full yet (the first two chunks).
int32_t kws_frontend_chunk(struct kws_frontend *frontend, const int16_t *samples,
                           uint16_t *frame) CL_CHECK_RESULT;

#ifdef __cplusplus
}
#endif

#endif
