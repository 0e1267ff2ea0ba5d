// TensorFlow's microfrontend with the settings of the Python package pymicro-features: 16 kHz,
// window 30 ms, stride 10 ms, 40 channels from 125 to 7,500 Hz, noise reduction, PCAN gain, log.
// Same bits as the package, in two parts:
//
// 1. kws_frontend_filter: window, FFT, filterbank, square root. A frame's spectrum depends on the
//    30 ms of its window and on nothing before them.
// 2. kws_frontend_scale: noise reduction, gain, log. What is taken for noise comes from all frames
//    since kws_frontend_init.
//
// So one that listens runs part 1 on all that it hears, and part 2 from a recording's first frame
// on: what comes out is that of the recording alone.
//
// No allocation: the tables that the microfrontend works out at start (with libm) are made at build
// time and lie in flash, the buffers are in the caller's struct, which has no pointer.
#ifndef KWS_FRONTEND_H
#define KWS_FRONTEND_H

#include "cutlayer/error.h"
#include "kws/onset.h"

#define KWS_CHANNELS 40
#define KWS_WINDOW_SAMPLES 480
#define KWS_FFT_SAMPLES 512
#define KWS_FFT_BINS (KWS_FFT_SAMPLES / 2 + 4) // the filters read up to 3 beyond the FFT's last one

struct kws_frontend {
    // What becomes of a window within one kws_frontend_filter. A stage reads one block and writes
    // the other or, element by element, its own.
    union {
        int16_t samples[KWS_FFT_SAMPLES]; // windowed; shifted by the FFT, in place, and its input
        int16_t bins[KWS_FFT_BINS][2];    // the FFT's output: the samples are in `fft` by then
        int32_t energy[KWS_FFT_BINS];     // of each bin, in its place
    } signal;
    union {
        int16_t fft[KWS_FFT_SAMPLES / 2][2];   // of the samples taken as complex ones
        uint64_t filterbank[KWS_CHANNELS + 1]; // the sums over `energy`
    } work;

    int16_t window[KWS_WINDOW_SAMPLES];
    uint32_t window_count; // samples in it: all but the next chunk once it has been full
    uint32_t noise_estimate[KWS_CHANNELS];
};

#ifdef __cplusplus
extern "C" {
#endif

// Prepares a front end: nothing heard, no noise known.
void kws_frontend_init(struct kws_frontend *frontend);

// Where the next chunk goes, [KWS_CHUNK_SAMPLES].
int16_t *kws_frontend_slot(struct kws_frontend *frontend);

// The chunk of kws_frontend_slot is there. Returns KWS_CHANNELS when `spectrum` [KWS_CHANNELS] is
// filled, 0 when the first window is not full yet (the first two chunks).
int32_t kws_frontend_filter(struct kws_frontend *frontend, uint32_t *spectrum) CL_CHECK_RESULT;

// Makes `frame` [KWS_CHANNELS] of the next spectrum [KWS_CHANNELS], which it overwrites.
void kws_frontend_scale(struct kws_frontend *frontend, uint32_t *spectrum, uint16_t *frame);

#ifdef __cplusplus
}
#endif

#endif
