// See micro_interpreter.h. As in the library, a resolver has room for as many ops as its argument
// says.
#pragma once
#include "tensorflow/lite/micro/micro_interpreter.h"

namespace tflite
{

template <unsigned op_count> class MicroMutableOpResolver : public MicroOpResolver
{
  public:
    TfLiteStatus AddAveragePool2D()
    {
        return add();
    }
    TfLiteStatus AddSoftmax()
    {
        return add();
    }
    TfLiteStatus AddConv2D()
    {
        return add();
    }
    TfLiteStatus AddDepthwiseConv2D()
    {
        return add();
    }
    TfLiteStatus AddFullyConnected()
    {
        return add();
    }
    TfLiteStatus AddReshape()
    {
        return add();
    }

  private:
    TfLiteStatus add()
    {
        fake_tflm.ops = ++added_;
        return added_ <= op_count && added_ < fake_tflm.ops_fail ? kTfLiteOk : kTfLiteError;
    }
    unsigned added_ = 0;
};

} // namespace tflite
