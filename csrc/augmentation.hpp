// Random rotation, shift, scale and shear of a 28x28 image, in one bilinear pass.
//
// The random numbers and the algorithm are part of the loader's contract; any change to them changes
// AUGMENTATION_VERSION. Let g(s, n) be the n-th number of SplitMix64 seeded with s. Draw d of a sample
// is g(g(g(g(seed ^ "augment1", 0), epoch), sample), d); its upper 53 bits over 2^53 are uniform in
// [0, 1). d is 0 for the angle, 1 and 2 for the shifts along x and y, 3 for the scale, 4 for the shear
// and 5 for whether the image is changed at all. So threads, ranks and batches do not matter.
//
// The matrix is computed in double precision with + - * / and our own sine, because C libraries differ
// in theirs, and without fused multiply-adds (setup.py passes that option). All other arithmetic is on
// integers (resample.hpp).
#pragma once

#include <cstdint>

#include "resample.hpp"

namespace mnist_sgd {

constexpr int AUGMENTATION_VERSION = 1;

// The transformation of one image: it is sheared along x, rotated and scaled about its centre, then
// shifted. Angles are in degrees, clockwise; shifts are in pixels.
struct AffineParams {
    double angle;
    double shift_x;
    double shift_y;
    double scale;
    double shear;

    // The map from output pixels to source coordinates. Throws std::invalid_argument as Affine does,
    // but never for parameters drawn by an Augmentation.
    Affine inverse() const;
};

class Augmentation {
public:
    // Parameters are drawn uniformly, as in torchvision's RandomAffine: the angle from -degrees to
    // degrees, each shift from -translate to translate times the image's side, the scale from scale_low
    // to scale_high, the shear from -shear to shear. Unlike torchvision's, shifts are not rounded to
    // whole pixels. A fraction `share` of the images is changed. Throws std::invalid_argument, which
    // names the value that is out of range.
    Augmentation(double degrees, double translate, double scale_low, double scale_high, double shear,
                 Outside outside = Outside::black, double share = 1);

    // The transformation of the image with index `sample` in the dataset.
    AffineParams draw(std::uint64_t seed, std::uint64_t epoch, std::uint64_t sample) const;

    // The value of pixels outside the image. It does not affect the draws.
    Outside outside() const { return outside_; }

private:
    double degrees_;
    double translate_;
    double scale_low_;
    double scale_high_;
    double shear_;
    Outside outside_;
    double share_;
};

}  // namespace mnist_sgd
