// The part of DLPack 1 that hands tensors to another framework without a copy, under DLPack's own
// names (https://dmlc.github.io/dlpack/latest/c_api.html). The memory layout is the protocol's.
#pragma once

#include <cstdint>

namespace mnist_sgd {

struct DLPackVersion {
    std::uint32_t major;  // if it is not ours, nothing but the version may be read
    std::uint32_t minor;
};

constexpr DLPackVersion DLPACK_VERSION{1, 3};

constexpr std::int32_t kDLCPU = 1;

struct DLDevice {
    std::int32_t device_type;
    std::int32_t device_id;
};

enum DLDataTypeCode : std::uint8_t { kDLInt = 0, kDLUInt = 1, kDLFloat = 2, kDLBfloat = 4 };

struct DLDataType {
    std::uint8_t code;
    std::uint8_t bits;
    std::uint16_t lanes;
};

struct DLTensor {
    void* data;
    DLDevice device;
    std::int32_t ndim;
    DLDataType dtype;
    std::int64_t* shape;
    std::int64_t* strides;  // in items, one per dimension
    std::uint64_t byte_offset;
};

// A tensor with its owner. The consumer calls the deleter once, from any thread.
struct DLManagedTensorVersioned {
    DLPackVersion version;
    void* manager_ctx;
    void (*deleter)(DLManagedTensorVersioned*);
    std::uint64_t flags;
    DLTensor dl_tensor;
};

// The same in DLPack 0, whose capsule "dltensor" every release of torch accepts; releases before the
// exchange table accept no other. The consumer renames the capsule.
struct DLManagedTensor {
    DLTensor dl_tensor;
    void* manager_ctx;
    void (*deleter)(DLManagedTensor*);
};

constexpr const char* DLTENSOR_CAPSULE = "dltensor";

struct DLPackExchangeAPIHeader {
    DLPackVersion version;
    DLPackExchangeAPIHeader* prev_api;  // the table of an earlier version, or null
};

// The table of C functions in the capsule `__dlpack_c_exchange_api__` of a framework's tensor type,
// which lives as long as the process. Making a tensor through it is faster than through a capsule
// for `from_dlpack`. Functions that are not used here are declared without their parameters.
struct DLPackExchangeAPI {
    DLPackExchangeAPIHeader header;
    void (*managed_tensor_allocator)();
    void (*managed_tensor_from_py_object_no_sync)();
    // Makes a Python object that owns the tensor. Returns nonzero with a Python error set on failure.
    int (*managed_tensor_to_py_object_no_sync)(DLManagedTensorVersioned* tensor, void** out_py_object);
    void (*dltensor_from_py_object_no_sync)();
    void (*current_work_stream)();
};

constexpr const char* DLPACK_EXCHANGE_API_CAPSULE = "dlpack_exchange_api";

}  // namespace mnist_sgd
