// Random samples between guarded pages, and a naive loop that makes the loader's batches of them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "guarded.hpp"
#include "loader.hpp"

// Samples whose last byte is the last before a page that nobody may touch.
class Dataset {
public:
    Dataset(std::size_t count, std::size_t size)
        : pixels_(count * size), labels_(count * sizeof(std::int64_t)), count_(count), size_(size) {
        std::mt19937_64 random(count * 1000 + size);
        std::generate_n(pixels(), count * size, [&] { return static_cast<std::uint8_t>(random()); });
        std::generate_n(labels(), count, [&] { return static_cast<std::int64_t>(random()); });
    }

    std::uint8_t* pixels() { return pixels_.back(count_ * size_); }
    std::int64_t* labels() { return reinterpret_cast<std::int64_t*>(labels_.back(count_ * sizeof(std::int64_t))); }
    mnist_sgd::Samples samples() { return {pixels(), nullptr, labels(), count_, size_}; }

private:
    Guarded pixels_;
    Guarded labels_;
    const std::size_t count_;
    const std::size_t size_;
};

// What one batch holds, as bytes.
struct Held {
    std::vector<float> values;
    std::vector<std::int64_t> labels;

    bool operator==(const Held& other) const {
        return labels == other.labels &&
               std::equal(values.begin(), values.end(), other.values.begin(), other.values.end(), same_bits);
    }

private:
    static bool same_bits(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0; }  // -0.0 is not 0.0
};

inline Held held(const mnist_sgd::Batch& batch, std::size_t size) {
    return {{batch.slot->values(), batch.slot->values() + batch.size * size},
            {batch.slot->labels(), batch.slot->labels() + batch.size}};
}

// The batches of one rank's epoch by the definitions alone: a sample, a pixel at a time.
inline std::vector<Held> naive(const mnist_sgd::Samples& samples, const mnist_sgd::Plan& plan, std::uint64_t epoch,
                               float mean = 0.0f, float std = 1.0f) {
    const mnist_sgd::Order order(samples.count, plan.seed, epoch, plan.shuffle);
    std::vector<Held> batches;
    std::size_t left = 0;
    for (std::size_t start = 0; start < samples.count; start += left) {
        left = std::min(plan.batch_size, samples.count - start);
        if (plan.drop_last && left < plan.batch_size) break;
        Held batch;
        for (std::size_t i = 0; i < left; ++i) {
            // Rank r holds the samples from left * r / world_size on, rounded up for the first ranks.
            std::size_t rank = 0;
            for (std::size_t end = 0;; ++rank) {
                end += left / plan.world_size + (rank < left % plan.world_size ? 1 : 0);
                if (i < end) break;
            }
            if (rank != plan.rank) continue;
            std::int64_t sample = 0;
            order.fill(start + i, 1, &sample);
            const std::uint8_t* const row = samples.pixels + static_cast<std::size_t>(sample) * samples.size;
            for (std::size_t j = 0; j < samples.size; ++j) {
                batch.values.push_back((static_cast<float>(row[j]) / 255.0f - mean) / std);
            }
            batch.labels.push_back(samples.labels_i64 != nullptr ? samples.labels_i64[sample]
                                                                 : samples.labels_u8[sample]);
        }
        batches.push_back(batch);
    }
    return batches;
}
