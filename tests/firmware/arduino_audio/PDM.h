// Stands in for the PDM library of Arduino's mbed core.
#ifndef PDM_H
#define PDM_H
#include <stddef.h>

class PDMClass
{
  public:
    int begin(int channels, int sampleRate);
    void end();
    virtual int available();
    virtual int read(void *buffer, size_t size);
    void onReceive(void (*function)(void));
};

extern PDMClass PDM;
#endif
