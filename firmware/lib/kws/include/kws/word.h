// One word out of all that is heard: waits for the onset (kws/onset.h), and then gives one
// recording that begins KWS_PREROLL_CHUNKS before it was noticed: soft beginnings are not cut.
//
// What is heard is kept as spectra (kws_frontend_filter), half as many bytes as the sound, and a
// recording's are those of the sound around it. The ring holds the pre-roll's and no more; the
// recording goes through it while it is being heard.
#ifndef KWS_WORD_H
#define KWS_WORD_H

#include "kws/frontend.h"
#include "kws/onset.h"

#define KWS_WINDOW_CHUNKS 3u // of a spectrum
#define KWS_PREROLL_CHUNKS 24u
#define KWS_PREROLL_FRAMES (KWS_PREROLL_CHUNKS - KWS_WINDOW_CHUNKS + 1u)
#define KWS_WORD_CHUNKS 100u // a second
#define KWS_WORD_FRAMES (KWS_WORD_CHUNKS - KWS_WINDOW_CHUNKS + 1u)

struct kws_word {
    struct kws_onset onset;
    uint32_t first; // of the spectra in the ring
    uint32_t count; // of them
    uint32_t left;  // of the recording, not given yet
    uint8_t has_begun;
    uint32_t ring[KWS_PREROLL_FRAMES][KWS_CHANNELS];
};

// Begins to listen for a word or, when it `has_begun`, to take what comes first.
void kws_word_init(struct kws_word *word, uint8_t has_begun);

// Returns where the next chunk's spectrum goes, [KWS_CHANNELS], the same until kws_word_filled;
// null while the ring is full of a recording that nobody has taken, or the recording is complete.
uint32_t *kws_word_slot(struct kws_word *word);

// A chunk [KWS_CHUNK_SAMPLES] has been heard, for which there was a slot. Returns 1 when the word
// has begun.
int32_t kws_word_heard(struct kws_word *word, const int16_t *samples) CL_CHECK_RESULT;

// The spectrum of the window that ends with the chunk just heard is in kws_word_slot. With less
// than a window heard there is none.
void kws_word_filled(struct kws_word *word);

// Returns the recording's next spectrum [KWS_CHANNELS], the caller's until the next
// kws_word_filled, or null when there is none yet or no more.
uint32_t *kws_word_next(struct kws_word *word);

#endif
