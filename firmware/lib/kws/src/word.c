#include "kws/word.h"

void kws_word_init(struct kws_word *word, uint8_t has_begun)
{
    kws_onset_init(&word->onset);
    word->first = 0;
    word->count = 0;
    word->left = KWS_WORD_FRAMES;
    word->has_begun = has_begun;
}

static void drop_first(struct kws_word *word)
{
    word->first = (word->first + 1) % KWS_PREROLL_FRAMES;
    word->count -= 1;
}

uint32_t *kws_word_slot(struct kws_word *word)
{
    if (word->count == KWS_PREROLL_FRAMES && !word->has_begun) {
        drop_first(word); // older than the pre-roll, should the next chunk be the onset
    }
    if (word->count == KWS_PREROLL_FRAMES || word->count >= word->left) {
        return 0;
    }
    return word->ring[(word->first + word->count) % KWS_PREROLL_FRAMES];
}

int32_t kws_word_heard(struct kws_word *word, const int16_t *samples)
{
    if (!word->has_begun) {
        word->has_begun = kws_onset_chunk(&word->onset, samples) != 0;
    }
    return word->has_begun;
}

void kws_word_filled(struct kws_word *word)
{
    word->count += 1;
}

uint32_t *kws_word_next(struct kws_word *word)
{
    if (!word->has_begun || word->count == 0 || word->left == 0) {
        return 0;
    }
    uint32_t *spectrum = word->ring[word->first];
    drop_first(word);
    word->left -= 1;
    return spectrum;
}
