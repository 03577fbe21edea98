// The structures of DLPack 0.x, the protocol by which frameworks hand each other tensors without a
// copy (https://dmlc.github.io/dlpack/latest/c_api.html): the layout in memory is theirs.
#pragma once

#include <cstdint>

namespace mnist_sgd {
namespace dlpack {

struct Device {
    std::int32_t type;  // 1: the processor's memory
    std::int32_t id;
};

struct DataType {
    std::uint8_t code;  // 0 int, 1 uint, 2 float, 4 bfloat
    std::uint8_t bits;
    std::uint16_t lanes;
};

struct Tensor {
    void* data;
    Device device;
    std::int32_t ndim;
    DataType dtype;
    std::int64_t* shape;
    std::int64_t* strides;  // null: row-major and dense
    std::uint64_t byte_offset;
};

// A tensor with its owner; whoever takes it calls the deleter when it is done, from any thread.
struct ManagedTensor {
    Tensor tensor;
    void* manager_ctx;
    void (*deleter)(ManagedTensor*);
};

}  // namespace dlpack
}  // namespace mnist_sgd
