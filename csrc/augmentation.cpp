#include "augmentation.hpp"

#include <cmath>
#include <sstream>
#include <stdexcept>

#include "splitmix.hpp"

namespace mnist_sgd {

namespace {

// "augment1", so that no other random numbers share a generator. DOMAIN is a macro in Windows' math.h.
constexpr std::uint64_t DRAW_DOMAIN = 0x6175676d656e7431u;
constexpr double RADIANS = 3.14159265358979323846 / 180;
constexpr double CENTRE = (IMAGE_SIDE - 1) / 2.0;

struct Angle {
    double sin;
    double cos;
};

// For -45 to 45 degrees, by the Taylor series to double precision.
Angle small_sin_cos(double degrees) {
    const double x = degrees * RADIANS;
    const double square = x * x;
    double sin = 1;
    double cos = 1;
    for (int n = 16; n >= 2; n -= 2) {
        cos = 1 - square * (1.0 / ((n - 1) * n)) * cos;
        sin = 1 - square * (1.0 / (n * (n + 1))) * sin;
    }
    return {x * sin, cos};
}

// For any angle; exact for quarter turns.
Angle sin_cos(double degrees) {
    const double quarters = std::floor(degrees / 90 + 0.5);
    const Angle rest = small_sin_cos(degrees - 90 * quarters);
    const double quarter = quarters - 4 * std::floor(quarters / 4);
    if (quarter == 1) return {rest.cos, -rest.sin};
    if (quarter == 2) return {-rest.sin, -rest.cos};
    if (quarter == 3) return {-rest.cos, rest.sin};
    return rest;
}

double checked(double value, double low, double high, const char* what) {
    if (!(value >= low && value <= high)) {
        std::ostringstream text;
        text.precision(10);
        text << what << " must lie in " << low << " to " << high << ", got " << value;
        throw std::invalid_argument(text.str());
    }
    return value;
}

}  // namespace

Augmentation::Augmentation(double degrees, double translate, double scale_low, double scale_high, double shear,
                           Outside outside, double share)
    : degrees_(checked(degrees, 0, 180, "degrees")),
      translate_(checked(translate, 0, 1, "translate")),
      scale_low_(checked(scale_low, 0.1, 10, "the low end of scale")),
      scale_high_(checked(scale_high, 0.1, 10, "the high end of scale")),
      shear_(checked(shear, 0, 60, "shear")),
      outside_(outside),
      share_(checked(share, 0, 1, "share")) {
    if (scale_low > scale_high) {
        std::ostringstream text;
        text.precision(10);
        text << "scale must be (low, high) with low at most high, got (" << scale_low << ", " << scale_high << ")";
        throw std::invalid_argument(text.str());
    }
}

AffineParams Augmentation::draw(std::uint64_t seed, std::uint64_t epoch, std::uint64_t sample) const {
    const std::uint64_t state = splitmix(splitmix(splitmix(seed ^ DRAW_DOMAIN, 0), epoch), sample);
    const auto uniform = [state](std::uint64_t n, double low, double high) {
        return low + (high - low) * (static_cast<double>(splitmix(state, n) >> 11) * 0x1p-53);
    };
    if (share_ < 1 && uniform(5, 0, 1) >= share_) return {0, 0, 0, 1, 0};
    const double most = translate_ * IMAGE_SIDE;
    return {uniform(0, -degrees_, degrees_), uniform(1, -most, most), uniform(2, -most, most),
            uniform(3, scale_low_, scale_high_), uniform(4, -shear_, shear_)};
}

Affine AffineParams::inverse() const {
    // The rotation has the rows (cos, -sin), (sin, cos), the shear (1, -tan), (0, 1).
    const Angle turn = sin_cos(angle);
    const Angle lean = sin_cos(shear);
    const double tan = lean.sin / lean.cos;
    const double xx = (turn.cos - turn.sin * tan) / scale;
    const double xy = (turn.sin + turn.cos * tan) / scale;
    const double yx = -turn.sin / scale;
    const double yy = turn.cos / scale;
    const double x = CENTRE + shift_x;  // where the centre goes
    const double y = CENTRE + shift_y;
    return Affine({xx, xy, CENTRE - xx * x - xy * y, yx, yy, CENTRE - yx * x - yy * y});
}

}  // namespace mnist_sgd
