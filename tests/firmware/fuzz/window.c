#include "fuzz.h"

// The windows against plain ones: a line of numbers that do not wrap, and flags.

#define FRAMES 4096u

struct model {
    uint32_t base; // sent and acknowledged before
    uint32_t next;
    uint32_t end;
    uint32_t frame_bytes[CL_WINDOW_SEND_FRAMES];
    uint32_t credit;
    uint32_t arrived; // bit i: base + i
};

static uint32_t in_flight_bytes(const struct model *model)
{
    uint32_t bytes = 0;
    for (uint32_t seq = model->base; seq < model->next; seq++) {
        bytes += model->arrived >> (seq - model->base) & 1u
                     ? 0
                     : model->frame_bytes[seq % CL_WINDOW_SEND_FRAMES];
    }
    return bytes;
}

static void transmit(struct cl_send_window *window, struct model *model, uint32_t peer_frames,
                     uint32_t now_ms)
{
    int32_t due = cl_send_window_due(window);
    if (due < 0) {
        return;
    }
    uint32_t again = (uint32_t)due != (model->next & 0xFFFFu);
    if (again) {
        uint32_t place = ((uint32_t)due - model->base) & 0xFFFFu;
        check(place < model->next - model->base, "what is sent again was sent");
        check(!(model->arrived >> place & 1u), "what has arrived is not sent again");
    } else {
        check(model->next < model->end, "what is sent was pushed");
        check(model->next - model->base < peer_frames, "the receiver's frames hold");
        check(in_flight_bytes(model) + model->frame_bytes[model->next % CL_WINDOW_SEND_FRAMES] <=
                  model->credit,
              "the credit holds");
        model->next++;
    }
    check(cl_send_window_token(window, (uint16_t)due)->first % 0x10000u == (uint32_t)due,
          "a frame is its token's");
    uint32_t bytes = model->frame_bytes[(uint32_t)due % CL_WINDOW_SEND_FRAMES];
    check(cl_send_window_transmit(window, (uint16_t)due, bytes, now_ms) == (int32_t)again,
          "a window knows what it sent");
    if (chosen_below(4)) {
        cl_send_window_written(window, (uint16_t)due, now_ms);
    }
}

static void acknowledge(struct cl_send_window *window, struct model *model, uint32_t now_ms)
{
    uint32_t ack = model->base + chosen_below(12), sack = chosen_below(256);
    uint32_t credit = chosen_below(4) ? 200 * chosen_below(8) : chosen_below(0x10000);
    ack -= chosen_below(8) ? 0 : 3;
    cl_send_window_acknowledge(window, (uint16_t)ack, (uint16_t)sack, (uint16_t)credit, now_ms);
    if (ack < model->base || ack > model->next || ack > 0xFFFFFFF0u) {
        return;
    }
    model->credit = credit;
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t place = ack + 1 + i - model->base;
        if ((sack >> i & 1u) && ack + 1 + i < model->next) {
            model->arrived |= 1u << place;
        }
    }
    model->arrived |= (1u << (ack - model->base)) - 1u;
    // What arrived out of order is done when all before it has.
    model->arrived >>= ack - model->base;
    model->base = ack;
    check(cl_send_window_outstanding(window) <= model->end - model->base,
          "what was acknowledged is done");
}

static void fuzz_sending(void)
{
    struct cl_send_window window;
    uint32_t now_ms = 0xFFFFFF00u, peer_frames = 1 + chosen_below(CL_WINDOW_FRAMES_MAX);
    struct model model = {.credit = 500};
    cl_send_window_open(&window, (uint16_t)peer_frames, (uint16_t)model.credit, now_ms);
    while (choices_left() && model.end < FRAMES) {
        switch (chosen_below(5)) {
        case 0:
            if (cl_send_window_room(&window) > 0) {
                struct cl_link_token token = {0, model.end, 0};
                uint32_t bytes = 20 + chosen_below(256);
                model.frame_bytes[model.end++ % CL_WINDOW_SEND_FRAMES] = bytes;
                cl_send_window_push(&window, &token, bytes);
            }
            break;
        case 1:
            acknowledge(&window, &model, now_ms);
            break;
        case 2:
            if (cl_send_window_outstanding(&window) > 0 &&
                cl_send_window_timeout_ms(&window, now_ms) == 0) {
                (void)cl_send_window_expire(&window, now_ms);
            }
            break;
        case 3:
            now_ms += chosen_below(8) ? chosen_below(64) : chosen_below(4000);
            break;
        default:
            transmit(&window, &model, peer_frames, now_ms);
            break;
        }
        check(window.rto_ms >= 50 && window.rto_ms <= 1000, "the time-out has its limits");
        check(cl_send_window_outstanding(&window) <= CL_WINDOW_SEND_FRAMES, "the window holds");
        reached(REACH_MESSAGES, 1);
    }
}

static void fuzz_receiving(void)
{
    struct cl_receive_window window = {.frames =
                                           (uint16_t)(1 + chosen_below(CL_WINDOW_FRAMES_MAX))};
    uint32_t next = 0, released = 0;
    uint8_t here[FRAMES + 64] = {0};
    uint16_t buffers[CL_WINDOW_FRAMES_MAX + 1] = {0}; // what lies in each
    cl_receive_window_open(&window);
    while (choices_left() && next < FRAMES) {
        if (chosen_below(3)) {
            uint32_t seq = next + chosen_below(24) - (chosen_below(8) ? 0 : next < 5 ? next : 5);
            check(window.filling <= window.frames, "there is a buffer to fill");
            buffers[window.filling] = (uint16_t)seq;
            cl_receive_window_take(&window, (uint16_t)seq, (uint16_t)(seq + 1));
            here[seq] |= seq >= released && seq < released + window.frames;
        } else if (cl_receive_window_front(&window) >= 0) {
            check(here[released], "what is delivered has come");
            check(buffers[cl_receive_window_front(&window)] == (uint16_t)released,
                  "what is delivered is next");
            cl_receive_window_release(&window);
            released++;
            reached(REACH_DELIVERED, 1);
        }
        for (next = released; here[next]; next++) {
        }
        check(cl_receive_window_ack(&window) == (uint16_t)next, "ack is the first gap");
        check(cl_receive_window_in_order(&window) == next - released, "all before a gap is there");
        for (uint32_t i = 0; i < 16; i++) {
            check((cl_receive_window_sack(&window) >> i & 1u) == here[next + 1 + i],
                  "sack names what has come");
        }
    }
}

void fuzz_window(const uint8_t *data, size_t size)
{
    (void)data;
    (void)size;
    if (chosen_below(2)) {
        fuzz_sending();
    } else {
        fuzz_receiving();
    }
}
