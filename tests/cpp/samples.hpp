// Random samples next to guard pages, and a simple reference implementation of the loader.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "guarded.hpp"
#include "loader.hpp"

// Samples whose last byte lies right before a guard page.
class Dataset {
public:
    explicit Dataset(std::size_t count)
        : pixels_(count * mnist_sgd::PIXELS), labels_(count * sizeof(std::int64_t)), count_(count) {
        std::mt19937_64 random(count);
        std::generate_n(pixels(), count * mnist_sgd::PIXELS, [&] { return static_cast<std::uint8_t>(random()); });
        std::generate_n(labels(), count, [&] { return static_cast<std::int64_t>(random()); });
    }

    std::uint8_t* pixels() { return pixels_.back(count_ * mnist_sgd::PIXELS); }
    std::int64_t* labels() { return reinterpret_cast<std::int64_t*>(labels_.back(count_ * sizeof(std::int64_t))); }
    mnist_sgd::Samples samples() { return {pixels(), nullptr, labels(), count_}; }

private:
    Guarded pixels_;
    Guarded labels_;
    const std::size_t count_;
};

// Appends the bytes of a converted pixel, computed from the definition of torch's arithmetic.
inline void append_converted(std::vector<std::uint8_t>& to, std::uint8_t pixel, mnist_sgd::Dtype dtype, float mean,
                           float std) {
    const auto append = [&to](auto value) {
        std::uint8_t bytes[sizeof value];
        std::memcpy(bytes, &value, sizeof value);
        to.insert(to.end(), bytes, bytes + sizeof value);
    };
    const float value = (static_cast<float>(pixel) / 255.0f - mean) / std;
    if (dtype == mnist_sgd::Dtype::float32) append(value);
    if (dtype == mnist_sgd::Dtype::uint8) append(pixel);
    if (dtype == mnist_sgd::Dtype::bfloat16) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, &value, sizeof bits);
        auto upper = static_cast<std::uint16_t>(bits >> 16);
        const std::uint32_t lower = bits & 0xffff;
        if (lower > 0x8000 || (lower == 0x8000 && upper % 2 == 1)) ++upper;  // to nearest, ties to even
        append(upper);
    }
}

// The values and labels of one batch.
struct BatchContents {
    std::vector<std::uint8_t> values;  // as bytes, so that -0.0 differs from 0.0
    std::vector<std::int64_t> labels;

    bool operator==(const BatchContents& other) const { return labels == other.labels && values == other.values; }
};

inline BatchContents contents(const mnist_sgd::Batch& batch, mnist_sgd::Dtype dtype = mnist_sgd::Dtype::float32) {
    const auto* const values = static_cast<const std::uint8_t*>(batch.buffer->values());
    return {{values, values + batch.size * mnist_sgd::PIXELS * mnist_sgd::item_size(dtype)},
            {batch.buffer->labels(), batch.buffer->labels() + batch.size}};
}

// The rank of the i-th sample of a batch of `size`: the first ranks take the remainder.
inline std::size_t rank_of(std::size_t i, std::size_t size, std::size_t world_size) {
    std::size_t rank = 0;
    for (std::size_t end = 0;; ++rank) {
        end += size / world_size + (rank < size % world_size ? 1 : 0);
        if (i < end) return rank;
    }
}

// The batches of one rank's epoch, computed one sample and one pixel at a time.
inline std::vector<BatchContents> reference_batches(const mnist_sgd::Samples& samples, const mnist_sgd::BatchPlan& plan,
                                                    std::uint64_t epoch, const mnist_sgd::BatchTransform& transform) {
    const mnist_sgd::Order order(samples.count, plan.seed, epoch, plan.shuffle, mnist_sgd::kernel_named("portable"));
    std::vector<BatchContents> batches;
    std::size_t size = 0;
    for (std::size_t start = 0; start < samples.count; start += size) {
        size = std::min(plan.batch_size, samples.count - start);
        if (plan.drop_last && size < plan.batch_size) break;
        BatchContents batch;
        for (std::size_t i = 0; i < size; ++i) {
            if (rank_of(i, size, plan.world_size) != plan.rank) continue;
            std::int64_t sample = 0;
            order.fill(start + i, 1, &sample);
            const std::uint8_t* row = samples.pixels + static_cast<std::size_t>(sample) * mnist_sgd::PIXELS;
            std::uint8_t augmented[mnist_sgd::PIXELS];
            if (transform.augmentation) {
                const auto params = transform.augmentation->draw(plan.seed, epoch, static_cast<std::uint64_t>(sample));
                mnist_sgd::resample_portable(row, augmented, params.inverse(), transform.augmentation->outside());
                row = augmented;
            }
            for (std::size_t j = 0; j < mnist_sgd::PIXELS; ++j) {
                append_converted(batch.values, row[j], transform.dtype, transform.normalization.mean,
                               transform.normalization.std);
            }
            batch.labels.push_back(samples.labels_i64 != nullptr ? samples.labels_i64[sample]
                                                                 : samples.labels_u8[sample]);
        }
        batches.push_back(batch);
    }
    return batches;
}
