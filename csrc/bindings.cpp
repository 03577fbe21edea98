// The Python module mnist_sgd._core, typed in mnist_sgd/_core.pyi. No other file here knows Python.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "augmentation.hpp"
#include "dlpack.hpp"
#include "kernels.hpp"
#include "loader.hpp"
#include "order.hpp"

namespace py = pybind11;
using namespace mnist_sgd;

namespace {

template <typename T>
const T* contiguous(const py::array& array, const char* what) {
    const bool dense = (array.flags() & py::array::c_style) != 0;
    if (!dense || !py::isinstance<py::array_t<T>>(array)) {
        throw py::type_error(std::string(what) + " must be a C-contiguous array of " +
                             std::string(py::str(py::dtype::of<T>())) + ", got " +
                             (dense ? "one of " : "a strided one of ") + std::string(py::str(array.dtype())));
    }
    return static_cast<const T*>(array.data());
}

Dtype dtype_named(const std::string& name) {
    if (name == "float32") return Dtype::float32;
    if (name == "bfloat16") return Dtype::bfloat16;
    if (name == "uint8") return Dtype::uint8;
    throw py::value_error("dtype must be float32, bfloat16 or uint8, got " + name);
}

DLDataType dlpack_type(Dtype dtype) {
    switch (dtype) {
        case Dtype::float32: return {kDLFloat, 32, 1};
        case Dtype::bfloat16: return {kDLBfloat, 16, 1};
        default: return {kDLUInt, 8, 1};
    }
}

// A batch as two tensors, which release the buffer when both have been deleted.
class DLPackBatch {
public:
    DLPackBatch(const Batch& batch, DLDataType dtype, bool flatten)
        : buffer_(batch.buffer),
          xb_shape_{static_cast<std::int64_t>(batch.size), flatten ? std::int64_t{PIXELS} : 1, 28, 28},
          yb_shape_{static_cast<std::int64_t>(batch.size), 1} {
        describe(&xb, buffer_->values(), dtype, flatten ? 2 : 4, xb_shape_, flatten ? FLAT : IMAGE);
        describe(&yb, buffer_->labels(), {kDLInt, 64, 1}, 2, yb_shape_, COLUMN);
    }

    // Each must be deleted once, by its deleter.
    DLManagedTensorVersioned xb;
    DLManagedTensorVersioned yb;

private:
    inline static std::int64_t FLAT[] = {PIXELS, 1};
    inline static std::int64_t IMAGE[] = {PIXELS, PIXELS, 28, 1};
    inline static std::int64_t COLUMN[] = {1, 1};

    void describe(DLManagedTensorVersioned* tensor, void* data, DLDataType dtype, std::int32_t ndim,
                  std::int64_t* shape, std::int64_t* strides) {
        *tensor = {DLPACK_VERSION, this, deleter, 0, {data, {kDLCPU, 0}, ndim, dtype, shape, strides, 0}};
    }

    static void deleter(DLManagedTensorVersioned* tensor) {
        auto* batch = static_cast<DLPackBatch*>(tensor->manager_ctx);
        if (--batch->alive_ == 0) {
            delete batch;
        }
    }

    const std::shared_ptr<Buffer> buffer_;
    std::int64_t xb_shape_[4];
    std::int64_t yb_shape_[2];
    std::atomic<int> alive_{2};
};

// Makes a framework's tensor, through its table of C functions or, where it has none, through a
// function such as torch.from_dlpack.
class TensorMaker {
public:
    // Throws py::type_error if `exchange` is neither a table of a known version nor callable.
    explicit TensorMaker(const py::object& exchange) {
        if (PyCallable_Check(exchange.ptr()) == 1) {
            from_dlpack_ = exchange;
            return;
        }
        const char* const name = DLPACK_EXCHANGE_API_CAPSULE;
        if (!PyCapsule_IsValid(exchange.ptr(), name)) {
            throw py::type_error("exchange must be a capsule '" + std::string(name) +
                                 "' or a function such as torch.from_dlpack, got " +
                                 std::string(py::str(py::type::of(exchange))));
        }
        auto* header = static_cast<DLPackExchangeAPIHeader*>(PyCapsule_GetPointer(exchange.ptr(), name));
        while (header != nullptr && header->version.major != DLPACK_VERSION.major) {
            header = header->prev_api;
        }
        if (header == nullptr) {
            throw py::type_error("exchange must be of DLPack " + std::to_string(DLPACK_VERSION.major));
        }
        api_ = reinterpret_cast<DLPackExchangeAPI*>(header);
    }

    // Makes a tensor that owns `managed`; if this throws, it has been released.
    py::object operator()(DLManagedTensorVersioned* managed) const {
        if (api_ == nullptr) {
            return from_dlpack_(capsule(managed));
        }
        void* object = nullptr;
        if (api_->managed_tensor_to_py_object_no_sync(managed, &object) != 0) {
            throw py::error_already_set();
        }
        return py::reinterpret_steal<py::object>(static_cast<PyObject*>(object));
    }

private:
    static py::capsule capsule(DLManagedTensorVersioned* managed) {
        auto* unversioned = new DLManagedTensor{managed->dl_tensor, managed, [](DLManagedTensor* self) {
            auto* source = static_cast<DLManagedTensorVersioned*>(self->manager_ctx);
            source->deleter(source);
            delete self;
        }};
        return py::capsule(unversioned, DLTENSOR_CAPSULE, [](PyObject* object) {
            if (PyCapsule_IsValid(object, DLTENSOR_CAPSULE)) {  // nobody has consumed it
                auto* left = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(object, DLTENSOR_CAPSULE));
                left->deleter(left);
            }
        });
    }

    const DLPackExchangeAPI* api_ = nullptr;
    py::object from_dlpack_;  // where there is no table
};

// A loader and the arrays that it reads, which it keeps alive.
class PyLoader {
public:
    PyLoader(py::array images, py::array labels, bool flatten, const BatchPlan& plan, const BatchTransform& transform,
             const py::object& exchange)
        : images_(std::move(images)),
          labels_(std::move(labels)),
          flatten_(flatten),
          dtype_(dlpack_type(transform.dtype)),
          make_tensor_(exchange),
          loader_(samples(images_, labels_), plan, transform) {}

    std::size_t batches() const { return loader_.batches(); }

    std::unique_ptr<Epoch> epoch(std::uint64_t epoch, std::size_t first_batch) {
        return loader_.epoch(epoch, first_batch);
    }

    py::tuple tensors(const Batch& batch) const {
        auto* tensors = new DLPackBatch(batch, dtype_, flatten_);  // owned by its two tensors
        py::object xb;
        try {
            xb = make_tensor_(&tensors->xb);
        } catch (...) {
            tensors->yb.deleter(&tensors->yb);
            throw;
        }
        return py::make_tuple(std::move(xb), make_tensor_(&tensors->yb));
    }

private:
    static Samples samples(const py::array& images, const py::array& labels) {
        Samples result{contiguous<std::uint8_t>(images, "images"), nullptr, nullptr, 0};
        if (images.ndim() != 3 || images.shape(1) != 28 || images.shape(2) != 28 || labels.ndim() != 1 ||
            images.shape(0) != labels.shape(0) || images.shape(0) == 0) {
            throw py::value_error("images must be [N, 28, 28] and labels [N] with the same N of at least 1");
        }
        if (labels.dtype().kind() == 'u') {
            result.labels_u8 = contiguous<std::uint8_t>(labels, "labels");
        } else {
            result.labels_i64 = contiguous<std::int64_t>(labels, "labels");
        }
        result.count = static_cast<std::size_t>(images.shape(0));
        return result;
    }

    py::array images_;
    py::array labels_;
    bool flatten_;
    DLDataType dtype_;
    const TensorMaker make_tensor_;
    Loader loader_;
};

class PyEpoch {
public:
    PyEpoch(PyLoader& loader, std::uint64_t epoch, std::size_t first_batch)
        : loader_(loader), epoch_(loader.epoch(epoch, first_batch)), progress_(epoch_->progress()) {}

    // The tensors of the next batch, or a null handle after the last.
    py::object next() {
        const std::shared_ptr<Epoch> epoch = epoch_;  // another thread may call close()
        if (epoch == nullptr) {
            return {};
        }
        epoch->after_fork_in_child();  // not thread-safe by itself: the GIL protects it
        Batch batch;
        {
            const py::gil_scoped_release unlocked;
            batch = epoch->next();
        }
        if (batch.buffer == nullptr) {
            close();  // an exhausted iterator keeps no threads
            return {};
        }
        return loader_.tensors(batch);
    }

    void close() { epoch_.reset(); }
    std::shared_ptr<Progress> progress() const { return progress_; }

private:
    PyLoader& loader_;
    std::shared_ptr<Epoch> epoch_;  // null once closed
    const std::shared_ptr<Progress> progress_;
};

// PyEpoch's __next__, in the type's own slot, because a call through a Python method costs more.
PyObject* epoch_next(PyObject* self) {
    try {
        return py::handle(self).cast<PyEpoch&>().next().release().ptr();
    } catch (py::error_already_set& error) {
        error.restore();
    } catch (const std::bad_alloc&) {
        PyErr_NoMemory();
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
    return nullptr;
}

void set_iterator_slots(PyHeapTypeObject* type) {
    type->ht_type.tp_iter = PyObject_SelfIter;
    type->ht_type.tp_iternext = epoch_next;
}

const Kernel& kernel_or_default(const std::optional<std::string>& name) {
    return name ? kernel_named(*name) : default_kernel();
}

// Normalizes images as a batch does. bfloat16 values are returned as bits, since NumPy lacks the type.
py::array normalize(const py::array& images, float mean, float std, const std::string& dtype,
                    const std::optional<std::string>& kernel) {
    const BatchTransform transform{std::nullopt, Normalization(mean, std), dtype_named(dtype),
                                   kernel_or_default(kernel)};
    const std::uint8_t* pixels = contiguous<std::uint8_t>(images, "images");
    if (static_cast<std::size_t>(images.size()) % PIXELS != 0) {
        throw py::value_error("images must hold 784 pixels each, got " + std::to_string(images.size()) + " together");
    }
    const char* format = transform.dtype == Dtype::float32 ? "f4" : transform.dtype == Dtype::bfloat16 ? "u2" : "u1";
    py::array result(py::dtype(format), std::vector<py::ssize_t>(images.shape(), images.shape() + images.ndim()));
    std::vector<std::int64_t> indices(static_cast<std::size_t>(images.size()) / PIXELS);
    std::iota(indices.begin(), indices.end(), std::int64_t{0});
    transform.convert({pixels, indices.data(), indices.size()}, result.mutable_data());
    return result;
}

const std::uint8_t* images_28(const py::array& images) {
    const std::uint8_t* data = contiguous<std::uint8_t>(images, "images");
    if (images.ndim() != 3 || images.shape(1) != 28 || images.shape(2) != 28) {
        throw py::value_error("images must be [N, 28, 28], got " + std::string(py::str(images.attr("shape"))));
    }
    return data;
}

// Transforms each image i by params(i).
template <typename Params>
py::array_t<std::uint8_t> transformed(const py::array& images, const std::optional<std::string>& kernel_name,
                                      Outside outside, const Params& params) {
    const Kernel& kernel = kernel_or_default(kernel_name);
    const std::uint8_t* in = images_28(images);
    const auto count = static_cast<std::size_t>(images.shape(0));
    py::array_t<std::uint8_t> result({images.shape(0), py::ssize_t{28}, py::ssize_t{28}});
    std::uint8_t* out = result.mutable_data();
    const py::gil_scoped_release unlocked;
    for (std::size_t i = 0; i < count; ++i) {
        kernel.resample(in + i * PIXELS, out + i * PIXELS, params(i).inverse(), outside);
    }
    return result;
}

Outside outside_named(const std::string& name) {
    if (name == "black") return Outside::black;
    if (name == "edge") return Outside::edge;
    throw py::value_error("outside must be black or edge, got '" + name + "'");
}

void bind_augmentation(py::module_& module) {
    module.attr("AUGMENTATION_VERSION") = AUGMENTATION_VERSION;
    py::class_<Augmentation>(module, "Augmentation", py::is_final())
        .def(py::init([](double degrees, double translate, std::pair<double, double> scale, double shear,
                         const std::string& outside, double share) {
                 return Augmentation(degrees, translate, scale.first, scale.second, shear, outside_named(outside),
                                     share);
             }),
             py::kw_only(), py::arg("degrees"), py::arg("translate"), py::arg("scale"), py::arg("shear"),
             py::arg("outside") = "black", py::arg("share") = 1.0)
        .def(
            "draw",
            [](const Augmentation& augmentation, std::uint64_t seed, std::uint64_t epoch, std::uint64_t sample) {
                const AffineParams params = augmentation.draw(seed, epoch, sample);
                return py::make_tuple(params.angle, py::make_tuple(params.shift_x, params.shift_y), params.scale,
                                      params.shear);
            },
            py::kw_only(), py::arg("seed"), py::arg("epoch"), py::arg("sample"))
        .def(
            "apply",
            [](const Augmentation& augmentation, const py::array& images, std::uint64_t seed, std::uint64_t epoch,
               std::uint64_t first_sample, const std::optional<std::string>& kernel) {
                return transformed(images, kernel, augmentation.outside(), [&](std::size_t i) {
                    return augmentation.draw(seed, epoch, first_sample + i);
                });
            },
            py::arg("images"), py::kw_only(), py::arg("seed"), py::arg("epoch"), py::arg("first_sample") = 0,
            py::arg("kernel") = py::none());
    module.def(
        "affine",
        [](const py::array& images, double angle, std::pair<double, double> translate, double scale, double shear,
           const std::string& outside, const std::optional<std::string>& kernel) {
            const AffineParams params{angle, translate.first, translate.second, scale, shear};
            return transformed(images, kernel, outside_named(outside), [&](std::size_t) { return params; });
        },
        py::arg("images"), py::kw_only(), py::arg("angle") = 0.0, py::arg("translate") = py::make_tuple(0.0, 0.0),
        py::arg("scale") = 1.0, py::arg("shear") = 0.0, py::arg("outside") = "black", py::arg("kernel") = py::none());
}

py::array_t<std::int64_t> order(std::uint64_t count, std::uint64_t seed, std::uint64_t epoch, std::uint64_t start,
                                std::uint64_t stop, const std::optional<std::string>& kernel) {
    if (start > stop || stop > count) {
        throw py::value_error("start and stop must satisfy 0 <= start <= stop <= count, got " + std::to_string(start) +
                              ", " + std::to_string(stop) + " and " + std::to_string(count));
    }
    py::array_t<std::int64_t> result(static_cast<py::ssize_t>(stop - start));
    const Order order(count, seed, epoch, true, kernel_or_default(kernel));
    order.fill(start, static_cast<std::size_t>(stop - start), result.mutable_data());
    return result;
}

std::vector<std::string> kernel_names() {
    std::vector<std::string> names;
    for (const Kernel& kernel : kernels()) {
        names.emplace_back(kernel.name);
    }
    return names;
}

}  // namespace

PYBIND11_MODULE(_core, module) {
    module.doc() = "The C++ core of mnist_sgd, used through mnist_sgd.DataLoader and mnist_sgd.Augmentation.";
    module.attr("ORDER_VERSION") = ORDER_VERSION;

    bind_augmentation(module);

    py::class_<Progress, std::shared_ptr<Progress>>(module, "Progress", py::is_final())
        .def_property_readonly("delivered", [](const Progress& progress) { return progress.delivered.load(); })
        .def_property_readonly("exhausted", [](const Progress& progress) { return progress.exhausted.load(); });

    py::class_<PyEpoch>(module, "Epoch", py::is_final(), py::custom_type_setup(set_iterator_slots))
        .def("close", &PyEpoch::close)
        .def_property_readonly("progress", &PyEpoch::progress);

    py::class_<PyLoader>(module, "Loader", py::is_final())
        .def(py::init([](py::array images, py::array labels, bool flatten, std::size_t batch_size, bool shuffle,
                         bool drop_last, std::uint64_t seed, std::size_t rank, std::size_t world_size,
                         std::size_t num_threads, float mean, float std, const std::string& dtype,
                         const py::object& exchange, const std::optional<Augmentation>& augmentation) {
                 const BatchPlan plan{batch_size, shuffle, drop_last, seed, rank, world_size, num_threads};
                 const BatchTransform transform{augmentation, Normalization(mean, std), dtype_named(dtype),
                                           default_kernel()};
                 return std::make_unique<PyLoader>(std::move(images), std::move(labels), flatten, plan, transform,
                                                   exchange);
             }),
             py::arg("images"), py::arg("labels"), py::kw_only(), py::arg("flatten"), py::arg("batch_size"),
             py::arg("shuffle"), py::arg("drop_last"), py::arg("seed"), py::arg("rank"), py::arg("world_size"),
             py::arg("num_threads"), py::arg("mean"), py::arg("std"), py::arg("dtype"), py::arg("exchange"),
             py::arg("augmentation") = py::none())
        .def("__len__", &PyLoader::batches)
        .def(
            "epoch",
            [](PyLoader& loader, std::uint64_t epoch, std::size_t first_batch) {
                return std::make_unique<PyEpoch>(loader, epoch, first_batch);
            },
            py::arg("epoch"), py::arg("first_batch"), py::keep_alive<0, 1>());

    module.def("kernels", &kernel_names);
    module.def("default_kernel", [] { return std::string(default_kernel().name); });
    module.def("normalize", &normalize, py::arg("images"), py::kw_only(), py::arg("mean") = 0.0f, py::arg("std") = 1.0f,
               py::arg("dtype") = "float32", py::arg("kernel") = py::none());
    module.def("order", &order, py::arg("count"), py::kw_only(), py::arg("seed"), py::arg("epoch"), py::arg("start"),
               py::arg("stop"), py::arg("kernel") = py::none());
}
