// The roofline: rows of bytes gathered to floats in a given order, in the best loop that a processor
// can be given, with nothing around it. Shares no code with csrc/, which it is held against.
#include <chrono>
#include <cstddef>
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

constexpr std::size_t PIXELS = 28 * 28;
constexpr std::size_t BATCH = 256;
constexpr std::size_t LINE = 64;  // bytes
constexpr std::size_t LINES = PIXELS / LINE * LINE;  // of a row's whole lines

// x / 255 correctly rounded for every byte x: both products are exact, so their sum is rounded once.
constexpr float HIGH = 0x1.0101p-8f;
constexpr float LOW = 0x1.01p-32f;

struct Plain {
    template <bool stream, std::size_t n>
    static void pixels(const std::uint8_t* in, float* out) {
        for (std::size_t i = 0; i < n; ++i) {
            const float x = in[i];
            out[i] = x * HIGH + x * LOW;
        }
    }
    static void finish() {}
};

#if defined(__AVX2__) && defined(__FMA__)
struct Avx2 {
    template <bool stream, std::size_t n>
    static void pixels(const std::uint8_t* in, float* out) {
        const __m256 high = _mm256_set1_ps(HIGH);
        const __m256 low = _mm256_set1_ps(LOW);
        for (std::size_t i = 0; i < n; i += 8) {
            const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(in + i));
            const __m256 x = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
            const __m256 y = _mm256_fmadd_ps(x, high, _mm256_mul_ps(x, low));
            if constexpr (stream) {
                _mm256_stream_ps(out + i, y);
            } else {
                _mm256_store_ps(out + i, y);
            }
        }
    }
    static void finish() { _mm_sfence(); }
};
#endif

#if defined(__AVX512F__)
struct Avx512 {
    template <bool stream, std::size_t n>
    static void pixels(const std::uint8_t* in, float* out) {
        const __m512 high = _mm512_set1_ps(HIGH);
        const __m512 low = _mm512_set1_ps(LOW);
        for (std::size_t i = 0; i < n; i += 16) {
            const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + i));
            const __m512 x = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes));
            const __m512 y = _mm512_fmadd_ps(x, high, _mm512_mul_ps(x, low));
            if constexpr (stream) {
                _mm512_stream_ps(out + i, y);
            } else {
                _mm512_store_ps(out + i, y);
            }
        }
    }
    static void finish() { _mm_sfence(); }
};
#endif

// Asks for the line at that byte of a row. Always inline: GCC may drop the calls of a function that
// only prefetches.
template <int locality>
__attribute__((always_inline)) inline void prefetch(const std::uint8_t* row, std::size_t byte) {
    if (row != nullptr) {
        __builtin_prefetch(row + byte, 0, locality);
    }
}

struct Run {
    const std::uint8_t* pixels;
    const std::uint8_t* labels;
    const std::int32_t* order;
    std::size_t images;
    std::size_t near;
    std::size_t far;
    std::size_t ring;
    float* x;
    std::int64_t* y;

    const std::uint8_t* row(std::int32_t index) const {
        return pixels + static_cast<std::size_t>(index) * PIXELS;
    }
};

template <class Isa, bool stream>
void load(const Run& run) {
    for (std::size_t start = 0, slot = 0; start < run.images; start += BATCH) {
        const std::size_t count = run.images - start < BATCH ? run.images - start : BATCH;
        const std::int32_t* rows = run.order + start;
        float* x = run.x + slot * BATCH * PIXELS;
        std::int64_t* y = run.y + slot * BATCH;
        for (std::size_t i = 0; i < count; ++i) {
            const std::uint8_t* row = run.row(rows[i]);
            const std::uint8_t* near = run.near != 0 ? run.row(rows[i + run.near]) : nullptr;
            const std::uint8_t* far = run.far != 0 ? run.row(rows[i + run.far]) : nullptr;
            float* out = x + i * PIXELS;
            for (std::size_t byte = 0; byte < LINES; byte += LINE) {
                prefetch<2>(far, byte);
                prefetch<3>(near, byte);
                Isa::template pixels<stream, LINE>(row + byte, out + byte);
            }
            prefetch<2>(far, LINES);
            prefetch<3>(near, LINES);
            Isa::template pixels<stream, PIXELS - LINES>(row + LINES, out + LINES);
            y[i] = run.labels[rows[i]];
        }
        if (stream) {
            Isa::finish();  // the batch is complete before its user reads it
        }
        slot = slot + 1 == run.ring ? 0 : slot + 1;
    }
}

using Load = void (*)(const Run&);

// By instruction set (plain, AVX2, AVX-512), and whether the stores bypass the caches.
constexpr Load LOADS[3][2] = {
    {load<Plain, false>, nullptr},
#if defined(__AVX2__) && defined(__FMA__)
    {load<Avx2, false>, load<Avx2, true>},
#else
    {nullptr, nullptr},
#endif
#if defined(__AVX512F__)
    {load<Avx512, false>, load<Avx512, true>},
#else
    {nullptr, nullptr},
#endif
};

}  // namespace

// Whether this build has a loop.
extern "C" int roofline_has(int isa, int stream) { return LOADS[isa][stream] != nullptr; }

// Loads `images` images, the order's first, in batches of 256 into a ring of `ring` batches, x
// [ring, 256, 784] at a multiple of 64 bytes and y [ring, 256]; gives the seconds that it took. The
// rows that are `near` and `far` images ahead are asked for into the first- and the second-level
// cache, a line at a time between the stores, 0 for none: the order goes on for as many.
extern "C" double roofline(int isa, int stream, std::size_t near, std::size_t far, std::size_t ring,
                           const std::uint8_t* pixels, const std::uint8_t* labels,
                           const std::int32_t* order, std::size_t images, float* x, std::int64_t* y) {
    const Run run{pixels, labels, order, images, near, far, ring, x, y};
    const auto start = std::chrono::steady_clock::now();
    LOADS[isa][stream](run);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
