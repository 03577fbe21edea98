// Random rotation, shift, scale and shear of a 28x28 image, in one bilinear pass.
//
// The draws and the algorithm are part of the loader's contract; a change of either is a change of
// AUGMENTATION_VERSION. Let g(s, n) be number n of the SplitMix64 generator that starts in s. Then
// draw d of a sample is g(g(g(g(seed ^ "augment1", 0), epoch), sample), d), of which the upper 53
// bits over 2^53 are uniform in [0, 1); d is 0 for the angle, 1 and 2 for the shift along x and y, 3 for
// the scale, 4 for the shear, 5 for whether the image is changed at all. So nothing depends on which thread, rank or batch asks. The matrix is
// made in double precision of + - * / and a sine of our own, since those of two C libraries differ,
// and a compiler that fuses multiplications with additions must be told not to (setup.py does); the
// rest is integers (resample.hpp).
#pragma once

#include <cstdint>

#include "resample.hpp"

namespace mnist_sgd {

constexpr int AUGMENTATION_VERSION = 1;

// What happens to one image: it is sheared along x, turned and scaled about its centre, then
// shifted. The angles are degrees, clockwise, the shifts pixels.
struct Draw {
    double angle;
    double shift_x;
    double shift_y;
    double scale;
    double shear;

    // Where the pixels of the result come from. Throws std::invalid_argument where Affine does,
    // which no draw of an Augmentation makes it do.
    Affine inverse() const;
};

class Augmentation {
public:
    // Ranges of uniform draws, as torchvision's RandomAffine has them: the angle in -degrees to
    // degrees, each shift in -translate to translate of the image's side, the scale in scale_low to
    // scale_high, the shear in -shear to shear. Shifts are not rounded to whole pixels, as
    // torchvision's are. A share of the images is changed, 0 to 1; the others stay as they are.
    // Throws std::invalid_argument, which names the value that is out of bounds.
    Augmentation(double degrees, double translate, double scale_low, double scale_high, double shear,
                 Outside outside = Outside::black, double share = 1);

    // What happens to image number `sample` of a dataset.
    Draw draw(std::uint64_t seed, std::uint64_t epoch, std::uint64_t sample) const;

    // What comes from outside of an image. No draw depends on it.
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
