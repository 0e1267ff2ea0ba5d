#include "kws/onset.h"

#include <string.h>

#define MEAN_SHIFT 4
#define LOUD_OVER_FLOOR 8u
#define LOUD_CHUNKS 4u
#define WINDOW_CHUNKS 6u
#define SMOOTHED_CHUNKS 4u
#define HALF_SECOND_CHUNKS 50u

void kws_onset_init(struct kws_onset *onset)
{
    memset(onset, 0, sizeof *onset);
    onset->least = UINT32_MAX;
    onset->least_before = UINT32_MAX;
}

// Steps 1 and 2. |x - m| is at most 65535, so the mean square fits 32 bits.
static uint32_t energy_of(struct kws_onset *onset, const int16_t *samples)
{
    uint64_t sum = 0;
    if (onset->chunk == 0) {
        onset->mean = samples[0] * (int32_t)(1 << MEAN_SHIFT);
    }
    for (uint32_t i = 0; i < KWS_CHUNK_SAMPLES; ++i) {
        int32_t value = samples[i] - onset->mean / (1 << MEAN_SHIFT);
        uint32_t size = value < 0 ? (uint32_t)-value : (uint32_t)value;
        onset->mean += value;
        sum += size * size;
    }
    return (uint32_t)(sum / KWS_CHUNK_SAMPLES);
}

// Energy of the chunk heard `ago` before the latest, which is 0.
static uint32_t energy_before(const struct kws_onset *onset, uint32_t ago)
{
    return onset->energy[(onset->chunk - 1 - ago) % KWS_ONSET_KEPT_CHUNKS];
}

// Step 3. Returns the floor, which includes the latest chunk.
static uint32_t follow_floor(struct kws_onset *onset)
{
    uint64_t sum = 0;
    if (onset->chunk < SMOOTHED_CHUNKS) {
        return UINT32_MAX;
    }
    for (uint32_t ago = 0; ago < SMOOTHED_CHUNKS; ++ago) {
        sum += energy_before(onset, ago);
    }
    uint32_t mean = (uint32_t)(sum / SMOOTHED_CHUNKS);
    if (mean < onset->least) {
        onset->least = mean;
    }
    uint32_t floor = onset->least < onset->least_before ? onset->least : onset->least_before;
    if (onset->chunk % HALF_SECOND_CHUNKS == 0) {
        onset->least_before = onset->least;
        onset->least = UINT32_MAX;
    }
    return floor;
}

int32_t kws_onset_chunk(struct kws_onset *onset, const int16_t *samples)
{
    uint32_t energy = energy_of(onset, samples);
    onset->energy[onset->chunk % KWS_ONSET_KEPT_CHUNKS] = energy;
    onset->chunk += 1;
    uint32_t floor = follow_floor(onset);
    uint32_t window = onset->chunk <= HALF_SECOND_CHUNKS ? KWS_ONSET_KEPT_CHUNKS : WINDOW_CHUNKS;
    uint32_t loud_chunks = 0;
    for (uint32_t ago = 0; ago < window && ago < onset->chunk; ++ago) {
        energy = energy_before(onset, ago);
        loud_chunks += energy > KWS_ONSET_LEAST && energy / LOUD_OVER_FLOOR > floor;
    }
    return loud_chunks >= LOUD_CHUNKS;
}
