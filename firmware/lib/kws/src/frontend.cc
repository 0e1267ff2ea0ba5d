// The only C++ of ours: it sees the FFT's own struct, which is private to its source file.
#include "kws/frontend.h"

#include <string.h>

#include "tensorflow/lite/experimental/microfrontend/lib/kiss_fft_int16.cc"

#include "kws_tables.h"

namespace
{

// The microfrontend's structs point at tables it never writes.
template <typename T> T *unconst(const T *table)
{
    return const_cast<T *>(table);
}

using Fft = kissfft_fixed16::kiss_fftr_state;
static_assert(sizeof(Fft) == sizeof(kws_frontend::fft), "the FFT's state has three pointers");
static_assert(kFftReach <= KWS_FFT_SAMPLES / 2 + 4, "the filters read within the FFT's output");

} // namespace

void kws_frontend_init(struct kws_frontend *frontend)
{
    memset(frontend, 0, sizeof *frontend);

    Fft *fft = reinterpret_cast<Fft *>(frontend->fft);
    fft->substate = unconst<kissfft_fixed16::kiss_fft_state>(&kFft);
    fft->tmpbuf = reinterpret_cast<kissfft_fixed16::kiss_fft_cpx *>(frontend->fft_buffer);
    fft->super_twiddles = unconst(kSuperTwiddles);

    struct FrontendState *state = &frontend->state;
    state->window.size = KWS_WINDOW_SAMPLES;
    state->window.step = KWS_CHUNK_SAMPLES;
    state->window.coefficients = unconst(kWindow);
    state->window.input = frontend->window_input;
    state->window.output = frontend->window_output;

    state->fft.input = frontend->fft_input;
    state->fft.output = frontend->fft_output;
    state->fft.fft_size = KWS_FFT_SAMPLES;
    state->fft.input_size = KWS_WINDOW_SAMPLES;
    state->fft.scratch = frontend->fft;
    state->fft.scratch_size = sizeof frontend->fft;

    state->filterbank.num_channels = KWS_CHANNELS;
    state->filterbank.start_index = kFilterbankStart;
    state->filterbank.end_index = kFilterbankEnd;
    state->filterbank.channel_frequency_starts = unconst(kFrequencyStarts);
    state->filterbank.channel_weight_starts = unconst(kWeightStarts);
    state->filterbank.channel_widths = unconst(kWidths);
    state->filterbank.weights = unconst(kWeights);
    state->filterbank.unweights = unconst(kUnweights);
    state->filterbank.work = frontend->filterbank_work;

    state->noise_reduction.smoothing_bits = kSmoothingBits;
    state->noise_reduction.even_smoothing = kEvenSmoothing;
    state->noise_reduction.odd_smoothing = kOddSmoothing;
    state->noise_reduction.min_signal_remaining = kMinSignalRemaining;
    state->noise_reduction.num_channels = KWS_CHANNELS;
    state->noise_reduction.estimate = frontend->noise_estimate;

    state->pcan_gain_control.enable_pcan = 1;
    state->pcan_gain_control.noise_estimate = frontend->noise_estimate;
    state->pcan_gain_control.num_channels = KWS_CHANNELS;
    state->pcan_gain_control.gain_lut = unconst(kGain);
    state->pcan_gain_control.snr_shift = kSnrShift;

    state->log_scale.enable_log = 1;
    state->log_scale.scale_shift = kScaleShift;
}

int32_t kws_frontend_chunk(struct kws_frontend *frontend, const int16_t *samples, uint16_t *frame)
{
    size_t samples_read = 0;
    struct FrontendOutput output =
        FrontendProcessSamples(&frontend->state, samples, KWS_CHUNK_SAMPLES, &samples_read);
    if (output.size == 0) {
        return 0;
    }
    memcpy(frame, output.values, output.size * sizeof *frame);
    return (int32_t)output.size;
}
