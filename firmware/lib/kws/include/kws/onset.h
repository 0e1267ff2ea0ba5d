// When somebody begins to speak: by energy, over chunks of 10 ms, with nothing but integers.
//
// 1. The mean is followed by m += (x - m) / 16 and taken away: no DC, little below 160 Hz.
// 2. A chunk's energy is the mean square of what is left.
// 3. The noise floor is the least mean of four chunks' energies in a row, of the last 0.5 to 1 s
//    (R. Martin, "Noise power spectral density estimation based on optimal smoothing and minimum
//    statistics", 2001, without its smoothing): it needs no silence to begin with, because speech
//    has gaps.
// 4. A chunk is loud when its energy is 8 times (9 dB) the floor, and above KWS_ONSET_LEAST. Speech
//    has begun when 4 of the last 6 chunks are loud: a click does not do. In the first half second
//    4 of the last 24 do: somebody may have been speaking already, and the floor shows only
//    afterwards.
#ifndef KWS_ONSET_H
#define KWS_ONSET_H

#include "cutlayer/error.h"

#define KWS_CHUNK_SAMPLES 160

// Mean square of what is taken for silence whatever the floor: 30 of 32768, -61 dB of full scale.
#define KWS_ONSET_LEAST 900u
#define KWS_ONSET_KEPT_CHUNKS 24u

struct kws_onset {
    uint32_t energy[KWS_ONSET_KEPT_CHUNKS]; // of the latest chunks, in turn
    uint32_t least_before; // of the half second before this one; UINT32_MAX when there is none
    uint32_t least;        // of this one
    uint32_t chunk;        // heard so far; stays within 32 bits for a year
    int32_t mean;          // times 16
};

// Begins to listen, with no floor known.
void kws_onset_init(struct kws_onset *onset);

// Takes samples [KWS_CHUNK_SAMPLES]. Returns 1 when speech has begun, 0 when not.
int32_t kws_onset_chunk(struct kws_onset *onset, const int16_t *samples) CL_CHECK_RESULT;

#endif
