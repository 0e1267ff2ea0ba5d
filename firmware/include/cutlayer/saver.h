// Keeps what a board has learned in two slots of its storage (SPEC.md, section 4): the state of the
// trainable layer, without the accumulator and the rows that wait.
//
// A session reaches the functions below by `calls` alone, so that a firmware for a board without
// storage has none of them.
#ifndef CUTLAYER_SAVER_H
#define CUTLAYER_SAVER_H

#include "cutlayer/link.h"
#include "cutlayer/message.h"
#include "cutlayer/slots.h"

// Bytes of the body before the layer's memory: the model, the step and the optimizer.
#define CL_SAVER_HEAD_BYTES 80u

struct cl_saver;
struct cl_session;

struct cl_saver_calls {
    // Looks at the storage, and loads the newest good state of the session's model. Without one the
    // session stays as it is.
    void (*open)(struct cl_saver *saver, struct cl_session *session);

    // Fills in what WELCOME says of the storage.
    void (*describe)(const struct cl_saver *saver, const struct cl_session *session,
                     struct cl_welcome *welcome);

    // Takes SAVE or RESTORE, as the handlers of session.c do.
    int32_t (*take)(struct cl_saver *saver, struct cl_session *session,
                    const struct cl_message *message, struct cl_link_token *reply);

    // SAVING: erases a block or writes a piece. Returns 1 when it is over and `reply` has to be
    // sent, 0 when there is more to do.
    int32_t (*save)(struct cl_saver *saver, struct cl_session *session,
                    struct cl_link_token *reply);

    // Writes SAVED or RESTORED. Returns its bytes.
    int32_t (*encode)(const struct cl_saver *saver, const struct cl_session *session, uint8_t kind,
                      uint8_t *payload);
};

struct cl_saver {
    const struct cl_saver_calls *calls;
    const struct cl_storage *storage;
    struct cl_slots slots;
    struct cl_run_step held[2]; // by the good slots
    struct cl_saved saved;      // the last answer
    int8_t in_use; // the slot that the state in RAM was last loaded from or saved to; -1: none
    uint8_t phase; // of a save, see saver.c
};

// Prepares a saver; the node that it is given to opens it.
void cl_saver_init(struct cl_saver *saver, const struct cl_storage *storage);

#endif
