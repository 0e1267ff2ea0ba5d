// Stands in for the ESP_I2S library of the ESP32's core, and the driver below it.
#ifndef ESP_I2S_H
#define ESP_I2S_H
#include <stddef.h>
#include <stdint.h>

typedef int esp_err_t;
typedef struct i2s_channel *i2s_chan_handle_t;
enum { ESP_OK = 0, ESP_ERR_TIMEOUT = 0x107, ESP_ERR_INVALID_STATE = 0x103 };
typedef enum { I2S_MODE_STD } i2s_mode_t;
typedef enum { I2S_DATA_BIT_WIDTH_16BIT = 16, I2S_DATA_BIT_WIDTH_32BIT = 32 } i2s_data_bit_width_t;
typedef enum { I2S_SLOT_MODE_MONO = 1, I2S_SLOT_MODE_STEREO = 2 } i2s_slot_mode_t;

esp_err_t i2s_channel_read(i2s_chan_handle_t handle, void *dest, size_t size, size_t *bytes_read,
                           uint32_t timeout_ms);

class I2SClass
{
  public:
    void setPins(int8_t bclk, int8_t ws, int8_t dout, int8_t din = -1, int8_t mclk = -1);
    bool begin(i2s_mode_t mode, uint32_t rate, i2s_data_bit_width_t bits, i2s_slot_mode_t channels,
               int8_t slot_mask = -1);
    bool end();
    i2s_chan_handle_t rxChan();
};
#endif
