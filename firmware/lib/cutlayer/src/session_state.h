// What the session*.c files share: its present cut, and how replies are named.
#ifndef CUTLAYER_SESSION_STATE_H
#define CUTLAYER_SESSION_STATE_H

#include "cutlayer/session.h"

// Replies as tokens: kind in the lowest byte; what else tells the payload in the rest of `kind`,
// `first` and `count`.
#define TOKEN_KIND(token) ((uint8_t)((token)->kind & 0xFFu))
#define TOKEN_MORE(token) ((uint8_t)((token)->kind >> 8 & 0xFFu))

static inline struct cl_link_token cl_session_token(uint8_t kind, uint8_t more, uint32_t first,
                                                    uint32_t count)
{
    struct cl_link_token token = {kind | (uint32_t)more << 8, first, count};
    return token;
}

static inline int cl_session_is_trainable(const struct cl_session *session)
{
    return session->config.model->trainable != 0;
}

static inline uint32_t cl_session_last_step(const struct cl_session *session)
{
    return cl_session_is_trainable(session) ? session->train.step : 0;
}

static inline const struct cl_cut *cl_session_deepest_cut(const struct cl_session *session)
{
    const struct cl_head *head = &session->config.model->head;
    return &head->cuts[head->cut_count - 1];
}

// Whether the present cut lies behind the trainable layer.
static inline int cl_session_runs_trainable(const struct cl_session *session)
{
    return cl_session_is_trainable(session) &&
           session->cut + 1 == session->config.model->head.cut_count;
}

// The present cut as it is now: training moves the deepest one.
struct cl_cut cl_session_cut(const struct cl_session *session);

// Bytes of a section that READ reads, and where it lies; 0 for one that is not there.
uint32_t cl_session_section(const struct cl_session *session, uint8_t section, const void **data);

// Sets the ERROR to send, and counts it.
void cl_session_refuse(struct cl_session *session, uint8_t about, int32_t code, uint32_t detail,
                       struct cl_link_token *reply);

// The smashed data of the pending sample from element `first` on: sets `y`, and returns how many
// elements lie there, at least 1; they stay until it is asked again.
uint32_t cl_session_smashed(struct cl_session *session, uint32_t first, const int8_t **y);

// GRADIENT and PIECE. They return as every handler of session.c does.
int32_t cl_session_on_gradient(struct cl_session *session, const struct cl_message *message,
                               struct cl_link_token *reply) CL_CHECK_RESULT;
int32_t cl_session_on_piece(struct cl_session *session, const struct cl_message *message,
                            struct cl_link_token *reply) CL_CHECK_RESULT;

// The converted weights with an optimizer's settings. Returns what cl_train_init does.
int32_t cl_session_restart(struct cl_session *session,
                           const struct cl_train_config *config) CL_CHECK_RESULT;

// The converted weights, step 0. Returns 0 or an error of cl_train_init.
int32_t cl_session_start_over(struct cl_session *session) CL_CHECK_RESULT;

// CRC-32 of the master weights and the master bias as they are on the wire.
uint32_t cl_session_weights_crc(const struct cl_session *session);

#endif
