// The only file that knows Python: mnist_sgd._core. Its types are in mnist_sgd/_core.pyi.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "augmentation.hpp"
#include "idx.hpp"
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

// A loader with the arrays that it reads.
class PyLoader {
public:
    PyLoader(py::array images, py::array labels, std::vector<py::ssize_t> sample_shape, const Plan& plan,
             const Normalization& normalization, const Kernel& kernel)
        : images_(std::move(images)),
          labels_(std::move(labels)),
          sample_shape_(std::move(sample_shape)),
          loader_(samples(images_, labels_, sample_shape_), plan, normalization, kernel) {}

    std::size_t batches() const { return loader_.batches(); }
    std::unique_ptr<Epoch> epoch(std::uint64_t epoch, std::size_t first_batch) {
        return loader_.epoch(epoch, first_batch);
    }
    const std::vector<py::ssize_t>& sample_shape() const { return sample_shape_; }

private:
    static Samples samples(const py::array& images, const py::array& labels,
                           const std::vector<py::ssize_t>& sample_shape) {
        Samples result{contiguous<std::uint8_t>(images, "images"), nullptr, nullptr, 0, 1};
        if (images.ndim() < 1 || labels.ndim() != 1 || images.shape(0) != labels.shape(0) || images.shape(0) == 0) {
            throw py::value_error("images must be [N, ...] and labels [N] with the same N of at least 1");
        }
        if (labels.dtype().kind() == 'u') {
            result.labels_u8 = contiguous<std::uint8_t>(labels, "labels");
        } else {
            result.labels_i64 = contiguous<std::int64_t>(labels, "labels");
        }
        result.count = static_cast<std::size_t>(images.shape(0));
        for (const py::ssize_t side : sample_shape) {
            result.size *= static_cast<std::size_t>(side);
        }
        if (result.count * result.size != static_cast<std::size_t>(images.size())) {
            throw py::value_error("sample_shape does not hold as many values as one image");
        }
        return result;
    }

    py::array images_;
    py::array labels_;
    std::vector<py::ssize_t> sample_shape_;
    Loader loader_;
};

class PyEpoch {
public:
    PyEpoch(PyLoader& loader, std::uint64_t epoch, std::size_t first_batch)
        : epoch_(loader.epoch(epoch, first_batch)), shape_(loader.sample_shape()) {
        shape_.insert(shape_.begin(), 0);
    }

    py::tuple next() {
        epoch_->survive_fork();  // not thread-safe: the GIL is its lock
        Batch batch;
        {
            const py::gil_scoped_release unlocked;
            batch = epoch_->next();
        }
        if (batch.slot == nullptr) {
            throw py::stop_iteration();
        }
        shape_[0] = static_cast<py::ssize_t>(batch.size);
        // Both arrays hold the slot, which goes back to the pool when the later of them dies.
        const py::capsule owner(new std::shared_ptr<Slot>(batch.slot),
                                [](void* slot) { delete static_cast<std::shared_ptr<Slot>*>(slot); });
        return py::make_tuple(py::array_t<float>(shape_, batch.slot->values(), owner),
                              py::array_t<std::int64_t>({shape_[0], py::ssize_t{1}}, batch.slot->labels(), owner));
    }

private:
    std::unique_ptr<Epoch> epoch_;
    std::vector<py::ssize_t> shape_;
};

const Kernel& kernel_or_default(const std::optional<std::string>& name) {
    return name ? kernel_named(*name) : default_kernel();
}

py::array_t<float> normalize(const py::array& pixels, float mean, float std, const std::optional<std::string>& kernel) {
    const std::uint8_t* data = contiguous<std::uint8_t>(pixels, "pixels");
    py::array_t<float> result(std::vector<py::ssize_t>(pixels.shape(), pixels.shape() + pixels.ndim()));
    kernel_or_default(kernel).normalize(data, result.mutable_data(), static_cast<std::size_t>(pixels.size()),
                                        Normalization(mean, std));
    return result;
}

const std::uint8_t* images_28(const py::array& images) {
    const std::uint8_t* data = contiguous<std::uint8_t>(images, "images");
    if (images.ndim() != 3 || images.shape(1) != IMAGE_SIDE || images.shape(2) != IMAGE_SIDE) {
        throw py::value_error("images must be [N, 28, 28], got " + std::string(py::str(images.attr("shape"))));
    }
    return data;
}

// What the draws that `draw(i)` gives make of the images i.
template <typename DrawOf>
py::array_t<std::uint8_t> transformed(const py::array& images, const std::optional<std::string>& kernel_name,
                                      const DrawOf& draw) {
    const Kernel& kernel = kernel_or_default(kernel_name);
    const std::uint8_t* in = images_28(images);
    const py::ssize_t count = images.shape(0);
    py::array_t<std::uint8_t> result({count, py::ssize_t{IMAGE_SIDE}, py::ssize_t{IMAGE_SIDE}});
    std::uint8_t* out = result.mutable_data();
    const py::gil_scoped_release unlocked;
    for (py::ssize_t i = 0; i < count; ++i) {
        kernel.resample(in + i * IMAGE_SIZE, out + i * IMAGE_SIZE, draw(i).inverse());
    }
    return result;
}

void bind_augmentation(py::module_& module) {
    module.attr("AUGMENTATION_VERSION") = AUGMENTATION_VERSION;
    py::class_<Augmentation>(module, "Augmentation", py::is_final())
        .def(py::init([](double degrees, double translate, std::pair<double, double> scale, double shear) {
                 return Augmentation(degrees, translate, scale.first, scale.second, shear);
             }),
             py::kw_only(), py::arg("degrees"), py::arg("translate"), py::arg("scale"), py::arg("shear"))
        .def(
            "draw",
            [](const Augmentation& augmentation, std::uint64_t seed, std::uint64_t epoch, std::uint64_t sample) {
                const Draw draw = augmentation.draw(seed, epoch, sample);
                return py::make_tuple(draw.angle, py::make_tuple(draw.shift_x, draw.shift_y), draw.scale, draw.shear);
            },
            py::kw_only(), py::arg("seed"), py::arg("epoch"), py::arg("sample"))
        .def(
            "apply",
            [](const Augmentation& augmentation, const py::array& images, std::uint64_t seed, std::uint64_t epoch,
               std::uint64_t first_sample, const std::optional<std::string>& kernel) {
                return transformed(images, kernel, [&](py::ssize_t i) {
                    return augmentation.draw(seed, epoch, first_sample + static_cast<std::uint64_t>(i));
                });
            },
            py::arg("images"), py::kw_only(), py::arg("seed"), py::arg("epoch"), py::arg("first_sample") = 0,
            py::arg("kernel") = py::none());
    module.def(
        "affine",
        [](const py::array& images, double angle, std::pair<double, double> translate, double scale, double shear,
           const std::optional<std::string>& kernel) {
            const Draw draw{angle, translate.first, translate.second, scale, shear};
            return transformed(images, kernel, [&](py::ssize_t) { return draw; });
        },
        py::arg("images"), py::kw_only(), py::arg("angle") = 0.0, py::arg("translate") = py::make_tuple(0.0, 0.0),
        py::arg("scale") = 1.0, py::arg("shear") = 0.0, py::arg("kernel") = py::none());
}

py::array_t<std::int64_t> order(std::uint64_t count, std::uint64_t seed, std::uint64_t epoch, std::uint64_t start,
                                std::uint64_t stop) {
    if (start > stop || stop > count) {
        throw py::value_error("start and stop must satisfy 0 <= start <= stop <= count, got " + std::to_string(start) +
                              ", " + std::to_string(stop) + " and " + std::to_string(count));
    }
    py::array_t<std::int64_t> result(static_cast<py::ssize_t>(stop - start));
    Order(count, seed, epoch, true).fill(start, static_cast<std::size_t>(stop - start), result.mutable_data());
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
    module.doc() = "The C++ core of mnist_sgd; mnist_sgd.DataLoader and mnist_sgd.read_idx are its public face.";
    module.attr("ORDER_VERSION") = ORDER_VERSION;

    bind_augmentation(module);

    py::class_<PyEpoch>(module, "Epoch", py::is_final())
        .def("__iter__", [](PyEpoch& epoch) -> PyEpoch& { return epoch; }, py::return_value_policy::reference_internal)
        .def("__next__", &PyEpoch::next);

    py::class_<PyLoader>(module, "Loader", py::is_final())
        .def(py::init([](py::array images, py::array labels, std::vector<py::ssize_t> sample_shape,
                         std::size_t batch_size, bool shuffle, bool drop_last, std::uint64_t seed, std::size_t rank,
                         std::size_t world_size, std::size_t num_threads, float mean, float std) {
                 const Plan plan{batch_size, shuffle, drop_last, seed, rank, world_size, num_threads};
                 return std::make_unique<PyLoader>(std::move(images), std::move(labels), std::move(sample_shape), plan,
                                                   Normalization(mean, std), default_kernel());
             }),
             py::arg("images"), py::arg("labels"), py::kw_only(), py::arg("sample_shape"), py::arg("batch_size"),
             py::arg("shuffle"), py::arg("drop_last"), py::arg("seed"), py::arg("rank"), py::arg("world_size"),
             py::arg("num_threads"), py::arg("mean"), py::arg("std"))
        .def("__len__", &PyLoader::batches)
        .def(
            "epoch",
            [](PyLoader& loader, std::uint64_t epoch, std::size_t first_batch) {
                return std::make_unique<PyEpoch>(loader, epoch, first_batch);
            },
            py::arg("epoch"), py::arg("first_batch"), py::keep_alive<0, 1>());

    module.def("kernels", &kernel_names);
    module.def("default_kernel", [] { return std::string(default_kernel().name); });
    module.def("normalize", &normalize, py::arg("pixels"), py::kw_only(), py::arg("mean") = 0.0f, py::arg("std") = 1.0f,
               py::arg("kernel") = py::none());
    module.def("order", &order, py::arg("count"), py::kw_only(), py::arg("seed"), py::arg("epoch"), py::arg("start"),
               py::arg("stop"));
    module.def(
        "parse_idx_header",
        [](const py::bytes& head) {
            const std::string_view bytes(head);
            const IdxHeader header = parse_idx_header(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
            return py::make_tuple(header.type, py::tuple(py::cast(header.shape)), header.offset);
        },
        py::arg("head"));
}
