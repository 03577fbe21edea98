// The arithmetic of resample_portable in vectors of eight 32-bit lanes, one pixel per lane. A gather
// fetches the four pixels of a sample as one word. Pixels minus 128 fit into signed 16-bit products;
// since the weights sum to one, adding 128 at the end is exact.
//
// 4 rows are 112 pixels, a whole number of vectors, so all rows share the steps of the first 4. There
// is no AVX-512 version, because half of the time goes to the gathers, which gain little from it.
#include "kernels_x86.hpp"

#if MNIST_SGD_X86_KERNELS

#include <immintrin.h>

#include "resample.hpp"

namespace mnist_sgd {
namespace avx2 {

namespace {

constexpr int GROUP_ROWS = 4;
constexpr int GROUP = GROUP_ROWS * IMAGE_SIDE;

// The offsets of u and v from the first pixel of a group of rows.
struct Steps {
    explicit Steps(const Affine& map) {
        for (int y = 0; y < GROUP_ROWS; ++y) {
            for (int x = 0; x < IMAGE_SIDE; ++x) {
                u[y * IMAGE_SIDE + x] = map.ux * x + map.uy * y;
                v[y * IMAGE_SIDE + x] = map.vx * x + map.vy * y;
            }
        }
    }
    alignas(64) std::int32_t u[GROUP];
    alignas(64) std::int32_t v[GROUP];
};

}  // namespace

__attribute__((target("avx2"))) void resample(const std::uint8_t* image, std::uint8_t* out, const Affine& map,
                                              Outside outside) {
    const BorderedImage source(image, outside);
    const Steps steps(map);
    const __m256i last = _mm256_set1_epi32(BorderedImage::LAST);
    const __m256i flip = _mm256_set1_epi8(-128);
    // Copies byte 1 of a lane, the weight, to both of its halves.
    const __m256i weight = _mm256_setr_epi8(1, -1, 1, -1, 5, -1, 5, -1, 9, -1, 9, -1, 13, -1, 13, -1,  //
                                            1, -1, 1, -1, 5, -1, 5, -1, 9, -1, 9, -1, 13, -1, 13, -1);
    const __m256i round = _mm256_set1_epi32(128 << 16 | 1 << 15);
    for (int y = 0; y < IMAGE_SIDE; y += GROUP_ROWS) {
        const __m256i u0 = _mm256_set1_epi32(map.u0 + map.uy * y);
        const __m256i v0 = _mm256_set1_epi32(map.v0 + map.vy * y);
        for (int i = 0; i < GROUP; i += 8) {
            __m256i u = _mm256_add_epi32(u0, _mm256_load_si256(reinterpret_cast<const __m256i*>(steps.u + i)));
            __m256i v = _mm256_add_epi32(v0, _mm256_load_si256(reinterpret_cast<const __m256i*>(steps.v + i)));
            u = _mm256_min_epi32(_mm256_max_epi32(u, _mm256_setzero_si256()), last);
            v = _mm256_min_epi32(_mm256_max_epi32(v, _mm256_setzero_si256()), last);
            const __m256i row = _mm256_slli_epi32(_mm256_srli_epi32(v, 16), 5);
            const __m256i place = _mm256_add_epi32(row, _mm256_srli_epi32(u, 16));
            const __m256i four = _mm256_xor_si256(
                _mm256_i32gather_epi32(reinterpret_cast<const int*>(source.pairs), place, 2), flip);

            const __m256i below = _mm256_shuffle_epi8(v, weight);
            const __m256i top256 = _mm256_slli_epi16(four, 8);
            const __m256i step = _mm256_sub_epi16(_mm256_srai_epi16(four, 8), _mm256_srai_epi16(top256, 8));
            const __m256i columns = _mm256_add_epi16(top256, _mm256_mullo_epi16(step, below));

            // (256 - right, right), since -right is ~right + 1
            const __m256i right = _mm256_add_epi16(
                _mm256_xor_si256(_mm256_shuffle_epi8(u, weight), _mm256_set1_epi32(0xffff)), _mm256_set1_epi32(257));
            const __m256i sum = _mm256_add_epi32(_mm256_madd_epi16(columns, right), round);
            const __m256i pixels = _mm256_srli_epi32(sum, 16);
            const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(pixels), _mm256_extracti128_si256(pixels, 1));
            _mm_storel_epi64(reinterpret_cast<__m128i*>(out + y * IMAGE_SIDE + i), _mm_packus_epi16(words, words));
        }
    }
}

}  // namespace avx2
}  // namespace mnist_sgd

#endif
