// The only C++ of ours: it sees the FFT's own struct, which is private to its source file.
#include "kws/frontend.h"

#include <string.h>

#include "tensorflow/lite/experimental/microfrontend/lib/bits.h"
#include "tensorflow/lite/experimental/microfrontend/lib/frontend.h"
#include "tensorflow/lite/experimental/microfrontend/lib/kiss_fft_int16.cc"

#include "kws_tables.h"

// The microfrontend's structs are filled in for each call: all but the tables in flash is in struct
// kws_frontend.

namespace
{

// The microfrontend's structs point at tables it never writes.
template <typename T> T *unconst(const T *table)
{
    return const_cast<T *>(table);
}

static_assert(sizeof(complex_int16_t) == sizeof(int16_t[2]), "a bin is two int16");
static_assert(sizeof(kissfft_fixed16::kiss_fft_cpx) == sizeof(int16_t[2]), "and so for the FFT");
static_assert(kFftReach <= KWS_FFT_BINS, "the filters read within the FFT's output");

// Applies the window to the full `window` and makes room in it for the next chunk. Returns the
// shift to the left that lets the samples fill 16 bits.
int apply_window(struct kws_frontend *frontend)
{
    struct WindowState state = {};
    size_t samples_read = 0;
    state.size = KWS_WINDOW_SAMPLES;
    state.step = KWS_CHUNK_SAMPLES;
    state.coefficients = unconst(kWindow);
    state.input = frontend->window;
    state.input_used = frontend->window_count;
    state.output = frontend->signal.samples;
    (void)WindowProcessSamples(&state, frontend->window, 0, &samples_read); // it is full
    frontend->window_count = static_cast<uint32_t>(state.input_used);
    return 15 - static_cast<int>(
                    MostSignificantBit32(static_cast<uint32_t>(state.max_abs_output_value)));
}

// FftCompute scales sample by sample, from signal.samples to itself. kiss_fftr then reads those
// into work.fft, and its bins come of that alone.
void compute_fft(struct kws_frontend *frontend, int shift)
{
    kissfft_fixed16::kiss_fftr_state fft = {};
    fft.substate = unconst<kissfft_fixed16::kiss_fft_state>(&kFft);
    fft.tmpbuf = reinterpret_cast<kissfft_fixed16::kiss_fft_cpx *>(frontend->work.fft);
    fft.super_twiddles = unconst(kSuperTwiddles);
    struct FftState state = {};
    state.input = frontend->signal.samples;
    state.output = reinterpret_cast<complex_int16_t *>(frontend->signal.bins);
    state.fft_size = KWS_FFT_SAMPLES;
    state.input_size = KWS_WINDOW_SAMPLES;
    state.scratch = &fft;
    state.scratch_size = sizeof fft;
    FftCompute(&state, frontend->signal.samples, shift);
}

void compute_filterbank(struct kws_frontend *frontend, int shift, uint32_t *spectrum)
{
    struct FilterbankState state = {};
    state.num_channels = KWS_CHANNELS;
    state.start_index = kFilterbankStart;
    state.end_index = kFilterbankEnd;
    state.channel_frequency_starts = unconst(kFrequencyStarts);
    state.channel_weight_starts = unconst(kWeightStarts);
    state.channel_widths = unconst(kWidths);
    state.weights = unconst(kWeights);
    state.unweights = unconst(kUnweights);
    state.work = frontend->work.filterbank;
    FilterbankConvertFftComplexToEnergy(&state,
                                        reinterpret_cast<complex_int16_t *>(frontend->signal.bins),
                                        frontend->signal.energy);
    FilterbankAccumulateChannels(&state, frontend->signal.energy);
    memcpy(spectrum, FilterbankSqrt(&state, shift), KWS_CHANNELS * sizeof *spectrum);
}

} // namespace

void kws_frontend_init(struct kws_frontend *frontend)
{
    frontend->window_count = 0;
    memset(frontend->noise_estimate, 0, sizeof frontend->noise_estimate);
}

int16_t *kws_frontend_slot(struct kws_frontend *frontend)
{
    return frontend->window + frontend->window_count;
}

int32_t kws_frontend_filter(struct kws_frontend *frontend, uint32_t *spectrum)
{
    frontend->window_count += KWS_CHUNK_SAMPLES;
    if (frontend->window_count < KWS_WINDOW_SAMPLES) {
        return 0;
    }
    const int shift = apply_window(frontend);
    compute_fft(frontend, shift);
    compute_filterbank(frontend, shift, spectrum);
    return KWS_CHANNELS;
}

void kws_frontend_scale(struct kws_frontend *frontend, uint32_t *spectrum, uint16_t *frame)
{
    struct NoiseReductionState noise = {};
    noise.smoothing_bits = kSmoothingBits;
    noise.even_smoothing = kEvenSmoothing;
    noise.odd_smoothing = kOddSmoothing;
    noise.min_signal_remaining = kMinSignalRemaining;
    noise.num_channels = KWS_CHANNELS;
    noise.estimate = frontend->noise_estimate;
    NoiseReductionApply(&noise, spectrum);

    struct PcanGainControlState gain = {};
    gain.enable_pcan = 1;
    gain.noise_estimate = frontend->noise_estimate;
    gain.num_channels = KWS_CHANNELS;
    gain.gain_lut = unconst(kGain);
    gain.snr_shift = kSnrShift;
    PcanGainControlApply(&gain, spectrum);

    struct LogScaleState log = {};
    log.enable_log = 1;
    log.scale_shift = kScaleShift;
    // What frontend.cc of the microfrontend takes off for the FFT's and the filterbank's bits.
    const int correction_bits =
        static_cast<int>(MostSignificantBit32(KWS_FFT_SAMPLES)) - 1 - kFilterbankBits / 2;
    memcpy(frame, LogScaleApply(&log, spectrum, KWS_CHANNELS, correction_bits),
           KWS_CHANNELS * sizeof *frame);
}
