// The structures of DLPack 1, the protocol by which frameworks hand each other tensors without a copy
// (https://dmlc.github.io/dlpack/latest/c_api.html): the layout in memory is theirs.
#pragma once

#include <cstdint>

namespace mnist_sgd {
namespace dlpack {

struct Version {
    std::uint32_t major;  // of another one nothing but the version may be read
    std::uint32_t minor;
};

constexpr Version VERSION{1, 3};

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
    std::int64_t* strides;  // in items, one a dimension
    std::uint64_t byte_offset;
};

// A tensor with its owner; whoever takes it calls the deleter when it is done, from any thread.
struct ManagedTensor {
    Version version;
    void* manager_ctx;
    void (*deleter)(ManagedTensor*);
    std::uint64_t flags;
    Tensor tensor;
};

// The same in DLPack 0, whose capsule every release of torch takes; the older ones take no other.
struct Unversioned {
    static constexpr const char* CAPSULE = "dltensor";  // who takes the tensor gives it another name

    Tensor tensor;
    void* manager_ctx;
    void (*deleter)(Unversioned*);
};

// What a framework's tensor type holds in the capsule `__dlpack_c_exchange_api__`: a table of C
// functions, for the life of the process. Through it a tensor is made in half of the time that a
// capsule for `from_dlpack` takes. Only `to_object` is used here.
struct Exchange {
    static constexpr const char* ATTRIBUTE = "__dlpack_c_exchange_api__";
    static constexpr const char* CAPSULE = "dlpack_exchange_api";

    Version version;
    Exchange* older;
    void (*allocator)();
    void (*from_object)();
    // Makes a Python object of a tensor, which it owns from then on; not 0 with a Python error set.
    int (*to_object)(ManagedTensor* tensor, void** object);
    void (*tensor_of_object)();
    void (*stream)();
};

}  // namespace dlpack
}  // namespace mnist_sgd
