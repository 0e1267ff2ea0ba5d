#include "kws/word.h"

#define RING_CHUNKS (KWS_PREROLL_CHUNKS + 1)

void kws_word_init(struct kws_word *word)
{
    kws_onset_init(&word->onset);
    word->first = 0;
    word->count = 0;
    word->left = KWS_WORD_CHUNKS;
    word->has_begun = 0;
}

int16_t *kws_word_slot(struct kws_word *word)
{
    if (word->count == KWS_PREROLL_CHUNKS || word->count >= word->left) {
        return 0;
    }
    return word->ring[(word->first + word->count) % RING_CHUNKS];
}

static void drop_first(struct kws_word *word)
{
    word->first = (word->first + 1) % RING_CHUNKS;
    word->count -= 1;
}

int32_t kws_word_heard(struct kws_word *word)
{
    const int16_t *samples = word->ring[(word->first + word->count) % RING_CHUNKS];
    word->count += 1;
    if (!word->has_begun) {
        word->has_begun = kws_onset_chunk(&word->onset, samples) != 0;
    }
    if (!word->has_begun && word->count == KWS_PREROLL_CHUNKS) {
        drop_first(word);
    }
    return word->has_begun;
}

const int16_t *kws_word_next(struct kws_word *word)
{
    if (!word->has_begun || word->count == 0 || word->left == 0) {
        return 0;
    }
    const int16_t *samples = word->ring[word->first];
    drop_first(word);
    word->left -= 1;
    return samples;
}
