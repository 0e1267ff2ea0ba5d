// Runs on the computer that builds: lets the microfrontend work out its tables with the settings of
// the Python package pymicro-features 2.0.2 (src/micro_features.cpp, init_cfg), and prints them as
// kws_tables.h.
#include <stdio.h>

#include "tensorflow/lite/experimental/microfrontend/lib/frontend_util.h"
#include "tensorflow/lite/experimental/microfrontend/lib/kiss_fft_int16.cc"

static const int kSampleRate = 16000;

static void print_values(const char *name, const int16_t *values, int count)
{
    printf("static const int16_t %s[%d] = {", name, count);
    for (int i = 0; i < count; ++i) {
        printf("%s%d,", i % 16 == 0 ? "\n    " : " ", values[i]);
    }
    printf("\n};\n");
}

static void print_complex(const kissfft_fixed16::kiss_fft_cpx *values, int count)
{
    for (int i = 0; i < count; ++i) {
        printf("%s{%d, %d},", i % 8 == 0 ? "\n    " : " ", values[i].r, values[i].i);
    }
}

static void print_fft(const struct FftState *state)
{
    const kissfft_fixed16::kiss_fftr_state *fft =
        (const kissfft_fixed16::kiss_fftr_state *)state->scratch;
    const kissfft_fixed16::kiss_fft_state *substate = fft->substate;
    printf("struct FftTable : kissfft_fixed16::kiss_fft_state {\n");
    printf("    kissfft_fixed16::kiss_fft_cpx more_twiddles[%d];\n};\n", substate->nfft - 1);
    printf("static const FftTable kFft = {{%d, %d, {", substate->nfft, substate->inverse);
    for (int i = 0, n = substate->nfft; n > 1; i += 2) {
        printf("%d, %d, ", substate->factors[i], substate->factors[i + 1]);
        n = substate->factors[i + 1];
    }
    printf("}, {{%d, %d}}}, {", substate->twiddles[0].r, substate->twiddles[0].i);
    print_complex(&substate->twiddles[0] + 1, substate->nfft - 1);
    printf("\n}};\nstatic const kissfft_fixed16::kiss_fft_cpx kSuperTwiddles[%d] = {",
           substate->nfft / 2);
    print_complex(fft->super_twiddles, substate->nfft / 2);
    printf("\n};\n");
}

static void print_filterbank(const struct FilterbankState *state)
{
    const int count = state->num_channels + 1;
    int weights = 0;
    int reach = 0;
    for (int i = 0; i < count; ++i) {
        const int weights_end = state->channel_weight_starts[i] + state->channel_widths[i];
        const int spectrum_end = state->channel_frequency_starts[i] + state->channel_widths[i];
        weights = weights_end > weights ? weights_end : weights;
        reach = spectrum_end > reach ? spectrum_end : reach;
    }
    printf("enum { kFilterbankStart = %d, kFilterbankEnd = %d, kFftReach = %d };\n",
           state->start_index, state->end_index, reach);
    print_values("kFrequencyStarts", state->channel_frequency_starts, count);
    print_values("kWeightStarts", state->channel_weight_starts, count);
    print_values("kWidths", state->channel_widths, count);
    print_values("kWeights", state->weights, weights);
    print_values("kUnweights", state->unweights, weights);
}

int main()
{
    struct FrontendConfig config;
    config.window.size_ms = 30;
    config.window.step_size_ms = 10;
    config.filterbank.num_channels = 40;
    config.filterbank.lower_band_limit = 125.0f;
    config.filterbank.upper_band_limit = 7500.0f;
    config.noise_reduction.smoothing_bits = 10;
    config.noise_reduction.even_smoothing = 0.025f;
    config.noise_reduction.odd_smoothing = 0.06f;
    config.noise_reduction.min_signal_remaining = 0.05f;
    config.pcan_gain_control.enable_pcan = 1;
    config.pcan_gain_control.strength = 0.95f;
    config.pcan_gain_control.offset = 80.0f;
    config.pcan_gain_control.gain_bits = 21;
    config.log_scale.enable_log = 1;
    config.log_scale.scale_shift = 6;

    struct FrontendState state;
    if (!FrontendPopulateState(&config, &state, kSampleRate)) {
        return 1;
    }
    printf("// Made by firmware/lib/kws/tables/tables.cc.\n");
    print_values("kWindow", state.window.coefficients, (int)state.window.size);
    print_fft(&state.fft);
    print_filterbank(&state.filterbank);
    print_values("kGain", state.pcan_gain_control.gain_lut, kWideDynamicFunctionLUTSize);
    printf("enum {\n    kSmoothingBits = %d,\n    kEvenSmoothing = %d,\n    kOddSmoothing = %d,\n",
           state.noise_reduction.smoothing_bits, state.noise_reduction.even_smoothing,
           state.noise_reduction.odd_smoothing);
    printf("    kMinSignalRemaining = %d,\n    kSnrShift = %d,\n    kScaleShift = %d\n};\n",
           state.noise_reduction.min_signal_remaining, state.pcan_gain_control.snr_shift,
           state.log_scale.scale_shift);
    FrontendFreeStateContents(&state);
    return 0;
}
