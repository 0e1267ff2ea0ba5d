// One word out of all that is heard: waits for the onset (kws/onset.h), and then gives one
// recording, chunk by chunk, that begins KWS_PREROLL_CHUNKS before it was noticed: soft beginnings
// are not cut. The ring holds the pre-roll and no more; the recording goes through it while it is
// being heard.
#ifndef KWS_WORD_H
#define KWS_WORD_H

#include "kws/onset.h"

#define KWS_PREROLL_CHUNKS 24u
#define KWS_WORD_CHUNKS 100u // a second

struct kws_word {
    struct kws_onset onset;
    uint32_t first; // of the chunks in the ring
    uint32_t count; // of them
    uint32_t left;  // of the recording, not given yet
    uint8_t has_begun;
    int16_t ring[KWS_PREROLL_CHUNKS + 1][KWS_CHUNK_SAMPLES]; // one more, being filled
};

// Begins to listen for a word.
void kws_word_init(struct kws_word *word);

// Returns where the next chunk goes, [KWS_CHUNK_SAMPLES], the same until kws_word_heard; null while
// the ring is full of a recording that nobody has taken, or the recording is complete.
int16_t *kws_word_slot(struct kws_word *word);

// The chunk of kws_word_slot, which was not null, has been filled. Returns 1 when the word has
// begun.
int32_t kws_word_heard(struct kws_word *word) CL_CHECK_RESULT;

// Returns the recording's next chunk, valid until the next kws_word_heard, or null when there is
// none yet or no more.
const int16_t *kws_word_next(struct kws_word *word);

#endif
